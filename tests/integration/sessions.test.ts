import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isNbdError } from '../../packages/hosts/src/index.ts';
import { eventually, MiB, noise, Pair, readVolume, refusal } from './pair.ts';

/** Two real clusters; each test protects a volume of its own. */
const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

const equal = async (name: string) =>
  expect(Buffer.compare(await readVolume(pair.a, name), await readVolume(pair.b, name))).toBe(0);
const write = async (site: typeof pair.a, name: string, at: number, bytes: Uint8Array) => {
  const device = await site.open(name);
  await device.write(at, bytes, { fua: true });
  await device.close();
};
const slowly = async (work: () => Promise<void>) => {
  await pair.link('--rate', '80mbit');
  try {
    await work();
  } finally {
    await pair.link('--rate', '10gbit');
  }
};

describe('sessions are born and die with policies', () => {
  it('assigning a policy makes the copy; removing it ends both halves and leaves the copy, flagged, until somebody opens it (2.12)', async () => {
    const { session, volume, policy } = await pair.protect('born', 8 * MiB, { fill: noise(2 * MiB, 1) });
    await equal('born');
    const copy = await pair.b.client.first('volume', { select: '*', filter: { name: 'eq.born' } });
    expect(copy).toMatchObject({ is_replication_destination: true, type: 'Primary', size: 8 * MiB });
    expect(await refusal(pair.a.client.remove('volume', volume))).toMatchObject({ status: 422 });
    expect(await refusal(pair.a.client.remove('policy', policy))).toMatchObject({ status: 422 });
    expect(
      await refusal(pair.b.client.modify('volume', String(copy?.id), { is_replication_destination: false })),
    ).toMatchObject({ status: 422 });
    await pair.a.client.modify('volume', volume, { protection_policy_id: '' });
    await eventually(
      'the halves to be gone',
      async () =>
        (await pair.a.client.all('replication_session', { select: 'id' })).every((row) => row.id !== session) &&
        (await pair.b.client.all('replication_session', { select: 'id' })).every((row) => row.id !== session),
    );
    const left = await pair.b.client.get('volume', String(copy?.id));
    expect(left).toMatchObject({ is_replication_destination: true, protection_policy_id: null });
    await pair.b.client.modify('volume', String(copy?.id), { is_replication_destination: false });
    await write(pair.b, 'born', 0, noise(4096, 9));
  });

  it('a name that is in use at the destination refuses the assignment before anything has changed (A5)', async () => {
    await pair.b.client.create('volume', { name: 'taken', size: 4 * MiB });
    expect(await refusal(pair.protect('taken', 4 * MiB, { wait: false }))).toMatchObject({ status: 422 });
    const volume = await pair.a.client.first('volume', { select: '*', filter: { name: 'eq.taken' } });
    expect(volume).toMatchObject({ protection_policy_id: null });
  });
});

