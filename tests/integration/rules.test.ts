import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, MiB, noise, Pair, refusal, type TestSite } from './pair.ts';

/** Two real clusters whose dates pass fast: rules of five minutes fire every few seconds. */
const rate = 100;
const pair = new Pair();
beforeAll(() => pair.start('--clock-rate', String(rate)));
afterAll(() => pair.stop());

type Row = Readonly<Record<string, unknown>> & { readonly id: string };
const named = async (site: TestSite, resource: string, name: string): Promise<Row | undefined> =>
  (await site.client.first(resource, { select: '*', filter: { name: `eq.${name}` } })) as unknown as Row | undefined;
const must = async (site: TestSite, resource: string, name: string): Promise<Row> => {
  const found = await named(site, resource, name);
  if (found === undefined) throw new Error(`no ${resource} ${name} at ${site.name}`);
  return found;
};
const remoteOf = async (site: TestSite): Promise<string> =>
  String((await site.client.first('remote_system', { select: 'id' }))?.id);

interface Protection {
  readonly expiration_timestamp: string | null;
  readonly creator_type: string;
  readonly created_by_rule_id: string | null;
  readonly created_by_rule_name: string | null;
  readonly copy_signature: string;
}
type Snapshot = { readonly id: string; readonly name: string; readonly protection_data: Protection };

/** Snapshots of a volume, oldest first. */
const snapshotsOf = async (site: TestSite, volume: string): Promise<readonly Snapshot[]> => {
  const { id } = await must(site, 'volume', volume);
  const all = (await site.client.all('volume', {
    select: 'id,name,protection_data',
    filter: { type: 'eq.Snapshot', 'protection_data->>parent_id': `eq.${id}` },
  })) as unknown as readonly Snapshot[];
  return all.toSorted((one, other) => one.name.localeCompare(other.name));
};

const count = async (site: TestSite, code: string, resource?: string): Promise<number> => {
  const filter = { event_code: `eq.${code}`, ...(resource && { resource_id: `eq.${resource}` }) };
  return (await site.client.all('event', { select: 'id', filter })).length;
};

async function ruledVolume(name: string) {
  const { client } = pair.a;
  const snapshotRule = await client.create('snapshot_rule', {
    name: `${name}-often`,
    interval: 'Five_Minutes',
    // Hours, of which a busy machine lets some pass.
    desired_retention: 48,
  });
  const replicationRule = await client.create('replication_rule', {
    name: `${name}-rule`,
    rpo: 'Five_Minutes',
    remote_system_id: await remoteOf(pair.a),
  });
  const policy = await client.create('policy', {
    name: `${name}-policy`,
    snapshot_rule_ids: [snapshotRule],
    replication_rule_ids: [replicationRule],
  });
  const volume = await client.create('volume', { name, size: 16 * MiB });
  const device = await pair.a.open(name);
  await device.write(0, noise(8 * MiB, 1), { fua: true });
  await device.close();
  await client.modify('volume', volume, { protection_policy_id: policy });
  const found = await client.first('replication_session', {
    select: 'id',
    filter: { local_resource_id: `eq.${volume}` },
  });
  return { snapshotRule, replicationRule, policy, volume, session: String(found?.id) };
}

