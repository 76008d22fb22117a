import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sessionId, systemClock, systemRandom, volumeId } from '@antipode/base';
import { newHalf } from '@antipode/replication';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import { groupDocument } from '../services/group-document.ts';
import { Reporter } from '../services/occurrences.ts';
import { protectionOf } from '../services/volume-document.ts';
import type { RemoteRecord, RemoteSystems } from './remote-systems.ts';
import { keepReplicaPolicy } from './replica-policy.ts';
import { SessionStore } from './session-store.ts';
import { Sessions } from './sessions.ts';
import { MemoryDataPlane } from './testing/memory-data-plane.ts';

const id = sessionId('s');
const generation = { number: 1, site: 'A', nonce: 'n' };
const pairs = [{ local: volumeId('copy'), remote: volumeId('there') }];
const tagOfGroup = { remote: 'A', kind: 'volume_group', volume: 'group', peer: 'there', name: 'group' };
const rule = { id: 'rule', name: 'rule', rpo: 'One_Hour', alertThreshold: 60 };
const copy = { id: 'policy', name: 'policy', description: null, replicationRule: rule, snapshotRules: [] };
const remote = { id: 'r', name: 'A', serial: 'A' } as RemoteRecord;
let directory: string;
let catalog: Catalog;
let plane: MemoryDataPlane;
let sessions: Sessions;
/** Whether the peer is known here. */
let paired: boolean;

