import type { VolumeId } from '@antipode/base';
import { BlockError } from '../../port/errors.ts';
import type { Manifest, MovingImage } from '../../port/moving.ts';
import type { PointSpec } from '../../port/types.ts';
import type { LayerId } from '../log/types.ts';
import { CHANGE_BYTES_MAX, type Change } from './changes.ts';
import type { ArrivalNode, Graph } from './graph.ts';
import { needVolume } from './plan.ts';
import { livingOf, unitOf } from './unit.ts';

const refuse = (code: BlockError['code'], message: string): never => {
  throw new BlockError(code, message);
};

const fresh = (graph: Graph, count: number): readonly LayerId[] =>
  Array.from({ length: count }, (_, index) => (graph.nextLayer + index) as LayerId);

export function planDepart(
  graph: Graph,
  move: string,
  seeds: readonly VolumeId[],
  point: PointSpec,
): Change | undefined {
  if (graph.departures.has(move)) return undefined;
  for (const id of seeds) needVolume(graph, id);
  const unit = unitOf(graph, seeds);
  for (const session of unit.halves)
    if (graph.halves.get(session)!.seal !== undefined) refuse('in_use', `session ${session} is changing direction`);
  const volumes = livingOf(graph, unit);
  return { op: 'depart', move, point, volumes, layers: fresh(graph, volumes.length) };
}

export function needArrival(graph: Graph, move: string): ArrivalNode {
  return graph.arrivals.get(move) ?? refuse('not_found', `nothing of migration ${move} has arrived here`);
}

export function needImage(graph: Graph, move: string, image: string) {
  const found = needArrival(graph, move).images.find(({ key }) => key === image);
  return found ?? refuse('not_found', `image ${image} of migration ${move} is not known here`);
}

export function planArrive(graph: Graph, move: string, { image, parent, size }: MovingImage): Change | undefined {
  const known = graph.arrivals.get(move);
  if (known?.adopted) refuse('stale', `migration ${move} is complete`);
  const here = known?.images.find(({ key }) => key === image);
  if (here?.complete) return undefined;
  const below = parent === undefined ? undefined : needImage(graph, move, parent);
  if (below !== undefined && !below.complete) refuse('stale', `image ${parent} is not complete`);
  // What is shipped of it from now on is the difference from that one: on another one it would be another image.
  if (here !== undefined && graph.layers.get(here.layer)!.parent === below?.layer) return undefined;
  const layer = fresh(graph, 1)[0]!;
  return { op: 'arrive', move, image, layer, size, ...(below && { parent: below.layer }) };
}

/** What has come of the image is given up: all of it is shipped again. */
export function planArriveAnew(graph: Graph, move: string, image: string): Change {
  const { size, parent } = graph.layers.get(needImage(graph, move, image).layer)!;
  return { op: 'arrive', move, image, layer: fresh(graph, 1)[0]!, size, ...(parent !== undefined && { parent }) };
}

export function planAdopt(graph: Graph, move: string, epoch: number, manifest: Manifest): Change | undefined {
  const arrival = needArrival(graph, move);
  if (arrival.adopted) return undefined;
  if (arrival.epoch !== epoch) refuse('stale', `this proposal of migration ${move} was given up`);
  const named = [
    ...manifest.volumes.map(({ image }) => image),
    ...manifest.points.flatMap(({ members }) => members.map(({ image }) => image)),
  ];
  for (const image of named)
    if (!needImage(graph, move, image).complete) refuse('stale', `image ${image} is not complete`);
  for (const { id } of manifest.volumes) if (graph.volumes.has(id)) refuse('exists', `volume ${id} is here already`);
  for (const { id } of manifest.points) if (graph.points.has(id)) refuse('exists', `point ${id} is here already`);
  for (const { session } of manifest.halves)
    if (graph.halves.has(session)) refuse('exists', `session ${session} is here already`);
  return { op: 'adopt', move, manifest, layers: fresh(graph, manifest.volumes.length) };
}

/** A unit is adopted by one change: more than it takes cannot move. Said before anything departs, or is copied. */
export function checkManifest(manifest: Manifest): void {
  const bytes = Buffer.byteLength(JSON.stringify(manifest));
  // Besides it the change has an id and a layer for each volume.
  if (bytes > CHANGE_BYTES_MAX * 0.9)
    refuse('out_of_range', `what moves has too many snapshots: its description is ${bytes} bytes long`);
}
