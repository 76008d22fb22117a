import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWithLibnbd, runNbdScript } from './libnbd.ts';
import { eventually, MiB } from './pair.ts';
import { Solo } from './solo.ts';

const run = promisify(execFile);
const works = (command: string, ...args: string[]): boolean => {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
const has = (tool: string) => works('sh', '-c', `command -v ${tool}`);
/** Skips what needs a tool that is not there, and says so. */
const needs = (what: string, ...tools: string[]): { skip: boolean } => {
  const missing = tools.filter((tool) => (tool === 'python3-libnbd' ? pythonWithLibnbd === undefined : !has(tool)));
  if (missing.length > 0) console.log(`skipped: ${what} needs ${missing.join(', ')}`);
  return { skip: missing.length > 0 };
};

const solo = new Solo();
const scratch = mkdtempSync(join(tmpdir(), 'antipode-nbd-'));
beforeAll(() => solo.start());
afterAll(async () => {
  await solo.remove();
  rmSync(scratch, { recursive: true, force: true });
});

let volumes = 0;
/** A new volume; answers the address of its export. */
async function volume(size = 16 * MiB): Promise<string> {
  const name = `conformance-${++volumes}`;
  await solo.client.create('volume', { name, size });
  return solo.uri(name);
}

describe('NBD, told by nbdinfo', needs('nbdinfo', 'nbdinfo'), () => {
  it('says size, flags, block sizes and context, of one export and of all', async () => {
    const uri = await volume();
    const { stdout } = await run('nbdinfo', ['--json', uri]);
    const told = JSON.parse(stdout) as { protocol: string; structured: boolean; exports: Record<string, unknown>[] };
    expect(told.protocol).toBe('newstyle-fixed');
    expect(told.structured).toBe(true);
    expect(told.exports[0]).toMatchObject({
      'export-size': 16 * MiB,
      is_read_only: false,
      can_flush: true,
      can_fua: true,
      can_trim: true,
      can_zero: true,
      can_multi_conn: true,
      can_df: true,
      contexts: expect.arrayContaining(['base:allocation']),
    });
    for (const [flag, of] of [
      ['--size', uri],
      ['--list', solo.nbd],
    ] as const)
      expect((await run('nbdinfo', [flag, of])).stdout).toMatch(/16777216/);
    for (const can of ['flush', 'fua', 'trim', 'zero', 'multi-conn', 'df', 'cache', 'fast-zero', 'structured'])
      await run('nbdinfo', ['--can', can, uri]).catch((error: { code?: number }) => {
        // Exit code 2: it cannot, which is an answer; everything of the first list it can.
        expect([can, error.code]).toEqual([expect.stringMatching(/cache|fast-zero/), 2]);
      });
  });

  it('has a map of what is allocated', async () => {
    const uri = await volume();
    const device = await solo.device(`conformance-${volumes}`);
    await device.write(MiB, new Uint8Array(8192).fill(1), { fua: true });
    await device.close();
    const { stdout } = await run('nbdinfo', ['--map', '--json', uri]);
    expect(JSON.parse(stdout)).toMatchObject([
      { offset: 0, length: MiB, type: 3 },
      { offset: MiB, length: 8192, type: 0 },
      { offset: MiB + 8192, length: 15 * MiB - 8192, type: 3 },
    ]);
    const { stdout: totals } = await run('nbdinfo', ['--map', '--totals', uri]);
    expect(totals).toMatch(/8192\s+0\.0%\s+0\s+data/);
  });
});

describe('NBD, asked by libnbd', needs('libnbd scripts', 'python3-libnbd'), () => {
  const cases: readonly (readonly [string, string])[] = [
    [
      'structured replies and block status, of parts and of the whole',
      `
h = nbd.NBD(); h.add_meta_context("base:allocation"); h.connect_uri(uri)
assert h.get_structured_replies_negotiated() and h.can_meta_context("base:allocation")
h.pwrite(b"a" * 4096, 4096)
def status(count, offset, flags=0):
    found = []
    h.block_status(count, offset, lambda name, at, extents, err: found.extend(extents), flags)
    return found
assert status(12288, 0) == [4096, 3, 4096, 0, 4096, 3] or status(12288, 0)[:5] == [4096, 3, 4096, 0, 4096], status(12288, 0)
one = status(12288, 0, nbd.CMD_FLAG_REQ_ONE)
assert one == [4096, 3], one
whole = status(h.get_size(), 0)
assert sum(whole[0::2]) <= h.get_size() and whole[1] == 3
chunks = []
def chunk(data, offset, kind, err):
    chunks.append((offset, len(data), kind))
buf = h.pread_structured(12288, 0, chunk)
assert buf == b"\\0" * 4096 + b"a" * 4096 + b"\\0" * 4096
assert sum(c[1] for c in chunks if c[2] == nbd.READ_DATA) <= 12288
chunks.clear()
h.pread_structured(65536, 0, chunk, nbd.CMD_FLAG_DF)
assert len(chunks) == 1 and chunks[0][:2] == (0, 65536), chunks
`,
    ],
    [
      'flush, FUA, trim, write zeroes with and without holes, cache',
      `
h = nbd.NBD(); h.add_meta_context("base:allocation"); h.connect_uri(uri)
def kind(offset, count=4096):
    found = []
    h.block_status(count, offset, lambda name, at, extents, err: found.extend(extents), nbd.CMD_FLAG_REQ_ONE)
    return found[1]
h.pwrite(b"b" * 65536, 0, nbd.CMD_FLAG_FUA)
h.flush()
h.trim(8192, 4096, nbd.CMD_FLAG_FUA)
assert h.pread(8192, 4096) == b"\\0" * 8192 and kind(4096) == 3
h.zero(8192, 16384)
assert h.pread(8192, 16384) == b"\\0" * 8192
h.zero(8192, 32768, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
assert h.pread(8192, 32768) == b"\\0" * 8192
h.zero(100, 1000); h.zero(5000, 40000); h.trim(3, 61000)
got = h.pread(65536, 0)
at = 0
for end, byte in [(1000, b"b"), (1100, b"\\0"), (4096, b"b"), (12288, b"\\0"), (16384, b"b"), (24576, b"\\0"), (32768, b"b"), (45000, b"\\0"), (61000, b"b"), (61003, b"\\0"), (65536, b"b")]:
    assert got[at:end] == byte * (end - at), (at, end)
    at = end
if h.can_cache(): h.cache(65536, 0)
if h.can_fast_zero(): h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO)
`,
    ],
    [
      'every alignment: single bytes, sectors, across pages, to the last byte',
      `
import random
h = nbd.NBD(); h.connect_uri(uri)
size = h.get_size()
model = bytearray(size)
r = random.Random(7)
edges = [0, 1, 511, 512, 4095, 4096, 4097, 1048575, 1048576, 1048577, size - 4097, size - 4096, size - 513, size - 512, size - 1]
for offset in edges:
    for length in [1, 2, 511, 512, 513, 4095, 4096, 4097, 8193, 65537]:
        length = min(length, size - offset)
        data = bytes([r.randrange(1, 256)]) * length
        h.pwrite(data, offset); model[offset:offset + length] = data
        if r.random() < 0.2:
            z = min(r.randrange(1, 9000), size - offset)
            (h.zero if r.random() < 0.5 else h.trim)(z, offset); model[offset:offset + z] = bytes(z)
        assert h.pread(length, offset) == bytes(model[offset:offset + length]), (offset, length)
for at in range(0, size, 1 << 20):
    assert h.pread(1 << 20, at) == bytes(model[at:at + (1 << 20)]), at
`,
    ],
    [
      'refusals: beyond the end, an unknown export, and the connection goes on',
      `
h = nbd.NBD(); h.set_strict_mode(0); h.connect_uri(uri)
size = h.get_size()
def refused(call, *allowed):
    try:
        call()
    except nbd.Error as e:
        assert e.errnum in allowed, (e.errnum, e.string)
        return
    raise AssertionError("it was not refused")
refused(lambda: h.pread(2, size - 1), errno.EINVAL)
refused(lambda: h.pwrite(b"xx", size - 1), errno.ENOSPC, errno.EINVAL)
refused(lambda: h.trim(4096, size), errno.ENOSPC, errno.EINVAL)
refused(lambda: h.zero(4096, size), errno.ENOSPC, errno.EINVAL)
refused(lambda: h.pread(512, 1 << 62), errno.EINVAL)
assert h.pread(1, size - 1) == b"\\0"
other = nbd.NBD()
refused(lambda: other.connect_uri(uri + "-unknown"), 0, errno.ENOENT, errno.EINVAL)
`,
    ],
    [
      'many connections see each other: written on one, flushed on another, read on a third',
      `
hs = [nbd.NBD() for _ in range(3)]
for h in hs: h.connect_uri(uri)
assert all(h.can_multi_conn() for h in hs)
a, b, c = hs
for n in range(200):
    data = bytes([n % 255 + 1]) * 4096
    a.pwrite(data, n * 4096); b.flush()
    assert c.pread(4096, n * 4096) == data, n
    a, b, c = b, c, a
`,
    ],
    [
      'many requests at once, answered in any order',
      `
h = nbd.NBD(); h.connect_uri(uri)
bufs = []
for n in range(256):
    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([n % 255 + 1]) * 4096), n * 4096)
while h.aio_in_flight() > 0: h.poll(-1)
for n in range(256):
    b = nbd.Buffer(4096); h.aio_pread(b, n * 4096); bufs.append(b)
while h.aio_in_flight() > 0: h.poll(-1)
for n, b in enumerate(bufs):
    assert bytes(b.to_bytearray()) == bytes([n % 255 + 1]) * 4096, n
h.shutdown()
`,
    ],
  ];
  it.each(cases)('%s', async (_, script) => {
    await runNbdScript(await volume(), script);
  });
});

describe('NBD, copied by nbdcopy and qemu', needs('copies', 'nbdcopy', 'qemu-img', 'qemu-io', 'cmp', 'dd'), () => {
  const image = (name: string) => join(scratch, name);
  const made = async (name: string): Promise<string> => {
    const path = image(name);
    const script = `truncate -s 16M ${path} && dd if=/dev/urandom of=${path} bs=1M seek=2 count=5 conv=notrunc status=none && dd if=/dev/urandom of=${path} bs=512 seek=30001 count=77 conv=notrunc status=none`;
    await run('sh', ['-c', script]);
    return path;
  };

  it('nbdcopy brings an image in, out, and from one export to another', async () => {
    const from = await made('nbdcopy.img');
    const [first, second] = [await volume(), await volume()];
    await run('nbdcopy', ['--flush', '--connections=4', '--requests=32', from, first]);
    await run('nbdcopy', ['--flush', first, second]);
    await run('nbdcopy', [second, image('nbdcopy-out.img')]);
    await run('cmp', [from, image('nbdcopy-out.img')]);
  });

  it('qemu-img converts in and out through qcow2, and compares', async () => {
    const from = await made('convert.img');
    const uri = await volume();
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', from, image('convert.qcow2')]);
    await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', image('convert.qcow2'), uri]);
    expect(
      (await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', uri, image('convert.qcow2')])).stdout,
    ).toMatch(/Images are identical/);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, image('convert-out.img')]);
    await run('cmp', [from, image('convert-out.img')]);
    const { stdout } = await run('qemu-img', ['map', '--output=json', '-f', 'raw', uri]);
    expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ start: 0, zero: true, data: false }));
  });

  it('qemu-io writes and reads at every edge, zeroes, discards and flushes', async () => {
    const uri = await volume();
    const end = 16 * MiB;
    const commands = [
      'write -P 0x11 512 512',
      'read -P 0x11 512 512',
      'write -P 0x22 3584 1024',
      'read -P 0x22 3584 1024',
      'write -P 0x33 1048064 8704',
      'read -P 0x33 1048064 8704',
      `write -P 0x44 ${end - 512} 512`,
      `read -P 0x44 ${end - 512} 512`,
      'write -f -P 0x55 65536 131072',
      'write -z 69632 4096',
      'read -P 0 69632 4096',
      'write -z -u 77824 8192',
      'read -P 0 77824 8192',
      'discard 131072 65536',
      'read -P 0 131072 65536',
      'read -P 0x55 65536 4096',
      'writev -P 0x66 2097152 512 4096 1024',
      'readv -P 0x66 2097152 5632',
      'aio_write -P 0x77 3145728 65536',
      'aio_flush',
      'flush',
      'read -P 0x77 3145728 65536',
    ];
    const { stdout } = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri]);
    expect(stdout).not.toMatch(/failed|error/i);
    const beyond = await run('qemu-io', ['-f', 'raw', '-c', `write ${end} 512`, uri]).catch((error: Error) => error);
    expect(JSON.stringify(beyond) + String(beyond)).toMatch(/beyond|failed|error|Input/i);
  });
});

