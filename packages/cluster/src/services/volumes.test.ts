import { pointId, volumeId } from '@antipode/base';
import { BlockError } from '@antipode/blocks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SessionDocument } from '../catalog/documents.ts';
import { checkCatalog } from '../management/check-catalog.ts';
import { rebuildCatalog } from '../management/rebuild-catalog.ts';
import { type ServiceFixture, serviceFixture } from './testing/service-fixture.ts';

const MiB = 1_048_576;
let site: ServiceFixture;
beforeEach(async () => {
  site = await serviceFixture();
});
afterEach(() => site.close());

const create = (name: string, more: Record<string, unknown> = {}) =>
  site.made('volume.create', '', { name, size: MiB, ...more });
const snap = (id: string, name: string, more: Record<string, unknown> = {}) =>
  site.made('volume.snapshot', id, { name, ...more });
const later = () => new Date(Date.now() + 3_600_000).toISOString();
const names = () =>
  site.catalog
    .list('volume')
    .map(({ name }) => name)
    .sort();
/** The catalog and the engine know the same volumes and the same snapshots, all of them ready. */
function agree(): void {
  const volumes = site.catalog.list('volume');
  expect(volumes.filter(({ state }) => state !== 'Ready')).toEqual([]);
  const heads = volumes.filter(({ type }) => type !== 'Snapshot');
  expect(heads.map(({ id, name, size }) => [id, name, size]).sort()).toEqual(
    site.engine
      .volumes()
      .map(({ id, name, size }) => [id as string, name, size])
      .sort(),
  );
  const points = site.engine.points().filter(({ dropped }) => !dropped);
  const kept = volumes
    .filter(({ type }) => type === 'Snapshot')
    .map(({ id }) => site.catalog.private<{ point: string }>('volume', id)?.point);
  expect(points.map(({ id }) => id as string).sort()).toEqual(kept.sort());
}
const session = (change: Partial<SessionDocument>) =>
  ({ role: 'Source', state: 'OK', data_transfer_state: 'Asynchronous', ...change }) as SessionDocument;

describe('volumes', () => {
  it('are made in the catalog and in the engine, with names of their own for hosts', async () => {
    const id = await create('a', { description: 'first' });
    const volume = site.volume(id);
    expect(volume).toMatchObject({ name: 'a', description: 'first', type: 'Primary', state: 'Ready', size: MiB });
    expect(volume.protection_data).toMatchObject({ family_id: id, parent_id: null, creator_type: 'User' });
    expect(volume.wwn).toMatch(/^naa\.68ccf098[0-9a-f]{24}$/);
    expect(volume.nguid).toMatch(/^nguid\.[0-9a-f]{32}$/);
    agree();
  });

  it.each([
    ['a size that is not a multiple of 8192', { size: MiB + 4096 }, 'not a multiple of 8192'],
    ['a name in use', { name: 'a' }, 'The name a is in use'],
    ['a policy that is not there', { protection_policy_id: 'p' }, 'p'],
    ['a host that is not there', { host_id: 'h' }, 'h'],
    ['an appliance that is not there', { appliance_id: 'A9' }, 'A9'],
  ])('are refused with %s, and nothing is left', async (_, body, message) => {
    await create('a');
    expect(await site.refusal('volume.create', '', { name: 'b', size: MiB, ...body })).toContain(message);
    expect(names()).toEqual(['a']);
    agree();
  });

  it('that the engine refuses leave nothing, and their name is free', async () => {
    site.failAt('createVolume', new BlockError('no_space', 'full'));
    expect(await site.refusal('volume.create', '', { name: 'a', size: MiB })).toBe('full');
    site.failAt('createVolume', undefined);
    await create('a');
    agree();
  });

  it('grow, keep their bytes, and never shrink', async () => {
    const id = await create('a');
    await site.write(id, 1, 7);
    await site.ask('volume.modify', id, { size: 2 * MiB });
    expect(await site.read(id, 1)).toBe(7);
    expect(await site.read(id, 300)).toBe(0);
    for (const size of [MiB, 2 * MiB])
      expect(await site.refusal('volume.modify', id, { size })).toContain('is not larger than the present one');
    expect(await site.refusal('volume.modify', id, { size: 3 * MiB + 4096 })).toContain('multiple of 8192');
    agree();
  });

  it('are renamed in the catalog and in the engine; the session hears of it', async () => {
    const id = await create('a');
    await site.ask('volume.modify', id, { name: 'b', description: 'd' });
    expect(site.volume(id)).toMatchObject({ name: 'b', description: 'd' });
    expect(site.hooks.asked).toEqual(['changed']);
    agree();
  });

  it('a change that is refused changes nothing, whatever else it asked for', async () => {
    await create('a');
    const id = await create('b');
    const before = site.volume(id);
    expect(await site.refusal('volume.modify', id, { size: 2 * MiB, name: 'a' })).toContain('The name a is in use');
    expect(site.volume(id)).toEqual(before);
    agree();
  });

  it('keep their own name without being told that it is taken', async () => {
    const id = await create('a');
    await site.ask('volume.modify', id, { name: 'a', size: 2 * MiB });
    expect(site.volume(id).size).toBe(2 * MiB);
  });

  it.each(['modify', 'delete', 'snapshot', 'clone'])('%s of one that is not there is said so', async (action) => {
    expect(await site.refusal(`volume.${action}`, 'gone')).toContain('no volume with the id gone');
  });

  it('are gone when deleted, with their snapshots and without their clones', async () => {
    const id = await create('a');
    await site.write(id, 0, 5);
    const shot = await snap(id, 's');
    const clone = await site.made('volume.clone', shot, { name: 'c' });
    await site.ask('volume.delete', id);
    expect(names()).toEqual(['c']);
    expect(await site.read(clone, 0)).toBe(5);
    expect(site.volume(clone).protection_data.parent_id).toBeNull();
    agree();
  });

  it('are not deleted while in use', async () => {
    const id = await create('a');
    site.hooks.sessions.set(id, session({}));
    expect(await site.refusal('volume.delete', id)).toContain('takes part in a replication session');
    site.hooks.sessions.delete(id);
    site.catalog.change('volume', id, { protection_policy_id: 'p' });
    expect(await site.refusal('volume.delete', id)).toContain('has a protection policy');
    expect(names()).toEqual(['a']);
  });
});

