import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';
import { BlockError } from '../../port/errors.ts';
import {
  type Base,
  type CyclePlan,
  compareAddress,
  type Digest,
  type Generation,
  type Pair,
  type PointSpec,
  type RestartAddress,
  type Restoration,
  type Role,
  sameGeneration,
  type Tag,
} from '../../port/types.ts';
import { engineLimits } from '../limits.ts';
import type { LayerId } from '../log/types.ts';
import type { Change } from './changes.ts';
import {
  type Graph,
  type HalfNode,
  isHeld,
  memberOf,
  noLayer,
  type PointNode,
  plainBase,
  type VolumeNode,
} from './graph.ts';

/**
 * Turns each verb of the port into the change that carries it out, or refuses it, before anything is written. `undefined`: it is
 * done already (the same call again), and nothing is to be written.
 */
type Planned = Change | undefined;

const refuse = (code: BlockError['code'], message: string): never => {
  throw new BlockError(code, message);
};

export function needVolume(graph: Graph, id: VolumeId): VolumeNode {
  return graph.volumes.get(id) ?? refuse('not_found', `volume ${id} is not known`);
}

export function needPoint(graph: Graph, id: PointId): PointNode {
  return graph.points.get(id) ?? refuse('not_found', `point ${id} is not known`);
}

export function needHalf(graph: Graph, session: SessionId): HalfNode {
  return graph.halves.get(session) ?? refuse('not_found', `session ${session} is not known`);
}

/** The frozen layer and size of a volume at a point. */
export function needMember(graph: Graph, point: PointId, volume: VolumeId) {
  return (
    memberOf(needPoint(graph, point), volume) ?? refuse('not_found', `point ${point} has no image of volume ${volume}`)
  );
}

const freshLayers = (graph: Graph, count: number): LayerId[] =>
  Array.from({ length: count }, (_, index) => (graph.nextLayer + index) as LayerId);

function checkSize(size: number): void {
  const { volumeLeast_bytes, volumeMost_bytes, volumeUnit_bytes } = engineLimits;
  if (
    !Number.isSafeInteger(size) ||
    size < volumeLeast_bytes ||
    size > volumeMost_bytes ||
    size % volumeUnit_bytes !== 0
  ) {
    refuse(
      'out_of_range',
      `a volume's size is a multiple of ${volumeUnit_bytes} from ${volumeLeast_bytes} to ${volumeMost_bytes} bytes`,
    );
  }
}

export function planCreateVolume(
  graph: Graph,
  spec: { id: VolumeId; name: string; size: number; destination?: boolean; tag: Tag },
): Planned {
  checkSize(spec.size);
  const known = graph.volumes.get(spec.id);
  if (known !== undefined) {
    const same = known.name === spec.name && graph.layers.get(known.top)?.size === spec.size;
    return same ? undefined : refuse('exists', `volume ${spec.id} exists with other properties`);
  }
  const [layer] = freshLayers(graph, 1);
  const { id, name, size, tag } = spec;
  return { op: 'create_volume', id, name, size, destination: spec.destination ?? false, layer: layer!, tag };
}

export function planDeleteVolume(graph: Graph, id: VolumeId): Planned {
  const volume = graph.volumes.get(id);
  if (volume === undefined) return undefined;
  if (volume.session !== undefined) refuse('in_use', `volume ${id} takes part in session ${volume.session}`);
  return { op: 'delete_volume', id };
}

export function planResize(graph: Graph, id: VolumeId, size: number): Planned {
  checkSize(size);
  const volume = needVolume(graph, id);
  const now = graph.layers.get(volume.top)?.size ?? 0;
  if (size === now) return undefined;
  if (volume.follows) refuse('read_only', 'a destination takes its size from its source');
  if (size < now) refuse('out_of_range', 'a volume only grows');
  return { op: 'resize_volume', id, size };
}

