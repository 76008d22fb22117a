import type { VolumeId } from '@antipode/base';
import type { HalfInfo, PointInfo, StageInfo, VolumeInfo, WriteState } from '../port/types.ts';
import type { Graph, HalfNode, PointNode, StageNode, VolumeNode } from './graph/graph.ts';
import { isDeparting } from './graph/unit.ts';
import type { LogState } from './log/types.ts';

/** What the port shows of the graph's nodes: copies, never the nodes themselves. */
export function volumeInfo(graph: Graph, volume: VolumeNode): VolumeInfo {
  const { id, name, family, session, destination, replica, tag } = volume;
  const half = session === undefined ? undefined : graph.halves.get(session);
  return {
    id,
    name,
    family,
    destination,
    tag,
    size: graph.layers.get(volume.top)?.size ?? 0,
    sealed: half?.seal !== undefined,
    ...(session !== undefined && { session }),
    ...(replica !== undefined && { replica }),
    ...departing(graph, [id]),
  };
}

export const pointInfo = (graph: Graph, point: PointNode): PointInfo => ({
  id: point.id,
  kind: point.kind,
  instant_ms: point.instant_ms,
  members: point.members.map(({ volume, size }) => ({ volume, size })),
  holds: [...point.holds],
  dropped: point.dropped,
  tag: point.tag,
  ...departing(
    graph,
    point.members.map(({ volume }) => volume),
  ),
});

export const stageInfo = (stage: StageNode): StageInfo => ({ plan: stage.plan, address: stage.address });

export function halfInfo(graph: Graph, half: HalfNode): HalfInfo {
  const { session, role, generation, pairs, joining = [], base, seal, refused, stage, test, tag } = half;
  return {
    session,
    role,
    generation,
    pairs,
    joining,
    refused: [...refused],
    tag,
    ...(base && { base: { ...base, pairs: base.pairs ?? pairs } }),
    ...(seal && { seal }),
    ...(stage && { stage: stageInfo(stage) }),
    ...(test && { test }),
    ...departing(
      graph,
      pairs.map(({ local }) => local),
    ),
  };
}

/** What one volume of a unit does, all of it does. */
const departing = (graph: Graph, volumes: readonly VolumeId[]): { readonly departing?: true } =>
  volumes.some((id) => isDeparting(graph, id)) ? { departing: true } : {};

export const writeStateOf = (state: LogState): WriteState =>
  state.kind === 'no_space' ? { kind: 'stopped', reason: 'no_space', detail: state.detail } : state;
