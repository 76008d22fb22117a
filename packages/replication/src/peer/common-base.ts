import type { Pair } from '@antipode/blocks';
import type { BaseRef } from '../session/half.ts';
import type { HalfView, HeldPoint } from './messages.ts';

/**
 * The common base: the newest point that both sides hold with equal digests, by intersection, never by what one side
 * remembers [C2.3]. Symmetric: both sides find the same one. `theirs` is what they said, so its pairs are seen from here.
 */
export function newestCommon(mine: readonly HeldPoint[], theirs: readonly HeldPoint[]): BaseRef | undefined {
  const byId = new Map(theirs.map((held) => [held.point, held]));
  let newest: HeldPoint | undefined;
  for (const held of mine) {
    const other = byId.get(held.point);
    if (other === undefined || !sameImages(held, other)) continue;
    if (newest === undefined || isNewer(held, newest)) newest = held;
  }
  if (newest === undefined) return undefined;
  const { point, digests, pairs } = newest;
  return { point, digests, ...(pairs && { pairs }) };
}

const isNewer = (a: HeldPoint, b: HeldPoint): boolean =>
  a.instant_ms > b.instant_ms || (a.instant_ms === b.instant_ms && a.point > b.point);

/** The same pairs, whatever their order, with the same digest each; without pairs the order is the session's. */
function sameImages(a: HeldPoint, b: HeldPoint): boolean {
  if (a.digests.length === 0 || a.digests.length !== b.digests.length) return false;
  if (a.pairs === undefined || b.pairs === undefined)
    return a.digests.every((digest, index) => digest === b.digests[index]);
  const theirs = new Map(b.pairs.map((pair, index) => [keyOf(pair), b.digests[index]]));
  return a.pairs.every((pair, index) => theirs.get(keyOf(pair)) === a.digests[index]);
}

/** Names a pair on one side. */
export const keyOf = ({ local, remote }: Pair): string => `${local} ${remote}`;

/** Pairs as the other side sees them. */
export const turned = (pairs: readonly Pair[]): readonly Pair[] =>
  pairs.map(({ local, remote }) => ({ local: remote, remote: local }));

/** A base as the other side sees it. */
export const turnedBase = (base: BaseRef): BaseRef =>
  base.pairs === undefined ? base : { ...base, pairs: turned(base.pairs) };

/** A view as it is said to the other side: with the pairs as that one sees them. */
export const turnedView = (view: HalfView): HalfView => ({
  ...view,
  ...(view.base && { base: turnedBase(view.base) }),
  points: view.points.map((held) => ({ ...held, ...turnedBase(held) })),
  ...(view.pairs && { pairs: turned(view.pairs) }),
});
