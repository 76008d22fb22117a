import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise } from './pair.ts';
import { Solo } from './solo.ts';

describe('limits on what hosts do', () => {
  const solo = new Solo();
  beforeAll(() => solo.start());
  afterAll(() => solo.remove());
  const client = () => solo.client;

  async function limited(name: string, rule: Record<string, unknown>): Promise<string> {
    const id = await client().create('io_limit_rule', { name, type: 'Absolute', ...rule });
    return client().create('policy', { name, io_limit_rule_id: id });
  }
  /** Writes of 64 KiB, 32 under way at once; resolves with how long it took, and with the first of them, ms. */
  async function write(name: string, count: number): Promise<number> {
    const device = await solo.device(name);
    const data = noise(64 * 1024, 7);
    const begun = performance.now();
    let next = 0;
    const lane = async () => {
      while (next < count) await device.write((next++ % 64) * data.length, data);
    };
    await Promise.all(Array.from({ length: 32 }, lane));
    const took = performance.now() - begun;
    await device.close();
    return took;
  }

  it('a rule in a policy on a volume slows its hosts, another rule acts at once, and none does no more', async () => {
    const policy = await limited('ten-MiB', { max_bw: 10 * 1024 });
    const volume = await client().create('volume', { name: 'v', size: 64 * MiB, qos_performance_policy_id: policy });
    // 16 MiB at 10 MiB/s; less only by what may be saved, and never faster however fast the machine is.
    expect(await write('v', 256)).toBeGreaterThan(1_300);
    const rows = await client().all('policy', {
      select: ['type', 'io_limit_rule(max_bw)', 'qos_volumes(name)'],
      filter: { id: `eq.${policy}` },
    });
    expect(rows).toMatchObject([{ type: 'QoS', io_limit_rule: { max_bw: 10 * 1024 }, qos_volumes: [{ name: 'v' }] }]);

    // At one operation a second this would take four minutes; the limit goes while the requests wait.
    const slow = await limited('one-a-second', { max_iops: 1 });
    await client().modify('volume', volume, { qos_performance_policy_id: slow });
    const under = write('v', 256);
    const flushed = await solo.device('v');
    await flushed.flush();
    await flushed.close();
    await client().modify('volume', volume, { qos_performance_policy_id: null });
    await under;
  });

  it('members of a group share its limit, also after the data plane was killed while management was away', async () => {
    const policy = await limited('shared', { max_bw: 16 * 1024 });
    const members = await Promise.all(['m1', 'm2'].map((name) => client().create('volume', { name, size: 64 * MiB })));
    await client().create('volume_group', { name: 'g', volume_ids: members, qos_performance_policy_id: policy });
    const both = async () => Math.max(...(await Promise.all([write('m1', 192), write('m2', 192)])));
    // 24 MiB at 16 MiB/s.
    expect(await both()).toBeGreaterThan(1_200);
    // Management stands still and says nothing: what the data plane was told last holds from the first request on.
    const still = solo.processOf('management');
    process.kill(still, 'SIGSTOP');
    try {
      solo.kill('dataplane');
      await eventually('the data plane', async () => {
        const device = await solo.device('m1').catch(() => undefined);
        await device?.close();
        return device !== undefined;
      });
      expect(await both()).toBeGreaterThan(1_200);
    } finally {
      process.kill(still, 'SIGCONT');
    }
  });
});
