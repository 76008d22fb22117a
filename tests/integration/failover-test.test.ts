import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NbdClient } from '../../packages/hosts/src/index.ts';
import { isNbdError } from '../../packages/hosts/src/index.ts';
import { eventually, MiB, noise, Pair, readVolume, refusal, type TestSite } from './pair.ts';

/** Rehearsals on two real clusters: a host writes to the test copy over NBD while cycles land beneath it. */
const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

const bytesOf = async (site: TestSite, name: string) => Buffer.from(await readVolume(site, name));
const write = async (site: TestSite, name: string, at: number, bytes: Uint8Array) => {
  const device = await site.open(name);
  await device.write(at, bytes, { fua: true });
  await device.close();
};
const refused = async (device: NbdClient) => {
  const error = await device.write(0, noise(4096, 1)).catch((thrown: unknown) => thrown);
  return isNbdError(error) && error.errno === 'EPERM';
};
const tested = async (session: string) => {
  const rows = await Promise.all(
    [pair.a, pair.b].map((site) => site.client.get('replication_session', session, { select: '*' })),
  );
  return rows.map((row) => row.failover_test_in_progress);
};
const sync = async (session: string) => {
  const before = (await pair.a.client.get('replication_session', session, { select: '*' })).last_sync_timestamp;
  await pair.act(pair.a, session, 'sync');
  await eventually('the next copy to be complete', async () => {
    const row = await pair.a.client.get('replication_session', session, { select: '*' });
    return row.state === 'OK' && row.last_sync_timestamp !== before;
  });
};