describe('snapshots', () => {
  it('keep what was, are named within their family, and may be deleted', async () => {
    const id = await create('a');
    const other = await create('b');
    const shot = await snap(id, 's');
    expect(site.volume(shot)).toMatchObject({ type: 'Snapshot', state: 'Ready', wwn: null });
    expect(site.volume(shot).protection_data).toMatchObject({ family_id: id, parent_id: id, source_id: id });
    expect(await site.refusal('volume.snapshot', id, { name: 's' })).toContain('The snapshot name s is in use');
    await snap(other, 's');
    agree();
    await site.ask('volume.delete', shot);
    expect(names()).toEqual(['a', 'b', 's']);
    agree();
  });

  it('take no policy, no size and no snapshot', async () => {
    const shot = await snap(await create('a'), 's');
    for (const body of [{ size: 2 * MiB }, { protection_policy_id: '' }])
      expect(await site.refusal('volume.modify', shot, body)).toContain('cannot be done to a Snapshot');
    expect(await site.refusal('volume.snapshot', shot)).toContain('cannot be done to a Snapshot');
    expect(await site.refusal('volume.refresh', shot, { from_object_id: shot })).toContain('Snapshot');
  });

  it('expire in the future or never', async () => {
    const id = await create('a');
    const past = '2001-01-01T00:00:00Z';
    expect(await site.refusal('volume.snapshot', id, { expiration_timestamp: past })).toContain('in the past');
    const shot = await snap(id, 's', { expiration_timestamp: later() });
    expect(site.volume(shot).protection_data.expiration_timestamp).toMatch(/\+00:00$/);
    expect(await site.refusal('volume.modify', shot, { expiration_timestamp: past })).toContain('in the past');
    await site.ask('volume.modify', shot, { expiration_timestamp: '9999-12-31T23:59:59Z' });
    expect(site.volume(shot).protection_data.expiration_timestamp).toBeNull();
    expect(await site.refusal('volume.modify', id, { expiration_timestamp: later() })).toContain('only snapshots');
  });

  it('that are secure stay until they expire, and so does what they are of', async () => {
    const id = await create('a');
    expect(await site.refusal('volume.snapshot', id, { is_secure: true })).toContain('needs one');
    const shot = await snap(id, 's', { expiration_timestamp: later(), is_secure: true });
    const secure = 'is secure until it expires';
    expect(await site.refusal('volume.delete', shot)).toContain(secure);
    expect(await site.refusal('volume.delete', id)).toContain(secure);
    const sooner = new Date(Date.now() + 60_000).toISOString();
    for (const body of [{ is_secure: false }, { expiration_timestamp: null }, { expiration_timestamp: sooner }])
      expect(await site.refusal('volume.modify', shot, body)).toContain(secure);
    const open = await snap(id, 'open');
    expect(await site.refusal('volume.modify', open, { is_secure: true })).toContain('needs one');
    expect(names()).toEqual(['a', 'open', 's']);
  });

  it('that the engine refuses leave nothing', async () => {
    const id = await create('a');
    site.failAt('freeze', new BlockError('no_space', 'full'));
    expect(await site.refusal('volume.snapshot', id, { name: 's' })).toBe('full');
    site.failAt('freeze', undefined);
    await snap(id, 's');
    agree();
  });

  it.each(['at once', 'once it has expired', 'by the next start'])(
    'that the engine has taken although it said otherwise are given back %s [C7.2]',
    async (when) => {
      const id = await create('a');
      const group = await site.made('volume_group.create', '', { name: 'g', volume_ids: [await create('b')] });
      const failed = new Error('the log could not be written');
      site.failAt('freeze', failed, 'after');
      if (when !== 'at once') site.failAt('dropPoint', failed);
      expect(await site.refusal('volume.snapshot', id, { name: 's' })).toBe(failed.message);
      expect(await site.refusal('volume_group.snapshot', group, { name: 't' })).toBe(failed.message);
      site.failAt('dropPoint', undefined);
      if (when === 'once it has expired') expect(await site.snapshots.expire()).toBe(2);
      if (when === 'by the next start') {
        await site.restart();
        await site.volumes.recover();
      }
      expect(names()).toEqual(['a', 'b']);
      expect(site.catalog.list('volume_group').map(({ name }) => name)).toEqual(['g']);
      agree();
    },
  );
});