describe('snapshot rules of a replicated volume', () => {
  test('travel with the policy, read-only; what they take is copied with name, expiry and sharing; they do not fire at the copy', async () => {
    const { session, policy } = await ruledVolume('ledger');
    const remote = await remoteOf(pair.b);
    const copied = await must(pair.b, 'policy', 'ledger-policy');
    const rule = await must(pair.b, 'snapshot_rule', 'ledger-often');
    const managed = { is_replica: true, is_read_only: true, managed_by: 'Replication', managed_by_id: remote };
    expect(copied).toMatchObject(managed);
    expect(rule).toMatchObject({ ...managed, interval: 'Five_Minutes', desired_retention: 48, time_of_day: null });
    const { body } = await pair.b.client.request('GET', `/api/rest/policy/${copied.id}?select=snapshot_rules(id)`);
    expect(body).toMatchObject({ snapshot_rules: [{ id: rule.id }] });
    expect((await refusal(pair.b.client.modify('snapshot_rule', rule.id, { desired_retention: 9 }))).status).toBe(422);
    expect((await refusal(pair.b.client.modify('policy', copied.id, { snapshot_rule_ids: [] }))).status).toBe(422);

    // Four of the rule's snapshots at the copy, each as it is at the source.
    let there: readonly Snapshot[] = [];
    await eventually(
      'four snapshots at the copy',
      async () => {
        there = await snapshotsOf(pair.b, 'ledger');
        return there.length >= 4;
      },
      () => `${there.length}`,
    );
    const here = new Map((await snapshotsOf(pair.a, 'ledger')).map((snapshot) => [snapshot.name, snapshot]));
    for (const { name, protection_data: copy } of there) {
      const original = here.get(name)?.protection_data;
      expect(original, name).toBeDefined();
      // Taken at the source: the rule's copy only stands for it here, and fires nothing.
      expect(copy).toMatchObject({ creator_type: 'Scheduler', created_by_rule_id: rule.id });
      expect(copy.expiration_timestamp).toBe(original?.expiration_timestamp);
      expect(copy.copy_signature).toBe(original?.copy_signature);
      expect(copy.created_by_rule_name).toBe('ledger-often');
    }
    // Nothing was written between them: they cost nothing beyond the volume's own blocks, on either side.
    await pair.act(pair.a, session, 'pause').catch(() => undefined);
    await pair.until(session, 'Paused');
    for (const site of [pair.a, pair.b]) {
      const { id } = await must(site, 'volume', 'ledger');
      const usage = (await site.client.request('GET', `/api/antipode/v1/volumes/${id}/usage`)).body;
      expect((usage as { unique_bytes: number }).unique_bytes, site.name).toBe(8 * MiB);
    }
    await pair.act(pair.a, session, 'resume');
    expect(policy).not.toBe(copied.id);
  });

  test('change with the policy, also what was changed while the link was cut', async () => {
    const { snapshotRule, policy, replicationRule } = await ruledVolume('changing');
    const daily = await pair.a.client.create('snapshot_rule', {
      name: 'changing-nightly',
      time_of_day: '22:15',
      timezone: 'Europe__London',
      days_of_week: ['Monday', 'Friday'],
      desired_retention: 100,
    });
    await pair.a.client.modify('policy', policy, { name: 'changed-policy', add_snapshot_rule_ids: [daily] });
    await pair.a.client.modify('snapshot_rule', snapshotRule, { interval: 'One_Hour', desired_retention: 5 });
    await eventually('both rules at the copy', async () => {
      const [often, nightly] = await Promise.all([
        named(pair.b, 'snapshot_rule', 'changing-often'),
        named(pair.b, 'snapshot_rule', 'changing-nightly'),
      ]);
      return often?.interval === 'One_Hour' && often.desired_retention === 5 && nightly?.time_of_day === '22:15';
    });
    const copied = await must(pair.b, 'policy', 'changed-policy');
    expect(await must(pair.b, 'snapshot_rule', 'changing-nightly')).toMatchObject({
      timezone: 'Europe__London',
      days_of_week: ['Monday', 'Friday'],
      is_replica: true,
    });

    await pair.link('--cut');
    await eventually('the link to be lost', async () => {
      const remote = await pair.a.client.first('remote_system', { select: 'state' });
      return remote?.state !== 'OK';
    });
    await pair.a.client.modify('policy', policy, { remove_snapshot_rule_ids: [daily] });
    await pair.a.client.modify('replication_rule', replicationRule, { rpo: 'One_Hour' });
    await pair.link('--heal');
    await eventually(
      'the copy to follow',
      async () => (await named(pair.b, 'snapshot_rule', 'changing-nightly')) === undefined,
    );
    const { body } = await pair.b.client.request(
      'GET',
      `/api/rest/policy/${copied.id}?select=snapshot_rules(name),replication_rules(rpo)`,
    );
    expect(body).toMatchObject({
      snapshot_rules: [{ name: 'changing-often' }],
      replication_rules: [{ rpo: 'One_Hour' }],
    });
    expect((await must(pair.a, 'snapshot_rule', 'changing-nightly')).is_replica).toBe(false);
  });

  test('fire at the new source after a failover, and are its own after reprotection', async () => {
    const { snapshotRule, session, policy } = await ruledVolume('moving');
    await pair.settled(session);
    await pair.act(pair.a, session, 'failover', { is_planned: true });
    await pair.until(session, 'Failed_Over');
    const there = await must(pair.b, 'snapshot_rule', 'moving-often');
    expect(there.id).not.toBe(snapshotRule);
    const namesAt = async (site: TestSite, rule: string) =>
      (await snapshotsOf(site, 'moving'))
        .filter(({ protection_data }) => protection_data.created_by_rule_id === rule)
        .map(({ name }) => name);
    const atOld = new Set(await namesAt(pair.a, snapshotRule));
    let fresh: readonly string[] = [];
    await eventually(
      'snapshots at the new source',
      async () => {
        fresh = (await namesAt(pair.b, there.id)).filter((name) => !atOld.has(name));
        return fresh.length >= 2;
      },
      () => String(fresh.length),
    );

    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    expect(await must(pair.b, 'policy', 'moving-policy')).toMatchObject({ is_replica: false, managed_by: 'User' });
    expect(await must(pair.b, 'snapshot_rule', 'moving-often')).toMatchObject({
      is_replica: false,
      is_read_only: false,
    });
    await eventually(
      'the old source to hold the copy',
      async () => (await must(pair.a, 'snapshot_rule', 'moving-often')).is_replica === true,
    );
    expect((await pair.a.client.get('policy', policy)).is_replica).toBe(true);
    // The new source's own snapshots come back with its cycles, and its changes with its policy.
    await eventually('its snapshots at the old source', async () => {
      const names = (await snapshotsOf(pair.a, 'moving')).map(({ name }) => name);
      return names.filter((name) => !atOld.has(name)).length >= 2;
    });
    // Whose own rule takes none any more: what is there was taken before, or came from the new source.
    const taken = new Set(await namesAt(pair.b, there.id));
    for (const name of await namesAt(pair.a, snapshotRule)) expect(atOld.has(name) || taken.has(name), name).toBe(true);
    await pair.b.client.modify('snapshot_rule', there.id, { desired_retention: 7, name: 'moving-seldom' });
    await eventually(
      'the change at the old source',
      async () => (await pair.a.client.get('snapshot_rule', snapshotRule)).name === 'moving-seldom',
    );
    expect(await pair.a.client.get('snapshot_rule', snapshotRule)).toMatchObject({
      desired_retention: 7,
      is_replica: true,
    });
  });
});