describe('NBD, verified by fio', needs('verification through restarts', 'fio'), () => {
  const engine = () => (works('sh', '-c', 'fio --enghelp | grep -qw nbd') ? 'nbd' : undefined);
  const fio = (uri: string, ...more: string[]) =>
    run(
      'fio',
      [
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${uri}`,
        '--rw=randwrite',
        '--bsrange=512-65536',
        '--blockalign=512',
        '--iodepth=16',
        '--size=12m',
        '--io_size=24m',
        '--norandommap',
        '--randseed=11',
        '--verify=crc32c',
        '--serialize_overlap=1',
        '--verify_fatal=1',
        '--verify_state_save=0',
        ...more,
      ],
      { cwd: scratch, timeout: 150_000, maxBuffer: 16 * MiB },
    );

  it.skipIf(engine() === undefined)(
    'random rewrites keep their checksums through a kill of the data plane and a stop of the cluster',
    async () => {
      const name = `conformance-${volumes + 1}`;
      const uri = await volume();
      const rewrite = ['--bs=4096', '--bsrange=4096-4096', '--blockalign=4096'];
      await fio(uri, ...rewrite, '--do_verify=1', '--end_fsync=1');
      solo.kill('dataplane');
      await eventually('the export to be back', async () => {
        const device = await solo.device(name).catch(() => undefined);
        await device?.close();
        return device !== undefined;
      });
      await fio(uri, ...rewrite, '--verify_only=1');
      await fio(uri, ...rewrite, '--do_verify=1', '--end_fsync=1');
      await solo.stop();
      await solo.start();
      await fio(solo.uri(name), ...rewrite, '--verify_only=1');
    },
  );
});
