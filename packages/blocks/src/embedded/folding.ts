import { passFaultPoint } from '@antipode/base';
import type { EngineCore } from './core.ts';
import { nextTurn } from './end-of-turn.ts';
import type { Graph, LayerNode } from './graph/graph.ts';
import type { LayerId } from './log/types.ts';

/**
 * Folds layers that no point, head, stage or replica stands on into the one layer above them, and gives up layers that nothing
 * stands on at all. Only the index changes, page by page, and the image seen through the stack is the same at every moment;
 * the log keeps the old layer ids, so a rebuilt index folds once more. True when something was done.
 */
export async function foldSome(core: EngineCore): Promise<boolean> {
  let did = false;
  for (let found = findWork(core); found !== undefined && !core.closed; found = findWork(core)) {
    did = true;
    if (found.into === undefined) await giveUp(core, found.layer);
    else await fold(core, found.layer, found.into);
  }
  return did;
}

/** Layers that something stands on directly. */
function referenced(graph: Graph): Set<LayerId> {
  const ids = new Set<LayerId>();
  for (const volume of graph.volumes.values()) ids.add(volume.top);
  for (const point of graph.points.values()) for (const member of point.members) ids.add(member.layer);
  for (const half of graph.halves.values())
    for (const layers of half.stage?.layers ?? []) for (const layer of layers) ids.add(layer);
  for (const { images } of graph.arrivals.values()) for (const { layer } of images) ids.add(layer);
  return ids;
}

interface Folding {
  readonly layer: LayerNode;
  /** Absent: nothing stands on the layer. */
  readonly into: LayerNode | undefined;
}

/**
 * Of all that can be folded the smallest layer: where many go, the large one at the bottom is moved once and not once for each.
 * What goes into a head comes last: it changes what hosts read through, and is put together again the faster the less is left.
 */
function findWork({ graph, pages }: EngineCore): Folding | undefined {
  const heads = new Set([...graph.volumes.values()].map(({ top }) => top));
  const sizeOf = ({ id }: LayerNode) => pages.layer(id).data + pages.layer(id).holes;
  let found: Folding | undefined;
  let least = Number.POSITIVE_INFINITY;
  let inner = false;
  for (const one of foldings(graph)) {
    if (one.into === undefined) return one;
    const isInner = !heads.has(one.into.id);
    const size = sizeOf(one.layer);
    if (isInner === inner ? size >= least : inner) continue;
    found = one;
    least = size;
    inner = isInner;
  }
  return found;
}

function* foldings(graph: Graph): Generator<Folding> {
  const kept = referenced(graph);
  const children = new Map<LayerId, LayerNode[]>();
  for (const layer of graph.layers.values()) {
    if (layer.parent !== undefined) children.set(layer.parent, [...(children.get(layer.parent) ?? []), layer]);
  }
  for (const layer of graph.layers.values()) {
    if (kept.has(layer.id)) continue;
    const above = children.get(layer.id) ?? [];
    if (above.length === 0) yield { layer, into: undefined };
    // A layer that is smaller than the one below or larger than the one above cuts the image [C1.4], and a volume may grow later.
    const below = layer.parent === undefined ? 0 : (graph.layers.get(layer.parent)?.size ?? 0);
    if (above.length === 1 && below <= layer.size && layer.size <= above[0]!.size) yield { layer, into: above[0] };
  }
}

async function giveUp(core: EngineCore, layer: LayerNode): Promise<void> {
  const index = core.layerIndex(layer.id);
  let done = 0;
  for (const number of [...index.present.within(0, Number.MAX_SAFE_INTEGER)]) {
    core.writer.dropPage(index, number);
    if (++done % core.limits.pagesATurn === 0) await nextTurn();
  }
  core.graph.layers.delete(layer.id);
  core.digests.forget(layer.id);
  core.pages.forget(layer.id);
  core.chains.invalidate();
}

async function fold(core: EngineCore, layer: LayerNode, into: LayerNode): Promise<void> {
  const index = core.layerIndex(layer.id);
  const target = core.layerIndex(into.id);
  let done = 0;
  for (const number of [...index.present.within(0, Number.MAX_SAFE_INTEGER)]) {
    core.writer.foldPage(index, target, number, layer.parent !== undefined);
    if (++done % core.limits.pagesATurn === 0) await nextTurn();
    // Meanwhile somebody may have forked or frozen here: what is left is looked at again.
    if (core.graph.layers.get(into.id)?.parent !== layer.id) return;
  }
  if (layer.parent === undefined) delete into.parent;
  else into.parent = layer.parent;
  passFaultPoint('folding.folded');
  core.graph.layers.delete(layer.id);
  core.graph.folded.set(layer.id, into.id);
  for (const [from, to] of core.graph.folded) if (to === layer.id) core.graph.folded.set(from, into.id);
  core.digests.forget(layer.id);
  core.pages.forget(layer.id);
  core.chains.invalidate();
}
