import type { Timer } from '@antipode/base';
import { ProcessDied } from './process-died.ts';

interface Entry {
  readonly at_ms: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/**
 * Virtual time, and the only thing that wakes anybody in a simulated world. What has the same moment happens in the order in which it was
 * asked for; every consequence in promises comes to rest before the next event.
 */
export class Scheduler {
  #now_ms: number;
  #order = 0;
  readonly #heap: Entry[] = [];
  readonly #turns: (() => void)[] = [];
  /** Lets all promises come to rest: the machine's own end of a turn. */
  readonly #rest: () => Promise<void>;
  events = 0;

  constructor(start_ms: number, rest: () => Promise<void>) {
    this.#now_ms = start_ms;
    this.#rest = rest;
  }

  get now_ms(): number {
    return this.#now_ms;
  }

  after(delay_ms: number, callback: () => void): Timer {
    const entry: Entry = { at_ms: this.#now_ms + Math.max(0, delay_ms), order: this.#order++, callback };
    this.#push(entry);
    return {
      cancel: () => {
        entry.callback = undefined;
      },
    };
  }

  wait(delay_ms: number): Promise<void> {
    return new Promise((resolve) => this.after(delay_ms, resolve));
  }

  /** At the end of this turn: takes no time. */
  turn(callback: () => void): void {
    this.#turns.push(callback);
  }

  /** Lets everything up to a moment happen, or until `done` says so between two events. */
  async runUntil(until_ms: number, done: () => boolean = () => false): Promise<void> {
    for (;;) {
      await this.#rest();
      if (done()) return;
      if (this.#turns.length > 0) {
        for (const turn of this.#turns.splice(0)) {
          this.#happen(turn);
          await this.#rest();
        }
        continue;
      }
      const next = this.#pop(until_ms);
      if (next === undefined) break;
      this.#now_ms = Math.max(this.#now_ms, next.at_ms);
      this.events += 1;
      this.#happen(next.callback);
    }
    this.#now_ms = Math.max(this.#now_ms, until_ms);
  }

  /** What a process throws as it ends is heard by nobody. */
  #happen(callback: (() => void) | undefined): void {
    try {
      callback?.();
    } catch (error) {
      if (!(error instanceof ProcessDied)) throw error;
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

  #pop(until_ms: number): Entry | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || (top.callback !== undefined && top.at_ms > until_ms)) return undefined;
      const last = this.#heap.pop()!;
      if (this.#heap.length > 0) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (top.callback !== undefined) return top;
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
