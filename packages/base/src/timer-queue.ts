import type { Timer } from './ports.ts';

interface Entry {
  readonly at_ms: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** Timers of a clock that is not the machine's: the earliest first, and of one moment those that were set first. */
export class TimerQueue {
  #order = 0;
  /** A binary heap. */
  readonly #heap: Entry[] = [];

  add(at_ms: number, callback: () => void): Timer {
    const entry: Entry = { at_ms, order: this.#order++, callback };
    this.#push(entry);
    return {
      cancel: () => {
        entry.callback = undefined;
      },
    };
  }

  /** Takes the next that was not cancelled and is due by `until_ms`. */
  take(until_ms: number): { readonly at_ms: number; readonly callback: () => void } | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || (top.callback !== undefined && top.at_ms > until_ms)) return undefined;
      const last = this.#heap.pop()!;
      if (this.#heap.length > 0) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (top.callback !== undefined) return { at_ms: top.at_ms, callback: top.callback };
    }
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
