import { assert } from '@antipode/base';

/** Bounds of a stream of requests. Absent: no bound of that kind. */
export interface IoRate {
  readonly operations_per_s?: number;
  readonly bytes_per_s?: number;
  /** How far above the bounds a stream may go, for at most {@link burstLength_ms}, after it stayed below them. */
  readonly burst_percentage?: number;
}

/** What one request costs. */
export interface IoCost {
  readonly operations: number;
  readonly bytes: number;
}

/** How long a stream may use its burst. */
export const burstLength_ms = 5_000;
/** What may be used at once after a quiet time, as time: timers are late, and what was not used while one was is not lost. */
export const slack_ms = 50;

/** One bucket, kept as the moment at which it would be full again. */
interface Bucket {
  readonly of: keyof IoCost;
  readonly per_ms: number;
  readonly tolerance_ms: number;
  until_ms: number;
}

/**
 * Token buckets that a stream of requests goes through: for operations and for bytes one of the bound itself, which fills with the burst
 * while it is not used, and one of bound and burst together. No clock: moments are given.
 *
 * A request goes through when no bucket is in debt, whatever its size, and those after it pay. So over any time the requests let
 * through cost at most rate x (time + tolerance) and one request more.
 */
export class TokenBuckets {
  readonly #buckets: Bucket[] = [];

  constructor({ operations_per_s, bytes_per_s, burst_percentage = 0 }: IoRate) {
    for (const [of, rate] of [
      ['operations', operations_per_s],
      ['bytes', bytes_per_s],
    ] as const) {
      if (rate === undefined) continue;
      assert(rate > 0 && burst_percentage >= 0, 'a bound is above zero');
      const burst = burst_percentage / 100;
      this.#add(of, rate, Math.max(slack_ms, burst * burstLength_ms));
      if (burst > 0) this.#add(of, rate * (1 + burst), slack_ms);
    }
  }

  #add(of: keyof IoCost, rate_per_s: number, tolerance_ms: number): void {
    this.#buckets.push({ of, per_ms: rate_per_s / 1000, tolerance_ms, until_ms: Number.NEGATIVE_INFINITY });
  }

  /** The first moment at which the next request may go through: now, or later. */
  next_ms(now_ms: number): number {
    return this.#buckets.reduce(
      (latest, { until_ms, tolerance_ms }) => Math.max(latest, until_ms - tolerance_ms),
      now_ms,
    );
  }

  /** A request goes through at a moment that {@link next_ms} allows. */
  spend(cost: IoCost, at_ms: number): void {
    for (const bucket of this.#buckets)
      bucket.until_ms = Math.max(bucket.until_ms, at_ms) + cost[bucket.of] / bucket.per_ms;
  }
}
