import { assert, type VolumeId } from '@antipode/base';
import type { LayerId } from '../log/types.ts';
import type { Change } from './changes.ts';
import type { ArrivalNode, Graph } from './graph.ts';
import { moveHolder, unitOf } from './unit.ts';

export type MovingChange = Extract<
  Change,
  {
    readonly op:
      | 'depart'
      | 'stay'
      | 'departed'
      | 'arrive'
      | 'image_address'
      | 'arrival_epoch'
      | 'adopt'
      | 'forget_arrival';
  }
>;

/** What {@link applyChange} lends to changes of moves. */
export interface GraphTools {
  addLayer(graph: Graph, id: LayerId, parent: LayerId | undefined, size: number): void;
  freeze(
    graph: Graph,
    point: Extract<Change, { op: 'depart' }>['point'],
    volumes: readonly VolumeId[],
    layers: readonly LayerId[],
    holds: string[],
  ): void;
  sweep(graph: Graph): void;
}

export function applyMoving(graph: Graph, change: MovingChange, tools: GraphTools): void {
  switch (change.op) {
    case 'depart': {
      const { move, point, volumes, layers } = change;
      tools.freeze(graph, point, volumes, layers, [moveHolder(move)]);
      // A stage that is not complete stays behind: its cycle begins anew.
      for (const session of unitOf(graph, volumes).halves) delete graph.halves.get(session)!.stage;
      graph.departures.set(move, { move, point: point.id, volumes });
      return;
    }
    case 'stay': {
      graph.departures.delete(change.move);
      const holder = moveHolder(change.move);
      for (const point of graph.points.values()) {
        if (!point.holds.includes(holder)) continue;
        point.holds = point.holds.filter((hold) => hold !== holder);
        point.dropped = true;
      }
      return tools.sweep(graph);
    }
    case 'departed': {
      const departure = graph.departures.get(change.move);
      assert(departure !== undefined, 'what has departed was departing');
      const unit = unitOf(graph, departure.volumes);
      for (const session of unit.halves) graph.halves.delete(session);
      for (const point of unit.points) graph.points.delete(point);
      for (const volume of unit.volumes) graph.volumes.delete(volume);
      graph.departures.delete(change.move);
      return;
    }
    case 'arrive': {
      const { move, image, layer, parent, size } = change;
      tools.addLayer(graph, layer, parent, size);
      const arrival = graph.arrivals.get(move) ?? { move, epoch: 1, adopted: false, images: [] };
      const others = arrival.images.filter(({ key }) => key !== image);
      arrival.images = [...others, { key: image, layer, next: 0, complete: false }];
      graph.arrivals.set(move, arrival);
      return;
    }
    case 'image_address': {
      const arrival = graph.arrivals.get(change.move);
      const image = arrival?.images.find(({ key }) => key === change.image);
      if (image === undefined) return;
      image.next = change.next;
      image.complete ||= change.complete ?? false;
      return;
    }
    case 'arrival_epoch': {
      const arrival = graph.arrivals.get(change.move);
      if (arrival !== undefined) arrival.epoch = change.epoch;
      return;
    }
    case 'adopt':
      return adopt(graph, change, tools);
    case 'forget_arrival':
      graph.arrivals.delete(change.move);
      return;
  }
}

function adopt(graph: Graph, change: Extract<Change, { op: 'adopt' }>, tools: GraphTools): void {
  const arrival = graph.arrivals.get(change.move) as ArrivalNode;
  const layerOf = new Map(arrival.images.map(({ key, layer }) => [key, layer]));
  const { volumes, points, halves } = change.manifest;
  volumes.forEach(({ image, follows, ...node }, index) => {
    const below = layerOf.get(image)!;
    const own = change.layers[index]!;
    if (!follows) tools.addLayer(graph, own, below, graph.layers.get(below)!.size);
    graph.volumes.set(node.id, { ...node, follows, top: follows ? below : own });
  });
  for (const { members, holds, ...point } of points)
    graph.points.set(point.id, {
      ...point,
      holds: [...holds],
      members: members.map(({ volume, size, image }) => ({ volume, size, layer: layerOf.get(image)! })),
    });
  for (const half of halves) {
    graph.halves.set(half.session, { ...half, refused: [...half.refused] });
    graph.tombstones.delete(half.session);
  }
  arrival.images = [];
  arrival.adopted = true;
}