export function planChangeVolume(
  graph: Graph,
  id: VolumeId,
  change: { name?: string; tag?: Tag; destination?: false },
): Planned {
  const volume = needVolume(graph, id);
  if (change.destination === false && volume.session !== undefined)
    refuse('in_use', `volume ${id} takes part in session ${volume.session}`);
  const opens = change.destination === false && volume.destination;
  const { name, tag } = change;
  return {
    op: 'change_volume',
    id,
    ...(name !== undefined && { name }),
    ...(tag !== undefined && { tag }),
    ...(opens && { destination: false as const, layer: freshLayers(graph, 1)[0]! }),
  };
}

export function planFreeze(graph: Graph, point: PointSpec, volumes: readonly VolumeId[], hold?: string): Planned {
  for (const id of volumes) needVolume(graph, id);
  const known = graph.points.get(point.id);
  if (known !== undefined) {
    const same = known.members.length === volumes.length && volumes.every((id) => memberOf(known, id) !== undefined);
    return same ? undefined : refuse('exists', `point ${point.id} exists with other members`);
  }
  return {
    op: 'freeze',
    point,
    volumes,
    layers: freshLayers(graph, volumes.length),
    ...(hold !== undefined && { hold }),
  };
}

export const planDropPoint = (graph: Graph, id: PointId): Planned => {
  const point = graph.points.get(id);
  return point === undefined || (point.dropped && isHeld(graph, point)) ? undefined : { op: 'drop_point', id };
};

export const planChangePoint = (graph: Graph, id: PointId, tag: Tag): Planned => {
  needPoint(graph, id);
  return { op: 'change_point', id, tag };
};

export const planHold = (graph: Graph, id: PointId, holder: string): Planned =>
  needPoint(graph, id).holds.includes(holder) ? undefined : { op: 'hold', id, holder };

export const planRelease = (graph: Graph, id: PointId, holder: string): Planned =>
  graph.points.get(id)?.holds.includes(holder) ? { op: 'release', id, holder } : undefined;

export function planFork(
  graph: Graph,
  spec: { id: VolumeId; name: string; point: PointId; of: VolumeId; tag: Tag },
): Planned {
  needMember(graph, spec.point, spec.of);
  if (graph.volumes.has(spec.id)) return undefined;
  return { op: 'fork', ...spec, layer: freshLayers(graph, 1)[0]! };
}

export function planRestore(graph: Graph, images: readonly Restoration[]): Planned {
  if (new Set(images.map(({ volume }) => volume)).size !== images.length)
    refuse('out_of_range', 'a volume is restored to one image');
  for (const { volume, point, of } of images) {
    const target = needVolume(graph, volume);
    needMember(graph, point, of);
    if (!canWrite(graph, target)) refuse('read_only', 'a destination or sealed volume cannot be restored');
    const origin = graph.volumes.get(of);
    if (origin !== undefined && origin.family !== target.family)
      refuse('out_of_range', 'the image is of another family');
  }
  const layers = freshLayers(graph, images.length);
  const placed = images.map(({ volume, point, of }, index) => ({ volume, point, of, layer: layers[index]! }));
  const [only] = placed;
  if (only === undefined) return undefined;
  return placed.length === 1 ? { op: 'restore', ...only } : { op: 'restore_all', images: placed };
}

/** The right to write: from role and seal, never from what an upper floor believes [C4.3]. */
export function canWrite(graph: Graph, volume: VolumeNode): boolean {
  if (volume.follows) return false;
  const half = volume.session === undefined ? undefined : graph.halves.get(volume.session);
  if (volume.destination) return half?.test !== undefined;
  return half === undefined || (half.role === 'source' && half.seal === undefined);
}

