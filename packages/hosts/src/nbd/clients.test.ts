import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { volumeId } from '@antipode/base';
import { type BlockEngine, openEmbeddedEngine } from '@antipode/blocks';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type NbdServer, startNbdServer } from './server.ts';
import { makeAuthority } from './testing/certificates.ts';
import { MIB, pattern, type Served, serve } from './testing/served.ts';
import { hasTool, pythonWith, run } from './testing/tools.ts';

// Clients that others wrote, against this server: what they make of the protocol is what counts.
const tools = {
  nbdinfo: hasTool('nbdinfo'),
  nbdcopy: hasTool('nbdcopy'),
  python: pythonWith('nbd'),
  qemu: hasTool('qemu-img') && hasTool('qemu-io'),
  fio: hasTool('fio'),
};

const open: Served[] = [];
let directory = '';
const at = (name: string): string => join(directory, name);

async function started(...args: Parameters<typeof serve>): Promise<Served> {
  const served = await serve(...args);
  served.device.record = false;
  open.push(served);
  return served;
}

/** Data with holes in it, and an end that is no multiple of anything large. */
function image(length: number): Buffer {
  const bytes = pattern(length, 42);
  bytes.fill(0, 100_000, 700_000);
  bytes.fill(0, 3 * MIB, 4 * MIB);
  return bytes;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'antipode-nbd-'));
});
afterEach(() => Promise.all(open.splice(0).map((served) => served.stop())));
afterAll(() => rm(directory, { recursive: true, force: true }));

describe.skipIf(!tools.nbdinfo)('nbdinfo', () => {
  test('sees the export, its abilities and its sizes', async () => {
    const served = await started();
    const told = JSON.parse(await run('nbdinfo', ['--json', served.uri]));
    expect(told).toMatchObject({ protocol: 'newstyle-fixed', TLS: false, structured: true });
    expect(told.exports[0]).toMatchObject({
      'export-name': 'vol',
      description: 'a volume',
      contexts: ['base:allocation'],
      is_read_only: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
      'export-size': 8 * MIB,
    });
    const list = JSON.parse(await run('nbdinfo', ['--json', '--list', `nbd://127.0.0.1:${served.port}`]));
    expect(list.exports.map((line: { 'export-name': string }) => line['export-name'])).toEqual(['vol']);
  });

  test('sees what is allocated, and that a destination is read-only [C11.2]', async () => {
    const served = await started();
    await served.device.write(MIB, pattern(MIB, 1), false);
    const map = JSON.parse(await run('nbdinfo', ['--json', '--map', served.uri]));
    expect(map).toMatchObject([
      { offset: 0, length: MIB, type: 3 },
      { offset: MIB, length: MIB, type: 0 },
      { offset: 2 * MIB, length: 6 * MIB, type: 3 },
    ]);
    served.device.mode = 'read_only';
    await run('nbdinfo', ['--is', 'readonly', served.uri]);
  });

  test('comes in through TLS with its certificate', async () => {
    const authority = makeAuthority('authority');
    const host = authority.sign('host');
    const served = await started({ tls: { ...authority.sign('server'), clientCa: authority.cert } });
    await writeFile(at('ca-cert.pem'), authority.cert);
    await writeFile(at('client-cert.pem'), host.cert);
    await writeFile(at('client-key.pem'), host.key, { mode: 0o600 });
    const secure = `nbds://127.0.0.1:${served.port}/vol?tls-certificates=${directory}`;
    expect(await run('nbdinfo', ['--size', secure])).toBe(`${8 * MIB}\n`);
    await expect(run('nbdinfo', ['--size', served.uri])).rejects.toThrow(/TLS/);
    expect(served.events.find(({ kind }) => kind === 'opened')).toMatchObject({
      connection: { client: { auth: { kind: 'certificate', commonName: 'host' } } },
    });
  });
});

