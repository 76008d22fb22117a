import type { Clock } from '@antipode/base';
import { ProcessDied } from './process-died.ts';
import type { Scheduler } from './scheduler.ts';

/**
 * One process from its start to its end. Everything it does to the world goes through {@link step}; the end may come at any of them,
 * in the middle of a turn: what the turn still does then has no effect.
 */
export class Life {
  readonly name: string;
  readonly #ended: () => void;
  #left: number | undefined;
  alive = true;

  constructor(name: string, ended: () => void) {
    this.name = name;
    this.#ended = ended;
  }

  /** The process ends before its n-th effect from now. */
  doom(steps: number): void {
    this.#left = steps;
  }

  /** It ends only when it is made to. */
  spare(): void {
    this.#left = undefined;
  }

  /** Asked before each effect: whether it happens. */
  step(): boolean {
    if (this.alive && this.#left !== undefined && --this.#left <= 0) this.end();
    return this.alive;
  }

  /** As {@link step}, for calls that have to answer something. */
  mustLive(): void {
    if (!this.step()) throw new ProcessDied(`${this.name} has ended`);
  }

  end(): void {
    if (!this.alive) return;
    this.alive = false;
    this.#ended();
  }
}

/** The clock of a process: its timers end with it. `skew_ms` is its machine's wall clock beyond the true one. */
export function clockOf(life: Life, scheduler: Scheduler, skew_ms: () => number): Clock {
  const clock: Clock = {
    now: () => Math.floor(scheduler.now_ms + skew_ms()),
    monotonic: () => scheduler.now_ms,
    after: (delay_ms, callback) =>
      scheduler.after(delay_ms, () => {
        if (life.alive) callback();
      }),
    sleep: (delay_ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason as Error);
        const timer = clock.after(delay_ms, resolve);
        signal?.addEventListener('abort', () => {
          timer.cancel();
          reject(signal.reason as Error);
        });
      }),
  };
  return clock;
}
