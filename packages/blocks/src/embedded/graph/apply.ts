import { assert, assertNever, type PointId, type SessionId, type VolumeId } from '@antipode/base';
import type { Pair, PointSpec, Restoration } from '../../port/types.ts';
import { engineLimits } from '../limits.ts';
import type { LayerId } from '../log/types.ts';
import { applyMoving } from './apply-moving.ts';
import type { Change } from './changes.ts';
import {
  decodeGraph,
  type Graph,
  type HalfNode,
  isKept,
  memberOf,
  noLayer,
  plainBase,
  sameList,
  shownOf,
  type VolumeNode,
} from './graph.ts';

/** Changes the graph. Never refuses: whether a change is legal was settled before its record was written. */
export function applyChange(graph: Graph, change: Change): void {
  switch (change.op) {
    case 'create_volume': {
      addLayer(graph, change.layer, undefined, change.size);
      const { id, name, destination, tag } = change;
      graph.volumes.set(id, { id, name, family: id, top: change.layer, follows: destination, destination, tag });
      return;
    }
    case 'delete_volume':
      graph.volumes.delete(change.id);
      return sweep(graph);
    case 'resize_volume': {
      const layer = graph.layers.get(volumeOf(graph, change.id).top);
      assert(layer !== undefined, 'G1');
      layer.size = change.size;
      return;
    }
    case 'change_volume': {
      const volume = volumeOf(graph, change.id);
      if (change.name !== undefined) volume.name = change.name;
      if (change.tag !== undefined) volume.tag = change.tag;
      if (change.destination === false && change.layer !== undefined) {
        // An ordinary volume again: a layer of its own on what it followed.
        own(graph, volume, volume.top, change.layer);
        volume.destination = false;
        delete volume.replica;
        sweep(graph);
      }
      return;
    }
    case 'freeze':
      return freeze(graph, change.point, change.volumes, change.layers, change.hold === undefined ? [] : [change.hold]);
    case 'drop_point':
      pointOf(graph, change.id).dropped = true;
      return sweep(graph);
    case 'change_point':
      pointOf(graph, change.id).tag = change.tag;
      return;
    case 'hold':
      pointOf(graph, change.id).holds.push(change.holder);
      return;
    case 'release': {
      const point = pointOf(graph, change.id);
      point.holds = point.holds.filter((holder) => holder !== change.holder);
      return sweep(graph);
    }
    case 'fork': {
      const member = memberOf(pointOf(graph, change.point), change.of);
      assert(member !== undefined, 'the image exists');
      addLayer(graph, change.layer, member.layer, member.size);
      const family = graph.volumes.get(change.of)?.family ?? change.of;
      const { id, name, tag } = change;
      graph.volumes.set(id, { id, name, family, top: change.layer, follows: false, destination: false, tag });
      return;
    }
    case 'restore':
      return restore(graph, [change]);
    case 'restore_all':
      return restore(graph, change.images);
    case 'create_half': {
      const { session, role, generation, pairs, tag } = change;
      graph.halves.set(session, { session, role, generation, pairs, refused: [], tag });
      graph.tombstones.delete(session);
      for (const pair of pairs) {
        const volume = volumeOf(graph, pair.local);
        volume.session = session;
        if (role === 'destination') {
          volume.destination = true;
          volume.follows = true;
        }
      }
      return;
    }
    case 'change_half': {
      const half = halfOf(graph, change.session);
      if (change.tag !== undefined) half.tag = change.tag;
      changeMembers(graph, half, change.pairs ?? half.pairs, change.joining ?? half.joining ?? []);
      return;
    }
    case 'remove_half':
      return removeHalf(graph, change.session);
    case 'advance_base': {
      const half = halfOf(graph, change.session);
      half.base = plainBase(half, change.base);
      return tidySession(graph, half);
    }
    case 'reset_base': {
      const half = halfOf(graph, change.session);
      if (change.base === undefined) delete half.base;
      else half.base = plainBase(half, change.base);
      delete half.stage;
      return sweep(graph);
    }
    case 'open_stage':
      return openStage(graph, change);
    case 'stage_address': {
      const stage = halfOf(graph, change.session).stage;
      if (stage?.plan.cycle === change.cycle) stage.address = change.address;
      return;
    }
    case 'commit_stage':
      return commitStage(graph, halfOf(graph, change.session), change.digests);
    case 'abandon_stage':
      delete halfOf(graph, change.session).stage;
      return sweep(graph);
    case 'seal': {
      const half = halfOf(graph, change.session);
      freeze(
        graph,
        change.point,
        half.pairs.map((pair) => pair.local),
        change.layers,
        [],
      );
      half.seal = { proposal: change.proposal, point: change.point.id };
      return;
    }
    case 'unseal': {
      const half = halfOf(graph, change.session);
      const point = half.seal && graph.points.get(half.seal.point);
      // The sealed point lives on as the target of the cycle that was to prove it.
      if (point !== undefined) point.holds.push(sessionHolder(half.session));
      delete half.seal;
      return;
    }
    case 'refuse_proposal': {
      const half = halfOf(graph, change.session);
      half.refused = [...half.refused, change.proposal].slice(-engineLimits.refusedProposals);
      return;
    }
    case 'start_test':
      return startTest(graph, change);
    case 'stop_test':
      stopTest(graph, halfOf(graph, change.session), change.keep);
      return sweep(graph);
    case 'promote':
      return promote(graph, change);
    case 'demote':
      return demote(graph, change);
    case 'depart':
    case 'stay':
    case 'departed':
    case 'arrive':
    case 'image_address':
    case 'arrival_epoch':
    case 'adopt':
    case 'forget_arrival':
      return applyMoving(graph, change, { addLayer, freeze, sweep });
    case 'checkpoint':
    case 'oldest_checkpoint':
      return;
    case 'graph': {
      const whole = decodeGraph(change.graph);
      graph.nextLayer = whole.nextLayer;
      replace(graph.layers, whole.layers);
      replace(graph.volumes, whole.volumes);
      replace(graph.points, whole.points);
      replace(graph.halves, whole.halves);
      replace(graph.tombstones, whole.tombstones);
      replace(graph.folded, whole.folded);
      replace(graph.arrivals, whole.arrivals);
      replace(graph.departures, whole.departures);
      return;
    }
    default:
      return assertNever(change);
  }
}

