import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataPlaneAway } from '../local/client.ts';
import { type ServiceFixture, serviceFixture } from './testing/service-fixture.ts';

const GiB = 1024 ** 3;
let site: ServiceFixture;
beforeEach(async () => {
  site = await serviceFixture();
});
afterEach(() => site.close());

const rule = (name: string, more: Record<string, unknown>) =>
  site.made('io_limit_rule.create', '', { name, type: 'Absolute', ...more });
const policy = (name: string, io_limit_rule_id: string) => site.made('policy.create', '', { name, io_limit_rule_id });
const volume = (name: string, more: Record<string, unknown> = {}) =>
  site.made('volume.create', '', { name, size: GiB, ...more });

describe('I/O limits', () => {
  it('hold a volume from the answer on, and follow rule, policy, size and assignment', async () => {
    const first = await rule('r', { max_iops: 100, max_bw: 2_000, burst_percentage: 20 });
    const id = await policy('p', first);
    const v = await volume('v', { qos_performance_policy_id: id });
    const limit = { id: `volume ${v}`, volumes: [v] };
    expect(site.limits).toEqual([
      { ...limit, rate: { operations_per_s: 100, bytes_per_s: 2_000 * 1024, burst_percentage: 20 } },
    ]);
    await site.ask('io_limit_rule.modify', first, { max_bw: null, max_iops: 50 });
    expect(site.limits).toEqual([{ ...limit, rate: { operations_per_s: 50, burst_percentage: 20 } }]);
    const dense = await rule('d', { type: 'Density', max_iops: 10 });
    await site.ask('policy.modify', id, { io_limit_rule_id: dense });
    expect(site.limits[0]?.rate).toEqual({ operations_per_s: 10, burst_percentage: 0 });
    await site.ask('volume.modify', v, { size: 3 * GiB });
    expect(site.limits[0]?.rate).toEqual({ operations_per_s: 30, burst_percentage: 0 });
    await site.ask('volume.modify', v, { qos_performance_policy_id: '' });
    expect(site.limits).toEqual([]);
    expect(site.volume(v).qos_performance_policy_id).toBeNull();
  });

  it('of a group are shared by its members, as they come and go; clones have their own', async () => {
    const id = await policy('p', await rule('r', { type: 'Density', max_bw: 4_000 }));
    const [a, b] = [await volume('a'), await volume('b')];
    const group = await site.made('volume_group.create', '', {
      name: 'g',
      volume_ids: [a],
      qos_performance_policy_id: id,
    });
    expect(site.limits).toMatchObject([{ id: `group ${group}`, volumes: [a], rate: { bytes_per_s: 4_000 * 1024 } }]);
    await site.ask('volume_group.add_members', group, { volume_ids: [b] });
    expect(site.limits).toMatchObject([{ volumes: [a, b], rate: { bytes_per_s: 8_000 * 1024 } }]);
    await site.made('volume_group.clone', group, { name: 'plain' });
    expect(site.limits).toHaveLength(1);
    await site.made('volume_group.clone', group, { name: 'held', qos_performance_policy_id: id });
    expect(site.limits).toHaveLength(2);
    await site.ask('volume_group.modify', group, { qos_performance_policy_id: null });
    expect(site.limits).toHaveLength(1);
    await site.made('volume.clone', a, { name: 'c', qos_performance_policy_id: id });
    expect(site.limits).toHaveLength(2);
  });

  it('are told to a data plane that was away', async () => {
    const id = await policy('p', await rule('r', { max_iops: 1 }));
    site.failAt('setLimits', new DataPlaneAway('restarting'));
    await volume('v', { qos_performance_policy_id: id });
    expect(site.limits).toEqual([]);
    site.failAt('setLimits', undefined);
    await volume('w');
    expect(site.limits).toHaveLength(1);
  });

  it('say what cannot be', async () => {
    const first = await rule('r', { max_iops: 1 });
    const id = await policy('p', first);
    const snapshots = await site.made('snapshot_rule.create', '', {
      name: 's',
      interval: 'One_Hour',
      desired_retention: 1,
    });
    const protecting = await site.made('policy.create', '', { name: 'q', snapshot_rule_ids: [snapshots] });
    const v = await volume('v');
    expect(await site.refusal('io_limit_rule.create', '', { name: 'R', type: 'Absolute', max_iops: 1 })).toContain(
      'in use',
    );
    expect(await site.refusal('io_limit_rule.create', '', { name: 'n', type: 'Absolute' })).toContain('has a limit');
    expect(await site.refusal('io_limit_rule.modify', first, { max_iops: null })).toContain('has a limit');
    expect(await site.refusal('io_limit_rule.delete', first)).toContain('in policy p');
    expect(await site.refusal('volume.modify', v, { qos_performance_policy_id: protecting })).toContain(
      'type Protection',
    );
    expect(await site.refusal('volume.modify', v, { protection_policy_id: id })).toContain('type QoS');
    expect(await site.refusal('volume.modify', v, { performance_policy_id: 'default_high' })).toContain('default_high');
    expect(await site.refusal('volume.modify', v, { performance_policy_id: 'default_medium' })).toBe('done');
    expect(await site.refusal('policy.modify', id, { snapshot_rule_ids: [snapshots] })).toContain('one kind');
    expect(await site.refusal('policy.modify', protecting, { io_limit_rule_id: first })).toContain('one kind');
    expect(await site.refusal('policy.modify', id, { io_limit_rule_id: null })).toContain('at least one rule');
    const mixed = { name: 'm', io_limit_rule_id: first, snapshot_rule_ids: [snapshots] };
    expect(await site.refusal('policy.create', '', mixed)).toContain('one kind');
    expect(await site.refusal('policy.create', '', { name: 'm', io_limit_rule_id: 'x' })).toContain('x');
    const snapshot = await site.made('volume.snapshot', v, { name: 'snap' });
    expect(await site.refusal('volume.modify', snapshot, { qos_performance_policy_id: id })).toContain(
      'takes no policy',
    );
    await site.ask('volume.modify', v, { qos_performance_policy_id: id });
    expect(await site.refusal('policy.delete', id)).toContain('volume v');
    await site.ask('volume.delete', v);
    await site.ask('policy.delete', id);
    await site.ask('io_limit_rule.delete', first);
  });
});
