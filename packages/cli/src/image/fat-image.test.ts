import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FatImage } from './fat-image.ts';

const mib = 2 ** 20;

function withFile(image: FatImage, use: (path: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'antipode-image-'));
  try {
    const path = join(dir, 'image');
    const file = openSync(path, 'w');
    ftruncateSync(file, image.size_bytes);
    for (const { offset, bytes } of image.pieces(image.ranges())) writeSync(file, bytes, 0, bytes.length, offset);
    closeSync(file);
    use(path);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const fsck = spawnSync('fsck.fat', ['--help']).error === undefined;
if (!fsck) console.warn('fsck.fat is not installed: images are not checked against it');

describe('file system image', () => {
  test.skipIf(!fsck).each([
    [16, 0],
    [31, 2],
    [32, 0],
    [64, 3],
    [240, 1],
    [241, 0],
    [288, 0],
    [289, 12],
    [600, 1],
  ])('%i MiB of generation %i is clean for fsck.fat', (size, generation) => {
    const image = new FatImage({ size_bytes: size * mib, seed: 7, generation });
    withFile(image, (path) => {
      const checked = spawnSync('fsck.fat', ['-n', '-v', '-l', path], { encoding: 'utf8', maxBuffer: 64 * mib });
      expect(`${checked.stdout}${checked.stderr}`).not.toMatch(/dirty|differ|wrong|bad|lost|error|truncat/i);
      expect(checked.status).toBe(0);
      const listed = checked.stdout.split('\n').filter((line) => /\.(txt|dat)/i.test(line)).length;
      expect(listed).toBe(image.fileCount);
    });
  });

  test('the same options give the same bytes, and the digest is of the bytes', () => {
    const options = { size_bytes: 16 * mib, seed: 3, generation: 1 };
    const image = new FatImage(options);
    expect(new FatImage(options).sha256()).toBe(image.sha256());
    expect(new FatImage({ ...options, seed: 4 }).sha256()).not.toBe(image.sha256());
    withFile(image, (path) => {
      const whole = Buffer.alloc(image.size_bytes);
      image.read(0, whole);
      expect(readFileSync(path).equals(whole)).toBe(true);
    });
  });

  test('reads at any offset and length agree with the whole', () => {
    const image = new FatImage({ size_bytes: 16 * mib, seed: 9, generation: 2 });
    const whole = Buffer.alloc(image.size_bytes);
    image.read(0, whole);
    let at = 1;
    for (let i = 0; i < 400; i += 1) {
      at = (at * 48271) % 2147483647;
      const offset = at % (image.size_bytes - 10_000);
      const part = Buffer.alloc(1 + (at % 9_999));
      image.read(offset, part);
      expect(part.equals(whole.subarray(offset, offset + part.length))).toBe(true);
    }
  });

  test('the ranges since an earlier generation turn that one into this one', () => {
    const options = { size_bytes: 64 * mib, seed: 5 };
    const [first, second] = [0, 3].map((generation) => new FatImage({ ...options, generation }));
    if (first === undefined || second === undefined) throw new Error('unreachable');
    const bytes = Buffer.alloc(64 * mib);
    first.read(0, bytes);
    const ranges = second.rangesSince(first);
    for (const piece of second.pieces(ranges)) piece.bytes.copy(bytes, piece.offset);
    const wanted = Buffer.alloc(64 * mib);
    second.read(0, wanted);
    expect(bytes.equals(wanted)).toBe(true);
    const changed = ranges.reduce((sum, range) => sum + range.length, 0);
    expect(changed).toBeGreaterThan(mib);
    expect(changed).toBeLessThan(24 * mib);
    for (const { offset, length } of ranges) expect([offset % 4096, length % 4096]).toEqual([0, 0]);
  });

  test('about half of the volume is used, and pages differ', () => {
    const image = new FatImage({ size_bytes: 64 * mib, seed: 1, generation: 0 });
    const used = image.ranges().reduce((sum, range) => sum + range.length, 0);
    expect(used / image.size_bytes).toBeGreaterThan(0.25);
    expect(used / image.size_bytes).toBeLessThan(0.6);
    const pages = new Set<string>();
    let count = 0;
    for (const { bytes } of image.pieces(image.ranges(), 4096)) {
      pages.add(bytes.toString('latin1'));
      count += 1;
    }
    expect(pages.size / count).toBeGreaterThan(0.95);
  });
});
