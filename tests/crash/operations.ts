import { setTimeout as pause } from 'node:timers/promises';
import type { CrashPair, Protected } from './crash-pair.ts';

const MiB = 1024 * 1024;

/** What an operator does while processes die. Each may be cut off anywhere and rejects when it is. */
export const operations = {
  /** Nothing but hosts and a cycle. */
  async sync(_pair: CrashPair, what: Protected): Promise<void> {
    await what.source.client.action('replication_session', what.session, 'sync');
  },

  /** A cycle brings a snapshot with it. */
  async snapshots(pair: CrashPair, what: Protected): Promise<void> {
    const { client } = what.source;
    const [resource, of] =
      what.group === undefined
        ? (['volume', what.hosts[0]!.volumes[0]!] as const)
        : (['volume_group', what.group] as const);
    const row = await client.first(resource, { select: 'id', filter: { name: `eq.${of}`, type: 'eq.Primary' } });
    const name = `${pair.churnName()}-snap`;
    const snapshot = (await client.action(resource, String(row?.id), 'snapshot', { name })) as { id: string };
    await operations.sync(pair, what);
    // What is deleted before the cycle is fixed is not copied.
    await what.source.passes('session.ship.done', 10_000);
    await client.remove(resource, snapshot.id);
  },

  async pause(_pair: CrashPair, what: Protected): Promise<void> {
    await what.source.client.action('replication_session', what.session, 'sync');
    await what.source.client.action('replication_session', what.session, 'pause');
    await what.source.client.action('replication_session', what.session, 'resume');
  },

  async planned(_pair: CrashPair, what: Protected): Promise<void> {
    const { source, destination, session } = what;
    await source.client.action('replication_session', session, 'failover', { is_planned: true });
    await destination.client.action('replication_session', session, 'reprotect');
  },

  /** A planned failover that turns round at once. */
  async reversed(_pair: CrashPair, { source, session }: Protected): Promise<void> {
    await source.client.action('replication_session', session, 'failover', { is_planned: true, reverse: true });
  },

  /** A planned failover that the destination refuses: a test has begun there while it was on its way. */
  async declined(pair: CrashPair, { source, destination, session }: Protected): Promise<void> {
    // Neither side hears in time of what the other has begun.
    pair.shape({ delay_ms: 300 });
    try {
      await Promise.all([
        destination.client.action('replication_session', session, 'start_failover_test', {}),
        source.client.action('replication_session', session, 'failover', { is_planned: true }),
      ]);
    } finally {
      pair.shape({ delay_ms: 0 });
    }
  },

  /** A planned failover that cannot reach the destination any more in the middle. */
  async refused(pair: CrashPair, what: Protected): Promise<void> {
    const failover = what.source.client.action('replication_session', what.session, 'failover', { is_planned: true });
    // Its site may die before the link does: heard below.
    failover.catch(() => undefined);
    // Before the point that was sealed is shipped.
    await what.source.passes('session.seal.begun', 5_000);
    pair.cut();
    await failover;
  },

  async unplanned(pair: CrashPair, what: Protected): Promise<void> {
    const { source, destination, session } = what;
    await source.client.action('replication_session', session, 'sync');
    await pause(pair.chance() * 100);
    if (pair.chance() < 0.6) pair.cut();
    await destination.client.action('replication_session', session, 'failover', { is_planned: false });
    pair.heal();
    await destination.client.action('replication_session', session, 'reprotect');
  },

  async test({ chance }: CrashPair, { destination, source, session }: Protected): Promise<void> {
    await destination.client.action('replication_session', session, 'start_failover_test', {});
    await source.client.action('replication_session', session, 'sync');
    await destination.client.action('replication_session', session, 'stop_failover_test', {
      create_end_of_test_snapshot: chance() < 0.5,
    });
  },

  /** Objects come, change and go at the source, beside the hosts. */
  async churn(pair: CrashPair, what: Protected): Promise<void> {
    const { client } = what.source;
    const name = pair.churnName();
    const volume = await client.create('volume', { name, size: 8 * MiB });
    const device = await what.source.open(name);
    for (let at = 0; at < 4; at++) await device.write(at * MiB, new Uint8Array(MiB).fill(at + 1), { fua: at === 3 });
    const snapshot = (await client.action('volume', volume, 'snapshot', { name: `${name}-snap` })) as { id: string };
    await device.write(0, new Uint8Array(MiB).fill(9));
    await device.close();
    await client.modify('volume', String(snapshot.id), { description: 'changed' });
    await client.action('volume', String(snapshot.id), 'clone', { name: `${name}-clone` });
    await client.action('volume', volume, 'restore', { from_snap_id: snapshot.id, create_backup_snap: false });
    await client.modify('volume', volume, { size: 16 * MiB });
    await client.modify('volume', volume, { name: `${name}-renamed` });
    await client.remove('volume', String(snapshot.id));
    await client.remove('volume', volume);
  },

  /** A group of the source is taken back to a moment as a whole. */
  async restore(pair: CrashPair, what: Protected): Promise<void> {
    const { client } = what.source;
    const name = pair.churnName();
    const members = [];
    for (const member of ['a', 'b'])
      members.push(await client.create('volume', { name: `${name}-${member}`, size: MiB }));
    const group = await client.create('volume_group', { name, volume_ids: members });
    const snapshot = (await client.action('volume_group', group, 'snapshot', { name: `${name}-snap` })) as {
      id: string;
    };
    const device = await what.source.open(`${name}-a`);
    await device.write(0, new Uint8Array(MiB).fill(3), { fua: true });
    await device.close();
    await client.action('volume_group', group, 'restore', { from_snap_id: snapshot.id, create_backup_snap: false });
    await client.remove('volume_group', snapshot.id);
    await client.remove('volume_group', group, { delete_members: true });
  },

  /** Enough is written for the log to begin another segment, and thrown away again. */
  async bulk(pair: CrashPair, what: Protected): Promise<void> {
    // Once is enough for both protected objects.
    if (what.group === undefined) return operations.sync(pair, what);
    const { client } = what.source;
    const name = pair.churnName();
    const volume = await client.create('volume', { name, size: 80 * MiB });
    const device = await what.source.open(name);
    for (let at = 0; at < 72; at++)
      await device.write(at * MiB, new Uint8Array(MiB).fill(at + 1), { fua: at % 24 === 23 });
    await device.close();
    await client.remove('volume', volume);
  },

  /** A session is born and dies. */
  async protection(pair: CrashPair, what: Protected): Promise<void> {
    const { client } = what.source;
    const name = pair.churnName();
    const volume = await client.create('volume', { name, size: 8 * MiB });
    const policy = await pair.policyAt(what.source);
    await client.modify('volume', volume, { protection_policy_id: policy });
    await pause(pair.chance() * 400);
    await client.modify('volume', volume, { protection_policy_id: '' });
  },

  /** A volume with a snapshot goes to the cluster's other appliance. */
  async move(pair: CrashPair, what: Protected): Promise<void> {
    const { client } = what.source;
    const migration = await copyToOther(pair, what);
    await client.action('migration_session', migration, 'cutover', {});
    await client.remove('migration_session', migration);
  },

  /** It is copied there, and stays where it is after all. */
  async stay(pair: CrashPair, what: Protected): Promise<void> {
    await what.source.client.remove('migration_session', await copyToOther(pair, what));
  },

  /** A member comes to the group and goes. */
  async members(pair: CrashPair, what: Protected): Promise<void> {
    if (what.group === undefined) return operations.sync(pair, what);
    const { client } = what.source;
    const name = pair.churnName();
    const volume = await client.create('volume', { name, size: 8 * MiB });
    const group = await client.first('volume_group', { select: 'id', filter: { name: `eq.${what.group}` } });
    await client.action('volume_group', String(group?.id), 'add_members', { volume_ids: [volume] });
    await client.action('replication_session', what.session, 'sync');
    await pause(pair.chance() * 300);
    await client.action('volume_group', String(group?.id), 'remove_members', { volume_ids: [volume] });
    await client.action('replication_session', what.session, 'sync');
  },

  /** Both kinds of processes that serve die at once. */
  async restart(_pair: CrashPair, { source, group }: Protected): Promise<void> {
    if (group !== undefined) return;
    source.kill('dataplane');
    source.kill('management');
    await pause(2_000);
  },

  /** The source dies before it has heard that its cycle is complete, and is given an older copy of its catalog. */
  async older_catalog(pair: CrashPair, what: Protected): Promise<void> {
    if (what.group !== undefined) return;
    const { source } = what;
    const heard = 'session.ship.done';
    const catalog = source.copyCatalog();
    source.order(heard, { skip: 0, whom: 'cluster' });
    try {
      await operations.sync(pair, what);
      await source.untilHit(heard, 20_000);
      await source.gone();
    } finally {
      if (source.settleOrder(heard)) {
        await source.gone();
        source.putCatalog(catalog);
        await source.start();
      }
    }
    await source.passes('engine.reset_base.durable', 20_000);
  },

  /** What has arrived of a first copy is damaged on the destination's disk before it is read back. */
  async damaged(pair: CrashPair, what: Protected): Promise<void> {
    if (what.group !== undefined) return;
    const { client } = what.source;
    const name = pair.churnName();
    const volume = await client.create('volume', { name, size: 8 * MiB });
    const device = await what.source.open(name);
    const mark = Uint8Array.from({ length: 4096 }, () => 1 + Math.floor(pair.chance() * 255));
    await device.write(0, mark, { fua: true });
    for (let at = 1; at < 8; at++) await device.write(at * MiB, new Uint8Array(MiB).fill(at), { fua: at === 7 });
    await device.close();
    pair.shape({ rate_bps: 20_000_000 });
    const policy = await pair.policyAt(what.source);
    let repair: (() => void) | undefined;
    try {
      await client.modify('volume', volume, { protection_policy_id: policy });
      const end = performance.now() + 20_000;
      while (repair === undefined && performance.now() < end) {
        await pause(30);
        repair = what.destination.damage(mark);
      }
      pair.shape({ rate_bps: null });
      await what.destination.passes('engine.abandon_stage.durable', 10_000);
    } finally {
      pair.shape({ rate_bps: null });
      repair?.();
    }
    await client.modify('volume', volume, { protection_policy_id: '' });
  },

  /** The source's cluster goes over to the next release. */
  async upgrade(pair: CrashPair, { source, group }: Protected): Promise<void> {
    if (group !== undefined) return;
    const { client } = source;
    const running = await client.get('software_installed', 'cluster');
    const file = await pair.nextRelease(String(running.build_version), source);
    const id = await client.upload('software_package', 'upload_file', file);
    const job = await client.startJob('POST', `software_package/${id}/install`);
    await client.waitForJob(job, { most_ms: 240_000 });
  },
} as const;

