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
  const newest = snapshots.slice(-snapshotsMost(pairs.length));
  const points: PointId[] = [];
  for (const { id } of newest) {
    if (await held(id, half, dataPlane)) points.push(id);
  }
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

/** The plan is one record of the destination's log: what does not fit into it are the oldest snapshots. */
const snapshotsMost = (pairs: number): number =>
  Math.max(
    1,
    Math.floor(
      (driverLimits.plan_bytes - pairs * driverLimits.planPair_bytes) /
        (driverLimits.planPoint_bytes + pairs * driverLimits.planSize_bytes),
    ),
  );

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
  const points: CyclePoint[] = [];
  for (const id of cycle.points ?? []) {
    const point = await dataPlane.point(id);
    if (point !== undefined) points.push(asShipped(point, pairs));
  }
  points.push(asShipped(target, pairs));
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
