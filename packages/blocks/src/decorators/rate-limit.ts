import type { Clock } from '@antipode/base';
import { around, type DeviceDecorator, type DeviceRequest } from './decorator.ts';

export interface RateLimitOptions {
  readonly clock: Clock;
  /** Absent: no limit of that kind. */
  readonly bytes_per_s?: number;
  readonly operations_per_s?: number;
  /** How much of a limit may be used at once after a quiet time, milliseconds of it. */
  readonly burst_ms?: number;
}

const BURST_MS = 100;

/**
 * Bounds bytes and operations per second, requests in the order of their arrival. A request larger than what is left is
 * not split: it goes through when its turn comes and those after it pay.
 */
export function rateLimit(options: RateLimitOptions): DeviceDecorator {
  const { clock, bytes_per_s, operations_per_s, burst_ms = BURST_MS } = options;
  /** The moment up to which the limits are used up. */
  let busyUntil_ms = Number.NEGATIVE_INFINITY;
  const cost_ms = ({ operation, length }: DeviceRequest): number => {
    const bytes = operation === 'read' || operation === 'write' ? length : 0;
    const byBytes = bytes_per_s === undefined ? 0 : (bytes / bytes_per_s) * 1000;
    const byOperations = operations_per_s === undefined ? 0 : 1000 / operations_per_s;
    return Math.max(byBytes, byOperations);
  };
  return around((request, run) => {
    const now_ms = clock.monotonic();
    const start_ms = Math.max(busyUntil_ms, now_ms - burst_ms);
    busyUntil_ms = start_ms + cost_ms(request);
    const wait_ms = start_ms - now_ms;
    return wait_ms > 0 ? clock.sleep(wait_ms).then(run) : run();
  });
}
