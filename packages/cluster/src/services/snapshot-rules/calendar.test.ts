import { calendarZone, timeZones } from '@antipode/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { duesBetween, lastDue_ms, nextDue_ms, type RuleSchedule } from './calendar.ts';

const at = (text: string): number => Date.parse(text);
const everyDay = new Set([0, 1, 2, 3, 4, 5, 6]);
const hour_ms = 3_600_000;

const days = fc.uniqueArray(fc.nat(6), { minLength: 1 }).map((list) => new Set(list));
const schedule: fc.Arbitrary<RuleSchedule> = fc.oneof(
  fc.record({
    timeOfDay_min: fc.nat(1439),
    zone: fc.constantFrom(...timeZones).map(calendarZone),
    days,
  }),
  fc.record({
    interval_ms: fc.constantFrom(...[5, 15, 30, 60, 120, 180, 240, 360, 480, 720, 1440].map((min) => min * 60_000)),
    zone: fc.constant('UTC'),
    days,
  }),
);
const moment = fc.integer({ min: at('2020-01-01T00:00Z') / 1000, max: at('2035-01-01T00:00Z') / 1000 });

describe('when a snapshot rule is due', () => {
  it('next and last agree, nothing is due between, and time only goes on', () => {
    fc.assert(
      fc.property(schedule, moment, fc.nat(3 * 86_400), (rule, second, later) => {
        const now = second * 1000;
        const next = nextDue_ms(rule, now);
        expect(next).toBeGreaterThan(now);
        expect(lastDue_ms(rule, next)).toBe(next);
        const last = lastDue_ms(rule, now);
        expect(last).toBeLessThanOrEqual(now);
        expect(nextDue_ms(rule, last)).toBe(next);
        expect(nextDue_ms(rule, now + later * 1000)).toBeGreaterThanOrEqual(next);
        expect(next - last).toBeLessThanOrEqual(7 * 86_400_000 + 2 * hour_ms);
      }),
      { numRuns: 500 },
    );
  });

  it('a time of day is what clocks of its zone show, on its days, unless they are put forward over it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...timeZones), fc.nat(1439), days, moment, (name, timeOfDay_min, on, second) => {
        const zone = calendarZone(name);
        const next = nextDue_ms({ timeOfDay_min, zone, days: on }, second * 1000);
        const format = new Intl.DateTimeFormat('en-GB', {
          timeZone: zone,
          weekday: 'short',
          hour: '2-digit',
          minute: '2-digit',
        });
        const part = Object.fromEntries(format.formatToParts(next).map(({ type, value }) => [type, value]));
        const shown = (Number(part.hour) % 24) * 60 + Number(part.minute);
        // The gaps of these zones are half an hour or an hour.
        expect([0, 30, 60]).toContain((shown - timeOfDay_min + 1440) % 1440);
        const weekday = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'].indexOf(part.weekday ?? '');
        if (shown === timeOfDay_min) expect(on.has(weekday)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('clocks put forward: later by as much; put back: once, the first time', () => {
    const rule = { timeOfDay_min: 2 * 60 + 30, zone: 'America/New_York', days: everyDay };
    // 2026-03-08 02:00 EST becomes 03:00 EDT: 02:30 does not exist.
    expect(nextDue_ms(rule, at('2026-03-08T05:00Z'))).toBe(at('2026-03-08T07:30Z'));
    // 2026-11-01 02:00 EDT becomes 01:00 EST: 01:30 is there twice.
    const twice = { ...rule, timeOfDay_min: 90 };
    expect(nextDue_ms(twice, at('2026-11-01T04:00Z'))).toBe(at('2026-11-01T05:30Z'));
    expect(nextDue_ms(twice, at('2026-11-01T05:30Z'))).toBe(at('2026-11-02T06:30Z'));
  });

  it('days are the zone’s for a time of day, and UTC’s for an interval', () => {
    // Monday 00:30 in Auckland's neighbour is still Sunday in UTC.
    const local = { timeOfDay_min: 30, zone: 'Pacific/Kiritimati', days: new Set([1]) };
    expect(nextDue_ms(local, at('2026-06-01T00:00Z'))).toBe(at('2026-06-07T10:30Z'));
    const hourly = { interval_ms: hour_ms, zone: 'UTC', days: new Set([1]) };
    expect(nextDue_ms(hourly, at('2026-06-01T23:10Z'))).toBe(at('2026-06-08T00:00Z'));
    expect(lastDue_ms(hourly, at('2026-06-04T12:00Z'))).toBe(at('2026-06-01T23:00Z'));
  });

  it('counts what was missed', () => {
    const rule = { interval_ms: 5 * 60_000, zone: 'UTC', days: everyDay };
    expect(duesBetween(rule, at('2026-06-01T00:00Z'), at('2026-06-01T01:00Z'), 1000)).toBe(12);
    expect(duesBetween(rule, at('2026-06-01T00:00Z'), at('2026-07-01T00:00Z'), 1000)).toBe(1000);
  });
});
