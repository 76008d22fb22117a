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
  for (let found = findWork(core.graph); found !== undefined && !core.closed; found = findWork(core.graph)) {
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
  return ids;
}

function findWork(graph: Graph): { readonly layer: LayerNode; readonly into: LayerNode | undefined } | undefined {
  const kept = referenced(graph);
  const children = new Map<LayerId, LayerNode[]>();
  for (const layer of graph.layers.values()) {
    if (layer.parent !== undefined) children.set(layer.parent, [...(children.get(layer.parent) ?? []), layer]);
  }
  for (const layer of graph.layers.values()) {
    if (kept.has(layer.id)) continue;
    const above = children.get(layer.id) ?? [];
    if (above.length === 0) return { layer, into: undefined };
    // A layer that is smaller than the one below or larger than the one above cuts the image [C1.4], and a volume may grow later.
    const below = layer.parent === undefined ? 0 : (graph.layers.get(layer.parent)?.size ?? 0);
    if (above.length === 1 && below <= layer.size && layer.size <= above[0]!.size) return { layer, into: above[0] };
  }
  return undefined;
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
