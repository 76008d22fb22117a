import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, MiB, Pair } from './pair.ts';

const rate = 300;
const pair = new Pair();
beforeAll(() => pair.start('--clock-rate', String(rate)), 120_000);
afterAll(() => pair.stop(), 90_000);

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
    const began = performance.now();
    const [atA, atB] = await Promise.all([systemTime(pair.a), systemTime(pair.b)]);
    const took_ms = performance.now() - began;
    expect(Math.abs(atA - atB)).toBeLessThanOrEqual(took_ms * rate + 1_000);
    expect(atA).toBeGreaterThan(Date.now());
  });

  test('hours of cycles pass in seconds, and what waits for the peer is not hurried', async () => {
    const { session } = await pair.protect('hourly', 4 * MiB);
    const rule = (await pair.a.client.get('replication_session', session)).replication_rule_id;
    await pair.a.client.modify('replication_rule', String(rule), { rpo: 'Five_Minutes' });
    const began_ms = await systemTime(pair.a);
    const history = async () =>
      (await pair.a.client.request('GET', `/api/antipode/v1/replication_sessions/${session}/history`))
        .body as unknown as readonly { readonly trigger: string; readonly started: string }[];
    let scheduled = 0;
    await eventually(
      'five scheduled cycles',
      async () => {
        scheduled = (await history()).filter(({ trigger }) => trigger === 'schedule').length;
        return scheduled >= 5;
      },
      () => String(scheduled),
    );
    // How much earlier than 80 % of the objective a cycle starts depends on how long copies take; five of them fill more than one objective.
    expect((await systemTime(pair.a)) - began_ms).toBeGreaterThan(5 * 60_000);
    // Heartbeats of half a second and answers within seconds would be lost at once if they were hurried.
    const lost = await pair.a.client.all('event', { select: 'id', filter: { event_code: 'eq.0x02010201' } });
    expect(lost).toEqual([]);
  });
});
