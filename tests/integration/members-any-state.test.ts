import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair, readVolume, refusal, type TestSite } from './pair.ts';

/** Members of a group are added, removed and grown at the source whatever its session is doing. */
const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());
beforeEach(() => pair.link('--heal', '--rate', 'unlimited', '--delay', '0ms'));

const idOf = async (site: TestSite, resource: string, name: string): Promise<string> => {
  const found = await site.client.first(resource, { select: 'id', filter: { name: `eq.${name}` } });
  if (found === undefined) throw new Error(`no ${resource} ${name} at ${site.name}`);
  return String(found.id);
};
const members = async (site: TestSite, group: string): Promise<readonly { name: string; size: number }[]> => {
  const id = await idOf(site, 'volume_group', group);
  const { body } = await site.client.request('GET', `/api/rest/volume_group/${id}?select=volumes(name,size)`);
  const { volumes } = body as { volumes: { name: string; size: number }[] };
  return volumes.toSorted((one, other) => one.name.localeCompare(other.name));
};
const write = async (site: TestSite, name: string, bytes: Uint8Array, from = 0) => {
  const device = await site.open(name);
  for (let at = 0; at < bytes.length; at += MiB) await device.write(from + at, bytes.subarray(at, at + MiB));
  await device.flush();
  await device.close();
};

interface Case {
  readonly name: string;
  readonly session: string;
  readonly group: string;
  readonly spare: string;
  readonly size: number;
}

/** A protected group of two members of `size` MiB and a volume beside it that may join. */
async function caseOf(name: string, size = 8, wait = true): Promise<Case> {
  const { client } = pair.a;
  const volumes: string[] = [];
  for (const member of ['keep', 'leave'])
    volumes.push(await client.create('volume', { name: `${name}-${member}`, size: size * MiB }));
  await write(pair.a, `${name}-keep`, noise(size * MiB, 1));
  const spare = await client.create('volume', { name: `${name}-join`, size: 8 * MiB });
  await write(pair.a, `${name}-join`, noise(MiB, 2));
  const remote = await client.first('remote_system', { select: 'id' });
  const rule = await client.create('replication_rule', {
    name: `${name}-rule`,
    rpo: 'One_Day',
    remote_system_id: String(remote?.id),
  });
  const policy = await client.create('policy', { name: `${name}-policy`, replication_rule_ids: [rule] });
  const group = await client.create('volume_group', { name, volume_ids: volumes });
  await client.modify('volume_group', group, { protection_policy_id: policy });
  const found = await client.first('replication_session', {
    select: 'id',
    filter: { local_resource_id: `eq.${group}` },
  });
  const session = String(found?.id);
  if (wait) await pair.settled(session);
  return { name, session, group, spare, size };
}

/** One joins, one leaves, one grows: at the side that is the source. */
async function change({ name, spare }: Case, site: TestSite = pair.a): Promise<void> {
  const group = await idOf(site, 'volume_group', name);
  await site.client.action('volume_group', group, 'add_members', { volume_ids: [spare] });
  await site.client.action('volume_group', group, 'remove_members', {
    volume_ids: [await idOf(site, 'volume', `${name}-leave`)],
  });
  await site.client.modify('volume', await idOf(site, 'volume', `${name}-keep`), {
    size: (await sizeThere(site, name)) + 8 * MiB,
  });
}
const sizeThere = async (site: TestSite, name: string): Promise<number> =>
  Number((await site.client.get('volume', await idOf(site, 'volume', `${name}-keep`), { select: 'size' })).size);

const changed = ({ name, size }: Case) => [
  { name: `${name}-join`, size: 8 * MiB },
  { name: `${name}-keep`, size: (size + 8) * MiB },
];

/** The other side comes to have the same members, as large, with the same bytes. */
async function arrives(of: Case, source: TestSite = pair.a): Promise<void> {
  const copy = source === pair.a ? pair.b : pair.a;
  let seen = '';
  await eventually(
    'the members to arrive',
    async () => {
      const there = await members(copy, of.name);
      seen = JSON.stringify(there);
      return seen === JSON.stringify(changed(of));
    },
    () => seen,
  );
  expect(await members(source, of.name)).toEqual(changed(of));
  await pair.settled(of.session);
  for (const member of ['join', 'keep']) {
    const volume = `${of.name}-${member}`;
    expect(Buffer.compare(await readVolume(pair.a, volume), await readVolume(pair.b, volume)), volume).toBe(0);
  }
}

