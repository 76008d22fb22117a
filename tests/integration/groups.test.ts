import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair, readVolume, refusal, type TestSite } from './pair.ts';

/** Two real clusters; each test protects a group of its own. */
const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

type Row = Readonly<Record<string, unknown>> & { readonly id: string };
const row = async (site: TestSite, resource: string, name: string): Promise<Row> => {
  const found = await site.client.first(resource, { select: '*', filter: { name: `eq.${name}` } });
  if (found === undefined) throw new Error(`no ${resource} ${name} at ${site.name}`);
  return found as unknown as Row;
};
const members = async (site: TestSite, group: string): Promise<string[]> => {
  const { id } = await row(site, 'volume_group', group);
  const { body } = await site.client.request('GET', `/api/rest/volume_group/${id}?select=volumes(name)`);
  const answer = body as { volumes: { name: string }[] };
  return answer.volumes.map(({ name }) => name).sort();
};
const write = async (site: TestSite, name: string, at: number, bytes: Uint8Array) => {
  const device = await site.open(name);
  await device.write(at, bytes, { fua: true });
  await device.close();
};
const equal = async (name: string) =>
  expect(Buffer.compare(await readVolume(pair.a, name), await readVolume(pair.b, name)), name).toBe(0);
const synced = async (site: TestSite, session: string) => {
  const before = (await site.client.get('replication_session', session)).last_sync_timestamp;
  await pair.act(site, session, 'sync');
  await eventually(
    'a cycle to be complete',
    async () => (await site.client.get('replication_session', session)).last_sync_timestamp !== before,
  );
  await pair.settled(session);
};

/** Parked by the system, with this reason in the end: a link that was only just lost or found may be another one before. */
const parkedFor = async (site: TestSite, session: string, code: string) => {
  let seen = '';
  await eventually(
    `System_Paused with ${code}`,
    async () => {
      const { state, error_code } = await site.client.get('replication_session', session);
      seen = `${state} ${error_code}`;
      return state === 'System_Paused' && error_code === code;
    },
    () => seen,
  );
};

async function policyFor(name: string): Promise<string> {
  const remote = await pair.a.client.first('remote_system', { select: 'id' });
  const rule = await pair.a.client.create('replication_rule', {
    name: `${name}-rule`,
    rpo: 'One_Day',
    remote_system_id: String(remote?.id),
  });
  return pair.a.client.create('policy', { name: `${name}-policy`, replication_rule_ids: [rule] });
}

const sessionOf = async (resource: string): Promise<string> =>
  String(
    (
      await pair.a.client.first('replication_session', {
        select: 'id',
        filter: { local_resource_id: `eq.${resource}` },
      })
    )?.id,
  );

/** A group at `a` with members of 8 MiB named after it, protected, its first copy complete. */
async function protectGroup(name: string, count: number) {
  const volumes: string[] = [];
  for (let index = 0; index < count; index++)
    volumes.push(await pair.a.client.create('volume', { name: `${name}-${index}`, size: 8 * MiB }));
  const group = await pair.a.client.create('volume_group', { name, volume_ids: volumes });
  const policy = await policyFor(name);
  await pair.a.client.modify('volume_group', group, { protection_policy_id: policy });
  const session = await sessionOf(group);
  await pair.settled(session);
  return { group, volumes, session, policy };
}

