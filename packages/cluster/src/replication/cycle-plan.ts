import type { PointId } from '@antipode/base';
import type { CyclePair, CyclePlan, CyclePoint, Pair, PointInfo } from '@antipode/blocks';
import { type Cycle, type Frozen, type Half, keyOf } from '@antipode/replication';
import type { DataPlane } from '../local/api.ts';
import { driverLimits } from './limits.ts';

/** Who keeps the points of a session's cycle until it is committed. */
export const holder = (half: Half): string => `session:${half.id}`;

/**
 * What a cycle is, now that its target is durable [C3.1]: its members, and the snapshots taken since the base, oldest first. They are
 * held from here on, so that deleting one hides it at once and frees it after the cycle.
 */
export async function fixCycle(half: Half, target: PointInfo, dataPlane: DataPlane): Promise<Frozen> {
  const members = new Set(target.members.map((member) => member.volume));
  const pairs = half.pairs.filter((pair) => members.has(pair.local));
  const base = (await dataPlane.half(half.id))?.base?.point;
  const since = await dataPlane.pointsOf(
    pairs.map((pair) => pair.local),
    base,
  );
  const end = since.findIndex((point) => point.id === target.id);
  const snapshots = since.slice(0, end < 0 ? since.length : end).filter((point) => point.kind === 'snapshot');
  const newest = fitting(snapshots, pairs.length);
  const kept = await inGroups(newest, ({ id }) => held(id, half, dataPlane));
  const points = newest.filter((_, index) => kept[index]).map(({ id }) => id);
  return { instant_ms: target.instant_ms, pairs, points, leftOut: snapshots.length - newest.length };
}

/** One that was deleted this very moment is not shipped, and nothing else changes. */
async function held(id: PointId, half: Half, dataPlane: DataPlane): Promise<boolean> {
  try {
    await dataPlane.hold(id, holder(half));
    return true;
  } catch {
    return (await dataPlane.point(id)) !== undefined;
  }
}

/** The plan is one change of the destination's log: what does not fit into it are the oldest snapshots. */
function fitting(snapshots: readonly PointInfo[], pairs: number): readonly PointInfo[] {
  const { plan_bytes, planPair_bytes, planPoint_bytes, planSize_bytes, planPoints } = driverLimits;
  let room = plan_bytes - pairs * planPair_bytes;
  let from = snapshots.length;
  while (from > 0 && snapshots.length - from < planPoints) {
    // Escaped once more where a change is written in pieces.
    const tag_bytes = 2 * Buffer.byteLength(JSON.stringify(snapshots[from - 1]!.tag));
    room -= planPoint_bytes + tag_bytes + pairs * planSize_bytes;
    if (room < 0) break;
    from -= 1;
  }
  return snapshots.slice(from);
}

/** Asks for many at once, and not for all: one sync of the log serves those that wait together. */
async function inGroups<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let at = 0; at < items.length; at += driverLimits.askedTogether)
    results.push(...(await Promise.all(items.slice(at, at + driverLimits.askedTogether).map(work))));
  return results;
}

/** The plan of a cycle whose target is durable; undefined when the target is gone. The same cycle always has the same plan. */
export async function planOf(half: Half, cycle: Cycle, dataPlane: DataPlane): Promise<CyclePlan | undefined> {
  const target = await dataPlane.point(cycle.point);
  if (target === undefined) return undefined;
  const base = cycle.base?.point === undefined ? undefined : (await dataPlane.half(half.id))?.base;
  const inBase = new Set((base?.pairs ?? []).map(keyOf));
  const pairs = (cycle.pairs ?? half.pairs).map(
    ({ local, remote }): CyclePair => ({
      local,
      remote,
      // A base without an image of this very pair on both sides is none for it.
      ...(base !== undefined && !inBase.has(keyOf({ local, remote })) && { whole: true as const }),
    }),
  );
  const found = await inGroups(cycle.points ?? [], (id) => dataPlane.point(id));
  const points = [...found.filter((point) => point !== undefined), target].map((point) => asShipped(point, pairs));
  return {
    session: half.id,
    cycle: cycle.id,
    generation: half.generation,
    ...(cycle.base?.point && { base: cycle.base.point }),
    points,
    pairs,
  };
}

function asShipped({ id, kind, instant_ms, tag, members }: PointInfo, pairs: readonly Pair[]): CyclePoint {
  const sizeOf = new Map(members.map((member) => [member.volume, member.size]));
  return { id, kind, instant_ms, tag, sizes: pairs.map((pair) => sizeOf.get(pair.local) ?? 0) };
}
