import type { EngineCore } from './core.ts';
import type { SegmentInfo, Sequence } from './log/types.ts';
import type { Fill } from './waning.ts';

/** Sealed segments that a checkpoint covers and that hold nothing any more that a rebuild from the log alone would need. */
export function removableSegments(core: EngineCore, checkpointed: Sequence): readonly number[] {
  if (core.pinned) return [];
  return candidates(core, checkpointed)
    .map(({ segment }) => segment)
    .filter((segment) => core.live.of(segment) === 0 && core.emptied.has(segment))
    .filter((segment) => !core.log.isBeingRead(segment) && !core.rewriting.has(segment));
}

/**
 * Sealed segments of nothing but data of which the index, as it is now, refers to none: a checkpoint of this moment, once durable,
 * proves that they are not needed. Not to be asked after it: what was written since may be lost, and then they are needed again.
 */
export function deadSegments(core: EngineCore): readonly number[] {
  return candidates(core, core.lastSequence())
    .map(({ segment }) => segment)
    .filter((segment) => core.live.of(segment) === 0 && core.holdsDataOnly(segment));
}

const candidates = (core: EngineCore, checkpointed: Sequence): readonly SegmentInfo[] =>
  core.log.segments().filter((segment) => segment.sealed && segment.last <= checkpointed);

/**
 * Sealed segments worth rewriting together: those with little that is needed, and small ones once there are several. What is
 * needed is what the index refers to and the ranges of zeros that an earlier compaction had to keep: without the latter a segment
 * of nothing but those would be rewritten for ever. Packed segments stay by themselves: together with others they would be
 * packed once more. `waning` says which of the sparse ones are left alone for now.
 */
export function sparseSegments(
  core: EngineCore,
  checkpointed: Sequence,
  waning: (sparse: readonly Fill[]) => ReadonlySet<number>,
): readonly number[] {
  const { compactBelow } = core.limits;
  const found = needed(core, checkpointed).map((segment) => ({
    ...segment,
    needed: core.live.of(segment.segment) + core.keptZeros.of(segment.segment),
  }));
  const sparse = found.filter(({ used, needed }) => needed <= compactBelow * used);
  const waits = waning(sparse);
  const worth = new Set(sparse.filter(({ segment }) => !waits.has(segment)));
  const plain = together(
    core,
    found.filter(({ packed }) => !packed),
    worth,
  );
  if (plain.length > 0) return plain;
  return together(
    core,
    found.filter(({ packed }) => packed),
    worth,
  );
}

/** Those that are worth it, and small ones, as far as they may be rewritten together: those with the least first. */
function together(core: EngineCore, among: readonly Fill[], worth: ReadonlySet<Fill>): readonly number[] {
  const { compactSmall_bytes, compactSmallFrom, compactMost_bytes } = core.limits;
  const isSmall = ({ used }: Fill) => used < compactSmall_bytes;
  const smallToo = among.filter(isSmall).length >= compactSmallFrom;
  const wanted = among.filter((fill) => worth.has(fill) || (smallToo && isSmall(fill)));
  const chosen: number[] = [];
  let total = 0;
  for (const { segment, needed } of wanted.sort((a, b) => a.needed - b.needed)) {
    total += needed;
    if (chosen.length > 0 && total > compactMost_bytes) break;
    chosen.push(segment);
  }
  return chosen;
}

/** Sealed segments that a checkpoint covers and that hold something that is needed, the oldest first. */
export const usedSegments = (core: EngineCore, checkpointed: Sequence): readonly SegmentInfo[] =>
  needed(core, checkpointed)
    .filter(({ segment }) => core.live.of(segment) > 0)
    .sort((a, b) => a.first - b.first);

const needed = (core: EngineCore, checkpointed: Sequence): readonly SegmentInfo[] =>
  candidates(core, checkpointed).filter(({ segment }) => !core.emptied.has(segment) && !core.copied.has(segment));
