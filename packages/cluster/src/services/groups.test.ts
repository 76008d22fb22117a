import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rebuildCatalog } from '../management/rebuild-catalog.ts';
import { type ServiceFixture, serviceFixture } from './testing/service-fixture.ts';

const MiB = 1_048_576;
let site: ServiceFixture;
beforeEach(async () => {
  site = await serviceFixture();
});
afterEach(() => site.close());

const volume = (name: string, more: Record<string, unknown> = {}) =>
  site.made('volume.create', '', { name, size: MiB, ...more });
const group = (name: string, volumes: readonly string[] = [], more: Record<string, unknown> = {}) =>
  site.made('volume_group.create', '', { name, volume_ids: volumes, ...more });
const shown = (id: string) => site.catalog.get('volume_group', id);
const members = (id: string) => site.catalog.list('volume', 'group_id', id).map(({ name }) => name);
const policy = (name = 'p') => {
  const own = { managed_by: 'User', managed_by_id: null, is_read_only: false, is_replica: false } as const;
  site.catalog.put('replication_rule', {
    ...own,
    id: `${name}-rule`,
    name: `${name}-rule`,
    rpo: 'One_Hour',
    remote_system_id: 'r',
    alert_threshold: 60,
  });
  site.catalog.put('policy', {
    ...own,
    id: name,
    name,
    description: null,
    type: 'Protection',
    snapshot_rule_ids: [],
    replication_rule_ids: [`${name}-rule`],
  });
  return name;
};
const soon = (ms: number) => new Date(Date.now() + ms).toISOString();

