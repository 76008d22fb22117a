import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { newPackageKeys } from './build-package.ts';
import { formatConflicts } from './formats.ts';
import { isSafePath, type Manifest, PackageRefused } from './manifest.ts';
import { encodeHead } from './package-file.ts';
import { unpackPackage, verifyRelease } from './unpack.ts';
import { compareVersions } from './version.ts';

const scratch = mkdtempSync(join(tmpdir(), 'antipode-package-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const keys = newPackageKeys();
const privateKey = createPrivateKey(keys.privateKey);
const trusted: readonly KeyObject[] = [createPublicKey(keys.publicKey)];
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
let number = 0;

type Files = readonly (readonly [path: string, bytes: Uint8Array])[];
const manifest = (files: Files, change: Partial<Manifest> = {}): Manifest => ({
  name: 'Antipode-4.1.0.0.2',
  description: '',
  build_version: '4.1.0.0.2',
  build_id: '4.1.0.0.2',
  build_type: 'Release',
  release_timestamp: '2026-11-25T00:00:00.000Z',
  minimum_version: '4.1.0.0.1',
  platform: process.platform,
  arch: process.arch,
  node: 24,
  formats: {},
  files: files.map(([path, bytes]) => ({ path, size: bytes.length, sha256: sha256(bytes) })),
  ...change,
});
const pack = (described: Manifest, payload: Uint8Array, key = privateKey): Buffer =>
  Buffer.concat([encodeHead(JSON.stringify(described), key), zstdCompressSync(payload)]);
const whole = (files: Files): Buffer => pack(manifest(files), Buffer.concat(files.map(([, bytes]) => bytes)));

async function* inPieces(bytes: Buffer, piece: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
}

/** Unpacks into a folder of its own; answers the folder, or why it was refused. Nothing may be left of what was refused. */
async function unpacked(
  bytes: Buffer,
  piece = 1000,
): Promise<{ readonly directory: string; readonly refused?: string }> {
  const place = join(scratch, String(++number));
  const directory = join(place, 'release');
  try {
    await unpackPackage(inPieces(bytes, piece), {
      directory,
      keys: trusted,
      check: async () => undefined,
      onProgress: () => undefined,
    });
    return { directory };
  } catch (error) {
    if (!(error instanceof PackageRefused)) throw error;
    expect(existsSync(place) ? readdirSync(place) : []).toEqual([]);
    return { directory, refused: error.message };
  }
}

describe('a software package', () => {
  it('is unpacked to what was packed, however it arrives', async () => {
    const name = fc.stringMatching(/^[a-z]{1,8}(\/[a-z]{1,8}){0,3}$/);
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(name, fc.uint8Array({ maxLength: 5000 }), { minKeys: 1, maxKeys: 8 }),
        fc.integer({ min: 1, max: 4000 }),
        async (tree, piece) => {
          // A name that is a file is no folder as well.
          const paths = Object.keys(tree);
          fc.pre(paths.every((path) => paths.every((other) => !other.startsWith(`${path}/`))));
          const files = Object.entries(tree);
          const { directory } = await unpacked(whole(files), piece);
          for (const [path, bytes] of files) expect(sha256(readFileSync(join(directory, path)))).toBe(sha256(bytes));
          await verifyRelease(directory, trusted);
        },
      ),
      { numRuns: 50 },
    );
  });

  const files: Files = [
    ['a/b.js', new Uint8Array(3000).fill(7)],
    ['empty', new Uint8Array()],
    ['last', new Uint8Array(5).fill(1)],
  ];
  const payload = Buffer.concat(files.map(([, bytes]) => bytes));

  it('cut anywhere, or with any byte changed, is refused and leaves nothing', async () => {
    const good = whole(files);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: good.length - 1 }), fc.boolean(), async (place, cut) => {
        const bad = cut ? good.subarray(0, place) : Buffer.from(good);
        if (!cut) bad[place]! ^= 0x40;
        expect((await unpacked(bad)).refused).toBeDefined();
      }),
      { numRuns: 150 },
    );
  });

  it('signed by nobody who is trusted is refused before anything of it is read', async () => {
    const other = createPrivateKey(newPackageKeys().privateKey);
    expect((await unpacked(pack(manifest(files), payload, other))).refused).toContain('signature');
  });

  it.each([
    ['a name that leads upwards', manifest([['../outside', payload]])],
    ['a name from the root', manifest([['/etc/outside', payload]])],
    ['a name with a way back', manifest([['a/../../outside', payload]])],
    ['a name of another system', manifest([['a\\..\\outside', payload]])],
    ['a name twice', manifest([...files, files[0]!])],
    ['files of impossible sizes', manifest(files, { files: [{ path: 'a', size: 2 ** 40, sha256: sha256(payload) }] })],
    ['another checksum', manifest(files, { files: [{ path: 'a', size: payload.length, sha256: '0'.repeat(64) }] })],
    ['fewer bytes than it holds', manifest(files.slice(0, 1))],
    ['more bytes than it holds', manifest([...files, ['more', new Uint8Array(9)]])],
    ['no files', manifest([])],
    ['a version that cannot be compared', manifest(files, { build_version: '4.1' })],
  ])('properly signed, with %s, is refused', async (_, described) => {
    expect((await unpacked(pack(described, payload))).refused).toBeDefined();
    expect(existsSync(join(scratch, 'outside'))).toBe(false);
  });

  it('that was changed after it was unpacked is found out', async () => {
    const { directory } = await unpacked(whole(files));
    writeFileSync(join(directory, 'last'), 'other');
    await expect(verifyRelease(directory)).rejects.toThrow('last was changed');
    rmSync(join(directory, 'last'));
    await expect(verifyRelease(directory)).rejects.toThrow('last is missing');
  });
});

describe('names of files', () => {
  it('stay below their folder', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 40, unit: fc.constantFrom('a', '.', '/', '\\', ' ', ':', '\0', '-') }),
        (path) => {
          if (!isSafePath(path)) return;
          expect(join('/root', path).startsWith('/root/')).toBe(true);
          expect(path.split('/')).not.toContain('..');
        },
      ),
    );
  });
});

describe('two releases', () => {
  const range = (oldest: number, newest: number) => ({ x: { oldest, newest } });
  it.each([
    [range(1, 1), range(1, 1), 0],
    // The next one writes what this one cannot read: there would be no way back.
    [range(1, 1), range(1, 2), 1],
    [range(1, 2), range(1, 1), 1],
    // It does not read what is there.
    [range(1, 1), range(2, 2), 1],
    [range(1, 2), range(2, 2), 0],
    // A format that only one of them knows.
    [range(1, 1), {}, 0],
  ])('have to read what the other writes [C9.4]: %j, %j', (present, next, conflicts) => {
    expect(formatConflicts(present, next)).toHaveLength(conflicts);
  });

  it('are compared as numbers', () => {
    expect(compareVersions('4.1.0.0.10', '4.1.0.0.9')).toBeGreaterThan(0);
    expect(compareVersions('4.1.0.0.1', '4.1.0.0.1')).toBe(0);
    expect(compareVersions('4.0.9.9.9', '4.1.0.0.0')).toBeLessThan(0);
  });
});