describe('a protected group', () => {
  it('has one session with one pair a member; the peer gets a group of the same name with volumes of the same names (2.14)', async () => {
    const { group, session, volumes } = await protectGroup('trio', 3);
    const shown = (await pair.a.client.get('replication_session', session)) as unknown as Row & {
      storage_element_pairs: { local_storage_element_id: string }[];
    };
    expect(shown).toMatchObject({ resource_type: 'volume_group', local_resource_id: group, role: 'Source' });
    expect(shown.storage_element_pairs.map((one) => one.local_storage_element_id)).toEqual(volumes);
    const copy = await row(pair.b, 'volume_group', 'trio');
    expect(copy).toMatchObject({ is_replication_destination: true, type: 'Primary', id: shown.remote_resource_id });
    expect(await members(pair.b, 'trio')).toEqual(['trio-0', 'trio-1', 'trio-2']);
    expect(await row(pair.b, 'policy', 'trio-policy')).toMatchObject({ is_replica: true });
    for (const verb of ['add_members', 'remove_members'])
      expect(
        await refusal(
          pair.b.client.action('volume_group', copy.id, verb, {
            volume_ids: [(await row(pair.b, 'volume', 'trio-0')).id],
          }),
        ),
      ).toMatchObject({ status: 422 });
    expect(await refusal(pair.a.client.remove('volume', volumes[0]!))).toMatchObject({ status: 422 });
    expect(await refusal(pair.a.client.remove('volume_group', group))).toMatchObject({ status: 422 });
    const { members: counted } = await pair.figures(pair.a, session);
    expect(counted).toBe(3);
    await pair.a.client.modify('volume_group', group, { protection_policy_id: '' });
    await eventually('the halves to be gone', async () =>
      (await pair.b.client.all('replication_session', { select: 'id' })).every((one) => one.id !== session),
    );
    expect(await row(pair.b, 'volume_group', 'trio')).toMatchObject({ is_replication_destination: true });
    await pair.b.client.modify('volume_group', copy.id, { is_replication_destination: false });
    await write(pair.b, 'trio-1', 0, noise(4096, 1));
  });

  it('is refused before anything changes where the name of the group or of a member is in use at the peer (A5)', async () => {
    const one = await pair.a.client.create('volume', { name: 'clash-0', size: 8 * MiB });
    const two = await pair.a.client.create('volume', { name: 'clash-1', size: 8 * MiB });
    const group = await pair.a.client.create('volume_group', { name: 'clash', volume_ids: [one, two] });
    const policy = await policyFor('clash');
    const other = await pair.b.client.create('volume', { name: 'clash-1', size: 8 * MiB });
    const refused = await refusal(pair.a.client.modify('volume_group', group, { protection_policy_id: policy }));
    expect(refused).toMatchObject({ status: 422 });
    expect(refused.message).toContain('clash-1');
    expect(await pair.b.client.first('volume', { filter: { name: 'eq.clash-0' } })).toBeUndefined();
    expect(await pair.b.client.first('volume_group', { filter: { name: 'eq.clash' } })).toBeUndefined();
    await pair.b.client.remove('volume', other);
    await pair.b.client.create('volume_group', { name: 'CLASH' });
    expect(await refusal(pair.a.client.modify('volume_group', group, { protection_policy_id: policy }))).toMatchObject({
      status: 422,
    });
    expect(await row(pair.a, 'volume_group', 'clash')).toMatchObject({ protection_policy_id: null });
  });

  it('takes members in, lets members go and grows them with the next cycle, not before; a new one is copied whole', async () => {
    const { group, volumes, session } = await protectGroup('moving', 2);
    await write(pair.a, 'moving-0', 0, noise(MiB, 2));
    const late = await pair.a.client.create('volume', { name: 'moving-2', size: 16 * MiB });
    await write(pair.a, 'moving-2', 0, noise(2 * MiB, 3));
    await pair.a.client.action('volume_group', group, 'add_members', { volume_ids: [late] });
    await pair.a.client.action('volume_group', group, 'remove_members', { volume_ids: [volumes[1]!] });
    await pair.a.client.modify('volume', volumes[0]!, { size: 12 * MiB });
    expect(await members(pair.a, 'moving')).toEqual(['moving-0', 'moving-2']);
    expect(await members(pair.b, 'moving')).toEqual(['moving-0', 'moving-1']);
    expect(await row(pair.b, 'volume', 'moving-0')).toMatchObject({ size: 8 * MiB });
    // Out of the group is free at once.
    await write(pair.a, 'moving-1', 0, noise(4096, 4));
    const before = (await pair.figures(pair.a, session)).shipped_bytes_total ?? 0;
    await synced(pair.a, session);
    expect((await pair.figures(pair.a, session)).shipped_bytes_total).toBe(before + 3 * MiB);
    await eventually(
      'the members to follow',
      async () =>
        (await members(pair.b, 'moving')).join() === 'moving-0,moving-2' &&
        (await row(pair.b, 'volume', 'moving-0')).size === 12 * MiB,
    );
    const left = await row(pair.b, 'volume', 'moving-1');
    expect(left).toMatchObject({ is_replication_destination: true });
    for (const name of ['moving-0', 'moving-2']) await equal(name);
    await pair.b.client.modify('volume', left.id, { is_replication_destination: false });
    await pair.b.client.remove('volume', left.id);
    await pair.a.client.remove('volume', volumes[1]!);
    // Another cycle builds on the base of the changed membership.
    await write(pair.a, 'moving-2', 4 * MiB, noise(4096, 5));
    await synced(pair.a, session);
    expect((await pair.figures(pair.a, session)).shipped_bytes_total).toBe(before + 3 * MiB + 4096);
    await equal('moving-2');
  });

  it('whose members came while the link was down waits with them; a name in use at the peer parks it with the reason until it is free', async () => {
    const { group, session } = await protectGroup('apart', 1);
    const other = await pair.b.client.create('volume', { name: 'apart-1', size: 8 * MiB });
    const late = await pair.a.client.create('volume', { name: 'apart-1', size: 8 * MiB });
    expect(
      await refusal(pair.a.client.action('volume_group', group, 'add_members', { volume_ids: [late] })),
    ).toMatchObject({ status: 422 });
    expect(await members(pair.a, 'apart')).toEqual(['apart-0']);
    await pair.link('--cut');
    try {
      await eventually('the link to be lost', async () =>
        (await pair.a.client.all('remote_system')).every((remote) => remote.state !== 'OK'),
      );
      await pair.a.client.action('volume_group', group, 'add_members', { volume_ids: [late] });
    } finally {
      await pair.link('--heal');
    }
    await eventually('the link to be up', async () =>
      (await pair.a.client.all('remote_system')).every((remote) => remote.state === 'OK'),
    );
    await pair.act(pair.a, session, 'sync');
    await parkedFor(pair.a, session, '0xE02010050030');
    await pair.b.client.remove('volume', other);
    await pair.settled(session);
    await eventually('the member to arrive', async () => (await members(pair.b, 'apart')).length === 2);
    await equal('apart-1');
    // Set aside for a cycle that could not end, and taken back before the next: nothing is left of it at the peer.
    await pair.link('--rate', '16mbit');
    try {
      // Seconds of copying: it does not end before the link is cut, however busy the machine is.
      await write(pair.a, 'apart-0', 0, noise(8 * MiB, 63));
      const brief = await pair.a.client.create('volume', { name: 'apart-2', size: 8 * MiB });
      await pair.a.client.action('volume_group', group, 'add_members', { volume_ids: [brief] });
      await pair.act(pair.a, session, 'sync');
      await eventually(
        'a place for it',
        async () => (await pair.b.client.all('volume', { select: 'id', filter: { name: 'eq.apart-2' } })).length === 1,
      );
      await pair.link('--cut');
      await pair.a.client.action('volume_group', group, 'remove_members', { volume_ids: [brief] });
      await pair.a.client.modify('volume_group', group, { protection_policy_id: '' });
    } finally {
      await pair.link('--heal', '--rate', '10gbit');
    }
    await eventually(
      'it to be gone',
      async () => (await pair.b.client.all('volume', { select: 'id', filter: { name: 'eq.apart-2' } })).length === 0,
    );
  });

  it('pauses, changes its members meanwhile, resumes and fails back by force as a volume does', async () => {
    const { group, volumes, session } = await protectGroup('verbs', 2);
    await pair.act(pair.b, session, 'pause');
    await pair.until(session, 'Paused');
    const late = await pair.a.client.create('volume', { name: 'verbs-2', size: 8 * MiB, volume_group_id: group });
    await write(pair.a, 'verbs-2', 0, noise(4096, 70));
    await pair.a.client.action('volume_group', group, 'remove_members', { volume_ids: [volumes[1]!] });
    await pair.a.client.modify('volume', volumes[0]!, { size: 16 * MiB });
    const { members_waiting } = await pair.figures(pair.a, session);
    expect(members_waiting).toBe(1);
    await pair.act(pair.a, session, 'resume');
    await pair.settled(session);
    expect(await members(pair.b, 'verbs')).toEqual(['verbs-0', 'verbs-1']);
    await synced(pair.a, session);
    await eventually(
      'the members to follow',
      async () => (await members(pair.b, 'verbs')).join() === 'verbs-0,verbs-2',
    );
    for (const name of ['verbs-0', 'verbs-2']) await equal(name);
    await pair.act(pair.b, session, 'failover', { is_planned: false });
    await pair.until(session, 'Failed_Over');
    await write(pair.b, 'verbs-2', 0, noise(4096, 71));
    await pair.act(pair.a, session, 'failover', { is_planned: false, force: true });
    await pair.act(pair.a, session, 'reprotect');
    await pair.settled(session);
    expect((await pair.a.client.get('replication_session', session)).role).toBe('Source');
    for (const name of ['verbs-0', 'verbs-2']) await equal(name);
    expect(Buffer.compare((await readVolume(pair.b, 'verbs-2')).subarray(0, 4096), noise(4096, 70))).toBe(0);
    // What was overwritten is kept there as a set of the group.
    const kept = (await pair.b.client.all('volume_group', { select: 'name,type' })).filter((one) =>
      String(one.name).startsWith('diverged_'),
    );
    expect(kept.length).toBeGreaterThan(0);
    expect(late).not.toBe('');
  });

  it('begins with the first member and ends with the last, as csi-powerstore makes and empties it', async () => {
    const policy = await policyFor('csi');
    const group = await pair.a.client.create('volume_group', { name: 'csi', protection_policy_id: policy });
    expect(await sessionOf(group)).toBe('undefined');
    const volume = await pair.a.client.create('volume', { name: 'csi-0', size: 8 * MiB, volume_group_id: group });
    const session = await sessionOf(group);
    await pair.settled(session);
    expect(await members(pair.b, 'csi')).toEqual(['csi-0']);
    await pair.a.client.action('volume_group', group, 'remove_members', { volume_ids: [volume] });
    expect(await sessionOf(group)).toBe('undefined');
    await pair.a.client.remove('volume', volume);
    const again = await pair.a.client.create('volume', { name: 'csi-0', size: 8 * MiB, volume_group_id: group });
    await pair.settled(await sessionOf(group));
    expect(again).not.toBe(volume);
  });
});

