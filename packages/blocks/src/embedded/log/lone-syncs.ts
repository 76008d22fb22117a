import type { LogLimits } from './limits.ts';

/**
 * Whether a sync is done on the ordering thread. A host that commits one small write after the other, alone, waits for nothing but
 * the sync, and the way to another thread and back costs it 100 µs each time. As soon as anything else is asked of the log between
 * two syncs, or the medium is found slow, they go to other threads again, so that nobody waits behind one.
 */
export class LoneSyncs {
  readonly #limits: Pick<
    LogLimits,
    'lone_work_max' | 'lone_syncs_least' | 'lone_sync_ms_max' | 'lone_syncs_after_slow'
  >;
  /** Records and reads since the last sync. */
  #asked = 0;
  /** Syncs in a row that nothing else came in between of; below zero after a slow one. */
  #alone = 0;

  constructor(limits: LogLimits) {
    this.#limits = limits;
  }

  /** A record was appended, or a read came. */
  worked(): void {
    this.#asked += 1;
  }

  /** To be asked once before each sync. `waiting`: how many wait for it. */
  here(waiting: number, small: boolean): boolean {
    const alone = small && waiting === 1 && this.#asked <= this.#limits.lone_work_max;
    this.#asked = 0;
    if (alone) this.#alone += 1;
    else this.#alone = Math.min(this.#alone, 0);
    return this.#alone > this.#limits.lone_syncs_least;
  }

  /** How long the sync took. */
  took(duration_ms: number): void {
    if (duration_ms > this.#limits.lone_sync_ms_max) this.#alone = -this.#limits.lone_syncs_after_slow;
  }
}
