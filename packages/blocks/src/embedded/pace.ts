import type { Clock, Timer } from '@antipode/base';
import type { EngineCore } from './core.ts';
import { nextTurn } from './end-of-turn.ts';

/** The work was to end where it stood. */
export class Interrupted extends Error {}

/** Longest rest: work that took long once was kept waiting itself. */
const restMost_ms = 1_000;

/**
 * How fast slow background work goes: after a piece it rests, for as long as the piece took while it is alone, and many times as
 * long while hosts work.
 */
export class Pace {
  readonly #core: EngineCore;
  readonly #clock: Clock;
  #interrupted = false;
  #wake: (() => void) | undefined;

  constructor(core: EngineCore, clock: Clock) {
    this.#core = core;
    this.#clock = clock;
  }

  /** Ends the work at the end of its piece, or of its rest. */
  interrupt(): void {
    this.#interrupted = true;
    this.#wake?.();
  }

  /** To be called after each piece, with its bytes. `meanwhile`: what else is due. */
  begin(meanwhile: () => Promise<void>): (bytes: number) => Promise<void> {
    const { limits } = this.#core;
    let done_bytes = 0;
    let began_ms = this.#clock.monotonic();
    let operations = this.#core.operations;
    return async (bytes) => {
      done_bytes += bytes;
      if (done_bytes < limits.packPiece_bytes) return nextTurn();
      done_bytes = 0;
      const took_ms = this.#clock.monotonic() - began_ms;
      const busy = this.#core.operations !== operations;
      await this.#rest(Math.min(restMost_ms, took_ms * (busy ? limits.packRestBusy : limits.packRest)));
      if (this.#interrupted || this.#core.log.state().kind !== 'running') throw new Interrupted('interrupted');
      await meanwhile();
      began_ms = this.#clock.monotonic();
      operations = this.#core.operations;
    };
  }

  async #rest(delay_ms: number): Promise<void> {
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      if (this.#interrupted) return resolve();
      this.#wake = resolve;
      timer = this.#clock.after(delay_ms, resolve);
    });
    timer?.cancel();
    this.#wake = undefined;
  }
}
