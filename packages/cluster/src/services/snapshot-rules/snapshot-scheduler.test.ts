import type { Clock, Timer } from '@antipode/base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { timestamp } from '../../catalog/documents.ts';
import { Reporter } from '../occurrences.ts';
import { SnapshotService } from '../snapshots.ts';
import { type ServiceFixture, serviceFixture } from '../testing/service-fixture.ts';
import { SnapshotScheduler } from './snapshot-scheduler.ts';

/** A clock that only a test moves; sleeps are over at once and counted. */
class TestClock implements Clock {
  at_ms = Date.parse('2026-06-03T10:02:00Z');
  slept_ms = 0;
  readonly #timers = new Set<{ at_ms: number; callback: () => void }>();
  now = () => this.at_ms;
  monotonic = () => this.at_ms;
  sleep = async (delay_ms: number) => {
    this.slept_ms += delay_ms;
  };
  after(delay_ms: number, callback: () => void): Timer {
    const timer = { at_ms: this.at_ms + delay_ms, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }
  to(text: string): void {
    this.at_ms = Date.parse(text);
    for (const timer of [...this.#timers])
      if (timer.at_ms <= this.at_ms && this.#timers.delete(timer)) timer.callback();
  }
}

const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
let site: ServiceFixture;
let clock: TestClock;
let scheduler: SnapshotScheduler;
const open = () => {
  const { catalog } = site;
  const reporter = new Reporter(catalog, clock, site.storage.random);
  const snapshots = new SnapshotService({ ...site.storage, clock });
  return new SnapshotScheduler({ catalog, clock, reporter, snapshots });
};
beforeEach(async () => {
  site = await serviceFixture();
  clock = new TestClock();
  scheduler = open();
});
afterEach(async () => {
  scheduler.stop();
  await site.close();
});

const protectedBy = async (rule: object, names: readonly string[]) => {
  const id = await site.made('snapshot_rule.create', '', { name: 'rule', desired_retention: 2, ...rule });
  scheduler.ruleChanged(id);
  const policy = await site.made('policy.create', '', { name: 'policy', snapshot_rule_ids: [id] });
  const volumes = [];
  for (const name of names)
    volumes.push(await site.made('volume.create', '', { name, size: 2 ** 20, protection_policy_id: policy }));
  return { id, policy, volumes };
};
const snapshots = () => site.catalog.list('volume', 'type', 'Snapshot');
const settled = (count: number) =>
  expect
    .poll(() => [scheduler.waiting, snapshots().filter(({ state }) => state === 'Ready').length])
    .toEqual([0, count]);

describe('snapshots by rule', () => {
  it('are of all members of a group at one instant where the policy is the group’s, and go as a whole', async () => {
    const { id, policy } = await protectedBy({ interval: 'Five_Minutes' }, []);
    const volume_ids = [];
    for (const name of ['x', 'y'])
      volume_ids.push(await site.made('volume.create', '', { name: `member-${name}`, size: 2 ** 20 }));
    const group = await site.made('volume_group.create', '', { name: 'g', volume_ids, protection_policy_id: policy });
    scheduler.start();
    await settled(0);
    clock.to('2026-06-03T10:05:00Z');
    await settled(2);
    const sets = () => site.catalog.list('volume_group', 'type', 'Snapshot');
    expect(sets()).toHaveLength(1);
    expect(sets()[0]?.protection_data).toMatchObject({
      parent_id: group,
      creator_type: 'Scheduler',
      created_by_rule_id: id,
    });
    const points = snapshots().map((one) => site.catalog.private<{ point: string }>('volume', one.id)?.point);
    expect(new Set(points).size).toBe(1);
    expect(snapshots().map(({ group_id }) => group_id)).toEqual([sets()[0]?.id, sets()[0]?.id]);
    // The rule goes with all that it has taken.
    await scheduler.ruleDeleted(id, true);
    expect([sets(), snapshots()]).toEqual([[], []]);
  });

  it('are taken when the rule is due, say whose they are, and expire', async () => {
    const { id, volumes } = await protectedBy({ interval: 'Five_Minutes' }, ['a', 'b']);
    scheduler.start();
    await settled(0);
    clock.to('2026-06-03T10:05:00Z');
    await settled(2);
    const [taken] = snapshots();
    expect(taken?.protection_data).toMatchObject({
      parent_id: volumes[0],
      creator_type: 'Scheduler',
      created_by_rule_id: id,
      created_by_rule_name: 'rule',
      expiration_timestamp: timestamp(clock.at_ms + 2 * 3_600_000),
      is_secure: false,
    });
    clock.to('2026-06-03T10:05:20Z');
    await settled(2);
    clock.to('2026-06-03T10:10:00Z');
    await settled(4);
    // Two hours after the first: what has expired is gone, what was due meanwhile is one run.
    clock.to('2026-06-03T12:07:00Z');
    await settled(4);
    expect(site.catalog.list('event', 'event_code', '0x02030101')).toHaveLength(1);
  });

  it('what a cluster missed while it was down is one snapshot each, and an event says how much it stands for', async () => {
    await protectedBy({ interval: 'One_Hour' }, ['a']);
    scheduler.start();
    clock.to('2026-06-03T11:00:00Z');
    await settled(1);
    scheduler.stop();
    clock.at_ms = Date.parse('2026-06-03T20:30:00Z');
    // Retention is two hours: the one before has expired by now.
    scheduler = open();
    scheduler.start();
    await settled(1);
    expect(site.catalog.list('event', 'event_code', '0x02030101')[0]?.description_l10n).toContain('was due 8 times');
  });

  it('a run that a restart cut short goes on where it was', async () => {
    const { id } = await protectedBy({ interval: 'One_Day', desired_retention: 100 }, ['a', 'b', 'c']);
    scheduler.stop();
    clock.at_ms = Date.parse('2026-06-04T00:00:00Z');
    // Only the first has been taken when the process ends.
    const a = site.catalog.list('volume', 'name', 'a')[0]!;
    const before = new SnapshotService({ ...site.storage, clock });
    await before.take(a, { creator: 'Scheduler', rule: { id, name: 'rule' } });
    scheduler = open();
    clock.at_ms = Date.parse('2026-06-04T00:01:00Z');
    scheduler.start();
    await settled(3);
    expect(new Set(snapshots().map(({ protection_data }) => protection_data.parent_id)).size).toBe(3);
  });

  it('leaves destinations and rules of a changed schedule alone until they are due again', async () => {
    const { id, volumes } = await protectedBy({ interval: 'One_Hour' }, ['a', 'b']);
    site.catalog.change('volume', volumes[1]!, { is_replication_destination: true });
    scheduler.start();
    await site.ask('snapshot_rule.modify', id, { time_of_day: '10:00', timezone: 'US__Pacific', days_of_week: days });
    scheduler.ruleChanged(id);
    clock.to('2026-06-03T11:00:00Z');
    await settled(0);
    clock.to('2026-06-03T17:00:00Z');
    await settled(1);
    expect(snapshots()[0]?.protection_data.parent_id).toBe(volumes[0]);
  });

  it('many volumes are spread over time, and a failure of one is an alert that the next success clears', async () => {
    const { volumes } = await protectedBy({ interval: 'Five_Minutes' }, ['a', 'b', 'c', 'd']);
    scheduler.start();
    site.failAt('freeze', new Error('no space'));
    clock.to('2026-06-03T10:05:00Z');
    await expect.poll(() => scheduler.waiting).toBe(0);
    expect(snapshots()).toHaveLength(0);
    expect(clock.slept_ms).toBeGreaterThanOrEqual(3 * 50);
    expect(site.catalog.list('alert', 'state', 'ACTIVE').map((alert) => alert.resource_id)).toEqual(volumes);
    site.failAt('freeze', undefined);
    clock.to('2026-06-03T10:10:00Z');
    await settled(4);
    expect(site.catalog.list('alert', 'state', 'ACTIVE')).toEqual([]);
  });

  it('secure ones outlast their rule, which otherwise takes them with it on demand', async () => {
    const { id, policy } = await protectedBy({ interval: 'Five_Minutes', is_secure: true }, ['a']);
    scheduler.start();
    clock.to('2026-06-03T10:05:00Z');
    await settled(1);
    await site.ask('volume.modify', site.catalog.list('volume', 'name', 'a')[0]!.id, { protection_policy_id: '' });
    await site.ask('policy.modify', policy, { remove_snapshot_rule_ids: [id] }).catch(() => undefined);
    await expect(scheduler.ruleDeleted(id, true)).rejects.toThrow('secure until it expires');
    expect(snapshots()).toHaveLength(1);
    clock.at_ms = Date.parse('2026-06-03T13:00:00Z');
    await scheduler.ruleDeleted(id, true);
    expect(snapshots()).toHaveLength(0);
  });
});