export const sessionHolder = (session: SessionId): string => `session:${session}`;

function replace<K, V>(map: Map<K, V>, by: Map<K, V>): void {
  map.clear();
  for (const [key, value] of by) map.set(key, value);
}

function volumeOf(graph: Graph, id: VolumeId): VolumeNode {
  const volume = graph.volumes.get(id);
  assert(volume !== undefined, `volume ${id} exists`);
  return volume;
}

function pointOf(graph: Graph, id: PointId) {
  const point = graph.points.get(id);
  assert(point !== undefined, `point ${id} exists`);
  return point;
}

function halfOf(graph: Graph, session: SessionId): HalfNode {
  const half = graph.halves.get(session);
  assert(half !== undefined, `half ${session} exists`);
  return half;
}

function addLayer(graph: Graph, id: LayerId, parent: LayerId | undefined, size: number): void {
  assert(!graph.layers.has(id), 'G3');
  graph.layers.set(id, parent === undefined ? { id, size } : { id, parent, size });
  graph.nextLayer = Math.max(graph.nextLayer, id + 1);
}

/** Others are the members, or set aside for it: who leaves is free of the session; what the base was of does not change. */
function changeMembers(graph: Graph, half: HalfNode, pairs: readonly Pair[], joining: readonly Pair[]): void {
  const before = [...half.pairs, ...(half.joining ?? [])];
  if (half.base !== undefined) half.base = { pairs: half.pairs, ...half.base };
  half.pairs = pairs;
  if (joining.length > 0) half.joining = joining;
  else delete half.joining;
  if (half.base !== undefined) half.base = plainBase(half, half.base);
  const now = new Set([...pairs, ...joining].map((pair) => pair.local));
  for (const { local } of before) {
    const volume = graph.volumes.get(local);
    if (now.has(local) || volume?.session !== half.session) continue;
    delete volume.session;
    // What a failover test wrote is given up for a member that goes while it runs.
    const replica = volume.replica && graph.points.get(volume.replica);
    const member = replica && memberOf(replica, local);
    if (volume.destination && !volume.follows && member !== undefined) {
      volume.top = member.layer;
      volume.follows = true;
    }
    delete volume.replica;
  }
  for (const local of now) volumeOf(graph, local).session = half.session;
}

/** Gives a volume a writable layer of its own on `below`. */
function own(graph: Graph, volume: VolumeNode, below: LayerId, layer: LayerId, size?: number): void {
  addLayer(graph, layer, below, size ?? graph.layers.get(below)?.size ?? 0);
  volume.top = layer;
  volume.follows = false;
}

