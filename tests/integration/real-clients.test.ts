import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonWithLibnbd, runNbdScript } from './libnbd.ts';
import { MiB, Pair } from './pair.ts';

const run = promisify(execFile);
const tools = ['nbdcopy', 'nbdinfo', 'qemu-img', 'qemu-io', 'mkfs.ext4', 'fsck.ext4', 'cmp'];
const missing = tools.filter((tool) => {
  try {
    execFileSync('sh', ['-c', `command -v ${tool}`], {
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    return false;
  } catch {
    return true;
  }
});
if (missing.length > 0) console.log(`skipped: real clients over two clusters need ${missing.join(', ')}`);
process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

describe.skipIf(missing.length > 0)('with clients that nobody here wrote', () => {
  const pair = new Pair();
  const scratch = mkdtempSync(join(tmpdir(), 'antipode-clients-'));
  beforeAll(() => pair.start());
  afterAll(async () => {
    await pair.stop();
    rmSync(scratch, { recursive: true, force: true });
  });
  const exportAt = (site: typeof pair.a, name: string) => `${site.nbd}/${name}`;

  it('a file system made in an image, copied in by nbdcopy, failed over, copied out: it passes fsck and compares equal', async () => {
    const image = join(scratch, 'in.img');
    const out = join(scratch, 'out.img');
    const content = join(scratch, 'content');
    await run('sh', [
      '-c',
      `mkdir -p ${content}/a/b && cp -r ${join(import.meta.dirname, '../../packages/blocks/src')} ${content}/a/b/ && truncate -s 64M ${image} && mkfs.ext4 -q -F -d ${content} ${image}`,
    ]);
    await pair.a.client.create('volume', { name: 'files', size: 64 * MiB });
    await run('nbdcopy', ['--flush', image, exportAt(pair.a, 'files')]);
    const volume = await pair.a.client.get('volume', 'name:files', { select: 'id,logical_used' });
    const remote = await pair.a.client.first('remote_system', { select: 'id' });
    const rule = await pair.a.client.create('replication_rule', {
      name: 'files',
      rpo: 'One_Day',
      remote_system_id: String(remote?.id),
    });
    const policy = await pair.a.client.create('policy', { name: 'files', replication_rule_ids: [rule] });
    await pair.a.client.modify('volume', String(volume.id), { protection_policy_id: policy });
    const session = String((await pair.a.client.first('replication_session', { select: 'id' }))?.id);
    await pair.settled(session);
    await pair.act(pair.a, session, 'failover', { is_planned: true });
    await run('nbdcopy', [exportAt(pair.b, 'files'), out]);
    await run('fsck.ext4', ['-f', '-n', out]);
    await run('cmp', [image, out]);
  });

  it('a destination is exported read-only, and a write gets EPERM', async () => {
    const { session } = await pair.protect('readonly', 8 * MiB);
    const { stdout } = await run('nbdinfo', ['--json', exportAt(pair.b, 'readonly')]);
    expect((JSON.parse(stdout) as { exports: { is_read_only: boolean }[] }).exports[0]?.is_read_only).toBe(true);
    const device = await pair.b.open('readonly');
    await expect(device.write(0, new Uint8Array(4096))).rejects.toMatchObject({ errno: 'EPERM' });
    await device.close().catch(() => undefined);
    if (pythonWithLibnbd !== undefined)
      await runNbdScript(
        exportAt(pair.b, 'readonly'),
        `
h = nbd.NBD(); h.set_strict_mode(0); h.connect_uri(uri)
assert h.is_read_only()
for call in (lambda: h.pwrite(b"x", 0), lambda: h.trim(512, 0), lambda: h.zero(512, 0)):
    try:
        call()
    except nbd.Error as e:
        assert e.errnum == errno.EPERM, e.errnum
    else:
        raise AssertionError("it was not refused")
assert len(h.pread(4096, 0)) == 4096
`,
      );
    await pair.act(pair.a, session, 'failover', {});
    const after = await run('nbdinfo', ['--json', exportAt(pair.b, 'readonly')]);
    expect((JSON.parse(after.stdout) as { exports: { is_read_only: boolean }[] }).exports[0]?.is_read_only).toBe(false);
  });

  it('qemu-img converts in and out, qemu-io writes and reads at odd places', async () => {
    await pair.a.client.create('volume', { name: 'qemu', size: 32 * MiB });
    const source = join(scratch, 'q.img');
    const back = join(scratch, 'q-out.img');
    await run('sh', [
      '-c',
      `truncate -s 32M ${source} && dd if=/dev/urandom of=${source} bs=1M count=7 seek=3 conv=notrunc 2>/dev/null`,
    ]);
    await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source, exportAt(pair.a, 'qemu')]);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', exportAt(pair.a, 'qemu'), back]);
    await run('cmp', [source, back]);
    const { stdout } = await run('qemu-io', [
      '-f',
      'raw',
      '-c',
      'write -P 0x5a 511 4098',
      '-c',
      'read -P 0x5a 511 4098',
      '-c',
      'flush',
      exportAt(pair.a, 'qemu'),
    ]);
    expect(stdout).not.toContain('Pattern verification failed');
  });
});
