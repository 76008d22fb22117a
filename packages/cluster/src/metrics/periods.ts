import type { Family } from './figures.ts';

export const intervals = ['Twenty_Sec', 'Five_Mins', 'One_Hour', 'One_Day'] as const;
export type Interval = (typeof intervals)[number];

const hour_ms = 3_600_000;
/** How long a period is, and how long it is kept. */
export const periods: Readonly<Record<Interval, { readonly length_ms: number; readonly kept_ms: number }>> = {
  Twenty_Sec: { length_ms: 20_000, kept_ms: hour_ms },
  Five_Mins: { length_ms: 300_000, kept_ms: 24 * hour_ms },
  One_Hour: { length_ms: hour_ms, kept_ms: 30 * 24 * hour_ms },
  One_Day: { length_ms: 24 * hour_ms, kept_ms: 2 * 365 * 24 * hour_ms },
};

/** The shortest period in which a family is measured: space changes slowly, and costs more to measure. */
export const shortestOf = (family: Family): Interval => (family === 'space' ? 'Five_Mins' : 'Twenty_Sec');

/** The interval that a period of this one is added up from. */
export const finerThan = (interval: Interval): Interval | undefined => intervals[intervals.indexOf(interval) - 1];
export const coarserThan = (interval: Interval): Interval | undefined => intervals[intervals.indexOf(interval) + 1];

/** End of the period that a moment is in; the end belongs to it. */
export const endOf = (interval: Interval, at_ms: number): number => {
  const { length_ms } = periods[interval];
  return Math.ceil(at_ms / length_ms) * length_ms;
};
