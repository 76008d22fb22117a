import type { Clock } from './ports.ts';

/** How fast the time of a lab passes: at the machine's `real_ms` it was `shown_ms` there, and since then it has run at `rate`. */
export interface Pace {
  readonly rate: number;
  /** Milliseconds since 1970-01-01T00:00Z, like `shown_ms`. */
  readonly real_ms: number;
  readonly shown_ms: number;
}

/** The two clocks of a process whose time is a lab's. */
export interface PacedClocks {
  /** Dates and schedules: everything passes at the lab's rate. */
  readonly dates: Clock;
  /** The lab's dates, and waits as long as they say: for what real processes, networks and people take. */
  readonly waits: Clock;
}

/** What a lab's clock shows at the machine's `real_ms`. */
export const shownAt = (pace: Pace, real_ms: number): number =>
  Math.floor(pace.shown_ms + (real_ms - pace.real_ms) * pace.rate);

/** Clocks that show a lab's time. Without a pace both are the machine's own. */
export function pacedClocks(machine: Clock, pace: Pace | undefined): PacedClocks {
  if (pace === undefined) return { dates: machine, waits: machine };
  const now = () => shownAt(pace, machine.now());
  // Never early: a moment that is waited for has come when the wait is over, also for whom a millisecond is many.
  const real_ms = (delay_ms: number) => Math.ceil(delay_ms / pace.rate) + 1;
  return {
    dates: {
      now,
      monotonic: () => machine.monotonic() * pace.rate,
      after: (delay_ms, callback) => machine.after(real_ms(delay_ms), callback),
      sleep: (delay_ms, signal) => machine.sleep(real_ms(delay_ms), signal),
    },
    waits: {
      now,
      monotonic: () => machine.monotonic(),
      after: (delay_ms, callback) => machine.after(delay_ms, callback),
      sleep: (delay_ms, signal) => machine.sleep(delay_ms, signal),
    },
  };
}
