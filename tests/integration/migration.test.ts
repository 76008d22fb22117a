import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectNbd, type NbdClient } from '../../packages/hosts/src/index.ts';
import { eventually, MiB, noise, Pair, readVolume, refusal } from './pair.ts';

/** Two real clusters of two appliances each. */
const pair = new Pair();
beforeAll(() => pair.start('--appliances', '2'));
afterAll(() => pair.stop());

const run = promisify(execFile);
const hasFio = existsSync('/usr/bin/fio');
type Made = { readonly id: string };
const client = () => pair.a.client;
const migration = (id: string) => client().get('migration_session', id) as unknown as Promise<Record<string, unknown>>;
/** Waits for one of these states; answers which it was. */
const inState = async (id: string, ...states: string[]): Promise<string> => {
  let seen = '';
  await eventually(
    states.join('|'),
    async () => {
      seen = String((await migration(id)).state);
      return states.includes(seen);
    },
    () => seen,
  );
  return seen;
};
/** A host that comes in at one of the appliances. */
const openAt = async (appliance: string, name: string): Promise<NbdClient> => {
  const { body } = await client().request('GET', '/api/antipode/v1/appliances');
  const found = (body as { id: string; nbd: { host: string; port: number } }[]).find(({ id }) => id === appliance)!;
  return connectNbd({ host: found.nbd.host, port: found.nbd.port, exportName: name });
};
const write = async (name: string, at: number, bytes: Uint8Array) => {
  const host = await pair.a.open(name);
  await host.write(at, bytes, { fua: true });
  await host.close();
};
const familyOf = async (id: string, kind: 'volume' | 'volume_group' = 'volume'): Promise<string> =>
  ((await client().get(kind, id)) as unknown as { protection_data: { family_id: string } }).protection_data.family_id;
const migrate = async (id: string, to: string, more: object = {}, kind: 'volume' | 'volume_group' = 'volume') =>
  client().create('migration_session', {
    resource_type: kind,
    family_id: await familyOf(id, kind),
    destination_appliance_id: to,
    ...more,
  });
const act = (id: string, name: string, body: object = {}) => client().action('migration_session', id, name, body);