describe.skipIf(!tools.nbdcopy)('nbdcopy', () => {
  test('an image goes in over several connections and comes out the same', async () => {
    const served = await started();
    const bytes = image(8 * MIB);
    await writeFile(at('in.img'), bytes);
    await run('nbdcopy', ['--flush', '--connections=4', at('in.img'), served.uri]);
    await run('nbdcopy', ['--connections=4', served.uri, at('out.img')]);
    expect((await readFile(at('out.img'))).equals(bytes)).toBe(true);
    expect(served.events.filter(({ kind }) => kind === 'opened').length).toBeGreaterThan(2);
  });

  test('one synchronous connection, odd request sizes', async () => {
    const served = await started();
    const bytes = image(8 * MIB);
    await writeFile(at('in.img'), bytes);
    await run('nbdcopy', ['--synchronous', '--request-size=65536', at('in.img'), served.uri]);
    await run('nbdcopy', ['--request-size=33554432', '--allocated', served.uri, at('out.img')]);
    expect((await readFile(at('out.img'))).equals(bytes)).toBe(true);
  });
});

describe.skipIf(!tools.qemu)('qemu', () => {
  test('qemu-img converts to and from, and finds both equal', async () => {
    const served = await started();
    const bytes = image(8 * MIB);
    await writeFile(at('in.img'), bytes);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', at('in.img'), at('in.qcow2')]);
    await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', at('in.qcow2'), served.uri]);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', at('in.img'), served.uri]);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', served.uri, at('out.img')]);
    expect((await readFile(at('out.img'))).equals(bytes)).toBe(true);
    const map = JSON.parse(await run('qemu-img', ['map', '--output=json', '-f', 'raw', served.uri]));
    expect(map.some((extent: { zero: boolean; start: number }) => extent.zero && extent.start === 3 * MIB)).toBe(true);
  });

  test('qemu-io: every alignment is exact, and neighbours keep their bytes', async () => {
    const served = await started();
    const places = [1, 511, 512, 513, 4095, 4096, 4097, 65535, 65537, MIB - 1];
    const commands: string[] = ['write -P 0x11 0 4M'];
    for (const place of places)
      for (const length of [1, 511, 4095, 4096, 4097])
        commands.push(
          `write -P 0x77 ${place} ${length}`,
          `read -P 0x77 ${place} ${length}`,
          `read -P 0x11 ${place + length} 16`,
          `read -P 0x11 ${place - 1} 1`,
          `write -P 0x11 ${place} ${length}`,
        );
    commands.push(
      'write -f -P 0x22 4097 5000',
      'write -z 4096 8192',
      'read -P 0 4096 8192',
      'read -P 0x11 4095 1',
      'discard 65536 131072',
      'read -P 0 65536 131072',
      'aio_write -P 0x33 0 1M',
      'aio_flush',
      'flush',
      'read -P 0x33 0 1M',
    );
    const said = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), served.uri]);
    expect(said).not.toMatch(/fail|verification|error/i);
  });

  test('qemu-io is refused on a destination [C11.2]', async () => {
    const served = await started();
    served.device.mode = 'read_only';
    await expect(run('qemu-io', ['-f', 'raw', '-c', 'write 0 4096', served.uri])).rejects.toThrow(
      /read-only|permitted|permission|writ/i,
    );
    await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0 0 1M', served.uri]);
  });
});

const NBDSH_SCRIPT = `
import errno
size = h.get_size()
h.pwrite(b"a" * 4097, 4095, nbd.CMD_FLAG_FUA)
assert h.pread(4099, 4094) == b"\\0" + b"a" * 4097 + b"\\0"
seen = []
def chunk(buf, offset, status, err):
    seen.append((offset, len(buf), status))
h.pread_structured(262144, 0, chunk)
assert [s for s in seen if s[2] == nbd.READ_HOLE], seen
assert sum(s[1] for s in seen if s[2] == nbd.READ_DATA) == 65536, seen
seen.clear()
h.pread_structured(262144, 0, chunk, nbd.CMD_FLAG_DF)
assert seen == [(0, 262144, nbd.READ_DATA)], seen
def extents(context, offset, entries, err):
    seen.append((context, offset, entries))
seen.clear()
h.block_status(size, 0, extents)
assert seen[0][0] == "base:allocation" and sum(seen[0][2][0::2]) == size, seen
seen.clear()
h.block_status(size, 0, extents, nbd.CMD_FLAG_REQ_ONE)
assert len(seen[0][2]) == 2, seen
h.zero(8192, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(8193, 0) == b"\\0" * 8193
h.trim(size - 4096, 4096)
h.cache(size, 0)
h.flush()
h.set_strict_mode(0)
for (call, want) in [
    (lambda: h.pread(1, size), errno.EINVAL),
    (lambda: h.pwrite(b"x", size), errno.ENOSPC),
    (lambda: h.zero(2, size - 1), errno.ENOSPC),
    (lambda: h.trim(2, size - 1), errno.EINVAL),
    (lambda: h.pread(1, 0, 1 << 3), errno.EINVAL),
]:
    try:
        call()
        assert False, want
    except nbd.Error as ex:
        assert ex.errnum == want, (ex.errnum, want, ex.string)
assert h.pread(1, 0) == b"\\0"
h.shutdown()
print("all held")
`;