describe('a failover test of a group', () => {
  it('opens all members at once while cycles go on, also those that change the members, and keeps what it wrote as a set [C2.2]', async () => {
    const { group, session } = await protectGroup('drill', 2);
    await write(pair.a, 'drill-0', 0, noise(MiB, 60));
    await synced(pair.a, session);
    await pair.act(pair.b, session, 'start_failover_test');
    for (const name of ['drill-0', 'drill-1']) await write(pair.b, name, 4 * MiB, noise(4096, 61));
    const late = await pair.a.client.create('volume', { name: 'drill-2', size: 8 * MiB });
    await write(pair.a, 'drill-2', 0, noise(MiB, 62));
    await pair.a.client.action('volume_group', group, 'add_members', { volume_ids: [late] });
    await synced(pair.a, session);
    await eventually('the member to arrive', async () => (await members(pair.b, 'drill')).length === 3);
    expect(
      Buffer.compare((await readVolume(pair.b, 'drill-1')).subarray(4 * MiB, 4 * MiB + 4096), noise(4096, 61)),
    ).toBe(0);
    const { snapshot_id } = (await pair.act(pair.b, session, 'stop_failover_test', {
      create_end_of_test_snapshot: true,
    })) as { snapshot_id: string };
    for (const name of ['drill-0', 'drill-1', 'drill-2']) await equal(name);
    expect(await pair.b.client.get('volume_group', snapshot_id, { select: 'type' })).toMatchObject({
      type: 'Snapshot',
    });
  });
});

