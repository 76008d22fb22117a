import type { PointId } from '@antipode/base';
import { type HalfInfo, type Pair, sameGeneration } from '@antipode/blocks';
import {
  announcedReasons,
  type BaseRef,
  type Half,
  type HalfView,
  type HeldPoint,
  isOutOfDate,
} from '@antipode/replication';
import type { DataPlane } from '../local/api.ts';
import { driverLimits } from './limits.ts';

/** What this half says of itself: the catalog's half, and what the engine holds for it [C5.1]. Pairs as seen from here. */
export async function viewOf(half: Half, dataPlane: DataPlane): Promise<HalfView> {
  const engine = await dataPlane.half(half.id);
  const points = await heldPoints(half, engine, dataPlane);
  await tellable(half, dataPlane);
  const pairs = engine === undefined ? half.pairs : [...engine.pairs, ...engine.joining];
  return {
    generation: half.generation,
    role: half.role,
    state: half.state,
    revision: half.revision,
    ...(half.peer.revision !== undefined && { seen: half.peer.revision }),
    refused: engine?.refused ?? [],
    points,
    pairs,
    ...(half.paused && { paused: half.paused }),
    ...(engine?.seal && { proposal: engine.seal.proposal }),
    ...(engine?.base && { base: engine.base }),
    ...(engine?.stage && { staged: engine.stage.plan.cycle }),
    ...(half.test && { testing: true }),
    ...(half.suspended && { suspended: announcedReasons(half) }),
    ...(half.lastSync && { lastSync: half.lastSync }),
  };
}

/**
 * The snapshots that a destination holds: said only where the source cannot know it from the common base, because there is none, or an
 * older one than the newest that is here.
 */
export async function withSnapshots(
  view: HalfView,
  half: Half,
  common: BaseRef | undefined,
  dataPlane: DataPlane,
): Promise<HalfView> {
  if (half.role !== 'destination' || (common !== undefined && common.point === view.base?.point)) return view;
  const here = await dataPlane.pointsOf(half.pairs.map(({ local }) => local));
  const snapshots = here.filter(({ kind }) => kind === 'snapshot').slice(-driverLimits.snapshotsTold);
  await tellable(half, dataPlane);
  return { ...view, snapshots: snapshots.map(({ id }) => id) };
}

/** A source gives the base before up when it hears of a newer one: a death must not take that one back at the destination [C3.4]. */
async function tellable(half: Half, dataPlane: DataPlane): Promise<void> {
  if (half.role === 'destination') await dataPlane.settled(half.id);
}

/** The points that may serve as common base: the base itself, the target under way, and the replica [C2.3]. */
async function heldPoints(
  half: Half,
  engine: HalfInfo | undefined,
  dataPlane: DataPlane,
): Promise<readonly HeldPoint[]> {
  const base = engine?.base;
  const candidates = new Map<PointId, readonly Pair[]>();
  for (const { local } of half.pairs) {
    const replica = (await dataPlane.volume(local))?.replica;
    if (replica !== undefined) candidates.set(replica, half.pairs);
  }
  const { cycle } = half;
  if (cycle !== undefined && cycle.phase !== 'freeze' && cycle.phase !== 'members')
    candidates.set(cycle.point, cycle.pairs ?? half.pairs);
  if (base !== undefined) candidates.set(base.point, base.pairs ?? half.pairs);
  const held: HeldPoint[] = [];
  for (const [id, among] of candidates) {
    const point = await dataPlane.point(id);
    if (point === undefined) continue;
    const members = new Set(point.members.map((member) => member.volume));
    const pairs = id === base?.point ? among : among.filter((pair) => members.has(pair.local));
    if (pairs.length === 0) continue;
    // What was remembered for other members than these would match nothing at the peer: it is computed anew.
    const remembered = id === base?.point && base.digests.length === pairs.length;
    const digests = remembered
      ? base.digests
      : await Promise.all(pairs.map((pair) => dataPlane.digest(pair.local, id)));
    held.push({ point: id, digests, pairs, instant_ms: point.instant_ms });
  }
  return held;
}

/**
 * Puts the engine's base where intersection finds it, when both halves are of one generation and the engine remembers another
 * one [C3.7]. A source's target that turns out to be committed is left to the cycle, which advances the base itself.
 */
export async function agreeOnBase(
  half: Half,
  mine: HalfView,
  theirs: HalfView,
  common: BaseRef | undefined,
  dataPlane: DataPlane,
): Promise<void> {
  if (isOutOfDate(half, theirs)) return;
  if (!sameGeneration(mine.generation, theirs.generation) || mine.role === theirs.role) return;
  if (mine.base?.point === common?.point || half.state === 'Failed_Over' || half.state === 'Reprotecting') return;
  if (half.role === 'source' && common?.point !== undefined && common.point === half.cycle?.point) return;
  // A destination whose newest commit the source has not heard of keeps it: the source is about to learn.
  if (half.role === 'destination' && common === undefined && mine.base === undefined) return;
  await dataPlane.resetBase(half.id, half.generation, common);
}