describe('pause and resume', () => {
  it('resume of a session paused in Synchronizing starts a cycle at once, from the restart address, shipping nothing twice [C3.5] [C3.6]', async () => {
    const bytes = 64 * MiB;
    await slowly(async () => {
      const { session } = await pair.protect('restart', 128 * MiB, { fill: noise(bytes, 2), wait: false });
      await eventually(
        'some of the copy to be durable',
        async () => ((await pair.figures(pair.a, session)).copied_bytes ?? 0) > 8 * MiB,
      );
      await pair.act(pair.a, session, 'pause');
      await pair.until(session, 'Paused');
      await pair.link('--rate', '10gbit');
      await pair.act(pair.b, session, 'resume');
      await pair.settled(session);
      const { shipped_bytes_total } = await pair.figures(pair.a, session);
      expect(shipped_bytes_total).toBeGreaterThanOrEqual(bytes);
      // At most one window is on its way above the durable address.
      expect(shipped_bytes_total).toBeLessThanOrEqual(bytes + 32 * MiB);
    });
    await equal('restart');
  });

  it('paused in OK returns to OK and waits; changes accumulate at the source and are shown; catching up ships what changed [P5] [P6]', async () => {
    const { session } = await pair.protect('accumulate', 256 * MiB, { fill: noise(4 * MiB, 3) });
    await pair.act(pair.a, session, 'pause');
    await pair.until(session, 'Paused');
    await write(pair.a, 'accumulate', 100 * MiB, noise(3 * MiB, 4));
    expect((await pair.figures(pair.a, session)).accumulated_bytes).toBe(3 * MiB);
    const before = (await pair.figures(pair.a, session)).shipped_bytes_total ?? 0;
    await pair.act(pair.a, session, 'resume');
    await pair.until(session, 'OK');
    expect((await pair.figures(pair.a, session)).shipped_bytes_total).toBe(before);
    await pair.act(pair.a, session, 'sync');
    await eventually('the change to arrive', async () => (await pair.figures(pair.a, session)).accumulated_bytes === 0);
    await pair.settled(session);
    expect((await pair.figures(pair.a, session)).shipped_bytes_total).toBe(before + 3 * MiB);
    await equal('accumulate');
  });

  it('paused while the link is down is paused here only; what is refused and allowed then; resume makes both Paused, the next resumes both [C5.2]', async () => {
    const { session } = await pair.protect('local-pause', 8 * MiB, { fill: noise(MiB, 5) });
    await pair.link('--cut');
    try {
      await pair.act(pair.a, session, 'pause');
      expect(await pair.state(pair.a, session)).toBe('Paused');
      expect(await pair.state(pair.b, session)).toBe('OK');
      expect(await refusal(pair.act(pair.a, session, 'sync'))).toMatchObject({ status: 422 });
      expect(await refusal(pair.act(pair.a, session, 'failover', {}))).toMatchObject({ status: 422 });
      expect(await refusal(pair.act(pair.a, session, 'resume'))).toMatchObject({ status: 422 });
    } finally {
      await pair.link('--heal');
    }
    await eventually('the link to be up', async () =>
      (await pair.a.client.all('remote_system')).every((remote) => remote.state === 'OK'),
    );
    expect(await pair.state(pair.a, session)).toBe('Paused');
    await pair.act(pair.a, session, 'resume');
    await pair.until(session, 'Paused');
    await pair.act(pair.a, session, 'resume');
    await pair.settled(session);
  });

  it('a session paused by the system cannot be resumed by a user; it says why, and goes on by itself when the fault clears [P3]', async () => {
    const { session } = await pair.protect('parked', 8 * MiB, { fill: noise(MiB, 6) });
    await pair.link('--cut');
    try {
      await write(pair.a, 'parked', 0, noise(MiB, 7));
      await pair.act(pair.a, session, 'sync');
      await eventually('System_Paused', async () => (await pair.state(pair.a, session)) === 'System_Paused');
      expect((await pair.a.client.get('replication_session', session)).error_code).toMatch(/^0xE[0-9A-F]{11}$/);
      expect(await refusal(pair.act(pair.a, session, 'resume'))).toMatchObject({ status: 422 });
    } finally {
      await pair.link('--heal');
    }
    await pair.settled(session);
    await equal('parked');
  });
});

