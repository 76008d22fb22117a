import type { Clock, Timer } from '@antipode/base';
import { TimerQueue } from '@antipode/base/testing';

/** A clock that jumps from one timer to the next: a day passes as fast as what happens in it can be computed. */
export class VirtualClock implements Clock {
  #now_ms: number;
  readonly #timers = new TimerQueue();

  constructor(start_ms: number) {
    this.#now_ms = start_ms;
  }

  now = (): number => this.#now_ms;
  monotonic = (): number => this.#now_ms;

  after(delay_ms: number, callback: () => void): Timer {
    return this.#timers.add(this.#now_ms + Math.max(0, delay_ms), callback);
  }

  sleep(delay_ms: number): Promise<void> {
    return new Promise((resolve) => this.after(delay_ms, resolve));
  }

  /** Lets everything up to a moment happen, each timer's consequences before the next timer. */
  async runUntil(until_ms: number, between: () => void = () => undefined): Promise<void> {
    for (;;) {
      // What promises have set in motion comes to rest: nothing here waits for anything but this clock.
      await new Promise((resolve) => setImmediate(resolve));
      const next = this.#timers.take(until_ms);
      if (next === undefined) break;
      this.#now_ms = Math.max(this.#now_ms, next.at_ms);
      next.callback();
      between();
    }
    this.#now_ms = until_ms;
  }
}