describe.skipIf(tools.python === undefined)('nbdsh', () => {
  test('a script: structured reads, DF, extents, flags, errors', async () => {
    const served = await started();
    await writeFile(at('script.py'), NBDSH_SCRIPT);
    // The shell itself starts the first Python on the path, which need not be the one that has its module.
    const shell = ['-m', 'nbd', '--base-allocation', '-u', served.uri];
    const said = await run(tools.python ?? '', [...shell, '-c', `exec(open("${at('script.py')}").read())`]);
    expect(said.trim()).toBe('all held');
  });
});

describe.skipIf(!tools.fio)('fio', () => {
  test('writes at random with many requests under way, and verifies', async () => {
    const served = await started({ size: 32 * MIB });
    const common = [
      '--ioengine=nbd',
      `--uri=${served.uri}`,
      '--size=32M',
      '--verify=crc32c',
      '--verify_fatal=1',
      '--verify_state_save=0',
    ];
    await run(
      'fio',
      ['--name=small', '--rw=randwrite', '--bsrange=512-128k', '--bs_unaligned', '--iodepth=32', ...common],
      {
        cwd: directory,
      },
    );
    await run('fio', ['--name=large', '--rw=write', '--bs=1M', '--iodepth=4', ...common], { cwd: directory });
  });
});

describe.skipIf(!tools.nbdcopy || !tools.qemu)('on the embedded engine', () => {
  const id = volumeId('00000000-0000-4000-8000-000000000001');

  async function up(): Promise<{ engine: BlockEngine; server: NbdServer; uri: string }> {
    const engine = await openEmbeddedEngine({ directory: at('engine') });
    const server = await startNbdServer({
      listen: { host: '127.0.0.1', port: 0 },
      exports: {
        list: () => engine.volumes().map(({ name, id }) => ({ name, aliases: [id] })),
        open: (name) => {
          const found = engine.volumes().find((volume) => volume.name === name || volume.id === name);
          return found === undefined ? undefined : { name: found.name, device: engine.open(found.id) };
        },
      },
    });
    return { engine, server, uri: `nbd://127.0.0.1:${server.address().port}/${id}` };
  }

  async function down({ engine, server }: Awaited<ReturnType<typeof up>>): Promise<void> {
    await server.close(1_000);
    await engine.close();
  }

  test('what clients wrote is there after the engine was closed and opened again', async () => {
    const bytes = image(16 * MIB);
    await writeFile(at('in.img'), bytes);
    let site = await up();
    await site.engine.createVolume({ id, name: 'data', size: 16 * MIB, tag: {} });
    await run('nbdcopy', ['--flush', at('in.img'), site.uri]);
    await run('qemu-io', ['-f', 'raw', '-c', 'write -f -P 0x5a 4097 8191', '-c', 'discard 1M 128k', site.uri]);
    bytes.fill(0x5a, 4097, 4097 + 8191);
    bytes.fill(0, MIB, MIB + 128 * 1024);
    await down(site);
    site = await up();
    await run('nbdcopy', [site.uri, at('out.img')]);
    expect((await readFile(at('out.img'))).equals(bytes)).toBe(true);
    await writeFile(at('expected.img'), bytes);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', at('expected.img'), site.uri]);
    await down(site);
  });

  test.skipIf(!tools.fio)('fio writes at random and verifies', async () => {
    const site = await up();
    const volume = volumeId('00000000-0000-4000-8000-000000000002');
    await site.engine.createVolume({ id: volume, name: 'fio', size: 16 * MIB, tag: {} });
    const uri = site.uri.replace(id, 'fio');
    const what = [
      '--rw=randwrite',
      '--bsrange=512-64k',
      '--bs_unaligned',
      '--iodepth=16',
      '--verify=crc32c',
      '--verify_state_save=0',
    ];
    await run('fio', ['--name=engine', '--ioengine=nbd', `--uri=${uri}`, '--size=16M', ...what], { cwd: directory });
    await down(site);
  });
});
