import { RestError } from '@antipode/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RemoteSystemDocument } from '../catalog/documents.ts';
import { type ServiceFixture, serviceFixture } from './testing/service-fixture.ts';

let site: ServiceFixture;
beforeEach(async () => {
  site = await serviceFixture();
  for (const id of ['r1', 'r2'])
    site.catalog.put('remote_system', { id, name: id, serial_number: id } as RemoteSystemDocument);
});
afterEach(() => site.close());

const rule = (name: string, more: Record<string, unknown> = {}) =>
  site.made('replication_rule.create', '', { name, rpo: 'Five_Minutes', remote_system_id: 'r1', ...more });
const snapshotRule = (name: string, more: Record<string, unknown> = {}) =>
  site.made('snapshot_rule.create', '', { name, interval: 'One_Hour', desired_retention: 24, ...more });
const policy = (name: string, replication: readonly string[], snapshots: readonly string[] = []) =>
  site.made('policy.create', '', { name, replication_rule_ids: replication, snapshot_rule_ids: snapshots });
const create = (name: string, more: Record<string, unknown> = {}) =>
  site.made('volume.create', '', { name, size: 1_048_576, ...more });

describe('clones of policies and rules', () => {
  it('are the user’s own, with new names, and assigned to nothing', async () => {
    const [first, second] = [await rule('a'), await snapshotRule('s')];
    const id = await policy('p', [first], [second]);
    await create('v', { protection_policy_id: id });
    site.catalog.change('policy', id, { is_replica: true, managed_by: 'Replication' });
    const clone = await site.made('policy.clone', id, { name: 'q' });
    expect(site.catalog.get('policy', clone)).toMatchObject({
      name: 'q',
      is_replica: false,
      managed_by: 'User',
      replication_rule_ids: [first],
      snapshot_rule_ids: [second],
    });
    expect(site.catalog.list('volume', 'protection_policy_id', clone)).toEqual([]);
    const other = await site.made('replication_rule.clone', first, { name: 'b' });
    expect(site.catalog.get('replication_rule', other)).toMatchObject({ name: 'b', rpo: 'Five_Minutes' });
    expect(await site.refusal('snapshot_rule.clone', second, { name: 's' })).toContain('s is in use');
    expect(await site.refusal('policy.clone', 'none', { name: 'z' })).toContain('none');
  });
});

describe('replication rules', () => {
  it('wait one RPO before they complain, unless told otherwise', async () => {
    const id = await rule('a', { rpo: 'One_Hour' });
    expect(site.catalog.get('replication_rule', id)).toMatchObject({ alert_threshold: 60, managed_by: 'User' });
    const other = await rule('b', { alert_threshold: 0 });
    expect(site.catalog.get('replication_rule', other)?.alert_threshold).toBe(0);
  });

  it.each([
    ['a target that is not there', { remote_system_id: 'r9' }, 'r9'],
    ['an RPO of zero', { rpo: 'Zero' }, 'Zero'],
    ['a name in use', { name: 'a' }, 'The rule name a is in use'],
  ])('are refused with %s', async (_, body, message) => {
    await rule('a');
    const given = { name: 'b', rpo: 'One_Hour', remote_system_id: 'r1', ...body };
    expect(await site.refusal('replication_rule.create', '', given)).toContain(message);
    expect(site.catalog.count('replication_rule')).toBe(1);
  });

  it('in use may change their RPO, not their target, and are not deleted', async () => {
    const id = await rule('a');
    await create('v', { protection_policy_id: await policy('p', [id]) });
    await site.ask('replication_rule.modify', id, { rpo: 'One_Day' });
    expect(site.hooks.asked).toEqual(['protect v p', 'rule changed']);
    const before = site.catalog.get('replication_rule', id);
    expect(await site.refusal('replication_rule.modify', id, { remote_system_id: 'r2' })).not.toBe('done');
    expect(await site.refusal('replication_rule.delete', id)).toContain('is in a policy that is assigned');
    expect(site.catalog.get('replication_rule', id)).toEqual(before);
  });

  it('that nothing uses leave their policies when they go', async () => {
    const id = await rule('a');
    const p = await policy('p', [id], [await snapshotRule('s')]);
    await site.ask('replication_rule.modify', id, { remote_system_id: 'r2' });
    await site.ask('replication_rule.delete', id);
    expect(site.catalog.get('policy', p)?.replication_rule_ids).toEqual([]);
  });
});

describe('snapshot rules', () => {
  it('have an interval or a time of day, one of them', async () => {
    const given = { name: 'x', desired_retention: 1 };
    const refused = await site.refusal('snapshot_rule.create', '', given);
    expect(refused).not.toBe('done');
    for (const body of [
      { interval: 'One_Hour', time_of_day: '12:00' },
      { interval: 'One_Hour', timezone: 'UTC' },
    ])
      expect(await site.refusal('snapshot_rule.create', '', { ...given, ...body })).toBe(refused);
    const id = await snapshotRule('s');
    await site.ask('snapshot_rule.modify', id, { time_of_day: '12:00' });
    expect(site.catalog.get('snapshot_rule', id)).toMatchObject({ interval: null, time_of_day: '12:00' });
    expect(await site.refusal('snapshot_rule.modify', id, { interval: 'One_Day', time_of_day: '1:00' })).toBe(refused);
  });
});

