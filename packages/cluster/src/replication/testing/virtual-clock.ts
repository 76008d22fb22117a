import type { Clock, Timer } from '@antipode/base';

interface Entry {
  readonly at_ms: number;
  readonly order: number;
  readonly callback: () => void;
  cancelled: boolean;
}

/** A clock that jumps from one timer to the next: a day passes as fast as what happens in it can be computed. */
export class VirtualClock implements Clock {
  #now_ms: number;
  #order = 0;
  /** A binary heap by moment, then by order of arrival. */
  readonly #heap: Entry[] = [];

  constructor(start_ms: number) {
    this.#now_ms = start_ms;
  }

  now = (): number => this.#now_ms;
  monotonic = (): number => this.#now_ms;

  after(delay_ms: number, callback: () => void): Timer {
    const entry = { at_ms: this.#now_ms + Math.max(0, delay_ms), order: this.#order++, callback, cancelled: false };
    this.#push(entry);
    return {
      cancel: () => {
        entry.cancelled = true;
      },
    };
  }

  sleep(delay_ms: number): Promise<void> {
    return new Promise((resolve) => this.after(delay_ms, resolve));
  }

  /** Lets everything up to a moment happen, each timer's consequences before the next timer. */
  async runUntil(until_ms: number, between: () => void = () => undefined): Promise<void> {
    for (;;) {
      // What promises have set in motion comes to rest: nothing here waits for anything but this clock.
      await new Promise((resolve) => setImmediate(resolve));
      const next = this.#pop(until_ms);
      if (next === undefined) break;
      this.#now_ms = Math.max(this.#now_ms, next.at_ms);
      next.callback();
      between();
    }
    this.#now_ms = until_ms;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at]!, heap[parent]!)) break;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  #pop(until_ms: number): Entry | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || (!top.cancelled && top.at_ms > until_ms)) return undefined;
      const last = this.#heap.pop()!;
      if (this.#heap.length > 0) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (!top.cancelled) return top;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    for (let at = 0; ; ) {
      const left = at * 2 + 1;
      let least = at;
      for (const child of [left, left + 1])
        if (child < heap.length && before(heap[child]!, heap[least]!)) least = child;
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least]!, heap[at]!];
      at = least;
    }
  }
}

const before = (a: Entry, b: Entry): boolean => a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.order < b.order);
