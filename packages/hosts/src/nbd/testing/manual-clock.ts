import { assert, type Clock, type Timer } from '@antipode/base';

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now_ms = 0;
  readonly #timers = new Set<{ readonly due_ms: number; readonly callback: () => void }>();

  now(): number {
    return this.#now_ms;
  }

  monotonic(): number {
    return this.#now_ms;
  }

  after(delay_ms: number, callback: () => void): Timer {
    const timer = { due_ms: this.#now_ms + delay_ms, callback };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  sleep(delay_ms: number): Promise<void> {
    return new Promise((resolve) => this.after(delay_ms, resolve));
  }

  /** Moves time on; timers that come due are called in order. */
  advance(by_ms: number): void {
    const until_ms = this.#now_ms + by_ms;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.due_ms <= until_ms);
      const next = due.sort((a, b) => a.due_ms - b.due_ms)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now_ms = Math.max(this.#now_ms, next.due_ms);
      next.callback();
    }
    assert(until_ms >= this.#now_ms, 'time does not go back');
    this.#now_ms = until_ms;
  }
}