describe('clones, restore, refresh', () => {
  it('a clone has the bytes of its origin and its own from then on', async () => {
    const id = await create('a');
    await site.write(id, 0, 1);
    const shot = await snap(id, 's');
    await site.write(id, 0, 2);
    const ofSnapshot = await site.made('volume.clone', shot, { name: 'c1' });
    const ofVolume = await site.made('volume.clone', id, { name: 'c2' });
    await site.write(ofVolume, 0, 3);
    expect([await site.read(id, 0), await site.read(ofSnapshot, 0), await site.read(ofVolume, 0)]).toEqual([2, 1, 3]);
    expect(site.volume(ofSnapshot)).toMatchObject({ type: 'Clone', state: 'Ready' });
    expect(site.volume(ofSnapshot).protection_data).toMatchObject({ family_id: id, parent_id: shot, source_id: shot });
    expect(await site.refusal('volume.clone', id, { name: 'c1' })).toContain('The name c1 is in use');
    agree();
  });

  it('restore brings a snapshot back, its size too, and keeps what was', async () => {
    const id = await create('a');
    await site.write(id, 0, 1);
    const shot = await snap(id, 's');
    await site.ask('volume.modify', id, { size: 2 * MiB });
    await site.write(id, 0, 2);
    const { backup_snapshot_id } = await site.ask('volume.restore', id, { from_snap_id: shot });
    expect(await site.read(id, 0)).toBe(1);
    expect(site.volume(id)).toMatchObject({ size: MiB, protection_data: { source_id: shot } });
    expect(site.volume(String(backup_snapshot_id))).toMatchObject({ type: 'Snapshot', size: 2 * MiB });
    expect(await site.ask('volume.restore', id, { from_snap_id: shot, create_backup_snap: false })).toEqual({});
    await site.ask('volume.restore', id, { from_snap_id: backup_snapshot_id, create_backup_snap: false });
    expect(await site.read(id, 0)).toBe(2);
    agree();
  });

  it('restore takes only a snapshot of the volume itself; refresh any of the family', async () => {
    const id = await create('a');
    await site.write(id, 0, 1);
    const shot = await snap(id, 's');
    const clone = await site.made('volume.clone', id, { name: 'c' });
    const stranger = await create('x');
    expect(await site.refusal('volume.restore', clone, { from_snap_id: shot })).toContain('a snapshot of c');
    expect(await site.refusal('volume.restore', id, { from_snap_id: clone })).toContain('a snapshot of a');
    expect(await site.refusal('volume.refresh', id, { from_object_id: stranger })).toContain('in the family of a');
    await site.write(clone, 0, 9);
    await site.ask('volume.refresh', id, { from_object_id: clone, create_backup_snap: false });
    expect(await site.read(id, 0)).toBe(9);
    agree();
  });
});