export function planCreateHalf(
  graph: Graph,
  half: { session: SessionId; role: Role; generation: Generation; pairs: readonly Pair[]; tag: Tag },
): Planned {
  const known = graph.halves.get(half.session);
  if (known !== undefined) {
    return known.role === half.role && sameGeneration(known.generation, half.generation)
      ? undefined
      : refuse('exists', `session ${half.session} exists with another role or generation`);
  }
  const grave = graph.tombstones.get(half.session);
  if (grave !== undefined && grave.number >= half.generation.number)
    refuse('stale', `session ${half.session} was deleted`);
  for (const pair of half.pairs) {
    const volume = needVolume(graph, pair.local);
    if (volume.session !== undefined) refuse('in_use', `volume ${pair.local} takes part in session ${volume.session}`);
    if (half.role === 'source' && volume.destination)
      refuse('read_only', `volume ${pair.local} is a destination; it is opened first`);
    if (half.role === 'destination' && !volume.destination) refuse('in_use', `volume ${pair.local} is no destination`);
  }
  return { op: 'create_half', ...half, layers: [] };
}

export const planChangeHalf = (
  graph: Graph,
  session: SessionId,
  change: { pairs?: readonly Pair[]; joining?: readonly Pair[]; tag?: Tag },
): Planned => {
  const half = needHalf(graph, session);
  const { pairs, joining } = change;
  if (pairs !== undefined && half.role !== 'source')
    refuse('stale', 'a destination’s members change with a commit alone');
  if (joining !== undefined && half.role !== 'destination') refuse('stale', 'only a destination sets volumes aside');
  for (const { local } of [...(pairs ?? []), ...(joining ?? [])]) {
    const volume = needVolume(graph, local);
    if (volume.session !== undefined && volume.session !== session)
      refuse('in_use', `volume ${local} takes part in session ${volume.session}`);
    if (volume.destination !== (half.role === 'destination'))
      refuse('in_use', `volume ${local} is ${volume.destination ? 'a' : 'no'} destination`);
  }
  if (pairs !== undefined && half.seal !== undefined) refuse('in_use', `session ${session} is sealed`);
  return { op: 'change_half', session, ...change };
};

export const planRemoveHalf = (graph: Graph, session: SessionId): Planned =>
  graph.halves.has(session) ? { op: 'remove_half', session } : undefined;

function needGeneration(half: HalfNode, generation: Generation): void {
  if (!sameGeneration(half.generation, generation))
    refuse('stale', `generation ${generation.number} is not the present one of session ${half.session}`);
}

export function planAdvanceBase(graph: Graph, session: SessionId, generation: Generation, base: Base): Planned {
  const half = needHalf(graph, session);
  needGeneration(half, generation);
  if (half.role !== 'source') refuse('stale', 'only a source advances its base');
  if (half.base?.point === base.point) return undefined;
  needPoint(graph, base.point);
  return { op: 'advance_base', session, base: plainBase(half, base) };
}

export function planResetBase(
  graph: Graph,
  session: SessionId,
  generation: Generation,
  base: Base | undefined,
): Planned {
  const half = needHalf(graph, session);
  needGeneration(half, generation);
  if (half.base?.point === base?.point) return undefined;
  if (base !== undefined) needPoint(graph, base.point);
  return { op: 'reset_base', session, ...(base && { base: plainBase(half, base) }) };
}

export function planOpenStage(graph: Graph, plan: CyclePlan): Planned {
  const half = needHalf(graph, plan.session);
  needGeneration(half, plan.generation);
  if (half.role !== 'destination') refuse('stale', 'only a destination takes a cycle');
  if (half.base?.point !== plan.base)
    refuse('stale', `the base of session ${plan.session} is ${half.base?.point ?? 'none'}, not ${plan.base ?? 'none'}`);
  if (plan.base !== undefined) for (const pair of plan.pairs) if (!pair.whole) needMember(graph, plan.base, pair.local);
  const locals = new Set([...half.pairs, ...(half.joining ?? [])].map((pair) => pair.local));
  const twice = new Set(plan.pairs.map((pair) => pair.local)).size !== plan.pairs.length;
  if (
    plan.points.length === 0 ||
    plan.pairs.length === 0 ||
    twice ||
    plan.pairs.some(({ local }) => !locals.has(local))
  )
    refuse('out_of_range', 'the plan’s pairs are not those of the session');
  if (new Set(plan.points.map(({ id }) => id)).size !== plan.points.length)
    refuse('out_of_range', 'the plan has a point twice');
  for (const point of plan.points) {
    if (point.sizes.length !== plan.pairs.length) refuse('out_of_range', 'the plan has not one size for each pair');
    for (const size of point.sizes) if (size !== 0 || point === plan.points.at(-1)) checkSize(size);
    if (graph.points.has(point.id)) refuse('exists', `point ${point.id} is here already`);
  }
  if (half.stage?.plan.cycle === plan.cycle) {
    return samePlan(half.stage.plan, plan)
      ? undefined
      : refuse('exists', `cycle ${plan.cycle} is staged with another plan`);
  }
  const fresh = freshLayers(graph, plan.pairs.length * plan.points.length);
  const layers = plan.pairs.map((_, pair) =>
    plan.points.map((point, number) =>
      point.sizes[pair] === 0 ? noLayer : fresh[pair * plan.points.length + number]!,
    ),
  );
  return { op: 'open_stage', plan, layers };
}

