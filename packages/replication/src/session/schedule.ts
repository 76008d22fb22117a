import type { Half } from './half.ts';
import { sessionLimits } from './limits.ts';

/**
 * How the starts of cycles follow from the objective (REPLICATION A7): a share of it after the previous start, or at every half of
 * it by the wall clock.
 */
export type ScheduleRule = 'share_of_rpo' | 'wall_clock';

/**
 * When the next automatic cycle starts, epoch ms (REPLICATION A30): a copy carries the moment of its start, so with
 * transfer time t and objective r the next start comes no later than r - t after the previous one.
 * Undefined where nothing is scheduled: destination, never started, or objective zero.
 */
export function nextStart_ms(half: Half): number | undefined {
  const { role, rpo_ms, previousStart_ms, transfer_ms } = half;
  if (role !== 'source' || rpo_ms <= 0 || previousStart_ms === undefined) return undefined;
  if (half.schedule === 'wall_clock') {
    const period_ms = rpo_ms * sessionLimits.wallClockShare;
    return (Math.floor(previousStart_ms / period_ms) + 1) * period_ms;
  }
  const wait_ms = Math.max(0, Math.min(sessionLimits.rpoShare * rpo_ms, rpo_ms - transfer_ms));
  return previousStart_ms + Math.ceil(half.outOfStep === true ? wait_ms * phaseOf(half.id) : wait_ms);
}

/** A number in (0, 1] that belongs to a session: evenly spread over many of them. */
export function phaseOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193);
  // FNV alone leaves similar ids near each other.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (((hash ^ (hash >>> 16)) >>> 0) + 1) / 2 ** 32;
}

/** Age of what the copy shows: now minus the source's moment of the newest complete copy; undefined before the first. */
export const lag_ms = (half: Half, now_ms: number): number | undefined =>
  half.lastSync === undefined ? undefined : Math.max(0, now_ms - half.lastSync.instant_ms);

/**
 * Whether the objective is met at the source, and by how much not. A paused session is judged like any other: its copy gets older
 * all the same. Undefined where there is nothing to judge: before the first copy, at a destination, or while the direction changes.
 */
export function complianceOf(
  half: Half,
  now_ms: number,
): { readonly age_ms: number; readonly beyond_ms: number } | undefined {
  const age_ms = lag_ms(half, now_ms);
  const unjudged = half.state === 'Failed_Over' || half.state === 'Reprotecting' || half.state === 'Deleting';
  if (half.role !== 'source' || half.rpo_ms <= 0 || age_ms === undefined || unjudged) return undefined;
  return { age_ms, beyond_ms: Math.max(0, age_ms - half.rpo_ms) };
}
