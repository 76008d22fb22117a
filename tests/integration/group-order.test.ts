import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, Pair } from './pair.ts';
import { StampWriter } from './stamps.ts';

/** No image that can be recovered, ever, shows stamp n+1 without n. */
const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

const size = 4 * MiB;

async function group(name: string): Promise<{ readonly id: string; readonly names: readonly string[] }> {
  const names = [0, 1, 2].map((index) => `${name}-${index}`);
  const volume_ids: string[] = [];
  for (const member of names) volume_ids.push(await pair.a.client.create('volume', { name: member, size }));
  return { id: await pair.a.client.create('volume_group', { name, volume_ids }), names };
}

async function protectedGroup(name: string) {
  const { id, names } = await group(name);
  const remote = await pair.a.client.first('remote_system', { select: 'id' });
  const rule = await pair.a.client.create('replication_rule', {
    name,
    rpo: 'One_Day',
    remote_system_id: String(remote?.id),
  });
  const policy = await pair.a.client.create('policy', { name, replication_rule_ids: [rule] });
  await pair.a.client.modify('volume_group', id, { protection_policy_id: policy });
  const found = await pair.a.client.first('replication_session', {
    select: 'id',
    filter: { local_resource_id: `eq.${id}` },
  });
  const session = String(found?.id);
  await pair.settled(session);
  return { id, names, session };
}

/** Asks for one cycle after the other, until told to stop. */
function cycling(session: string) {
  let stopped = false;
  const done = (async () => {
    while (!stopped) {
      await pair.act(pair.a, session, 'sync').catch(() => undefined);
      await pause(20);
    }
  })();
  return async () => {
    stopped = true;
    await done;
  };
}

describe('the order of writes across the members of a group', () => {
  it('is kept in every snapshot set taken while a host writes [C9.3]', async () => {
    const { id, names } = await group('sets');
    const writer = new StampWriter(names);
    await writer.start(pair.a);
    await writer.more(2000);
    const seen: { readonly before: number; readonly after: number; readonly set: string }[] = [];
    for (let number = 0; number < 6; number++) {
      const before = writer.acknowledged;
      const { id: set } = (await pair.a.client.action('volume_group', id, 'snapshot', { name: `s${number}` })) as {
        id: string;
      };
      seen.push({ before, after: writer.acknowledged, set });
      await writer.more(300);
    }
    await writer.stop();
    expect(writer.refused).toBeUndefined();
    for (const [number, { before, after, set }] of seen.entries()) {
      await pair.a.client.action('volume_group', set, 'clone', { name: `c${number}` });
      const shown = await writer.checkAt(
        pair.a,
        names.map((name) => `c${number}.s${number}.${name}`),
      );
      // Acknowledged before the call: in. Issued after its answer: out.
      expect(shown).toBeGreaterThanOrEqual(before);
      expect(shown).toBeLessThanOrEqual(after + 1);
    }
    expect(await writer.checkAt(pair.a)).toBe(writer.acknowledged);
  });

  it('survives kill -9 of the data plane: what is there is a prefix, with everything that was acknowledged [C9.3]', async () => {
    const { names } = await group('killed');
    const writer = new StampWriter(names);
    for (let round = 0; round < 3; round++) {
      await eventually('the exports', async () => {
        await writer.start(pair.a);
        return true;
      });
      await writer.more(500 + round * 377);
      await pair.kill(pair.a, 'dataplane');
      await writer.ended();
      let shown = -1;
      await eventually('the exports to be back', async () => {
        shown = await writer.checkAt(pair.a).catch((error: Error) => {
          if (/stamp|torn/.test(error.message)) throw new Error(`the order is broken: ${error.message}`);
          return -1;
        });
        return shown >= 0;
      });
      expect(shown).toBeGreaterThanOrEqual(writer.acknowledged);
      expect(shown).toBeLessThanOrEqual(writer.acknowledged + 1);
      writer.acknowledged = shown;
    }
  });

  it('is kept by an unplanned failover at any moment, and by what is copied back [C3.3] [C9.3]', async () => {
    const { names, session } = await protectedGroup('sudden');
    const writer = new StampWriter(names);
    for (let round = 0; round < 4; round++) {
      await writer.start(pair.a);
      await writer.more(1000);
      await pair.link('--rate', '100mbit');
      const stop = cycling(session);
      await pause(Math.floor(Math.random() * 900));
      await pair.act(pair.b, session, 'failover', { is_planned: false });
      await stop();
      await pair.link('--rate', '10gbit');
      const shown = await writer.checkAt(pair.b);
      await pair.until(session, 'Failed_Over');
      await writer.ended();
      expect(writer.refused).toBe('EPERM');
      expect(shown).toBeLessThanOrEqual(writer.acknowledged);
      // The host goes on where the copy ends, at the other site, and back again.
      writer.acknowledged = shown;
      await writer.start(pair.b);
      await writer.more(500);
      await pair.act(pair.b, session, 'reprotect');
      await pair.settled(session);
      await writer.more(500);
      await pair.act(pair.b, session, 'failover', { is_planned: true });
      await writer.ended();
      expect(await writer.checkAt(pair.a)).toBe(writer.acknowledged);
      await pair.act(pair.a, session, 'reprotect');
      await pair.settled(session);
    }
  });

  it('is kept when either cluster is killed in the middle of a cycle and the copy is opened afterwards [C3.3] [C9.3]', async () => {
    for (const side of ['a', 'b'] as const) {
      const { names, session } = await protectedGroup(`dead-${side}`);
      const writer = new StampWriter(names);
      await writer.start(pair.a);
      await writer.more(1000);
      await pair.link('--rate', '60mbit');
      const stop = cycling(session);
      await pause(200 + Math.floor(Math.random() * 500));
      await pair.kill(pair[side], 'all');
      await stop();
      await writer.stop();
      await pair.link('--rate', '10gbit');
      await eventually('the failover', async () => {
        await pair.act(pair.b, session, 'failover', { is_planned: false });
        return true;
      });
      const shown = await writer.checkAt(pair.b);
      expect(shown).toBeLessThanOrEqual(writer.acknowledged + 1);
      await pair.until(session, 'Failed_Over');
    }
  });
});
