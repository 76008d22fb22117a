import type { Clock, Timer } from '@antipode/base';
import { around, type DeviceDecorator, type DeviceRequest } from './decorator.ts';
import type { IoCost, TokenBuckets } from './token-buckets.ts';

interface Waiting {
  readonly cost: IoCost;
  readonly go: () => void;
}

/**
 * Holds the requests of one volume to rates, in the order of their arrival; without rates nothing waits. Volumes may share buckets: each has
 * its first request reserve its turn there, so that they take turns. What waits is bounded by whoever sends requests, and an
 * acknowledgement that comes later is all that a host sees.
 *
 * Reads and writes cost their bytes and one operation, trims and zeroes one operation; flushes and questions cost nothing and never wait:
 * they are about what has been acknowledged.
 */
export class IoLimiter {
  readonly #clock: Clock;
  #buckets: readonly TokenBuckets[] = [];
  readonly #waiting: Waiting[] = [];
  /** When the first that waits has its turn. */
  #turn_ms: number | undefined;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether requests may have to wait. */
  get limits(): boolean {
    return this.#buckets.length > 0;
  }

  /** Replaces the buckets that requests go through; those that wait are held to the new ones. */
  set(buckets: readonly TokenBuckets[]): void {
    const same = buckets.length === this.#buckets.length && buckets.every((bucket, at) => bucket === this.#buckets[at]);
    if (same) return;
    this.#buckets = buckets;
    this.#turn_ms = undefined;
    this.#pump();
  }

  /**
   * A device whose requests are held to the rates. `refusal` is asked when a request that waited has its turn: what it answers is thrown, and
   * the device never sees the request.
   */
  decorator(refusal: () => Error | undefined): DeviceDecorator {
    const nothingWaits = () => this.#buckets.length === 0 && this.#waiting.length === 0;
    return around((request, run) => {
      const cost = costOf(request);
      if (cost === undefined || this.#passes(cost)) return run();
      return new Promise((resolve, reject) => {
        const go = () => {
          const error = refusal();
          if (error !== undefined) return reject(error);
          try {
            resolve(run());
          } catch (thrown) {
            reject(thrown);
          }
        };
        this.#waiting.push({ cost, go });
        this.#pump();
      });
    }, nothingWaits);
  }

  /** Whether a request goes through at once; one that does not has its turn if it is the first. */
  #passes(cost: IoCost): boolean {
    if (this.#waiting.length > 0) return false;
    if (this.#buckets.length === 0) return true;
    const now_ms = this.#clock.monotonic();
    const turn_ms = this.#reserve(cost, now_ms);
    if (turn_ms <= now_ms) return true;
    this.#turn_ms = turn_ms;
    return false;
  }

  #reserve(cost: IoCost, now_ms: number): number {
    const turn_ms = this.#buckets.reduce((latest, bucket) => Math.max(latest, bucket.next_ms(now_ms)), now_ms);
    for (const bucket of this.#buckets) bucket.spend(cost, turn_ms);
    return turn_ms;
  }

  #pump(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const now_ms = this.#clock.monotonic();
      this.#turn_ms ??= this.#reserve(first.cost, now_ms);
      if (this.#turn_ms > now_ms) {
        this.#timer = this.#clock.after(Math.max(1, this.#turn_ms - now_ms), () => this.#pump());
        return;
      }
      this.#turn_ms = undefined;
      this.#waiting.shift();
      first.go();
    }
  }
}

function costOf({ operation, length }: DeviceRequest): IoCost | undefined {
  switch (operation) {
    case 'read':
    case 'write':
      return { operations: 1, bytes: length };
    case 'trim':
    case 'writeZeroes':
      return { operations: 1, bytes: 0 };
    default:
      return undefined;
  }
}