describe('groups', () => {
  it('have members, each in one group at most, and a name without regard to case (5.2)', async () => {
    const [a, b] = [await volume('a'), await volume('b')];
    const id = await group('Payroll', [a], { description: 'wages' });
    expect(shown(id)).toMatchObject({
      name: 'Payroll',
      type: 'Primary',
      description: 'wages',
      is_protectable: true,
      is_write_order_consistent: true,
      protection_policy_id: null,
      protection_data: { family_id: id, parent_id: null, creator_type: 'User' },
    });
    expect(await site.refusal('volume_group.create', '', { name: 'PAYROLL' })).toContain('PAYROLL is in use');
    expect(await site.refusal('volume_group.create', '', { name: 'other', volume_ids: [b, a] })).toContain('Payroll');
    expect(members(id)).toEqual(['a']);
    const empty = await group('empty');
    expect(shown(empty)).toMatchObject({ is_protectable: false });
    expect(await site.refusal('volume_group.snapshot', empty, { name: 's' })).toContain('no members');
    await site.ask('volume_group.add_members', empty, { volume_ids: [b] });
    expect(shown(empty)?.is_protectable).toBe(true);
    expect(await site.refusal('volume_group.add_members', empty, { volume_ids: [a] })).toContain('Payroll');
    expect(await site.refusal('volume_group.remove_members', empty, { volume_ids: [b, a] })).toContain('not in');
    await site.ask('volume_group.remove_members', empty, { volume_ids: [b] });
    expect([shown(empty)?.is_protectable, members(empty)]).toEqual([false, []]);
    expect(site.catalog.list('volume_group').map(({ name }) => name)).toEqual(['Payroll', 'empty']);
  });

  it('take volumes as they are made; one that cannot be made leaves nothing', async () => {
    const id = await group('g');
    const a = await volume('a', { volume_group_id: id });
    expect(members(id)).toEqual(['a']);
    site.hooks.refusal = new Error('the name is in use there');
    expect(await site.refusal('volume.create', '', { name: 'b', size: MiB, volume_group_id: id })).toContain('there');
    site.hooks.refusal = undefined;
    expect(await site.refusal('volume.create', '', { name: 'b', size: MiB, volume_group_id: 'x' })).toContain('x');
    expect([members(id), site.catalog.count('volume')]).toEqual([['a'], 1]);
    expect(await site.refusal('volume.delete', a)).toContain('in volume group g');
    await site.ask('volume_group.remove_members', id, { volume_ids: [a] });
    await site.ask('volume.delete', a);
  });

  it('carry the policy, or their members do, never both', async () => {
    const [a, b] = [await volume('a'), await volume('b', { protection_policy_id: policy() })];
    const id = await group('g', [a]);
    await site.ask('volume_group.modify', id, { protection_policy_id: 'p' });
    expect(site.hooks.asked).toContain('protect g p');
    expect(await site.refusal('volume.modify', a, { protection_policy_id: 'p' })).toContain('not on both');
    expect(await site.refusal('volume_group.add_members', id, { volume_ids: [b] })).toContain('not on both');
    expect(await site.refusal('volume_group.delete', id)).toContain('has a protection policy');
    expect(await site.refusal('policy.delete', 'p')).toMatch(/volume b|volume group g/);
    await site.ask('volume_group.modify', id, { protection_policy_id: null });
    await site.ask('volume_group.add_members', id, { volume_ids: [b] });
    expect(await site.refusal('volume_group.modify', id, { protection_policy_id: 'p' })).toContain('not on both');
  });

  it('go alone, or with their members; their sets go with them', async () => {
    const [a, b] = [await volume('a'), await volume('b')];
    const id = await group('g', [a, b]);
    await site.ask('volume_group.snapshot', id, { name: 's' });
    await site.ask('volume_group.remove_members', id, { volume_ids: [b] });
    expect(await site.refusal('volume.delete', b)).toContain('snapshot in the set s');
    await site.ask('volume_group.delete', id, {});
    expect(site.catalog.list('volume').map(({ name }) => name)).toEqual(['a', 'b']);
    expect(site.engine.points()).toEqual([]);
    const again = await group('g', [a]);
    await site.ask('volume_group.snapshot', again, { name: 's' });
    await site.ask('volume_group.delete', again, { delete_members: true });
    expect([site.catalog.list('volume').map(({ name }) => name), site.catalog.count('volume_group')]).toEqual([
      ['b'],
      0,
    ]);
    expect(site.engine.volumes()).toHaveLength(1);
  });

  it('that are destinations refuse what the source decides', async () => {
    const a = await volume('a');
    const b = await volume('b');
    const id = await group('g', [a]);
    site.catalog.change('volume_group', id, { is_replication_destination: true });
    for (const [operation, body] of [
      ['add_members', { volume_ids: [b] }],
      ['remove_members', { volume_ids: [a] }],
      ['snapshot', { name: 's' }],
      ['clone', { name: 'c' }],
      ['refresh', { from_object_id: id }],
      ['modify', { name: 'h' }],
      ['modify', { protection_policy_id: policy() }],
    ] as const)
      expect(await site.refusal(`volume_group.${operation}`, id, body), operation).toContain('replication destination');
  });
});

