import type { PointId, SessionId, VolumeId } from '@antipode/base';
import type { Manifest, MovingImage } from '../../port/moving.ts';
import type { LayerId } from '../log/types.ts';
import type { Change } from './changes.ts';
import { ancestry, type Graph } from './graph.ts';
import { needVolume } from './plan.ts';

/** Who keeps what a move needs. */
export const moveHolder = (move: string): string => `migration:${move}`;

export interface Unit {
  readonly volumes: ReadonlySet<VolumeId>;
  readonly points: ReadonlySet<PointId>;
  readonly halves: ReadonlySet<SessionId>;
}

/** Volumes that share blocks, points or a session with the ones given, and those with them in turn. */
export function unitOf(graph: Graph, seeds: readonly VolumeId[]): Unit {
  const volumes = new Set(seeds);
  const points = new Set<PointId>();
  const halves = new Set<SessionId>();
  for (let before = -1; before !== volumes.size; ) {
    before = volumes.size;
    const families = new Set([...volumes].map((id) => graph.volumes.get(id)?.family ?? id));
    for (const volume of graph.volumes.values()) if (families.has(volume.family)) volumes.add(volume.id);
    for (const point of graph.points.values()) {
      if (!point.members.some((member) => volumes.has(member.volume))) continue;
      points.add(point.id);
      for (const member of point.members) volumes.add(member.volume);
    }
    for (const half of graph.halves.values()) {
      const pairs = [...half.pairs, ...(half.joining ?? [])];
      if (!pairs.some((pair) => volumes.has(pair.local))) continue;
      halves.add(half.session);
      for (const pair of pairs) volumes.add(pair.local);
    }
  }
  return { volumes, points, halves };
}

/** Of a unit's volumes those that exist: a point may hold the image of one that was deleted. */
export const livingOf = (graph: Graph, unit: Unit): readonly VolumeId[] =>
  [...unit.volumes].filter((id) => graph.volumes.has(id));

/** Frozen layers that something of the unit stands on, each with the nearest one below it. Ids of layers rise from parent to child. */
export function imagesOf(graph: Graph, unit: Unit): readonly MovingImage[] {
  const layers = new Set<LayerId>();
  for (const id of unit.points) for (const member of graph.points.get(id)!.members) layers.add(member.layer);
  for (const id of livingOf(graph, unit)) {
    const volume = needVolume(graph, id);
    if (volume.follows) layers.add(volume.top);
  }
  return [...layers]
    .sort((a, b) => a - b)
    .map((layer) => {
      const [own, ...below] = ancestry(graph, layer);
      const parent = below.find(({ id }) => layers.has(id));
      return { image: String(layer), size: own!.size, ...(parent && { parent: String(parent.id) }) };
    });
}

/** What another engine makes the unit of, as it is now: its heads are frozen under `frozen`. Without it, what that would come to. */
export function manifestOf(graph: Graph, unit: Unit, move: string, frozen: PointId | undefined): Manifest {
  const point = frozen === undefined ? undefined : graph.points.get(frozen);
  const heads = new Map(point?.members.map(({ volume, layer }) => [volume, layer]));
  return {
    volumes: livingOf(graph, unit).map((id) => {
      const { top, follows, ...node } = needVolume(graph, id);
      return { ...node, follows, image: String(follows ? top : (heads.get(id) ?? top)) };
    }),
    points: [...unit.points]
      .map((id) => graph.points.get(id)!)
      // The move's own points have served with it.
      .filter((point) => !point.holds.includes(moveHolder(move)))
      .map((point) => ({
        ...point,
        members: point.members.map(({ volume, size, layer }) => ({ volume, size, image: String(layer) })),
      })),
    halves: [...unit.halves].map((session) => {
      const { seal: _, stage: __, ...half } = graph.halves.get(session)!;
      return half;
    }),
  };
}

export const isDeparting = (graph: Graph, volume: VolumeId): boolean =>
  graph.departures.size > 0 && [...graph.departures.values()].some(({ volumes }) => volumes.includes(volume));

/** The volumes that a change is about. */
export function volumesOf(graph: Graph, change: Change): readonly VolumeId[] {
  const ofPoint = (id: PointId) => graph.points.get(id)?.members.map(({ volume }) => volume) ?? [];
  const ofHalf = (session: SessionId) => graph.halves.get(session)?.pairs.map(({ local }) => local) ?? [];
  switch (change.op) {
    case 'delete_volume':
    case 'resize_volume':
    case 'change_volume':
      return [change.id];
    case 'freeze':
      return change.volumes;
    case 'drop_point':
    case 'change_point':
    case 'hold':
    case 'release':
      return ofPoint(change.id);
    case 'fork':
      return ofPoint(change.point);
    case 'restore':
      return [change.volume];
    case 'create_half':
      return change.pairs.map(({ local }) => local);
    case 'open_stage':
      return ofHalf(change.plan.session);
    default:
      return 'session' in change ? ofHalf(change.session) : [];
  }
}