describe('failover of a group', () => {
  it('planned, there and back: all members at once, policy and group follow the role, nothing written ships nothing [C2.5] (A29)', async () => {
    const { group, session } = await protectGroup('turn', 2);
    await write(pair.a, 'turn-0', 0, noise(MiB, 6));
    const hosts = await Promise.all(['turn-0', 'turn-1'].map((name) => pair.a.open(name)));
    await pair.act(pair.a, session, 'failover', { is_planned: true });
    await pair.until(session, 'Failed_Over');
    for (const host of hosts) await expect(host.write(0, noise(4096, 7))).rejects.toMatchObject({ errno: 'EPERM' });
    await Promise.all(hosts.map((host) => host.close().catch(() => undefined)));
    expect(await row(pair.a, 'volume_group', 'turn')).toMatchObject({ is_replication_destination: true });
    expect(await row(pair.b, 'volume_group', 'turn')).toMatchObject({ is_replication_destination: false });
    expect(await refusal(pair.a.client.action('volume_group', group, 'snapshot', { name: 's' }))).toMatchObject({
      status: 422,
    });
    for (const name of ['turn-0', 'turn-1']) await equal(name);
    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    expect(await row(pair.b, 'policy', 'turn-policy')).toMatchObject({ is_replica: false });
    await eventually(
      'the policy to follow the role',
      async () => (await row(pair.a, 'policy', 'turn-policy')).is_replica === true,
    );
    const shipped = async () =>
      ((await pair.figures(pair.a, session)).shipped_bytes_total ?? 0) +
      ((await pair.figures(pair.b, session)).shipped_bytes_total ?? 0);
    const before = await shipped();
    // At the new source members come and go as they did at the old one.
    const late = await pair.b.client.create('volume', { name: 'turn-2', size: 8 * MiB });
    const there = await row(pair.b, 'volume_group', 'turn');
    await pair.b.client.action('volume_group', there.id, 'add_members', { volume_ids: [late] });
    await synced(pair.b, session);
    await eventually('the member to arrive', async () => (await members(pair.a, 'turn')).length === 3);
    await pair.act(pair.b, session, 'failover', { is_planned: true, reverse: true });
    await pair.settled(session);
    expect(await shipped()).toBe(before);
    expect((await pair.a.client.get('replication_session', session)).role).toBe('Source');
  });

  it('unplanned takes the members of the last complete copy; who came after it, or went, is settled when the clusters meet', async () => {
    const { group, volumes, session } = await protectGroup('storm', 2);
    await write(pair.a, 'storm-0', 0, noise(MiB, 8));
    await synced(pair.a, session);
    await pair.link('--cut');
    try {
      const late = await pair.a.client.create('volume', { name: 'storm-2', size: 8 * MiB });
      await pair.a.client.action('volume_group', group, 'add_members', { volume_ids: [late] });
      await pair.a.client.action('volume_group', group, 'remove_members', { volume_ids: [volumes[1]!] });
      await write(pair.a, 'storm-0', MiB, noise(4096, 9));
      await pair.act(pair.b, session, 'failover', { is_planned: false });
      expect(await members(pair.b, 'storm')).toEqual(['storm-0', 'storm-1']);
    } finally {
      await pair.link('--heal');
    }
    await pair.until(session, 'Failed_Over');
    await eventually('the old group to follow', async () => (await members(pair.a, 'storm')).join() === 'storm-0');
    expect(await row(pair.a, 'volume', 'storm-2')).toMatchObject({ is_replication_destination: false });
    // What was let go here is in the way of its own name there: said, and gone on once it is out of the way.
    await pair.act(pair.b, session, 'reprotect');
    await parkedFor(pair.b, session, '0xE02010050030');
    await pair.a.client.modify('volume', volumes[1]!, { name: 'storm-1-old' });
    await pair.settled(session);
    await eventually(
      'the members to be the same',
      async () => (await members(pair.a, 'storm')).join() === 'storm-0,storm-1',
    );
    for (const name of ['storm-0', 'storm-1']) await equal(name);
    await write(pair.a, 'storm-1-old', 0, noise(4096, 10));
  });
});

