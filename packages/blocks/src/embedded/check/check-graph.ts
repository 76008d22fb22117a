import { type Graph, isHeld } from '../graph/graph.ts';
import { canWrite } from '../graph/plan.ts';

/** The invariants of the graph that do not hold, by number and in words (graph.ts lists them). */
export function brokenRules(graph: Graph): readonly string[] {
  const broken: string[] = [];
  const rule = (holds: boolean, text: string) => {
    if (!holds) broken.push(text);
  };
  for (const { id, parent } of graph.layers.values()) {
    if (parent === undefined) continue;
    rule(graph.layers.has(parent), `G1: layer ${id} stands on layer ${parent}, which does not exist`);
    rule(parent < id, `G1: layer ${id} stands on the younger layer ${parent}`);
  }
  const parents = new Set([...graph.layers.values()].map(({ parent }) => parent));
  const members = new Set([...graph.points.values()].flatMap((point) => point.members.map(({ layer }) => layer)));
  for (const volume of graph.volumes.values()) {
    const { name, top, replica } = volume;
    rule(graph.layers.has(top), `G1: the head of volume ${name} is on layer ${top}, which does not exist`);
    rule(
      !canWrite(graph, volume) || !(parents.has(top) || members.has(top)),
      `G2: volume ${name} writes to a frozen layer`,
    );
    rule(replica === undefined || graph.points.has(replica), `G4: the replica ${replica} of volume ${name} is missing`);
  }
  for (const point of graph.points.values()) {
    for (const { layer, volume } of point.members)
      rule(
        graph.layers.has(layer),
        `G1: point ${point.id} of volume ${volume} is on layer ${layer}, which does not exist`,
      );
    rule(!point.dropped || isHeld(graph, point), `G4: point ${point.id} was dropped and nobody holds it`);
  }
  for (const id of graph.layers.keys()) rule(id < graph.nextLayer, `G3: layer ${id} is given out and counted as free`);
  for (const half of graph.halves.values()) {
    for (const point of [half.base?.point, half.seal?.point, half.stage?.plan.base])
      rule(
        point === undefined || graph.points.has(point),
        `G4: session ${half.session} names the missing point ${point}`,
      );
    for (const layer of half.stage?.layers.flat() ?? [])
      rule(graph.layers.has(layer), `G1: session ${half.session} stages on layer ${layer}, which does not exist`);
    for (const { local } of half.pairs) {
      const follows = graph.volumes.get(local)?.follows;
      rule(follows === (half.role === 'destination'), `G5: volume ${local} does not follow its session's role`);
    }
  }
  return broken;
}