describe('policies', () => {
  it('have at least one rule, one for replication and four for snapshots at most', async () => {
    expect(await site.refusal('policy.create', '', { name: 'p' })).toContain('at least one rule');
    const rules = [await rule('a'), await rule('b')];
    expect(await site.refusal('policy.create', '', { name: 'p', replication_rule_ids: rules })).not.toBe('done');
    const five = await Promise.all(['1', '2', '3', '4', '5'].map((name) => snapshotRule(name)));
    expect(await site.refusal('policy.create', '', { name: 'p', snapshot_rule_ids: five })).not.toBe('done');
    const id = await policy('p', rules.slice(1), five.slice(1));
    expect(await site.refusal('policy.modify', id, { add_snapshot_rule_ids: five.slice(0, 1) })).not.toBe('done');
    expect(await site.refusal('policy.modify', id, { replication_rule_ids: [], snapshot_rule_ids: [] })).toContain(
      'at least one rule',
    );
    expect(await site.refusal('policy.modify', id, { add_replication_rule_ids: ['gone'] })).toContain('gone');
    expect(await site.refusal('policy.modify', id, { remove_replication_rule_ids: rules.slice(0, 1) })).not.toBe(
      'done',
    );
    expect(site.catalog.get('policy', id)?.snapshot_rule_ids).toHaveLength(4);
  });

  it('bring a session with a replication rule, and take it along', async () => {
    const p = await policy('p', [await rule('a')]);
    const v = await create('v', { protection_policy_id: p });
    expect(site.volume(v).protection_policy_id).toBe(p);
    expect(await site.refusal('policy.delete', p)).toContain('is assigned to volume v');
    expect(await site.refusal('policy.modify', p, { add_replication_rule_ids: [await rule('b')] })).not.toBe('done');
    const s = await snapshotRule('s');
    const [first] = site.catalog.get('policy', p)?.replication_rule_ids ?? [];
    await site.ask('policy.modify', p, { add_snapshot_rule_ids: [s], remove_replication_rule_ids: [first] });
    await site.ask('volume.modify', v, { protection_policy_id: '' });
    await site.ask('policy.delete', p);
    expect(site.hooks.asked).toEqual(['protect v p', 'unprotect']);
    expect(site.volume(v).protection_policy_id).toBeNull();
  });

  it('that replication refuses are not assigned, and a volume made for them is not there', async () => {
    const p = await policy('p', [await rule('a')]);
    const v = await create('v');
    site.hooks.refusal = new RestError('remote_unreachable', 'r1', 'the link is down');
    expect(await site.refusal('volume.modify', v, { protection_policy_id: p, size: 2_097_152 })).toContain(
      'link is down',
    );
    expect(site.volume(v)).toMatchObject({ protection_policy_id: null, size: 1_048_576 });
    const given = { name: 'w', size: 1_048_576, protection_policy_id: p };
    expect(await site.refusal('volume.create', '', given)).toContain('link is down');
    expect(await site.refusal('volume.clone', v, { name: 'w', protection_policy_id: p })).toContain('link is down');
    expect(site.catalog.list('volume').map(({ name }) => name)).toEqual(['v']);
    expect(site.engine.volumes().map(({ name }) => name)).toEqual(['v']);
  });

  it('a change that is refused for its name touches no session', async () => {
    const id = await rule('a');
    await policy('taken', [id]);
    const p = await policy('p', [id]);
    await create('v', { protection_policy_id: p });
    const body = { name: 'taken', replication_rule_ids: [await rule('b')] };
    expect(await site.refusal('policy.modify', p, body)).toContain('The policy name taken is in use');
    expect(site.hooks.asked).toEqual(['protect v p']);
    expect(site.catalog.get('policy', p)).toMatchObject({ name: 'p', replication_rule_ids: [id] });
  });

  it('of another site are not changed here [C7.2]', async () => {
    const id = await rule('a');
    const p = await policy('p', [id]);
    site.catalog.change('policy', p, { is_replica: true, managed_by: 'Replication', managed_by_id: 'r1' });
    site.catalog.change('replication_rule', id, { is_replica: true, managed_by: 'Replication', managed_by_id: 'r1' });
    expect(await site.refusal('policy.modify', p, { name: 'q' })).toContain('managed by Replication');
    expect(await site.refusal('replication_rule.modify', id, { name: 'q' })).toContain('managed by Replication');
    expect(await site.refusal('volume.create', '', { name: 'v', size: 1_048_576, protection_policy_id: p })).not.toBe(
      'done',
    );
    expect(site.catalog.count('volume')).toBe(0);
  });
});