describe('a failover test', () => {
  it('is writable at the destination while cycles land; stopped, an unplanned failover opens the newest replica [C2.2]', async () => {
    const { session } = await pair.protect('rehearsed', 16 * MiB, { fill: noise(8 * MiB, 1) });
    const begun = await bytesOf(pair.a, 'rehearsed');
    const host = await pair.b.open('rehearsed');
    expect(await refused(host)).toBe(true);
    expect(await refusal(pair.act(pair.a, session, 'start_failover_test', {}))).toMatchObject({ status: 400 });
    expect(await refusal(pair.act(pair.b, session, 'stop_failover_test', {}))).toMatchObject({ status: 422 });
    await pair.act(pair.b, session, 'start_failover_test', {});
    await eventually('both sides to show it', async () => (await tested(session)).every((shown) => shown === true));
    await host.close();

    // A host at each site: one writes to production, one to the copy, in the same places.
    const copy = await pair.b.open('rehearsed');
    for (let round = 0; round < 3; round++) {
      await copy.write(round * MiB, noise(MiB, 100 + round), { fua: true });
      await write(pair.a, 'rehearsed', round * MiB, noise(MiB, 200 + round));
      await sync(session);
    }
    const expected = Buffer.from(begun);
    for (let round = 0; round < 3; round++) expected.set(noise(MiB, 100 + round), round * MiB);
    expect(Buffer.compare(await bytesOf(pair.b, 'rehearsed'), expected)).toBe(0);

    expect(await refusal(pair.act(pair.a, session, 'failover', { is_planned: true }))).toMatchObject({ status: 422 });
    expect(await refusal(pair.act(pair.b, session, 'failover', { is_planned: false }))).toMatchObject({ status: 422 });
    expect(await refusal(pair.act(pair.b, session, 'start_failover_test', {}))).toMatchObject({ status: 422 });

    const stopped = (await pair.act(pair.b, session, 'stop_failover_test', { create_end_of_test_snapshot: true })) as {
      snapshot_id: string;
    };
    expect(await refused(copy)).toBe(true);
    await copy.close();
    const kept = await pair.b.client.get('volume', stopped.snapshot_id, { select: '*' });
    expect(kept).toMatchObject({ type: 'Snapshot', state: 'Ready', size: 16 * MiB });
    expect(String(kept.name)).toMatch(/^failover_test_STOPPED_/);
    expect((kept.protection_data as { expiration_timestamp: string }).expiration_timestamp).not.toBeNull();
    expect(Buffer.compare(await bytesOf(pair.b, 'rehearsed'), await bytesOf(pair.a, 'rehearsed'))).toBe(0);
    await eventually('both sides to show its end', async () =>
      (await tested(session)).every((shown) => shown === false),
    );

    const newest = await bytesOf(pair.a, 'rehearsed');
    await write(pair.a, 'rehearsed', 0, noise(MiB, 300));
    await pair.act(pair.b, session, 'failover', { is_planned: false });
    expect(Buffer.compare(await bytesOf(pair.b, 'rehearsed'), newest)).toBe(0);
    await pair.until(session, 'Failed_Over');
    // What the test wrote is still there, on demand.
    const [volume] = await pair.b.client.all('volume', { select: '*', filter: { name: 'eq.rehearsed' } });
    await pair.b.client.action('volume', String(volume?.id), 'restore', {
      from_snap_id: stopped.snapshot_id,
      create_backup_snap: false,
    });
    expect(Buffer.compare(await bytesOf(pair.b, 'rehearsed'), expected)).toBe(0);
  });

  it('survives kill -9 of both clusters, and its copy can become the source; failback ships the difference alone [C2.2] [C7.2]', async () => {
    const { session } = await pair.protect('killed', 16 * MiB, { fill: noise(8 * MiB, 2) });
    await pair.act(pair.b, session, 'start_failover_test', {});
    await write(pair.b, 'killed', 4 * MiB, noise(MiB, 7));
    const copy = await bytesOf(pair.b, 'killed');
    for (const site of [pair.b, pair.a]) for (const pid of await pair.processesOf(site)) process.kill(pid, 'SIGKILL');
    await eventually('the test to be seen again', async () => (await tested(session)).every((shown) => shown === true));
    await eventually('the session to go on', async () => (await pair.state(pair.a, session)) === 'OK');
    expect(Buffer.compare(await bytesOf(pair.b, 'killed'), copy)).toBe(0);
    await write(pair.a, 'killed', 0, noise(MiB, 8));
    await sync(session);
    await pair.act(pair.b, session, 'failover', { is_planned: false, use_test_copy: true });
    expect(Buffer.compare(await bytesOf(pair.b, 'killed'), copy)).toBe(0);
    await pair.until(session, 'Failed_Over');
    await eventually('both sides to show its end', async () =>
      (await tested(session)).every((shown) => shown === false),
    );
    const before = (await pair.figures(pair.b, session)).shipped_bytes_total ?? 0;
    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    expect(Buffer.compare(await bytesOf(pair.a, 'killed'), copy)).toBe(0);
    // The test's MiB, and the MiB that the last cycle had brought and the test's copy is without.
    expect(((await pair.figures(pair.b, session)).shipped_bytes_total ?? 0) - before).toBe(2 * MiB);
  });

  it('stops although the peer is away only when forced, and ships nothing on the way there and back [C2.5]', async () => {
    const { session } = await pair.protect('cut', 8 * MiB, { fill: noise(4 * MiB, 3) });
    await pair.act(pair.b, session, 'start_failover_test', {});
    await write(pair.b, 'cut', 0, noise(MiB, 9));
    await pair.link('--cut');
    try {
      await eventually('the link to be missed', async () => {
        const remote = await pair.b.client.first('remote_system', { select: '*' });
        return remote?.state === 'Management_Connection_Lost';
      });
      expect(await refusal(pair.act(pair.b, session, 'stop_failover_test', {}))).toMatchObject({ status: 422 });
      await pair.act(pair.b, session, 'stop_failover_test', { force: true });
    } finally {
      await pair.link('--heal');
    }
    await eventually('the peer to hear of it', async () => (await tested(session)).every((shown) => shown === false));
    await pair.settled(session);
    const shipped = async () =>
      ((await pair.figures(pair.a, session)).shipped_bytes_total ?? 0) +
      ((await pair.figures(pair.b, session)).shipped_bytes_total ?? 0);
    const before = await shipped();
    await pair.act(pair.b, session, 'failover', { is_planned: false });
    await pair.until(session, 'Failed_Over');
    // As Cinder goes home: with force at the old primary, then reprotect there.
    expect(await refusal(pair.act(pair.a, session, 'failover', { is_planned: false }))).toMatchObject({
      code: '0xE0201005000C',
    });
    await pair.act(pair.a, session, 'failover', { is_planned: false, force: true });
    await eventually('the old primary to be the source', async () => {
      const row = await pair.b.client.get('replication_session', session, { select: '*' });
      return row.role === 'Destination' && row.state === 'Failed_Over';
    });
    await pair.act(pair.a, session, 'reprotect');
    await pair.settled(session);
    expect(await shipped()).toBe(before);
    expect(Buffer.compare(await bytesOf(pair.a, 'cut'), await bytesOf(pair.b, 'cut'))).toBe(0);
  });
});