describe('a replication destination', () => {
  it('takes no change but the end of being one', async () => {
    const id = await create('a');
    const shot = await snap(id, 's');
    site.catalog.put('policy', {
      id: 'p',
      name: 'p',
      description: null,
      type: 'Protection',
      snapshot_rule_ids: [],
      replication_rule_ids: [],
      managed_by: 'User',
      managed_by_id: null,
      is_read_only: false,
      is_replica: false,
    });
    site.catalog.change('volume', id, { is_replication_destination: true });
    for (const [operation, body] of [
      ['modify', { size: 2 * MiB }],
      ['modify', { name: 'b' }],
      ['modify', { protection_policy_id: 'p' }],
      ['snapshot', {}],
      ['clone', {}],
      ['restore', { from_snap_id: shot }],
      ['refresh', { from_object_id: shot }],
    ] as const)
      expect([operation, await site.refusal(`volume.${operation}`, id, body)]).toEqual([
        operation,
        expect.stringContaining('is a replication destination'),
      ]);
    site.hooks.sessions.set(id, session({ role: 'Destination' }));
    const end = { is_replication_destination: false };
    expect(await site.refusal('volume.modify', id, end)).toContain('takes part in a replication session');
    site.hooks.sessions.delete(id);
    await site.ask('volume.modify', id, end);
    expect(site.volume(id).is_replication_destination).toBe(false);
    const start = { is_replication_destination: true };
    expect(await site.refusal('volume.modify', id, start)).toContain('only false can be given');
  });
});

describe('a kill in the middle, and the start after it', () => {
  it.each(['before', 'after'] as const)(
    '%s a volume is made in the engine: it is there, whole [C7.3]',
    async (when) => {
      await site.killed('createVolume', when, 'volume.create', '', { name: 'a', size: MiB });
      await site.volumes.recover();
      expect(names()).toEqual(['a']);
      agree();
    },
  );

  it('before a snapshot is frozen: it is not there [C7.3]', async () => {
    const id = await create('a');
    await site.killed('freeze', 'before', 'volume.snapshot', id, { name: 's' });
    await site.volumes.recover();
    expect(names()).toEqual(['a']);
    agree();
  });

  it('after a snapshot was frozen: it is there [C7.3]', async () => {
    const id = await create('a');
    await site.killed('freeze', 'after', 'volume.snapshot', id, { name: 's' });
    await site.volumes.recover();
    expect(names()).toEqual(['a', 's']);
    agree();
  });

  it.each([
    ['freeze', 'before', false],
    ['freeze', 'after', false],
    ['fork', 'before', true],
    ['fork', 'after', true],
    ['dropPoint', 'before', true],
    ['dropPoint', 'after', true],
  ] as const)(
    'of a clone at %s, %s: the whole clone or none, never an empty one [C7.3]',
    async (method, when, there) => {
      const id = await create('a');
      await site.write(id, 0, 6);
      await site.killed(method, when, 'volume.clone', id, { name: 'c' });
      await site.volumes.recover();
      expect(names()).toEqual(there ? ['a', 'c'] : ['a']);
      const clone = site.catalog.list('volume', 'name', 'c')[0];
      if (clone !== undefined) expect(await site.read(clone.id, 0)).toBe(6);
      agree();
    },
  );

  it('of a clone whose snapshot has gone since: the start goes on without it [C7.3]', async () => {
    const id = await create('a');
    const shot = await snap(id, 's');
    await site.killed('fork', 'before', 'volume.clone', shot, { name: 'c' });
    const point = site.catalog.private<{ point: string }>('volume', shot)?.point ?? '';
    await site.engine.dropPoint(pointId(point));
    site.catalog.remove('volume', shot);
    await site.volumes.recover();
    expect(names()).toEqual(['a']);
    agree();
  });

  it.each([
    ['dropPoint', 'before'],
    ['dropPoint', 'after'],
    ['deleteVolume', 'before'],
    ['deleteVolume', 'after'],
  ] as const)('of a deletion at %s, %s: it is gone [C7.3]', async (method, when) => {
    const id = await create('a');
    await snap(id, 's');
    await create('b');
    await site.killed(method, when, 'volume.delete', id);
    await site.volumes.recover();
    expect(names()).toEqual(['b']);
    agree();
  });

  it.each(['before', 'after'] as const)('%s a volume grows: both say the same [C7.2]', async (when) => {
    const id = await create('a');
    await site.killed('resizeVolume', when, 'volume.modify', id, { size: 2 * MiB });
    await site.volumes.recover();
    expect(site.volume(id).size).toBe(when === 'after' ? 2 * MiB : MiB);
    agree();
  });

  it.each(['before', 'after'] as const)(
    '%s a restore: the bytes are of before or after, the size fits [C7.2]',
    async (when) => {
      const id = await create('a');
      await site.write(id, 0, 1);
      const shot = await snap(id, 's');
      await site.ask('volume.modify', id, { size: 2 * MiB });
      await site.write(id, 0, 2);
      await site.killed('restore', when, 'volume.restore', id, { from_snap_id: shot, create_backup_snap: false });
      await site.volumes.recover();
      expect([await site.read(id, 0), site.volume(id).size]).toEqual(when === 'after' ? [1, MiB] : [2, 2 * MiB]);
      agree();
    },
  );

  it('a start that is killed too is no worse than one [C7.3]', async () => {
    await site.killed('createVolume', 'after', 'volume.create', '', { name: 'a', size: MiB });
    await site.volumes.recover();
    await site.restart();
    await site.volumes.recover();
    agree();
  });
});

