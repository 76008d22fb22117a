import { setTimeout as pause } from 'node:timers/promises';
import type { CrashPair, Protected } from './crash-pair.ts';

const MiB = 1024 * 1024;

/** What an operator does while processes die. Each may be cut off anywhere and rejects when it is. */
export const operations = {
  /** Nothing but hosts and a cycle. */
  async sync(_pair: CrashPair, what: Protected): Promise<void> {
    await what.source.client.action('replication_session', what.session, 'sync');
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

  /** A planned failover that cannot reach the destination any more in the middle. */
  async refused(pair: CrashPair, what: Protected): Promise<void> {
    const failover = what.source.client.action('replication_session', what.session, 'failover', { is_planned: true });
    // Its site may die before the link does: heard below.
    failover.catch(() => undefined);
    await pause(pair.chance() * 200);
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

  /** A volume with a snapshot goes to the cluster's other appliance, or stays after all. */
  async move(pair: CrashPair, what: Protected): Promise<void> {
    const { client } = what.source;
    const name = pair.churnName();
    const volume = await client.create('volume', { name, size: 8 * MiB, appliance_id: 'A1' });
    const device = await what.source.open(name);
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
    if (pair.chance() < 0.7) await client.action('migration_session', migration, 'cutover', {});
    await client.remove('migration_session', migration);
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
} as const;

export type OperationName = keyof typeof operations;
export const operationNames = Object.keys(operations) as readonly OperationName[];
