import type { Clock } from '@antipode/base';
import { type BlockDevice, compose, IoLimiter, TokenBuckets } from '@antipode/blocks';
import type { IoLimit } from '../local/api.ts';

/** Payload of one connection that may be under way where requests have to wait for their turn: waiting ones must not take others' memory. */
export const limitedInFlight_bytes = 4 * 1024 * 1024;

interface Known {
  readonly rates: string;
  readonly buckets: TokenBuckets;
}

/** Holds hosts to the rates of their volumes, over all connections of a volume and of those that share a limit. */
export class VolumeLimits {
  readonly #clock: Clock;
  readonly #limiters = new Map<string, IoLimiter>();
  #known = new Map<string, Known>();
  #bucketsOf = new Map<string, TokenBuckets[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Replaces all limits. One that is as it was goes on: being told again gives nobody anything. */
  set(limits: readonly IoLimit[]): void {
    const known = new Map<string, Known>();
    const bucketsOf = new Map<string, TokenBuckets[]>();
    for (const { id, volumes, rate } of limits) {
      const rates = JSON.stringify([rate.operations_per_s, rate.bytes_per_s, rate.burst_percentage]);
      const before = this.#known.get(id);
      const buckets = before?.rates === rates ? before.buckets : new TokenBuckets(rate);
      known.set(id, { rates, buckets });
      for (const volume of volumes) bucketsOf.set(volume, [...(bucketsOf.get(volume) ?? []), buckets]);
    }
    this.#known = known;
    this.#bucketsOf = bucketsOf;
    for (const [volume, limiter] of this.#limiters) limiter.set(bucketsOf.get(volume) ?? []);
  }

  /** A device whose requests wait for their turn; `refusal` as {@link IoLimiter.decorator} asks it. */
  limited(volume: string, device: BlockDevice, refusal: () => Error | undefined): BlockDevice {
    return compose(device, this.#limiter(volume).decorator(refusal));
  }

  /** Payload of one connection that may be under way now; undefined: no bound besides the server's. */
  inFlight_bytes(volume: string): number | undefined {
    return this.#limiter(volume).limits ? limitedInFlight_bytes : undefined;
  }

  forget(volume: string): void {
    this.#limiters.get(volume)?.set([]);
    this.#limiters.delete(volume);
  }

  #limiter(volume: string): IoLimiter {
    let limiter = this.#limiters.get(volume);
    if (limiter === undefined) {
      limiter = new IoLimiter(this.#clock);
      limiter.set(this.#bucketsOf.get(volume) ?? []);
      this.#limiters.set(volume, limiter);
    }
    return limiter;
  }
}
