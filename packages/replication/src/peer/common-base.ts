import type { BaseRef } from '../session/half.ts';
import type { HeldPoint } from './messages.ts';

/**
 * The common base: the newest point that both sides hold with equal digests, by intersection, never by what one side
 * remembers [C2.3]. Symmetric: both sides find the same one.
 */
export function newestCommon(mine: readonly HeldPoint[], theirs: readonly HeldPoint[]): BaseRef | undefined {
  const byId = new Map(theirs.map((held) => [held.point, held]));
  let newest: HeldPoint | undefined;
  for (const held of mine) {
    const other = byId.get(held.point);
    if (other === undefined || !sameDigests(held.digests, other.digests)) continue;
    if (newest === undefined || isNewer(held, newest)) newest = held;
  }
  return newest && { point: newest.point, digests: newest.digests };
}

const isNewer = (a: HeldPoint, b: HeldPoint): boolean =>
  a.instant_ms > b.instant_ms || (a.instant_ms === b.instant_ms && a.point > b.point);

const sameDigests = (a: readonly string[], b: readonly string[]): boolean =>
  a.length > 0 && a.length === b.length && a.every((digest, index) => digest === b[index]);
