import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually, MiB } from './pair.ts';
import { Solo } from './solo.ts';

const block = 4096;
const damageCode = '0x02020101';
let solo: Solo | undefined;
afterEach(async () => {
  await solo?.remove();
  solo = undefined;
});

/** Flips one bit in the log where a block of this byte is stored, at its hundredth byte. */
function damage(data: string, token: number): void {
  const log = join(data, 'appliances/A1/log');
  for (const name of readdirSync(log)) {
    const content = readFileSync(join(log, name));
    const at = content.indexOf(Buffer.alloc(block, token));
    if (at < 0) continue;
    const file = openSync(join(log, name), 'r+');
    writeSync(file, Uint8Array.of(content[at + 100]! ^ 4), 0, 1, at + 100);
    closeSync(file);
    return;
  }
  throw new Error('the block is nowhere in the log');
}

describe('what is stored', () => {
  it('is checked by fsck where no cluster runs, and by scrub where one does; both name volume, snapshot, offset and length', async () => {
    solo = new Solo();
    await solo.start();
    const volume = await solo.client.create('volume', { name: 'db', size: 16 * MiB });
    const device = await solo.device('db');
    await device.write(2 * MiB, new Uint8Array(block).fill(0x51));
    await device.write(5 * MiB, new Uint8Array(block).fill(0x52));
    await device.flush();
    await solo.client.action('volume', volume, 'snapshot', { name: 'before' });
    await device.write(5 * MiB, new Uint8Array(block).fill(0x53), { fua: true });
    await device.close();

    const inUse = await solo.command('fsck', '--data', solo.data);
    expect(inUse).toMatchObject({ code: 2, err: expect.stringMatching(/in use/) });
    const reach = ['--url', solo.url, '--insecure'];
    expect(await solo.command('scrub', ...reach)).toMatchObject({ code: 0, out: expect.stringMatching(/no damage/) });

    await solo.stop();
    expect(await solo.command('fsck', '--data', solo.data)).toMatchObject({ code: 0 });
    damage(solo.data, 0x51);
    damage(solo.data, 0x52);
    const found = await solo.command('fsck', '--data', solo.data);
    expect(found.code).toBe(1);
    expect(found.out).toMatch(new RegExp(`volume db \\(${volume}\\): offset ${2 * MiB}, ${block} bytes`));
    expect(found.out).toMatch(
      new RegExp(`volume db \\(${volume}\\), only in snapshot before \\(.*\\): offset ${5 * MiB}, ${block} bytes`),
    );
    const report = JSON.parse((await solo.command('fsck', '--data', solo.data, '--json')).out) as {
      clean: boolean;
      appliances: { damages: unknown[] }[];
    };
    expect(report).toMatchObject({ clean: false, appliances: [{ index: { state: 'agrees' } }] });
    // The log is damaged: an index that might know more than it is not dropped.
    expect((await solo.command('fsck', '--data', solo.data, '--drop-index')).out).toMatch(/index kept/);

    await solo.start();
    const scrubbed = await solo.command('scrub', '--url', solo.url, '--insecure', '--json');
    expect(scrubbed.code).toBe(1);
    expect(JSON.parse(scrubbed.out)).toMatchObject({ state: 'completed', damage_count: 2 });
    const alerts = await solo.activeAlerts(damageCode);
    expect(alerts.map(({ resource_id }) => resource_id)).toEqual([volume, volume]);
    expect(alerts.map(({ description_l10n }) => String(description_l10n)).join()).toMatch(/only in before/);
    const job = await solo.client.first('job', { select: '*', filter: { resource_action: 'eq.scrub' } });
    expect(job).toMatchObject({ resource_type: 'appliance' });

    // The block is written again and the snapshot goes: nothing is damaged any more, and the next pass says so.
    const again = await solo.device('db');
    await again.write(2 * MiB, new Uint8Array(block).fill(0x54), { fua: true });
    await again.close();
    const snapshot = await solo.client.first('volume', { select: 'id', filter: { type: 'eq.Snapshot' } });
    await solo.client.remove('volume', String(snapshot?.id));
    await eventually('a pass that finds nothing', async () => {
      const { code } = await solo!.command('scrub', '--url', solo!.url, '--insecure');
      return code === 0;
    });
    await eventually('the alerts to be cleared', async () => (await solo!.activeAlerts(damageCode)).length === 0);
  });

  it('a scrub goes on after a restart of the data plane, is shown as a job, and can be stopped', async () => {
    solo = new Solo();
    await solo.start();
    await solo.client.create('volume', { name: 'slow', size: 64 * MiB });
    const device = await solo.device('slow');
    // A quarter of a minute of it: what is looked at while it runs does not come too late.
    for (let at = 0; at < 64 * MiB; at += MiB) await device.write(at, new Uint8Array(MiB).fill(1 + at / MiB));
    await device.flush();
    await device.close();
    const begin = await solo.client.request('POST', '/api/antipode/v1/scrub', { rate_bytes_per_s: 4 * MiB });
    const { id, job_id } = begin.body as { id: string; job_id: string };
    const status = async () =>
      (await solo!.client.request('GET', '/api/antipode/v1/scrub')).body as {
        id: string;
        state: string;
        verified_bytes: number;
      };
    await eventually('some of it to be verified', async () => (await status()).verified_bytes >= 2 * MiB);
    expect((await solo.client.get('job', job_id)).state).toBe('IN_PROGRESS');
    solo.kill('dataplane');
    await eventually('the scrub to go on', async () => {
      const now = await status();
      return now.id === id && now.state === 'running' && now.verified_bytes >= 3 * MiB;
    });
    expect(await solo.command('scrub', '--url', solo.url, '--insecure', '--stop')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/stopped/),
    });
    await eventually('the job to end', async () => (await solo!.client.get('job', job_id)).state === 'COMPLETED');
    const refused = await solo.client.request('POST', '/api/antipode/v1/scrub', { rate_bytes_per_s: 1 }).catch(String);
    expect(refused).toMatch(/rate_bytes_per_s/);
  });
});