const toBe = (session: string, state: string, site = pair.a) =>
  eventually(`${site.name} to be ${state}`, async () => (await pair.state(site, session)) === state);
const sync = (session: string, site = pair.a) => pair.act(site, session, 'sync');

describe('the members of a group change at the source while its session is', () => {
  it('OK', async () => {
    const of = await caseOf('calm');
    await change(of);
    expect(await pair.state(pair.a, of.session)).toBe('OK');
    await sync(of.session);
    await arrives(of);
  });

  it('making its first copy', async () => {
    await pair.link('--rate', '16mbit');
    const of = await caseOf('first', 32, false);
    await change(of);
    expect(['Initializing', 'Synchronizing']).toContain(await pair.state(pair.a, of.session));
    await pair.link('--rate', 'unlimited');
    await pair.settled(of.session);
    await sync(of.session);
    await arrives(of);
  });

  it('Synchronizing', async () => {
    const of = await caseOf('busy', 32);
    await write(pair.a, 'busy-keep', noise(32 * MiB, 3));
    await pair.link('--rate', '16mbit');
    await sync(of.session);
    await change(of);
    expect(await pair.state(pair.a, of.session)).toBe('Synchronizing');
    await pair.link('--rate', 'unlimited');
    await pair.settled(of.session);
    // The cycle that ran went to the target that it had.
    expect((await members(pair.b, 'busy')).map(({ name }) => name)).toEqual(['busy-keep', 'busy-leave']);
    await sync(of.session);
    await arrives(of);
  });

  it('System_Paused', async () => {
    const of = await caseOf('parked');
    await pair.link('--cut');
    await sync(of.session);
    await toBe(of.session, 'System_Paused');
    await change(of);
    await pair.link('--heal');
    await pair.settled(of.session);
    await sync(of.session);
    await arrives(of);
  });

  it('Paused, at both sites or at this one only', async () => {
    const both = await caseOf('paused');
    const local = await caseOf('alone');
    await pair.act(pair.a, both.session, 'pause');
    await change(both);
    await pair.link('--cut');
    await eventually('the link to be lost', async () => {
      const remote = await pair.a.client.first('remote_system', { select: 'state' });
      return remote?.state !== 'OK';
    });
    await pair.act(pair.a, local.session, 'pause');
    expect(await pair.state(pair.b, local.session)).not.toBe('Paused');
    await change(local);
    await pair.link('--heal');
    await eventually('both to be paused', async () => {
      await pair.act(pair.a, local.session, 'pause').catch(() => undefined);
      return (await pair.state(pair.b, local.session)) === 'Paused';
    });
    for (const of of [both, local]) {
      expect(await pair.state(pair.a, of.session)).toBe('Paused');
      await pair.act(pair.a, of.session, 'resume');
      await pair.settled(of.session);
      await sync(of.session);
      await arrives(of);
    }
  });

  it('Failing_Over and still catching up: the failover takes them along', async () => {
    const of = await caseOf('leaving', 96);
    await write(pair.a, 'leaving-keep', noise(96 * MiB, 4));
    await pair.link('--rate', '80mbit');
    const failover = pair.act(pair.a, of.session, 'failover', { is_planned: true });
    await toBe(of.session, 'Failing_Over');
    await change(of);
    expect(await pair.state(pair.a, of.session)).toBe('Failing_Over');
    await pair.link('--rate', 'unlimited');
    await failover;
    await pair.until(of.session, 'Failed_Over');
    expect((await members(pair.b, 'leaving')).map(({ name }) => name)).toEqual(['leaving-join', 'leaving-keep']);
    await pair.act(pair.b, of.session, 'reprotect');
    await arrives(of, pair.b);
  });

  it('Failing_Over and sealed: the call waits for the decision, and is refused where this is the source no more', async () => {
    const of = await caseOf('sealed');
    await write(pair.a, 'sealed-keep', noise(8 * MiB, 5));
    await pair.link('--rate', '16mbit');
    const failover = pair.act(pair.a, of.session, 'failover', { is_planned: true });
    await sealed('sealed-keep');
    const leave = refusal(
      pair.a.client.action('volume_group', of.group, 'remove_members', {
        volume_ids: [await idOf(pair.a, 'volume', 'sealed-leave')],
      }),
    );
    const grow = refusal(
      pair.a.client.modify('volume', await idOf(pair.a, 'volume', 'sealed-keep'), { size: 16 * MiB }),
    );
    await failover;
    expect(await leave).toMatchObject({ status: 422 });
    expect(await grow).toMatchObject({ status: 422 });
    await pair.until(of.session, 'Failed_Over');
    // At the new source, in its state, they are as welcome as ever.
    await pair.link('--rate', 'unlimited');
    const spare = await pair.b.client.create('volume', { name: 'sealed-new', size: 8 * MiB });
    await write(pair.b, 'sealed-new', noise(MiB, 6));
    await pair.b.client.action('volume_group', await idOf(pair.b, 'volume_group', 'sealed'), 'add_members', {
      volume_ids: [spare],
    });
    await pair.b.client.modify('volume', await idOf(pair.b, 'volume', 'sealed-keep'), { size: 16 * MiB });
    expect(await pair.state(pair.b, of.session)).toBe('Failed_Over');
    // And in the moment of the reprotection.
    await Promise.all([
      pair.act(pair.b, of.session, 'reprotect'),
      pair.b.client.action('volume_group', await idOf(pair.b, 'volume_group', 'sealed'), 'remove_members', {
        volume_ids: [await idOf(pair.b, 'volume', 'sealed-leave')],
      }),
    ]);
    await eventually('the members to come back', async () => {
      const there = await members(pair.a, 'sealed');
      if ((await pair.state(pair.b, of.session)) === 'OK') await sync(of.session, pair.b).catch(() => undefined);
      return (
        JSON.stringify(there) ===
        JSON.stringify([
          { name: 'sealed-keep', size: 16 * MiB },
          { name: 'sealed-new', size: 8 * MiB },
        ])
      );
    });
  });

  it('Failing_Over and sealed, when it is given up: the call goes through', async () => {
    const of = await caseOf('given');
    await write(pair.a, 'given-keep', noise(8 * MiB, 7));
    await pair.link('--rate', '16mbit');
    const failover = refusal(pair.act(pair.a, of.session, 'failover', { is_planned: true }));
    await sealed('given-keep');
    const changing = change(of);
    await pair.link('--cut');
    await failover;
    await changing;
    await pair.link('--heal', '--rate', 'unlimited');
    await pair.settled(of.session);
    await sync(of.session);
    await arrives(of);
  });

  it('being tested at the destination', async () => {
    const of = await caseOf('tested');
    await pair.act(pair.b, of.session, 'start_failover_test', {});
    await write(pair.b, 'tested-keep', noise(MiB, 8));
    await change(of);
    await sync(of.session);
    await pair.settled(of.session);
    // Copying goes on beneath; what is tested keeps what the test has written.
    const tested = await readVolume(pair.b, 'tested-keep');
    expect(Buffer.compare(tested.subarray(0, MiB), noise(MiB, 8))).toBe(0);
    await pair.act(pair.b, of.session, 'stop_failover_test', {});
    await arrives(of);
  });

  it('Deleting', async () => {
    const of = await caseOf('ending');
    await pair.link('--delay', '500ms');
    const ending = pair.a.client.modify('volume_group', of.group, { protection_policy_id: '' });
    await toBe(of.session, 'Deleting');
    await change(of);
    await ending;
    expect(await members(pair.a, 'ending')).toEqual(changed(of));
    const sessions = await pair.a.client.all('replication_session', { filter: { id: `eq.${of.session}` } });
    expect(sessions).toEqual([]);
  });
});

describe('a destination', () => {
  it('refuses it in every state', async () => {
    const of = await caseOf('there');
    const group = await idOf(pair.b, 'volume_group', 'there');
    const volume_ids = [await idOf(pair.b, 'volume', 'there-leave')];
    const refused = async () => {
      const { status } = await refusal(pair.b.client.action('volume_group', group, 'remove_members', { volume_ids }));
      expect(status).toBe(422);
    };
    await refused();
    await pair.act(pair.b, of.session, 'start_failover_test', {});
    await refused();
    await pair.act(pair.b, of.session, 'stop_failover_test', {});
    await pair.act(pair.a, of.session, 'pause');
    await refused();
  });
});

/** Hosts are refused at the source: the writes of a planned failover's volumes are sealed. */
const sealed = (volume: string): Promise<void> =>
  eventually(`${volume} to be sealed`, async () => {
    const device = await pair.a.open(volume);
    try {
      await device.write(0, new Uint8Array(4096));
      return false;
    } catch {
      return true;
    } finally {
      await device.close();
    }
  });