function restore(graph: Graph, images: readonly (Restoration & { readonly layer: LayerId })[]): void {
  for (const { volume, point, of, layer } of images) {
    const member = memberOf(pointOf(graph, point), of);
    assert(member !== undefined, 'the image exists');
    own(graph, volumeOf(graph, volume), member.layer, layer, member.size);
  }
}

/** The tops become the point's image, and fresh ones sit on them: one turn, whatever the size [C9.3]. */
function freeze(
  graph: Graph,
  spec: PointSpec,
  volumes: readonly VolumeId[],
  layers: readonly LayerId[],
  holds: string[],
): void {
  const members = volumes.map((id, index) => {
    const volume = volumeOf(graph, id);
    const layer = volume.top;
    const size = graph.layers.get(layer)?.size ?? 0;
    if (!volume.follows) own(graph, volume, layer, layers[index]!);
    return { volume: id, layer, size };
  });
  const { id, kind, instant_ms, tag } = spec;
  graph.points.set(id, { id, kind, instant_ms, members, holds, dropped: false, tag });
}

/**
 * Frees points that are dropped, and deleted volumes' parts of points, as far as nobody keeps them. Of a point of a session that is over the
 * parts stay that copies show: one that was left behind does not keep what its neighbours were.
 */
function sweep(graph: Graph): void {
  for (const point of [...graph.points.values()]) {
    if (isKept(graph, point)) continue;
    const shown = shownOf(graph, point);
    if (shown.length > 0 && (!point.dropped || graph.halves.has(point.tag.session as SessionId))) continue;
    const still = point.dropped ? shown : point.members.filter((member) => graph.volumes.has(member.volume));
    if (still.length === 0) graph.points.delete(point.id);
    else if (still.length < point.members.length) point.members = still;
  }
}

/** Lets go of the session's points: of internal ones only its base and a sealed one stay [C2.6]. */
function tidySession(graph: Graph, half: HalfNode): void {
  const holder = sessionHolder(half.session);
  for (const point of graph.points.values()) {
    if (point.holds.includes(holder)) point.holds = point.holds.filter((hold) => hold !== holder);
    if (point.kind !== 'internal' || point.tag.session !== half.session) continue;
    if (point.id !== half.base?.point && point.id !== half.seal?.point) point.dropped = true;
  }
  sweep(graph);
}

function removeHalf(graph: Graph, session: SessionId): void {
  const half = halfOf(graph, session);
  stopTest(graph, half, undefined);
  graph.halves.delete(session);
  graph.tombstones.set(session, half.generation);
  for (const pair of [...half.pairs, ...(half.joining ?? [])]) {
    const volume = graph.volumes.get(pair.local);
    if (volume?.session === session) delete volume.session;
  }
  delete half.base;
  delete half.seal;
  delete half.stage;
  const holder = sessionHolder(session);
  for (const point of graph.points.values()) point.holds = point.holds.filter((hold) => hold !== holder);
  tidySession(graph, half);
}

function openStage(graph: Graph, change: Extract<Change, { op: 'open_stage' }>): void {
  const { plan, layers } = change;
  const half = halfOf(graph, plan.session);
  const base = plan.base === undefined ? undefined : graph.points.get(plan.base);
  plan.pairs.forEach((pair, index) => {
    let below = base === undefined || pair.whole ? undefined : memberOf(base, pair.local)?.layer;
    plan.points.forEach((point, number) => {
      const layer = layers[index]![number]!;
      if (layer === noLayer) return;
      addLayer(graph, layer, below, point.sizes[index]!);
      below = layer;
    });
  });
  half.stage = { plan, layers, address: { point: 0, pair: 0, block: 0 } };
}

/** The staged image becomes replica and base, its snapshots points of their own [C3.3]. */
function commitStage(graph: Graph, half: HalfNode, digests: readonly string[]): void {
  const stage = half.stage;
  assert(stage !== undefined, 'a stage is committed once');
  const { plan, layers } = stage;
  plan.points.forEach((point, number) => {
    const members = plan.pairs
      .map((pair, index) => ({ volume: pair.local, layer: layers[index]![number]!, size: point.sizes[index]! }))
      .filter((member) => member.layer !== noLayer);
    const { id, kind, instant_ms, tag } = point;
    graph.points.set(id, { id, kind, instant_ms, members, holds: [], dropped: false, tag });
  });
  const target = plan.points.at(-1);
  assert(target !== undefined, 'a cycle has a target');
  const pairs = plan.pairs.map(({ local, remote }) => ({ local, remote }));
  // Who was set aside and is not among them was not wanted any more when the cycle began.
  if (!sameList(pairs, half.pairs) || half.joining !== undefined) changeMembers(graph, half, pairs, []);
  for (const member of graph.points.get(target.id)!.members) {
    const volume = volumeOf(graph, member.volume);
    volume.replica = target.id;
    if (volume.follows) volume.top = member.layer;
  }
  half.base = { point: target.id, digests };
  half.committed = plan.cycle;
  delete half.stage;
  tidySession(graph, half);
}

