import { calendarZone, type EnumValue, enums } from '@antipode/contract';
import type { SnapshotRuleDocument } from '../../catalog/documents.ts';
import type { RuleSchedule } from './calendar.ts';

const minute_ms = 60_000;

export const interval_ms: Readonly<Record<EnumValue<'SnapRuleInterval'>, number>> = {
  Five_Minutes: 5 * minute_ms,
  Fifteen_Minutes: 15 * minute_ms,
  Thirty_Minutes: 30 * minute_ms,
  One_Hour: 60 * minute_ms,
  Two_Hours: 120 * minute_ms,
  Three_Hours: 180 * minute_ms,
  Four_Hours: 240 * minute_ms,
  Six_Hours: 360 * minute_ms,
  Eight_Hours: 480 * minute_ms,
  Twelve_Hours: 720 * minute_ms,
  One_Day: 1440 * minute_ms,
};

const daysOfWeek: readonly string[] = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** A rule as the calendar takes it. No days named: every day. */
export function scheduleOf(rule: SnapshotRuleDocument): RuleSchedule {
  const named = rule.days_of_week.length === 0 ? daysOfWeek : rule.days_of_week;
  const days = new Set(named.map((day) => daysOfWeek.indexOf(day)));
  if (rule.interval !== null) return { interval_ms: interval_ms[rule.interval], zone: 'UTC', days };
  const [hours = 0, minutes = 0] = (rule.time_of_day ?? '00:00').split(':').map(Number);
  const zone = enums.TimeZone.find((known) => known === rule.timezone);
  return { timeOfDay_min: hours * 60 + minutes, zone: zone === undefined ? 'UTC' : calendarZone(zone), days };
}
