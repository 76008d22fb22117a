import type { Half } from './half.ts';
import { sessionLimits } from './limits.ts';

/**
 * When the next automatic cycle starts, epoch ms (REPLICATION A30): a copy carries the moment of its start, so with
 * transfer time t and objective r the next start comes no later than r - t after the previous one.
 * Undefined where nothing is scheduled: destination, never started, or objective zero.
 */
export function nextStart_ms(half: Half): number | undefined {
  if (half.role !== 'source' || half.rpo_ms <= 0 || half.previousStart_ms === undefined) return undefined;
  const wait_ms = Math.max(0, Math.min(sessionLimits.rpoShare * half.rpo_ms, half.rpo_ms - half.transfer_ms));
  return half.previousStart_ms + wait_ms;
}

/** Age of what the copy shows: now minus the source's moment of the newest complete copy; undefined before the first. */
export const lag_ms = (half: Half, now_ms: number): number | undefined =>
  half.lastSync === undefined ? undefined : Math.max(0, now_ms - half.lastSync.instant_ms);
