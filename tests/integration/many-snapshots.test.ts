import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair, readVolume } from './pair.ts';

/** More snapshots than one record of a log describes, in one cycle. */
const snapshots = 1000;
const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

const snapshotsOf = async (parent: string) =>
  (await pair.b.client.all('volume', {
    select: 'id,name,protection_data',
    filter: { type: 'eq.Snapshot', 'protection_data->>parent_id': `eq.${parent}` },
  })) as unknown as readonly { readonly id: string; readonly name: string }[];
const peerOf = async (session: string) =>
  String((await pair.a.client.get('replication_session', session)).remote_resource_id);
const leftOut = async () =>
  (await pair.a.client.all('event', { select: 'event_code', filter: { event_code: 'eq.0x02010121' } })).length;
/** So many calls at a time. */
const some = async (count: number, work: (index: number) => Promise<unknown>) => {
  for (let at = 0; at < count; at += 16)
    await Promise.all(Array.from({ length: Math.min(16, count - at) }, (_, index) => work(at + index)));
};

describe('a cycle whose plan is larger than a record of the log', () => {
  it('brings every snapshot of a volume, though both clusters are killed in the middle of it [C3.1] [C3.5]', async () => {
    const { volume, session } = await pair.protect('many', 16 * MiB);
    await pair.act(pair.a, session, 'pause');
    await pair.until(session, 'Paused');
    const host = await pair.a.open('many');
    const description = 'what this is for, and who wants it kept. '.repeat(3);
    await some(snapshots, async (index) => {
      if (index % 16 === 0) await host.write((index % 1024) * 16 * 1024, noise(4096, index + 1), { fua: true });
      await pair.a.client.action('volume', volume, 'snapshot', { name: `many-${index}`, description });
    });
    await host.close();
    const peer = await peerOf(session);
    await pair.link('--rate', '4mbit');
    await pair.act(pair.a, session, 'resume');
    await pair.settled(session);
    await pair.act(pair.a, session, 'sync');
    await eventually('the copy to be under way', async () => (await pair.state(pair.a, session)) === 'Synchronizing');
    for (const site of [pair.b, pair.a]) await pair.kill(site, 'dataplane');
    await pair.link('--rate', '10gbit');
    await eventually(
      'every snapshot',
      async () => (await snapshotsOf(peer)).length === snapshots,
      () => 'fewer',
    );
    await pair.settled(session);
    const names = new Set((await snapshotsOf(peer)).map(({ name }) => name));
    expect(names.size).toBe(snapshots);
    expect(Buffer.compare(await readVolume(pair.b, 'many'), await readVolume(pair.a, 'many'))).toBe(0);
    expect(await leftOut()).toBe(0);
    // What is in one of them is what was in it.
    for (const index of [0, snapshots - 1]) {
      const found = (await snapshotsOf(peer)).find(({ name }) => name === `many-${index}`)!;
      await pair.b.client.action('volume', found.id, 'clone', { name: `there-${index}` });
      const own = (await pair.a.client.first('volume', { select: 'id', filter: { name: `eq.many-${index}` } }))!;
      await pair.a.client.action('volume', String(own.id), 'clone', { name: `here-${index}` });
      const [there, here] = [await readVolume(pair.b, `there-${index}`), await readVolume(pair.a, `here-${index}`)];
      expect(Buffer.compare(there, here)).toBe(0);
    }
  });
});