/** A group that is the copy of one at a peer, under the copy of its policy, as the catalog has it. */
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'older-catalog-'));
  catalog = new Catalog(directory);
  plane = new MemoryDataPlane(systemClock, () => ({ took_ms: 0, bytes: 0 }));
  paired = true;
  const remotes = {
    bySerial: (serial: string) => (paired && serial === remote.serial ? remote : undefined),
    channel: () => ({ dataEndpoint: () => undefined }),
    isUp: () => false,
    state: () => undefined,
  } as unknown as RemoteSystems;
  sessions = new Sessions({
    catalog,
    dataPlane: plane.port(),
    clock: systemClock,
    random: systemRandom,
    remotes,
    reporter: new Reporter(catalog, systemClock, systemRandom),
    site: 'B',
    localPauseResume: 'pause_both',
    schedule: 'share_of_rpo',
    cyclesAtOnce: 1,
  });
  const { policy } = keepReplicaPolicy(catalog, systemRandom, remote, copy);
  const protection = protectionOf('group', null, null, null, 'User');
  const given = {
    id: 'group',
    name: 'group',
    description: null,
    type: 'Primary',
    is_write_order_consistent: true,
  } as const;
  const group = groupDocument({ clock: systemClock }, { ...given, protection });
  catalog.put('volume_group', { ...group, protection_policy_id: policy.id, is_replication_destination: false }, {});
  new SessionStore(catalog).save({
    half: newHalf({ id, role: 'destination', generation, pairs, rpo_ms: 0 }),
    remoteSystemId: remote.id,
    ruleId: undefined,
    resourceKind: 'volume_group',
    localResourceId: 'group',
    remoteResourceId: 'there',
    shippedTotal_bytes: 0,
  });
});
afterEach(() => {
  sessions.stop();
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('a catalog that is behind the engine', () => {
  it('shows a group as what the engine says it is [C7.2]', async () => {
    await plane.createHalf({ session: id, role: 'destination', generation, pairs, tag: {} });
    await sessions.start();
    expect(catalog.get('volume_group', 'group')?.is_replication_destination).toBe(true);
  });

  it('makes the policy of a side that is the source its own, unless it waits to be reprotected [C7.2]', async () => {
    const [record] = new SessionStore(catalog).load();
    const promoted = { ...record!.half, role: 'source' as const, state: 'System_Paused' as const };
    for (const [state, isCopy] of [
      ['Failed_Over', true],
      ['System_Paused', false],
    ] as const) {
      new SessionStore(catalog).save({ ...record!, half: { ...promoted, state } });
      await plane.createHalf({ session: id, role: 'source', generation, pairs, tag: {} });
      await sessions.start();
      expect(catalog.list('policy').map(({ is_replica }) => is_replica)).toEqual([isCopy]);
      sessions.stop();
    }
  });

  it('lets the copy of a policy go with the session whose half is gone [C7.2]', async () => {
    await sessions.start();
    expect(catalog.get('volume_group', 'group')?.protection_policy_id).toBeNull();
    expect([catalog.count('replication_session'), catalog.count('policy')]).toEqual([0, 0]);
  });

  it('takes up a half that it does not know, under the rule of the policy that it does know [C7.1]', async () => {
    catalog.remove('replication_session', id);
    await plane.createHalf({ session: id, role: 'destination', generation, pairs, tag: tagOfGroup });
    await sessions.start();
    const [rule] = catalog.list('replication_rule');
    expect(sessions.sessionOf('group')).toMatchObject({ id, role: 'Destination', replication_rule_id: rule?.id });
  });

  it('without a policy, the half goes on under the rule that is given to it, as it is [C7.1]', async () => {
    catalog.remove('replication_session', id);
    catalog.change('volume_group', 'group', { protection_policy_id: null });
    catalog.put('replication_rule', { ...catalog.list('replication_rule')[0]!, id: 'own', name: 'own' });
    await plane.createHalf({ session: id, role: 'source', generation, pairs, tag: tagOfGroup });
    await sessions.start();
    expect(sessions.sessionOf('group')).toMatchObject({ role: 'Source', replication_rule_id: null });
    expect(sessions.goOnUnder('group', 'elsewhere')).toBe(false);
    expect(sessions.goOnUnder('group', 'own')).toBe(true);
    expect(sessions.sessionOf('group')).toMatchObject({ id, replication_rule_id: 'own' });
    expect(sessions.goOnUnder('group', 'own')).toBe(false);
  });

  it('takes up a half whose peer was lost too as soon as that is entered anew, under the policy that the peer tells it of [C7.1]', async () => {
    catalog.remove('replication_session', id);
    const [policy] = catalog.list('policy');
    for (const kind of ['policy', 'replication_rule'] as const)
      for (const row of catalog.list(kind)) catalog.remove(kind, row.id);
    catalog.change('volume_group', 'group', { protection_policy_id: null });
    await plane.createHalf({ session: id, role: 'destination', generation, pairs, tag: tagOfGroup });
    paired = false;
    await sessions.start();
    expect(sessions.sessionOf('group')).toBeUndefined();
    expect(catalog.list('alert').map(({ state }) => state)).toEqual(['ACTIVE']);
    paired = true;
    sessions.lost.due();
    // Who asks at once does not hear that the session is unknown.
    const told = { kind: 'policy', session: id, protection: copy } as const;
    expect(await sessions.answer(remote, told)).toEqual({ kind: 'done' });
    const [kept] = catalog.list('policy');
    expect(kept).toMatchObject({ name: policy!.name, is_replica: true });
    expect(catalog.get('volume_group', 'group')?.protection_policy_id).toBe(kept!.id);
    const rules = kept!.replication_rule_ids;
    expect(sessions.sessionOf('group')).toMatchObject({ id, role: 'Destination', replication_rule_id: rules[0] });
    expect(catalog.list('alert').map(({ state }) => state)).toEqual(['CLEARED']);
  });

  it('takes the policy that its source has instead of one that was lost there, and lets the copy of that go [C7.1]', async () => {
    await plane.createHalf({ session: id, role: 'destination', generation, pairs, tag: tagOfGroup });
    await sessions.start();
    const another = { ...copy, id: 'another', replicationRule: { ...rule, id: 'other', rpo: 'Six_Hours' } };
    await sessions.answer(remote, { kind: 'policy', session: id, protection: another });
    const policies = catalog.list('policy');
    expect(policies.map(({ name }) => name)).toEqual(['policy']);
    expect(catalog.get('volume_group', 'group')?.protection_policy_id).toBe(policies[0]!.id);
    expect(catalog.list('replication_rule').map(({ rpo }) => rpo)).toEqual(['Six_Hours']);
    // Said once more it changes nothing.
    await sessions.answer(remote, { kind: 'policy', session: id, protection: another });
    expect(catalog.list('policy')).toEqual(policies);
  });
});
