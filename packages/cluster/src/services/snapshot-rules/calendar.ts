/**
 * When a snapshot rule is due. Pure: moments are epoch milliseconds, time zones are Intl's.
 *
 * - An interval counts from midnight UTC of any day; days are judged in UTC.
 * - A time of day is a wall-clock time of its zone (UTC if none is named), and days are judged there. Where the clocks are put forward
 *   over it, it is due by as much later as they are put forward; where they are put back over it, it is due once, the first time.
 */
export interface RuleSchedule {
  readonly interval_ms?: number;
  /** Minutes after midnight. */
  readonly timeOfDay_min?: number;
  /** Name of a zone as Intl knows it. */
  readonly zone: string;
  /** 0: Sunday. */
  readonly days: ReadonlySet<number>;
}

const day_ms = 86_400_000;
/** A week, and the days around it that a change of the clocks may need. */
const horizon_days = 9;

/** The first moment after `after_ms` at which the rule is due. */
export function nextDue_ms(schedule: RuleSchedule, after_ms: number): number {
  if (schedule.interval_ms !== undefined) {
    const step = schedule.interval_ms;
    let at = (Math.floor(after_ms / step) + 1) * step;
    while (!schedule.days.has(new Date(at).getUTCDay())) at = nextDay(at);
    return at;
  }
  const from = localDay(schedule.zone, after_ms) - 1;
  for (let day = from; day < from + horizon_days + 2; day++) {
    const at = dueOn(schedule, day);
    if (at !== undefined && at > after_ms) return at;
  }
  throw new Error('a rule with at least one day is due within a week');
}

/** The newest moment up to and including `until_ms` at which the rule was due. */
export function lastDue_ms(schedule: RuleSchedule, until_ms: number): number {
  if (schedule.interval_ms !== undefined) {
    const step = schedule.interval_ms;
    let at = Math.floor(until_ms / step) * step;
    // The last one of the day before.
    while (!schedule.days.has(new Date(at).getUTCDay())) at = Math.floor((startOfDay(at) - 1) / step) * step;
    return at;
  }
  const from = localDay(schedule.zone, until_ms) + 1;
  for (let day = from; day > from - horizon_days - 2; day--) {
    const at = dueOn(schedule, day);
    if (at !== undefined && at <= until_ms) return at;
  }
  throw new Error('a rule with at least one day was due within a week');
}

/** How often it was due in (after, until], counted up to `most`. */
export function duesBetween(schedule: RuleSchedule, after_ms: number, until_ms: number, most: number): number {
  let count = 0;
  for (let at = nextDue_ms(schedule, after_ms); at <= until_ms && count < most; at = nextDue_ms(schedule, at))
    count += 1;
  return count;
}

const startOfDay = (at_ms: number): number => Math.floor(at_ms / day_ms) * day_ms;
const nextDay = (at_ms: number): number => startOfDay(at_ms) + day_ms;

/** Days since 1970-01-01 of the local date at a moment. */
const localDay = (zone: string, at_ms: number): number => Math.floor((at_ms + offset_ms(zone, at_ms)) / day_ms);

/** The moment of the rule's time on a local day, if that day is one of its days. */
function dueOn(schedule: RuleSchedule, day: number): number | undefined {
  // 1970-01-01 was a Thursday.
  if (!schedule.days.has((((day + 4) % 7) + 7) % 7)) return undefined;
  const local = day * day_ms + (schedule.timeOfDay_min ?? 0) * 60_000;
  const before = offset_ms(schedule.zone, local - day_ms);
  const after = offset_ms(schedule.zone, local + day_ms);
  const candidates = [local - before, local - after].filter((at) => at + offset_ms(schedule.zone, at) === local);
  // None: the clocks are put forward over it. Both: they are put back over it.
  return candidates.length === 0 ? local - before : Math.min(...candidates);
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** What a zone's clocks show beyond UTC, ms. */
function offset_ms(zone: string, at_ms: number): number {
  let format = formats.get(zone);
  if (format === undefined) {
    const numeric = 'numeric' as const;
    const fields = { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric, second: numeric };
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', ...fields });
    formats.set(zone, format);
  }
  const part: Record<string, number> = {};
  for (const { type, value } of format.formatToParts(at_ms)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at_ms / 1000) * 1000;
}
