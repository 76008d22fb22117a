import type { Timer } from '@antipode/base';
import { TimerQueue } from '@antipode/base/testing';
import { ProcessDied } from './process-died.ts';

/**
 * Virtual time, and the only thing that wakes anybody in a simulated world. What has the same moment happens in the order in which it was
 * asked for; every consequence in promises comes to rest before the next event.
 */
export class Scheduler {
  #now_ms: number;
  readonly #timers = new TimerQueue();
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
    return this.#timers.add(this.#now_ms + Math.max(0, delay_ms), callback);
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
      const next = this.#timers.take(until_ms);
      if (next === undefined) break;
      this.#now_ms = Math.max(this.#now_ms, next.at_ms);
      this.events += 1;
      this.#happen(next.callback);
    }
    this.#now_ms = Math.max(this.#now_ms, until_ms);
  }

  /** What a process throws as it ends is heard by nobody. */
  #happen(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      if (!(error instanceof ProcessDied)) throw error;
    }
  }
}