describe('a catalog that is an older copy', () => {
  it('forgets a snapshot that was deleted since, and keeps the others [C7.2]', async () => {
    const id = await create('a');
    const [gone, kept] = [await snap(id, 'gone'), await snap(id, 'kept')];
    const before = site.volume(gone);
    const hidden = site.catalog.private('volume', gone);
    await site.ask('volume.delete', gone);
    site.catalog.put('volume', before!, hidden);
    await site.restart();
    await site.volumes.recover();
    expect([site.catalog.get('volume', gone), site.volume(kept).name]).toEqual([undefined, 'kept']);
    agree();
  });

  it('has a snapshot that was taken since, as it was, once [C7.2]', async () => {
    const id = await create('a');
    const expires = '2030-01-01T00:00:00.000Z';
    const wish = { name: 'since', description: 'what for', expiration_timestamp: expires };
    const taken = await site.made('volume.snapshot', id, wish);
    const before = site.volume(taken);
    site.catalog.remove('volume', taken);
    for (let start = 0; start < 2; start++) {
      await site.restart();
      await site.volumes.recover();
    }
    expect(site.volume(taken)).toMatchObject({
      name: 'since',
      description: 'what for',
      protection_data: { expiration_timestamp: before.protection_data.expiration_timestamp },
    });
    expect(site.catalog.list('volume', 'type', 'Snapshot')).toHaveLength(1);
    agree();
  });
});

describe('a catalog that was lost', () => {
  async function lost() {
    for (const volume of site.catalog.list('volume')) site.catalog.remove('volume', volume.id);
    await site.restart();
  }

  it('stops the start with both ways out, unless there is nothing to lose or a rebuild was asked for [C7.2]', async () => {
    await checkCatalog(site.catalog, site.dataPlane, false);
    await create('a');
    await lost();
    await expect(checkCatalog(site.catalog, site.dataPlane, false)).rejects.toThrow(/backup-\*\.db.*antipode recover/);
    await checkCatalog(site.catalog, site.dataPlane, true);
  });

  it('is rebuilt from the log: every volume, snapshot and byte [C7.1]', async () => {
    const id = await create('a');
    await site.write(id, 0, 1);
    const shot = await snap(id, 's');
    await site.write(id, 0, 2);
    const clone = await site.made('volume.clone', shot, { name: 'c' });
    await lost();
    expect(await rebuildCatalog(site.storage, async () => undefined)).toEqual({ volumes: 2, snapshots: 1 });
    await site.volumes.recover();
    agree();
    expect(site.volume(shot)).toMatchObject({ name: 's', type: 'Snapshot', protection_data: { family_id: id } });
    expect(site.volume(clone)).toMatchObject({ name: 'c', type: 'Clone', protection_data: { family_id: id } });
    expect([await site.read(id, 0), await site.read(clone, 0)]).toEqual([2, 1]);
    await site.ask('volume.restore', id, { from_snap_id: shot, create_backup_snap: false });
    expect(await site.read(id, 0)).toBe(1);
    // Once more finds nothing to add.
    await rebuildCatalog(site.storage, async () => undefined);
    agree();
    expect(site.engine.volume(volumeId(id))?.name).toBe('a');
  });

  it('is rebuilt where the log has one name twice: a name was free again here before the log heard of it [C7.1]', async () => {
    const [a, b] = [await create('a'), await create('b')];
    await site.write(b, 0, 2);
    await site.engine.changeVolume(volumeId(b), { name: 'a' });
    await lost();
    expect(await rebuildCatalog(site.storage, async () => undefined)).toEqual({ volumes: 2, snapshots: 0 });
    await site.volumes.recover();
    agree();
    expect([site.volume(a)?.name, site.volume(b)?.name]).toEqual(['a', 'a (2)']);
    expect([site.engine.volume(volumeId(b))?.name, await site.read(b, 0)]).toEqual(['a (2)', 2]);
  });
});