/** Heads leave the replica and become forks of the chosen point [C2.2]. */
function startTest(graph: Graph, change: Extract<Change, { op: 'start_test' }>): void {
  const half = halfOf(graph, change.session);
  const point = pointOf(graph, change.point);
  half.pairs.forEach((pair, index) => {
    const member = memberOf(point, pair.local);
    assert(member !== undefined, 'the image exists');
    own(graph, volumeOf(graph, pair.local), member.layer, change.layers[index]!, member.size);
  });
  half.test = { id: change.test, point: change.point };
}

/** Heads follow the replica again; what the test has written is kept as a point, or nobody's any more. */
function stopTest(graph: Graph, half: HalfNode, keep: PointSpec | undefined): void {
  if (half.test === undefined) return;
  const begun = pointOf(graph, half.test.point);
  if (keep !== undefined) keepHeads(graph, half, keep);
  for (const pair of half.pairs) {
    const volume = volumeOf(graph, pair.local);
    if (volume.follows) continue;
    const replica = volume.replica && graph.points.get(volume.replica);
    const image = replica && memberOf(replica, pair.local);
    // Without a replica it had an empty image before; the image that the test began with is no worse.
    volume.top = image?.layer ?? memberOf(begun, pair.local)?.layer ?? volume.top;
    volume.follows = true;
  }
  delete half.test;
}

/** Freezes what the heads of a half hold under a point, without giving them fresh layers: they are about to follow. */
function keepHeads(graph: Graph, half: HalfNode, spec: PointSpec): void {
  const members = half.pairs.map((pair) => {
    const { top } = volumeOf(graph, pair.local);
    return { volume: pair.local, layer: top, size: graph.layers.get(top)?.size ?? 0 };
  });
  const { id, kind, instant_ms, tag } = spec;
  graph.points.set(id, { id, kind, instant_ms, members, holds: [], dropped: false, tag });
}

function promote(graph: Graph, change: Extract<Change, { op: 'promote' }>): void {
  const half = halfOf(graph, change.session);
  // Looked up first: with the commit the former base may go, and be what the heads become forks of.
  const chosen = change.from && graph.points.get(change.from);
  if (change.commit !== undefined) commitStage(graph, half, change.commit.digests);
  delete half.stage;
  // Who was to become a member and has not is none.
  if (half.joining !== undefined) changeMembers(graph, half, half.pairs, []);
  half.role = 'source';
  half.generation = change.next;
  const from = chosen ?? (half.base && graph.points.get(half.base.point));
  half.pairs.forEach((pair, index) => {
    const volume = volumeOf(graph, pair.local);
    const member = from && memberOf(from, pair.local);
    // The test's head is a writable layer of its own already; who became a member since has none.
    if (change.testCopy === undefined || volume.follows)
      own(graph, volume, member?.layer ?? volume.top, change.layers[index]!, member?.size);
    volume.destination = false;
    delete volume.replica;
  });
  delete half.test;
  sweep(graph);
}

function demote(graph: Graph, change: Extract<Change, { op: 'demote' }>): void {
  const half = halfOf(graph, change.session);
  if (change.preserve !== undefined) keepHeads(graph, half, change.preserve);
  const base = change.base && graph.points.get(change.base.point);
  half.pairs.forEach((pair, index) => {
    const volume = volumeOf(graph, pair.local);
    const member = base && memberOf(base, pair.local);
    if (member === undefined) {
      const layer = change.layers[index]!;
      addLayer(graph, layer, undefined, graph.layers.get(volume.top)?.size ?? 0);
      volume.top = layer;
      delete volume.replica;
    } else {
      volume.top = member.layer;
      volume.replica = base!.id;
    }
    volume.follows = true;
    volume.destination = true;
  });
  half.role = 'destination';
  half.generation = change.learned;
  if (change.base === undefined) delete half.base;
  else half.base = plainBase(half, change.base);
  delete half.seal;
  delete half.stage;
  tidySession(graph, half);
}