describe('snapshot sets', () => {
  it('freeze all members at one instant, under one point, and name members set.volume [C9.3]', async () => {
    const [a, b] = [await volume('a'), await volume('b')];
    const id = await group('g', [a, b]);
    await site.write(a, 0, 1);
    const set = await site.made('volume_group.snapshot', id, { name: 's', expiration_timestamp: soon(60_000) });
    expect(shown(set)).toMatchObject({ type: 'Snapshot', protection_data: { parent_id: id, source_id: id } });
    expect(members(set)).toEqual(['s.a', 's.b']);
    const shots = site.catalog.list('volume', 'group_id', set);
    expect(new Set(shots.map(({ protection_data }) => protection_data.copy_signature)).size).toBe(1);
    expect(shots.map(({ protection_data }) => protection_data.parent_id)).toEqual([a, b]);
    expect(site.engine.points()).toHaveLength(1);
    expect(site.engine.points()[0]!.members).toHaveLength(2);
    expect(await site.refusal('volume.delete', shots[0]!.id)).toContain('in volume group s');
    expect(await site.refusal('volume_group.add_members', set, { volume_ids: [a] })).toContain('never change');
    expect(await site.refusal('volume_group.snapshot', id, { name: 'S' })).toContain('in use');
    expect(site.catalog.count('volume_group')).toBe(2);
    await site.ask('volume_group.modify', set, { name: 't', expiration_timestamp: null });
    expect([members(set), shown(set)?.protection_data.expiration_timestamp]).toEqual([['t.a', 't.b'], null]);
    expect(site.engine.points()[0]!.tag).toMatchObject({ name: 't', group: 'g' });
    await site.ask('volume_group.delete', set);
    expect([site.engine.points(), site.catalog.count('volume'), site.catalog.count('volume_group')]).toEqual([
      [],
      2,
      1,
    ]);
  });

  it('expire as a whole, and secure ones not before', async () => {
    const a = await volume('a');
    const id = await group('g', [a]);
    await site.made('volume_group.snapshot', id, { name: 's', expiration_timestamp: soon(20), is_secure: true });
    const set = await site.made('volume_group.snapshot', id, {
      name: 't',
      expiration_timestamp: soon(3_600_000),
      is_secure: true,
    });
    expect(await site.refusal('volume_group.delete', set)).toContain('secure');
    expect(await site.refusal('volume_group.delete', id)).toContain('secure');
    await expect.poll(() => site.snapshots.expire()).toBe(1);
    expect(await site.snapshots.expire()).toBe(0);
    expect(site.catalog.list('volume_group').map(({ name }) => name)).toEqual(['g', 't']);
    expect(site.engine.points()).toHaveLength(1);
  });

  it('restore all members, with a backup set, only where members are the same', async () => {
    const [a, b] = [await volume('a'), await volume('b')];
    const id = await group('g', [a, b]);
    await site.write(a, 0, 1);
    await site.write(b, 0, 2);
    const set = await site.made('volume_group.snapshot', id, { name: 's' });
    await site.write(a, 0, 3);
    await site.write(b, 0, 4);
    await site.ask('volume.modify', a, { size: 2 * MiB });
    const { backup_snapshot_id } = await site.ask('volume_group.restore', id, { from_snap_id: set });
    expect([await site.read(a, 0), await site.read(b, 0)]).toEqual([1, 2]);
    expect(site.volume(a).size).toBe(MiB);
    expect(shown(id)?.protection_data.source_id).toBe(set);
    await site.ask('volume_group.restore', id, { from_snap_id: backup_snapshot_id, create_backup_snap: false });
    expect([await site.read(a, 0), await site.read(b, 0)]).toEqual([3, 4]);
    await site.ask('volume_group.remove_members', id, { volume_ids: [b] });
    expect(await site.refusal('volume_group.restore', id, { from_snap_id: set })).toContain('members');
    expect(site.catalog.list('volume_group', 'type', 'Snapshot')).toHaveLength(2);
  });

  it('clone to a group of clones named clone.member; refresh goes both ways', async () => {
    const [a, b] = [await volume('a'), await volume('b')];
    const id = await group('g', [a, b]);
    await site.write(a, 0, 1);
    const set = await site.made('volume_group.snapshot', id, { name: 's' });
    await site.write(a, 0, 2);
    const copy = await site.made('volume_group.clone', set, { name: 'c' });
    expect(members(copy)).toEqual(['c.s.a', 'c.s.b']);
    expect(shown(copy)).toMatchObject({ type: 'Clone', protection_data: { source_id: id, parent_id: set } });
    const [first] = site.catalog.list('volume', 'group_id', copy);
    expect(await site.read(first!.id, 0)).toBe(1);
    expect(members(await site.made('volume_group.clone', id, { name: 'd' }))).toEqual(['d.a', 'd.b']);
    await site.ask('volume_group.refresh', copy, { from_object_id: id, create_backup_snap: false });
    expect(await site.read(first!.id, 0)).toBe(2);
    await site.ask('volume_group.refresh', copy, { from_object_id: set, create_backup_snap: false });
    expect(await site.read(first!.id, 0)).toBe(1);
    expect(shown(copy)?.protection_data).toMatchObject({
      source_id: set,
      source_timestamp: shown(set)?.protection_data.source_timestamp,
    });
    await site.ask('volume_group.remove_members', id, { volume_ids: [b] });
    expect(await site.refusal('volume_group.refresh', copy, { from_object_id: id })).toContain('members');
  });
});