describe('failover', () => {
  it('planned: nothing acknowledged is missing, also of what was written while its last cycles ran; the old source refuses from then on [C4.2] [C4.3]', async () => {
    const { session } = await pair.protect('stamps', 16 * MiB, { fill: noise(8 * MiB, 8) });
    const host = await pair.a.open('stamps');
    let acknowledged = 0;
    let errno = '';
    const writing = (async () => {
      for (let stamp = 1; ; stamp++) {
        try {
          await host.write((stamp % 1024) * 4096, new Uint8Array(new Uint32Array(1024).fill(stamp).buffer));
          acknowledged = stamp;
        } catch (error) {
          errno = isNbdError(error) ? String(error.errno) : String(error);
          return;
        }
      }
    })();
    await eventually('some writes', async () => acknowledged > 200);
    await pair.act(pair.a, session, 'failover', { is_planned: true });
    await writing;
    expect(errno).toBe('EPERM');
    expect(await pair.state(pair.a, session)).toBe('Failed_Over');
    expect(await pair.state(pair.b, session)).toBe('Failed_Over');
    expect((await pair.b.client.get('replication_session', session)).role).toBe('Source');
    const copy = await readVolume(pair.b, 'stamps');
    const stamps = new Uint32Array(copy.buffer, 0, 1024 * 1024);
    const newest = stamps[(acknowledged % 1024) * 1024];
    expect(newest).toBe(acknowledged);
    expect(await refusal(pair.act(pair.a, session, 'reprotect'))).toMatchObject({ status: 400 });
    await write(pair.b, 'stamps', 0, noise(4096, 10));
    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    await equal('stamps');
    await host.close().catch(() => undefined);
  });

  it('there and back without a write ships zero extents [C2.5] [P1]', async () => {
    const { session } = await pair.protect('quiet', 8 * MiB, { fill: noise(2 * MiB, 11) });
    const shipped = async () =>
      ((await pair.figures(pair.a, session)).shipped_bytes_total ?? 0) +
      ((await pair.figures(pair.b, session)).shipped_bytes_total ?? 0);
    const before = await shipped();
    await pair.act(pair.a, session, 'failover', {});
    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    await pair.act(pair.a, session, 'failover', { is_planned: false });
    await pair.until(session, 'Failed_Over');
    await pair.act(pair.a, session, 'reprotect');
    await pair.settled(session);
    expect(await shipped()).toBe(before);
    expect((await pair.a.client.get('replication_session', session)).role).toBe('Source');
  });

  it('unplanned opens the last common base; the old source is fenced on contact, its writes kept as a snapshot; reprotect ships only what differs [C2.4] [C4.4] [P7]', async () => {
    const { session } = await pair.protect('disaster', 32 * MiB, { fill: noise(16 * MiB, 12) });
    const host = await pair.a.open('disaster');
    await pair.link('--cut');
    await host.write(0, noise(8192, 13), { fua: true });
    await pair.act(pair.b, session, 'failover', { is_planned: false });
    expect(await pair.state(pair.b, session)).toBe('Failed_Over');
    const recovered = await readVolume(pair.b, 'disaster');
    expect(Buffer.compare(recovered.subarray(0, 16 * MiB), noise(16 * MiB, 12))).toBe(0);
    // Not in contact: the old source does not know yet.
    await host.write(8192, noise(4096, 14), { fua: true });
    await pair.link('--heal');
    await pair.until(session, 'Failed_Over');
    await expect(host.write(0, noise(4096, 15))).rejects.toMatchObject({ errno: 'EPERM' });
    await host.close().catch(() => undefined);
    const kept = (await pair.a.client.all('volume')).filter((volume) => volume.name?.startsWith('diverged_'));
    expect(kept).toHaveLength(1);
    expect(kept[0]).toMatchObject({ type: 'Snapshot', protection_data: { creator_type: 'System' } });
    await write(pair.b, 'disaster', 20 * MiB, noise(MiB, 16));
    const before = (await pair.figures(pair.b, session)).shipped_bytes_total ?? 0;
    await pair.act(pair.b, session, 'reprotect');
    await pair.settled(session);
    expect(((await pair.figures(pair.b, session)).shipped_bytes_total ?? 0) - before).toBe(MiB);
    await equal('disaster');
  });

  it('forced failback reopens the old primary, as Cinder asks for it', async () => {
    const { session } = await pair.protect('forced', 8 * MiB, { fill: noise(MiB, 17) });
    await pair.act(pair.b, session, 'failover', { is_planned: false, force: false });
    await pair.until(session, 'Failed_Over');
    expect(await refusal(pair.act(pair.b, session, 'failover', { is_planned: false, force: false }))).toMatchObject({
      code: '0xE0201005000C',
    });
    await pair.act(pair.a, session, 'failover', { is_planned: false, force: true });
    await pair.act(pair.a, session, 'reprotect');
    await pair.settled(session);
    expect((await pair.a.client.get('replication_session', session)).role).toBe('Source');
  });

  it('reverse fails over and reprotects in one call', async () => {
    const { session } = await pair.protect('reverse', 8 * MiB, { fill: noise(MiB, 18) });
    await pair.act(pair.a, session, 'failover', { is_planned: true, reverse: true });
    await pair.settled(session);
    expect((await pair.b.client.get('replication_session', session)).role).toBe('Source');
    const policy = await pair.b.client.first('policy', {
      select: 'name,is_replica',
      filter: { name: 'eq.reverse-policy' },
    });
    expect(policy).toMatchObject({ is_replica: false });
  });
});

describe('refusals', () => {
  it('wrong side 400, wrong state 422, unknown id 404, malformed body 400, each saying what would be right; nothing changes [P8]', async () => {
    const { session } = await pair.protect('refusals', 8 * MiB, { fill: noise(MiB, 19) });
    const before = await pair.a.client.get('replication_session', session);
    const sideError = await refusal(pair.act(pair.b, session, 'failover', { is_planned: true }));
    expect(sideError.status).toBe(400);
    expect(sideError.message).toContain('source');
    expect((await refusal(pair.act(pair.a, session, 'failover', { is_planned: false }))).status).toBe(400);
    expect((await refusal(pair.act(pair.b, session, 'sync'))).status).toBe(400);
    const stateError = await refusal(pair.act(pair.a, session, 'reprotect'));
    expect(stateError).toMatchObject({ status: 422 });
    expect(stateError.message).toContain('Failed_Over');
    expect((await refusal(pair.act(pair.a, '00000000-0000-0000-0000-000000000000', 'pause'))).status).toBe(404);
    expect(await refusal(pair.act(pair.a, session, 'failover', { planned: true }))).toMatchObject({
      status: 400,
      code: '0xE04040030001',
    });
    expect((await refusal(pair.act(pair.a, session, 'failover', { is_planned: 'yes' }))).status).toBe(400);
    expect((await refusal(pair.act(pair.a, session, 'failover', { is_planned: false, reverse: true }))).status).toBe(
      400,
    );
    expect(await pair.a.client.get('replication_session', session)).toMatchObject({
      state: before.state,
      role: before.role,
      last_sync_timestamp: before.last_sync_timestamp,
    });
  });
});
