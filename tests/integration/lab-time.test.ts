import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, MiB, Pair } from './pair.ts';

const rate = 300;
const pair = new Pair();
beforeAll(() => pair.start('--clock-rate', String(rate)));
afterAll(() => pair.stop());

const systemTime = async (site: Pair['a']) =>
  Date.parse(String((await site.client.get('cluster', '0', { select: 'system_time' })).system_time));

describe('a lab whose time runs faster', () => {
  test('says so at both clusters, whose dates agree', async () => {
    for (const site of [pair.a, pair.b]) {
      const [alert] = await site.client.all('alert', {
        select: 'description_l10n',
        filter: { event_code: 'eq.0x02040102', state: 'eq.ACTIVE' },
      });
      expect(String(alert?.description_l10n)).toContain(`${rate} times`);
    }
    // Asked one after the other, back and forth, they never go back: it is one clock, and it is ahead of the machine's.
    const dates: number[] = [];
    for (const site of [pair.a, pair.b, pair.a, pair.b, pair.a]) dates.push(await systemTime(site));
    expect(dates).toEqual(dates.toSorted((one, other) => one - other));
    expect(dates[0]).toBeGreaterThan(Date.now());
  });

  test('hours of cycles pass in seconds, and what waits for the peer is not hurried', async () => {
    const { session } = await pair.protect('hourly', 4 * MiB);
    const rule = (await pair.a.client.get('replication_session', session)).replication_rule_id;
    await pair.a.client.modify('replication_rule', String(rule), { rpo: 'Five_Minutes' });
    const history = async () =>
      (await pair.a.client.request('GET', `/api/antipode/v1/replication_sessions/${session}/history`))
        .body as unknown as readonly { readonly trigger: string; readonly instant_timestamp: string }[];
    let moments: readonly number[] = [];
    await eventually(
      'five scheduled cycles',
      async () => {
        const scheduled = (await history()).filter(({ trigger }) => trigger === 'schedule');
        moments = scheduled
          .map(({ instant_timestamp }) => Date.parse(instant_timestamp))
          .toSorted((one, other) => one - other);
        return moments.length >= 5;
      },
      () => String(moments.length),
    );
    // How much earlier than 80 % of the objective a cycle starts depends on how long copies take; five of them fill more than one objective.
    expect(moments.at(-1)! - moments[0]!).toBeGreaterThan(5 * 60_000);
    // Heartbeats of half a second and answers within seconds would be lost again and again if they were hurried; one may be on a busy machine.
    const lost = await pair.a.client.all('event', { select: 'id', filter: { event_code: 'eq.0x02010201' } });
    expect(lost.length).toBeLessThan(moments.length);
  });
});
