import type { Clock } from '@antipode/base';
import { transferLimits } from './limits.ts';

/**
 * How much may be on its way above the durable address: what the link carries in a second, between two named limits [C3.6]. The
 * link's speed is the best of the last few acknowledgements, since a source that reads slowly says nothing about the link.
 */
export class Pace {
  readonly #clock: Clock;
  #samples: number[] = [];
  #last_ms: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#last_ms = clock.monotonic();
  }

  /** So many bytes have become durable since the last call. */
  acknowledged(bytes: number): void {
    const now = this.#clock.monotonic();
    const elapsed_ms = Math.max(1, now - this.#last_ms);
    this.#last_ms = now;
    if (bytes > 0) this.#samples = [...this.#samples, (bytes * 1000) / elapsed_ms].slice(-transferLimits.paceSamples);
  }

  /** Most that may be on its way. */
  get inFlight_bytes(): number {
    const { inFlight_bytes, inFlightStart_bytes, inFlightLeast_bytes } = transferLimits;
    if (this.#samples.length === 0) return Math.min(inFlightStart_bytes, inFlight_bytes);
    return Math.min(inFlight_bytes, Math.max(inFlightLeast_bytes, ...this.#samples));
  }

  /** A sync is due after so much. */
  get window_bytes(): number {
    const { window_bytes, windowLeast_bytes } = transferLimits;
    return Math.min(window_bytes, Math.max(windowLeast_bytes, this.inFlight_bytes / 8));
  }
}