/** The same cycle: what its points are called may have been changed since, what they hold has not. */
function samePlan(a: CyclePlan, b: CyclePlan): boolean {
  const bare = (plan: CyclePlan) =>
    JSON.stringify({ ...plan, points: plan.points.map(({ tag: _, ...point }) => point) });
  return bare(a) === bare(b);
}

export function needStage(graph: Graph, session: SessionId, cycle: CycleId) {
  const half = needHalf(graph, session);
  if (half.stage?.plan.cycle !== cycle)
    throw new BlockError('stale', `cycle ${cycle} is not staged in session ${session}`);
  return { half, stage: half.stage };
}

export function planStageAddress(graph: Graph, session: SessionId, cycle: CycleId, address: RestartAddress): Planned {
  const { stage } = needStage(graph, session, cycle);
  const { point, pair, block } = address;
  const whole = [point, pair, block].every((part) => Number.isSafeInteger(part) && part >= 0);
  if (!whole || point > stage.plan.points.length || pair > stage.plan.pairs.length)
    refuse('out_of_range', 'the restart address is outside of the cycle');
  // Addresses only rise: a late one says nothing new.
  return compareAddress(address, stage.address) <= 0 ? undefined : { op: 'stage_address', session, cycle, address };
}

export function planCommitStage(
  graph: Graph,
  session: SessionId,
  cycle: CycleId,
  generation: Generation,
  digests: readonly Digest[],
): Planned {
  const half = needHalf(graph, session);
  if (half.committed === cycle && half.stage === undefined) return undefined;
  needGeneration(half, generation);
  const { stage } = needStage(graph, session, cycle);
  if (half.role !== 'destination') refuse('stale', 'only a destination commits a cycle');
  if (half.base?.point !== stage.plan.base) refuse('stale', 'the cycle builds on another base than the present one');
  if (digests.length !== stage.plan.pairs.length) refuse('out_of_range', 'a commit carries one digest for each pair');
  return { op: 'commit_stage', session, cycle, digests };
}

export const planAbandonStage = (graph: Graph, session: SessionId, cycle: CycleId): Planned =>
  graph.halves.get(session)?.stage?.plan.cycle === cycle ? { op: 'abandon_stage', session } : undefined;

export function planSeal(graph: Graph, session: SessionId, proposal: ProposalId, point: PointSpec): Planned {
  const half = needHalf(graph, session);
  if (half.seal?.proposal === proposal) return undefined;
  if (half.seal !== undefined) refuse('in_use', `session ${session} is sealed by another proposal`);
  if (half.role !== 'source') refuse('stale', 'only a source is sealed');
  if (graph.points.has(point.id)) refuse('exists', `point ${point.id} exists`);
  return { op: 'seal', session, proposal, point, layers: freshLayers(graph, half.pairs.length) };
}

export function planUnseal(graph: Graph, session: SessionId, proposal: ProposalId): Planned {
  const half = needHalf(graph, session);
  if (half.seal === undefined) return undefined;
  if (half.seal.proposal !== proposal) refuse('stale', `session ${session} is sealed by another proposal`);
  return { op: 'unseal', session };
}

