import type { Clock } from '@antipode/base';

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  private time_ms = 0;
  private readonly timers = new Set<{ at_ms: number; callback: () => void }>();

  now(): number {
    return 1_700_000_000_000 + this.time_ms;
  }

  monotonic(): number {
    return this.time_ms;
  }

  after(delay_ms: number, callback: () => void) {
    const timer = { at_ms: this.time_ms + delay_ms, callback };
    this.timers.add(timer);
    return { cancel: () => void this.timers.delete(timer) };
  }

  sleep(delay_ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const timer = this.after(delay_ms, resolve);
      signal?.addEventListener('abort', () => {
        timer.cancel();
        reject(signal.reason);
      });
    });
  }

  /** Lets time pass; timers run in the order of their moments. */
  advance(delay_ms: number): void {
    const until = this.time_ms + delay_ms;
    for (;;) {
      let next: { at_ms: number; callback: () => void } | undefined;
      for (const timer of this.timers)
        if (timer.at_ms <= until && timer.at_ms < (next?.at_ms ?? Infinity)) next = timer;
      if (next === undefined) break;
      this.timers.delete(next);
      this.time_ms = Math.max(this.time_ms, next.at_ms);
      next.callback();
    }
    this.time_ms = until;
  }

  waiting(): number {
    return this.timers.size;
  }
}
