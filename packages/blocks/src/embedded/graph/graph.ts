import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';
import type { Base, CyclePlan, Generation, Pair, PointKind, RestartAddress, Role, Tag } from '../../port/types.ts';
import type { LayerId } from '../log/types.ts';

/** What was written while it was on top of its stack. */
export interface LayerNode {
  readonly id: LayerId;
  parent?: LayerId;
  /** Size of the volume as this layer knows it [C1.4]. */
  size: number;
}

export interface VolumeNode {
  readonly id: VolumeId;
  name: string;
  readonly family: VolumeId;
  /** What hosts see: a layer of its own, or, where `follows`, the frozen layer of the replica. */
  top: LayerId;
  follows: boolean;
  destination: boolean;
  session?: SessionId;
  replica?: PointId;
  tag: Tag;
}

export interface PointNode {
  readonly id: PointId;
  readonly kind: PointKind;
  readonly instant_ms: number;
  members: { readonly volume: VolumeId; readonly layer: LayerId; readonly size: number }[];
  holds: string[];
  dropped: boolean;
  tag: Tag;
}

/** No layer: ids begin at 1. */
export const noLayer = 0 as LayerId;

export interface StageNode {
  readonly plan: CyclePlan;
  /** Staging layer of each point of each pair: `layers[pair][point]`; {@link noLayer} where the pair is not in the point. */
  readonly layers: readonly (readonly LayerId[])[];
  address: RestartAddress;
}

export interface HalfNode {
  readonly session: SessionId;
  role: Role;
  generation: Generation;
  pairs: readonly Pair[];
  /** Volumes set aside for members to come. */
  joining?: readonly Pair[];
  /** Its `pairs` are there only where they are not the half's. */
  base?: Base;
  seal?: { readonly proposal: ProposalId; readonly point: PointId };
  refused: ProposalId[];
  stage?: StageNode;
  /** A failover test: the heads are forks of this point and do not follow. */
  test?: { readonly id: TestId; readonly point: PointId };
  /** The cycle committed last: a commit that arrives twice is found done. */
  committed?: CycleId;
  tag: Tag;
}

/** A unit on its way here. */
export interface ArrivalNode {
  readonly move: string;
  epoch: number;
  adopted: boolean;
  images: { readonly key: string; readonly layer: LayerId; next: number; complete: boolean }[];
}

/** A unit that has left, or is about to: nothing of it is served here. */
export interface DepartureNode {
  readonly move: string;
  /** Its heads, frozen. */
  readonly point: PointId;
  readonly volumes: readonly VolumeId[];
}

/**
 * Volumes, layers, points, holds and halves: everything about bytes but the bytes. Changed only by {@link applyChange}, live and
 * at replay alike, so that the same log gives the same graph.
 *
 * Invariants (checked by tests of these numbers):
 *  G1 Every top, member and staging layer exists; every parent exists; parents have smaller ids.
 *  G2 A layer that is somebody's parent, or a point's member, takes no writes.
 *  G3 A layer id is never used twice [C1.1].
 *  G4 A point that is held, or is the base, seal, test or stage base of a half, or the replica of a volume, exists.
 *  G5 A destination's volumes follow, but while a failover test runs; a source's do not.
 */
export interface Graph {
  nextLayer: number;
  readonly layers: Map<LayerId, LayerNode>;
  readonly volumes: Map<VolumeId, VolumeNode>;
  readonly points: Map<PointId, PointNode>;
  readonly halves: Map<SessionId, HalfNode>;
  /** Of deleted sessions. They stay: nobody knows when the last word of one has been said (docs/decisions/0017-tombstones-stay.md). */
  readonly tombstones: Map<SessionId, Generation>;
  readonly arrivals: Map<string, ArrivalNode>;
  readonly departures: Map<string, DepartureNode>;
  /** Layers folded into another: records of the log still carry the old id. */
  readonly folded: Map<LayerId, LayerId>;
}

export const emptyGraph = (): Graph => ({
  nextLayer: 1,
  layers: new Map(),
  volumes: new Map(),
  points: new Map(),
  halves: new Map(),
  tombstones: new Map(),
  arrivals: new Map(),
  departures: new Map(),
  folded: new Map(),
});

/** Plain data for a checkpoint or a graph record. */
export const encodeGraph = (graph: Graph) => ({
  nextLayer: graph.nextLayer,
  layers: [...graph.layers.values()],
  volumes: [...graph.volumes.values()],
  points: [...graph.points.values()],
  halves: [...graph.halves.values()],
  tombstones: [...graph.tombstones],
  folded: [...graph.folded],
  // Left out where there are none: graphs from before moves look the same.
  ...(graph.arrivals.size > 0 && { arrivals: [...graph.arrivals.values()] }),
  ...(graph.departures.size > 0 && { departures: [...graph.departures.values()] }),
});
export type EncodedGraph = ReturnType<typeof encodeGraph>;

export function decodeGraph(encoded: EncodedGraph): Graph {
  return {
    nextLayer: encoded.nextLayer,
    layers: new Map(encoded.layers.map((layer) => [layer.id, { ...layer }])),
    volumes: new Map(encoded.volumes.map((volume) => [volume.id, { ...volume }])),
    points: new Map(
      encoded.points.map((point) => [point.id, { ...point, members: [...point.members], holds: [...point.holds] }]),
    ),
    halves: new Map(encoded.halves.map((half) => [half.session, { ...half, refused: [...half.refused] }])),
    tombstones: new Map(encoded.tombstones),
    folded: new Map(encoded.folded),
    arrivals: new Map(
      (encoded.arrivals ?? []).map((arrival) => [
        arrival.move,
        { ...arrival, images: arrival.images.map((image) => ({ ...image })) },
      ]),
    ),
    departures: new Map((encoded.departures ?? []).map((departure) => [departure.move, departure])),
  };
}

export const memberOf = (point: PointNode, volume: VolumeId) =>
  point.members.find((member) => member.volume === volume);

/** Layers from `layer` down to the root of its tree. */
export function* ancestry(graph: Graph, layer: LayerId): Generator<LayerNode> {
  let at: LayerNode | undefined = graph.layers.get(layer);
  while (at !== undefined) {
    yield at;
    at = at.parent === undefined ? undefined : graph.layers.get(at.parent);
  }
}

export const sameList = (a: readonly Pair[], b: readonly Pair[]): boolean =>
  a.length === b.length &&
  a.every(({ local, remote }, index) => b[index]!.local === local && b[index]!.remote === remote);

/** A base names its pairs only where they are not the half's. */
export function plainBase(half: HalfNode, { point, digests, pairs }: Base): Base {
  return pairs === undefined || sameList(pairs, half.pairs) ? { point, digests } : { point, digests, pairs };
}

/** Whether a point is kept as it is, by its own holds or by a session. */
export function isKept(graph: Graph, point: PointNode): boolean {
  if (point.holds.length > 0) return true;
  for (const half of graph.halves.values()) {
    if (half.base?.point === point.id || half.seal?.point === point.id || half.stage?.plan.base === point.id)
      return true;
    if (half.test?.point === point.id) return true;
  }
  return false;
}

/** The parts of a point that copies show. */
export const shownOf = (graph: Graph, point: PointNode): PointNode['members'] =>
  point.members.filter((member) => graph.volumes.get(member.volume)?.replica === point.id);

/** Whether anybody needs a point, or a part of it. */
export const isHeld = (graph: Graph, point: PointNode): boolean =>
  isKept(graph, point) || shownOf(graph, point).length > 0;