export const planRefuse = (graph: Graph, session: SessionId, proposal: ProposalId): Planned =>
  needHalf(graph, session).refused.includes(proposal) ? undefined : { op: 'refuse_proposal', session, proposal };

export function planStartTest(graph: Graph, session: SessionId, test: TestId, from?: PointId): Planned {
  const half = needHalf(graph, session);
  if (half.test?.id === test) return undefined;
  if (half.test !== undefined) refuse('in_use', `session ${session} is being tested already`);
  if (half.role !== 'destination') refuse('stale', 'only a destination is tested');
  const first = half.pairs[0];
  const point = from ?? half.base?.point ?? (first && graph.volumes.get(first.local)?.replica);
  if (point === undefined) return refuse('not_found', 'nothing was copied yet that could be tested');
  for (const pair of half.pairs) needMember(graph, point, pair.local);
  return { op: 'start_test', session, test, point, layers: freshLayers(graph, half.pairs.length) };
}

export function planStopTest(graph: Graph, session: SessionId, test: TestId, keep?: PointSpec): Planned {
  const half = needHalf(graph, session);
  if (half.test === undefined) return undefined;
  if (half.test.id !== test) refuse('stale', `session ${session} is being tested by another test`);
  if (keep !== undefined && graph.points.has(keep.id)) refuse('exists', `point ${keep.id} exists`);
  return { op: 'stop_test', session, ...(keep && { keep }) };
}

export interface Promotion {
  readonly next: Generation;
  readonly proposal?: ProposalId;
  readonly commit?: { readonly cycle: CycleId; readonly digests: readonly Digest[] };
  readonly from?: PointId;
  readonly testCopy?: true;
}

export function planPromote(graph: Graph, session: SessionId, promotion: Promotion): Planned {
  const half = needHalf(graph, session);
  const { next, proposal, commit, from, testCopy } = promotion;
  if (sameGeneration(half.generation, next) && half.role === 'source') return undefined;
  if (half.role !== 'destination') refuse('stale', 'only a destination is promoted');
  if (next.number !== half.generation.number + 1)
    refuse('stale', `the next generation is ${half.generation.number + 1}, not ${next.number}`);
  if (proposal !== undefined && half.refused.includes(proposal)) refuse('stale', `proposal ${proposal} was refused`);
  if (commit !== undefined) planCommitStage(graph, session, commit.cycle, half.generation, commit.digests);
  if (commit !== undefined && half.stage?.plan.cycle !== commit.cycle)
    refuse('stale', `cycle ${commit.cycle} is not staged`);
  if (half.test !== undefined && testCopy === undefined) refuse('in_use', 'a failover test is running');
  if (testCopy !== undefined && half.test === undefined) refuse('stale', 'no failover test is running');
  if (testCopy !== undefined && (from !== undefined || commit !== undefined))
    refuse('out_of_range', 'the copy that is tested takes neither another image nor a commit');
  if (from !== undefined) for (const pair of half.pairs) needMember(graph, from, pair.local);
  // The commit in the same record may bring other members.
  const members = commit === undefined ? half.pairs : (half.stage?.plan.pairs ?? half.pairs);
  return {
    op: 'promote',
    session,
    next,
    layers: freshLayers(graph, members.length),
    ...(commit && { commit }),
    ...(from && { from }),
    ...(testCopy && { testCopy }),
  };
}

export function planDemote(
  graph: Graph,
  session: SessionId,
  learned: Generation,
  base: Base | undefined,
  preserve: PointSpec | undefined,
): Planned {
  const half = needHalf(graph, session);
  if (half.role === 'destination' && sameGeneration(half.generation, learned)) return undefined;
  if (learned.number <= half.generation.number)
    refuse('stale', `generation ${learned.number} is not newer than ${half.generation.number}`);
  if (base !== undefined) needPoint(graph, base.point);
  return {
    op: 'demote',
    session,
    learned,
    layers: freshLayers(graph, half.pairs.length),
    ...(base && { base: plainBase(half, base) }),
    ...(preserve && { preserve }),
  };
}