describe('replicated snapshots', () => {
  const usage = async (site: TestSite, name: string) => {
    const { id } = await row(site, 'volume', name);
    const { body } = await site.client.request('GET', `/api/antipode/v1/volumes/${id}/usage`);
    return (body as { unique_bytes: number }).unique_bytes;
  };

  it('ten of them cost at the destination what they cost at the source, and keep name, expiry, description and signature [C3.1]', async () => {
    const { volume, session } = await pair.protect('history', 32 * MiB, { fill: noise(8 * MiB, 20) });
    const expiration_timestamp = new Date(Date.now() + 86_400_000).toISOString();
    for (let number = 0; number < 10; number++) {
      await write(pair.a, 'history', number * MiB, noise(MiB / 2, 21 + number));
      await pair.a.client.action('volume', volume, 'snapshot', {
        name: `day-${number}`,
        description: `number ${number}`,
        expiration_timestamp,
      });
    }
    await pair.a.client.remove('volume', (await row(pair.a, 'volume', 'day-4')).id);
    const before = (await pair.figures(pair.a, session)).shipped_bytes_total ?? 0;
    await synced(pair.a, session);
    expect((await pair.figures(pair.a, session)).shipped_bytes_total).toBe(before + 5 * MiB);
    await eventually('the snapshots to be shown', async () => {
      const found = await pair.b.client.all('volume', { select: 'id', filter: { name: 'like.day-*' } });
      return found.length === 9;
    });
    for (const number of [0, 9]) {
      const [mine, copy] = await Promise.all([pair.a, pair.b].map((site) => row(site, 'volume', `day-${number}`)));
      const data = (one: Row | undefined) => one?.protection_data as Record<string, unknown>;
      expect(copy).toMatchObject({ type: 'Snapshot', description: `number ${number}`, size: 32 * MiB });
      for (const kept of ['copy_signature', 'expiration_timestamp', 'creator_type', 'source_timestamp'])
        expect(data(copy)[kept], kept).toEqual(data(mine)[kept]);
      expect(data(mine).expiration_timestamp).not.toBeNull();
    }
    // Once the layers of the former base are folded, which each side does when it is quiet.
    let seen = '';
    await eventually(
      'both to cost the same',
      async () => {
        const [mine, theirs] = [await usage(pair.a, 'history'), await usage(pair.b, 'history')];
        seen = `${mine} and ${theirs}`;
        return mine === theirs;
      },
      () => seen,
    );
    // Lifetimes are each side's own.
    await pair.a.client.remove('volume', (await row(pair.a, 'volume', 'day-0')).id);
    await pair.b.client.remove('volume', (await row(pair.b, 'volume', 'day-9')).id);
    await write(pair.a, 'history', 20 * MiB, noise(4096, 40));
    await synced(pair.a, session);
    expect((await pair.figures(pair.a, session)).shipped_bytes_total).toBe(before + 5 * MiB + 4096);
    await row(pair.b, 'volume', 'day-0');
    expect(await pair.b.client.first('volume', { filter: { name: 'eq.day-9' } })).toBeUndefined();
    // In the other direction nothing that is there already is shipped again.
    await pair.act(pair.a, session, 'failover', { is_planned: true });
    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    expect((await pair.figures(pair.b, session)).shipped_bytes_total).toBe(0);
    // A copy is as good as what it was made of.
    const { id } = await row(pair.b, 'volume', 'history');
    await pair.b.client.action('volume', id, 'restore', {
      from_snap_id: (await row(pair.b, 'volume', 'day-1')).id,
      create_backup_snap: false,
    });
    const restored = await readVolume(pair.b, 'history');
    expect(Buffer.compare(restored.subarray(MiB, MiB + MiB / 2), noise(MiB / 2, 22))).toBe(0);
    expect(Buffer.compare(restored.subarray(2 * MiB, 8 * MiB), noise(8 * MiB, 20).subarray(2 * MiB))).toBe(0);
    await synced(pair.b, session);
    await equal('history');
  });

  it('a set of a group arrives as a set with its members, and the group can be restored to it there', async () => {
    const { group, session } = await protectGroup('sets', 2);
    await write(pair.a, 'sets-0', 0, noise(MiB, 50));
    await pair.a.client.action('volume_group', group, 'snapshot', { name: 'morning', description: 'before work' });
    await write(pair.a, 'sets-0', 0, noise(MiB, 51));
    await synced(pair.a, session);
    await eventually(
      'the set to be shown',
      async () =>
        (await pair.b.client.all('volume_group', { select: 'id', filter: { name: 'eq.morning' } })).length === 1,
    );
    expect(await row(pair.b, 'volume_group', 'morning')).toMatchObject({
      type: 'Snapshot',
      description: 'before work',
    });
    expect(await members(pair.b, 'morning')).toEqual(['morning.sets-0', 'morning.sets-1']);
    await equal('sets-0');
    await pair.act(pair.a, session, 'failover', { is_planned: true });
    const there = await row(pair.b, 'volume_group', 'sets');
    await pair.b.client.action('volume_group', there.id, 'restore', {
      from_snap_id: (await row(pair.b, 'volume_group', 'morning')).id,
    });
    const restored = await readVolume(pair.b, 'sets-0');
    expect(Buffer.compare(restored.subarray(0, MiB), noise(MiB, 50))).toBe(0);
  });
});