describe('a migration', () => {
  it('takes a volume with its snapshots and clones to another appliance while hosts write that come in at either; every byte is there', async () => {
    const volume = await client().create('volume', { name: 'mover', size: 64 * MiB, appliance_id: 'A1' });
    await write('mover', 0, noise(8 * MiB, 1));
    const { id: first } = (await client().action('volume', volume, 'snapshot', { name: 'mover-1' })) as Made;
    await write('mover', 2 * MiB, noise(MiB, 2));
    const { id: clone } = (await client().action('volume', first, 'clone', { name: 'mover-clone' })) as Made;
    await write('mover-clone', 4 * MiB, noise(MiB, 3));
    const before = { mover: await readVolume(pair.a, 'mover'), clone: await readVolume(pair.a, 'mover-clone') };

    const expected = before.mover.slice();
    const here = await pair.a.open('mover');
    const there = await openAt('A2', 'mover');
    const writes = { here: 0, there: 0 };
    const fewest = () => Math.min(writes.here, writes.there);
    let stop = false;
    const failures: unknown[] = [];
    const write16MiB = async (host: NbdClient, name: keyof typeof writes, from: number) => {
      while (!stop) {
        const at = from + (writes[name] % 256) * 64 * 1024;
        const bytes = noise(64 * 1024, writes[name] + from);
        await host.write(at, bytes, { fua: writes[name] % 16 === 0 });
        expected.set(bytes, at);
        const back = new Uint8Array(bytes.length);
        await host.read(at, back);
        if (Buffer.compare(back, bytes) !== 0) throw new Error(`write ${writes[name]} ${name} cannot be read back`);
        writes[name] += 1;
      }
    };
    const writing = [write16MiB(here, 'here', 16 * MiB), write16MiB(there, 'there', 32 * MiB)].map((host) =>
      host.catch((error: unknown) => void failures.push(error)),
    );
    const id = await migrate(volume, 'A2', { name: 'first' });
    expect(await migration(id)).toMatchObject({
      state: 'Initialized',
      source_appliance_id: 'A1',
      destination_appliance_id: 'A2',
    });
    expect(await refusal(act(id, 'cutover'))).toMatchObject({ status: 422 });
    expect(await refusal(migrate(volume, 'A2', { name: 'again' }))).toMatchObject({ status: 422 });
    await act(id, 'sync');
    await inState(id, 'Idle');
    const atSync = fewest();
    await eventually('more writes', async () => fewest() > atSync + 20);
    await act(id, 'cutover');
    expect(await migration(id)).toMatchObject({ state: 'Completed', progress_percentage: 100 });
    const atCutover = fewest();
    await eventually('more writes', async () => failures.length > 0 || fewest() > atCutover + 20);
    stop = true;
    await Promise.all(writing);
    expect(failures).toEqual([]);
    for (const host of [here, there]) await host.close();

    for (const one of [volume, first, clone])
      expect(await client().get('volume', one)).toMatchObject({
        appliance_id: 'A2',
        migration_session_id: null,
        location_history: [{ from_appliance_id: 'A1', to_appliance_id: 'A2', reason: 'Manual' }],
      });
    expect(Buffer.compare(await readVolume(pair.a, 'mover'), expected)).toBe(0);
    expect(Buffer.compare(await readVolume(pair.a, 'mover-clone'), before.clone)).toBe(0);
    // The snapshot is what it was.
    const { id: again } = (await client().action('volume', first, 'clone', { name: 'mover-again' })) as Made;
    const image = await readVolume(pair.a, 'mover-again');
    expect(Buffer.compare(image.subarray(0, 8 * MiB), noise(8 * MiB, 1))).toBe(0);
    expect(await client().get('volume', again)).toMatchObject({ appliance_id: 'A2' });
    await client().remove('migration_session', id);
  });

  it('moves a protected volume in the middle of a sync; its session comes back by itself and ships the change alone', async () => {
    await pair.link('--rate', '80mbit');
    const { volume, session } = await pair.protect('shielded', 128 * MiB, {
      fill: noise(48 * MiB, 5),
      wait: false,
      appliance: 'A1',
    });
    await eventually(
      'some of the copy to be durable',
      async () => ((await pair.figures(pair.a, session)).copied_bytes ?? 0) > 0,
    );
    const load = hasFio
      ? run('fio', [
          ...[
            '--name=load',
            '--ioengine=nbd',
            `--uri=${pair.a.nbd}/shielded`,
            '--rw=randwrite',
            '--bs=4k',
            '--iodepth=8',
          ],
          ...[
            '--offset=64m',
            '--size=32m',
            '--rate_iops=400',
            '--io_size=24m',
            '--verify=crc32c',
            '--verify_fatal=1',
            '--verify_state_save=0',
            '--do_verify=1',
          ],
        ])
      : undefined;
    const id = await migrate(volume, 'A2', { name: 'protected', automatic_cutover: true });
    await act(id, 'sync');
    await inState(id, 'Completed');
    await pair.link('--rate', '10gbit');
    // fio reads everything back and compares it: an error ends it with another code.
    await load;
    await pair.settled(session);
    expect(await client().get('volume', volume)).toMatchObject({ appliance_id: 'A2' });
    const sync = async () => {
      const { last_sync_timestamp: before } = await client().get('replication_session', session);
      await pair.act(pair.a, session, 'sync');
      await eventually(
        'a cycle to be complete',
        async () => (await client().get('replication_session', session)).last_sync_timestamp !== before,
      );
      await pair.settled(session);
    };
    await sync();
    const before = Number((await pair.figures(pair.a, session)).shipped_bytes_total);
    await write('shielded', 10 * MiB, noise(MiB, 77));
    await sync();
    expect(Number((await pair.figures(pair.a, session)).shipped_bytes_total) - before).toBe(MiB);
    expect(Buffer.compare(await readVolume(pair.a, 'shielded'), await readVolume(pair.b, 'shielded'))).toBe(0);
    const events = await client().all('event', { select: 'event_code,description_l10n' });
    const told = events.map(({ event_code }) => event_code);
    expect(told).toEqual(expect.arrayContaining(['0x02060101', '0x02060104', '0x02010115', '0x02010116']));
  });

  it('moves a group as a whole, and refuses one of its members', async () => {
    const members: string[] = [];
    for (const name of ['g-0', 'g-1'])
      members.push(await client().create('volume', { name, size: 16 * MiB, appliance_id: 'A1' }));
    const group = await client().create('volume_group', { name: 'g', volume_ids: members });
    await write('g-0', 0, noise(MiB, 1));
    await write('g-1', 0, noise(MiB, 2));
    await client().action('volume_group', group, 'snapshot', { name: 'g-set' });
    const refused = await refusal(migrate(members[0]!, 'A2'));
    expect(refused).toMatchObject({ status: 422, message: expect.stringContaining('volume group g') });
    const id = await migrate(group, 'A2', { name: 'group', automatic_cutover: true }, 'volume_group');
    await act(id, 'sync');
    await inState(id, 'Completed');
    for (const volume of await client().all('volume', { select: 'name,appliance_id', filter: { name: 'like.g-*' } }))
      expect(volume).toMatchObject({ appliance_id: 'A2' });
    for (const [index, name] of ['g-0', 'g-1'].entries())
      expect(Buffer.compare((await readVolume(pair.a, name)).subarray(0, MiB), noise(MiB, index + 1))).toBe(0);
  });

  it('pauses, resumes, and is deleted without a trace before its cutover', async () => {
    const volume = await client().create('volume', { name: 'stays', size: 64 * MiB, appliance_id: 'A1' });
    await write('stays', 0, noise(24 * MiB, 4));
    const id = await migrate(volume, 'A2', { name: 'paused' });
    await act(id, 'sync');
    await inState(id, 'Synchronizing', 'Idle');
    await act(id, 'pause');
    expect(await migration(id)).toMatchObject({ state: 'Paused' });
    expect(await refusal(act(id, 'sync'))).toMatchObject({ status: 422 });
    await act(id, 'resume');
    await inState(id, 'Idle');
    await client().remove('migration_session', id);
    expect(await client().get('volume', volume)).toMatchObject({ appliance_id: 'A1', migration_session_id: null });
    expect(Buffer.compare((await readVolume(pair.a, 'stays')).subarray(0, 24 * MiB), noise(24 * MiB, 4))).toBe(0);
  });

  it.each([
    ...['depart', 'adopt', 'departed', 'forget_arrival'].flatMap((op) => [
      `engine.${op}.ordered`,
      `engine.${op}.durable`,
    ]),
    'engine.arrive.durable',
    'engine.image_address.durable',
    'migration.sessions.paused',
    'migration.unit.departed',
    'migration.images.shipped',
    'migration.unit.adopted',
    'migration.unit.settled',
    'migration.catalog.followed',
  ])('a death at %s leaves one owner with every byte, and the migration can be done', async (point) => {
    const name = point.replaceAll(/[._]/g, '-');
    const volume = await client().create('volume', { name, size: 8 * MiB, appliance_id: 'A1' });
    await write(name, 0, noise(4 * MiB, 6));
    const id = await migrate(volume, 'A2', { name });
    await act(id, 'sync');
    await inState(id, 'Idle');
    await write(name, MiB, noise(2 * MiB, 7));
    const expected = noise(4 * MiB, 6);
    expected.set(noise(2 * MiB, 7), MiB);
    const died = pair.dieAt(point);
    await act(id, 'cutover').catch(() => undefined);
    await eventually('somebody to die there', async () => died());
    const state = await inState(id, 'Completed', 'System_Paused', 'Idle');
    const served = async () => {
      let bytes = new Uint8Array();
      await eventually('the volume to be served', async () => {
        bytes = await readVolume(pair.a, name).catch(() => new Uint8Array());
        return bytes.length > 0;
      });
      return bytes.subarray(0, 4 * MiB);
    };
    expect(Buffer.compare(await served(), expected)).toBe(0);
    expect(await client().get('volume', volume)).toMatchObject({ appliance_id: state === 'Completed' ? 'A2' : 'A1' });
    if (state !== 'Completed') {
      await act(id, 'sync', { automatic_cutover: true });
      await inState(id, 'Completed');
      expect(Buffer.compare(await served(), expected)).toBe(0);
    }
    // Nothing of it is kept where it was.
    await client().remove('migration_session', id);
  });

  it('moves a replica with its snapshots while cycles land; no cycle is lost, none begins anew from nothing', async () => {
    const { volume, session } = await pair.protect('followed', 32 * MiB, { fill: noise(8 * MiB, 8), appliance: 'A1' });
    const replica = String((await pair.a.client.get('replication_session', session)).remote_resource_id);
    const there = pair.b.client;
    const cycle = async (seed: number) => {
      await client().action('volume', volume, 'snapshot', { name: `followed-${seed}` });
      await write('followed', (seed % 32) * MiB, noise(MiB, seed));
      await eventually('a cycle to land', async () => {
        const filter = { name: `eq.followed-${seed}` };
        if ((await there.first('volume', { select: 'id', filter })) !== undefined) return true;
        // Refused while the session is paused for the cutover: asked for again afterwards.
        const { state } = await client().get('replication_session', session);
        if (state === 'OK') await pair.act(pair.a, session, 'sync').catch(() => undefined);
        return false;
      });
    };
    await cycle(1);
    const from = String((await there.get('volume', replica)).appliance_id);
    const to = from === 'A1' ? 'A2' : 'A1';
    const { family_id } = (
      (await there.get('volume', replica)) as unknown as { protection_data: { family_id: string } }
    ).protection_data;
    const id = await there.create('migration_session', {
      name: 'replica',
      resource_type: 'volume',
      family_id,
      destination_appliance_id: to,
      automatic_cutover: true,
    });
    const { shipped_bytes_total: before } = await pair.figures(pair.a, session);
    await there.action('migration_session', id, 'sync', {});
    let seed = 2;
    await eventually('the replica to have moved', async () => {
      await cycle(seed++);
      return (await there.get('migration_session', id)).state === 'Completed';
    });
    await cycle(seed++);
    expect(await there.get('volume', replica)).toMatchObject({ appliance_id: to });
    await pair.settled(session);
    // The last snapshot may have come with the cycle that the end of the pause began, before the write that follows it.
    await pair.act(pair.a, session, 'sync');
    await pair.settled(session);
    // What a cycle had shipped when its stage was left behind is shipped once more, and nothing else.
    const { shipped_bytes_total: after } = await pair.figures(pair.a, session);
    expect(Number(after) - Number(before)).toBeLessThanOrEqual((seed - 1) * MiB);
    const snapshots = (await there.all('volume', {
      select: 'name,appliance_id',
      filter: { type: 'eq.Snapshot', 'protection_data->>parent_id': `eq.${replica}` },
    })) as unknown as readonly { readonly name: string; readonly appliance_id: string }[];
    expect(snapshots.map(({ name }) => name).sort()).toEqual(
      Array.from({ length: seed - 1 }, (_, index) => `followed-${index + 1}`).sort(),
    );
    for (const { appliance_id } of snapshots) expect(appliance_id).toBe(to);
    expect(Buffer.compare(await readVolume(pair.a, 'followed'), await readVolume(pair.b, 'followed'))).toBe(0);
  });
});