describe('a lost catalog', () => {
  it('is rebuilt with its groups, their members and their sets [C7.1]', async () => {
    const [a, b, c] = [await volume('a'), await volume('b'), await volume('c')];
    const id = await group('g', [a, b, c]);
    await site.ask('volume_group.remove_members', id, { volume_ids: [c] });
    await site.ask('volume_group.modify', id, { name: 'h' });
    await site.made('volume_group.snapshot', id, { name: 's', description: 'kept' });
    for (const table of ['volume', 'volume_group'] as const)
      for (const { id: gone } of site.catalog.list(table)) site.catalog.remove(table, gone);
    await rebuildCatalog(site.storage, async () => undefined);
    await site.volumes.recover();
    expect([shown(id)?.name, members(id), shown(id)?.is_protectable]).toEqual(['h', ['a', 'b'], true]);
    const set = site.catalog.list('volume_group', 'type', 'Snapshot')[0];
    expect(set).toMatchObject({ name: 's', description: 'kept', protection_data: { parent_id: id } });
    expect(members(set!.id)).toEqual(['s.a', 's.b']);
  });
});

describe('a kill in the middle, and the start after it', () => {
  it.each(['before', 'after'] as const)(
    '%s the freeze of a set: it is whole or it is not there [C7.3]',
    async (when) => {
      const [a, b] = [await volume('a'), await volume('b')];
      const id = await group('g', [a, b]);
      await site.killed('freeze', when, 'volume_group.snapshot', id, { name: 's' });
      await site.volumes.recover();
      const sets = site.catalog.list('volume_group', 'type', 'Snapshot');
      expect(sets).toHaveLength(when === 'after' ? 1 : 0);
      for (const set of sets) expect(members(set.id)).toEqual(['s.a', 's.b']);
      expect(site.engine.points()).toHaveLength(sets.length);
      expect(site.catalog.list('volume').every(({ state }) => state === 'Ready')).toBe(true);
    },
  );

  it.each(['before', 'after'] as const)(
    '%s a group’s restore: no member without the others, and all of them in the end',
    async (when) => {
      const [a, b] = [await volume('a'), await volume('b')];
      const id = await group('g', [a, b]);
      for (const one of [a, b]) await site.write(one, 0, 1);
      const set = await site.made('volume_group.snapshot', id, { name: 's' });
      for (const one of [a, b]) await site.write(one, 0, 2);
      await site.killed('restore', when, 'volume_group.restore', id, { from_snap_id: set, create_backup_snap: false });
      const found = when === 'before' ? 2 : 1;
      expect([await site.read(a, 0), await site.read(b, 0)]).toEqual([found, found]);
      await site.volumes.recover();
      expect([await site.read(a, 0), await site.read(b, 0)]).toEqual([1, 1]);
      expect(site.catalog.list('intent')).toEqual([]);
    },
  );

  it.each(['before', 'after'] as const)('%s a fork of a group’s clone: the clone is whole', async (when) => {
    const [a, b] = [await volume('a'), await volume('b')];
    const id = await group('g', [a, b]);
    await site.killed('fork', when, 'volume_group.clone', id, { name: 'c' });
    await site.volumes.recover();
    const copy = site.catalog.list('volume_group', 'type', 'Clone')[0];
    expect([copy?.is_protectable, members(copy!.id)]).toEqual([true, ['c.a', 'c.b']]);
    expect(site.engine.points()).toEqual([]);
  });

  it('before the image of a clone is frozen: nothing is left of it', async () => {
    const id = await group('g', [await volume('a')]);
    await site.killed('freeze', 'before', 'volume_group.clone', id, { name: 'c' });
    await site.volumes.recover();
    expect([site.catalog.count('volume_group'), site.catalog.count('volume')]).toEqual([1, 1]);
  });
});
