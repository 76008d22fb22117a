import type { Clock, Timer } from '@antipode/base';
import { limits } from '../../limits.ts';

export interface LaneShape {
  /** Bits a second; null: as fast as the machine. */
  readonly rate_bps: number | null;
  readonly delay_ms: number;
}

interface Parcel {
  readonly arrived_ms: number;
  readonly bytes: number;
  readonly deliver: () => void;
}

/**
 * One direction of the link: a queue that all connections share, as they would share a wire. A parcel leaves when its delay
 * is over and the rate allows, in the order of arrival.
 *
 * 1. Parcels are delivered in the order they came.
 * 2. Over any time t at most rate * (t + burst) leaves, plus one parcel.
 * 3. A change of rate or delay holds for parcels that already wait.
 */
export class Lane {
  readonly #clock: Clock;
  #shape: LaneShape = { rate_bps: null, delay_ms: 0 };
  #queue: Parcel[] = [];
  #head = 0;
  #timer: Timer | undefined;
  /** When the wire is free again. */
  #free_ms = 0;
  #passed_bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get passed_bytes(): number {
    return this.#passed_bytes;
  }

  shape(shape: LaneShape): void {
    const now_ms = this.#clock.monotonic();
    // What is on the wire already takes the time that the new rate gives it.
    const busy = Math.max(0, this.#free_ms - now_ms) * (this.#shape.rate_bps ?? 0);
    if (shape.rate_bps === null) this.#free_ms = 0;
    else if (shape.rate_bps !== this.#shape.rate_bps) this.#free_ms = now_ms + busy / shape.rate_bps;
    this.#shape = shape;
    this.#pump();
  }

  send(bytes: number, deliver: () => void): void {
    const { rate_bps, delay_ms } = this.#shape;
    if (rate_bps === null && delay_ms === 0 && this.#head === this.#queue.length) {
      this.#passed_bytes += bytes;
      return deliver();
    }
    this.#queue.push({ arrived_ms: this.#clock.monotonic(), bytes, deliver });
    if (this.#timer === undefined) this.#pump();
  }

  /** Drops what waits: the wire was cut. */
  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#queue = [];
    this.#head = 0;
    this.#free_ms = 0;
  }

  #pump(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#head < this.#queue.length) {
      const parcel = this.#queue[this.#head];
      if (parcel === undefined) return;
      const now_ms = this.#clock.monotonic();
      const { rate_bps, delay_ms } = this.#shape;
      const due_ms = Math.max(parcel.arrived_ms + delay_ms, rate_bps === null ? 0 : this.#free_ms);
      if (due_ms > now_ms) {
        this.#timer = this.#clock.after(Math.max(1, due_ms - now_ms), () => this.#pump());
        return;
      }
      if (rate_bps !== null) {
        const start_ms = Math.max(this.#free_ms, now_ms - limits.linkBurst_ms);
        this.#free_ms = start_ms + (parcel.bytes * 8_000) / rate_bps;
      }
      this.#head += 1;
      this.#passed_bytes += parcel.bytes;
      parcel.deliver();
    }
    this.#queue = [];
    this.#head = 0;
  }
}