describe('objectives', () => {
  test('an alert is raised when the copy is too old and cleared when it is young again', async () => {
    const { session, replicationRule } = await ruledVolume('timely');
    await pair.settled(session);
    await pair.a.client.modify('replication_rule', replicationRule, { alert_threshold: 2 });
    const alerts = (state: string) =>
      pair.a.client.all('alert', {
        select: 'id',
        filter: { event_code: 'eq.0x02010113', resource_id: `eq.${session}`, state: `eq.${state}` },
      });
    // Seven minutes are four seconds here: on a busy machine there may have been an alert before.
    await eventually('a young copy', async () => (await alerts('ACTIVE')).length === 0);
    await pair.act(pair.a, session, 'pause');
    await eventually('the alert', async () => (await alerts('ACTIVE')).length === 1);
    expect((await pair.figures(pair.a, session)).is_rpo_met).toBe(false);
    const cleared = (await alerts('CLEARED')).length;
    await pair.act(pair.a, session, 'resume');
    await eventually('the end of the alert', async () => (await alerts('CLEARED')).length > cleared);
    await eventually('no other alert', async () => (await alerts('ACTIVE')).length === 0);
    await eventually('the event', async () => (await count(pair.a, '0x02010114', session)) >= 1);
  });
});

describe('runs that were missed', () => {
  test('while both clusters were down are one snapshot, and an event says for how many it stands', async () => {
    const { snapshotRule } = await ruledVolume('sleeping');
    await eventually('a first snapshot', async () => (await snapshotsOf(pair.a, 'sleeping')).length > 0);
    let before = 0;
    // Three runs come due meanwhile.
    await pair.startAgain(async () => {
      before = Date.now();
      while (Date.now() - before < (3 * 5 * 60_000) / rate) await pause(100);
    });
    // A machine that is busy while the clusters run may miss one as well: that is another event.
    await eventually('the event', async () => {
      const events = await pair.a.client.all('event', {
        select: 'description_l10n',
        filter: { event_code: 'eq.0x02030101', resource_id: `eq.${snapshotRule}` },
      });
      return events.some((event) => Number(/due (\d+) times/.exec(String(event.description_l10n))?.[1]) >= 2);
    });
    // The lab's clock went on while nothing ran: between the last snapshot before and the first after it lie these runs.
    await eventually('the snapshot that stands for them', async () => {
      const taken = (await snapshotsOf(pair.a, 'sleeping')).map(({ name }) =>
        Date.parse(name.split('.').slice(2).join('.')),
      );
      const gaps = taken.slice(1).map((at, index) => at - taken[index]!);
      return gaps.some((gap) => gap >= 3 * 5 * 60_000 - 60_000);
    });
  });
});
