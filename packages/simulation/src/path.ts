import type { Scheduler } from './scheduler.ts';

/** What a way between two places does to what is sent on it. Chances are per message. */
export interface PathFaults {
  /** Nothing passes. Streams wait; messages are lost. */
  cut: boolean;
  delay_ms: number;
  jitter_ms: number;
  bytes_per_ms: number;
  drop: number;
  duplicate: number;
  /** A copy of a message comes once more, this much later at most. */
  late: number;
  late_ms: number;
}

export const goodPath = (): PathFaults => ({
  cut: false,
  delay_ms: 2,
  jitter_ms: 1,
  bytes_per_ms: 100_000,
  drop: 0,
  duplicate: 0,
  late: 0,
  late_ms: 0,
});

/** One direction of a link. */
export class Path {
  readonly #scheduler: Scheduler;
  readonly #fraction: () => number;
  faults: PathFaults;
  #last_ms = 0;
  readonly #stuck: (() => void)[] = [];

  constructor(scheduler: Scheduler, fraction: () => number, faults: PathFaults = goodPath()) {
    this.#scheduler = scheduler;
    this.#fraction = fraction;
    this.faults = faults;
  }

  /** A piece of a stream: in order behind all others, once the path carries anything. */
  carry(bytes: number, arrived: () => void): void {
    const { delay_ms, jitter_ms, bytes_per_ms } = this.faults;
    const at_ms = this.#scheduler.now_ms + delay_ms + bytes / bytes_per_ms + this.#fraction() * jitter_ms;
    this.#last_ms = Math.max(this.#last_ms, at_ms);
    this.#scheduler.after(this.#last_ms - this.#scheduler.now_ms, () => {
      // Those that were stuck before stay before.
      if (this.faults.cut || this.#stuck.length > 0) this.#stuck.push(arrived);
      else arrived();
    });
  }

  /** A message of its own: may overtake others, come twice, late, or not at all. */
  post(arrived: (copy: 'first' | 'again') => void): void {
    const { cut, delay_ms, jitter_ms, drop, duplicate, late, late_ms } = this.faults;
    const chance = (rate: number) => rate > 0 && this.#fraction() < rate;
    const delay = () => delay_ms + this.#fraction() * jitter_ms * 4;
    let come = false;
    const send = (after_ms: number) =>
      this.#scheduler.after(after_ms, () => {
        if (this.faults.cut) return;
        arrived(come ? 'again' : 'first');
        come = true;
      });
    if (!cut && !chance(drop)) send(delay());
    if (chance(duplicate)) send(delay());
    if (chance(late)) send(this.#fraction() * late_ms);
  }

  /** The way is open again: what was stuck goes on, in order. */
  heal(faults: PathFaults = goodPath()): void {
    this.faults = faults;
    if (faults.cut) return;
    const stuck = this.#stuck.splice(0);
    for (const arrived of stuck) this.carry(0, arrived);
  }
}