export type OperationName = keyof typeof operations;
/** What is arranged to lead to certain points, and not drawn at random. */
const arranged: readonly OperationName[] = ['restart', 'older_catalog', 'damaged', 'upgrade'];
export const operationNames = (Object.keys(operations) as OperationName[]).filter((name) => !arranged.includes(name));
/** Those that need a second appliance. */
export const movingNames: readonly OperationName[] = ['move', 'stay'];

/** A volume with a snapshot, all of whose bytes are at the other appliance as well; answers the migration. */
async function copyToOther(pair: CrashPair, { source }: Protected): Promise<string> {
  const { client } = source;
  const name = pair.churnName();
  const volume = await client.create('volume', { name, size: 8 * MiB, appliance_id: 'A1' });
  const device = await source.open(name);
  for (let at = 0; at < 4; at++) await device.write(at * MiB, new Uint8Array(MiB).fill(at + 7), { fua: true });
  await device.close();
  await client.action('volume', volume, 'snapshot', { name: `${name}-snap` });
  const row = (await client.get('volume', volume)) as unknown as { protection_data: { family_id: string } };
  const migration = await client.create('migration_session', {
    name,
    resource_type: 'volume',
    family_id: row.protection_data.family_id,
    destination_appliance_id: 'A2',
  });
  await client.action('migration_session', migration, 'sync', {});
  const end = performance.now() + 10_000;
  const state = async () => String((await client.get('migration_session', migration))?.state);
  while ((await state()) !== 'Idle' && performance.now() < end) await pause(50);
  return migration;
}
