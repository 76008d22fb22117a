import { BLOCK_BYTES } from '../../port/device.ts';
import type { StoredDamage } from '../../port/types.ts';
import { pagesAt, resolve } from '../chain.ts';
import type { EngineCore } from '../core.ts';
import { encodeGraph, type Graph } from '../graph/graph.ts';
import { type Page, pageBlocks } from '../index/page.ts';
import { unionWithin } from '../index/page-set.ts';
import type { LayerId } from '../log/types.ts';
import { readAside, runAt, type StoredRun } from '../stored-blocks.ts';
import { sumOf } from '../zero-block.ts';
import { whoSees } from './seen.ts';

/**
 * Compares two indices of one log: `made`, rebuilt from the log alone, and `stored`, from the checkpoint and what follows it. Both
 * are folded as far as they go. Images are compared, not entries, for a hole over nothing is as good as none; each image only
 * where it differs from one below it that was compared before, so the cost is that of the pages. Places may differ after
 * compaction: where they do, the bytes at the stored one are read.
 */
export async function compareIndices(
  made: EngineCore,
  stored: EngineCore,
  progress: (done: number, of: number) => void,
): Promise<readonly StoredDamage[]> {
  const differences: StoredDamage[] = graphDifferences(made.graph, stored.graph).map((detail) => ({
    detail,
    seen: [],
  }));
  if (differences.length > 0) return differences;
  const tops = imageLayers(made.graph);
  const compared = new Set<LayerId>();
  for (const [index, top] of tops.entries()) {
    progress(index, tops.length);
    differences.push(...(await compareImage(made, stored, top, compared)));
    compared.add(top);
  }
  progress(tops.length, tops.length);
  return differences;
}

/** Layers that are seen from above, the lower ones first. */
function imageLayers(graph: Graph): readonly LayerId[] {
  const layers = new Set<LayerId>([...graph.volumes.values()].map(({ top }) => top));
  for (const point of graph.points.values()) for (const { layer } of point.members) layers.add(layer);
  for (const half of graph.halves.values()) for (const layer of half.stage?.layers.flat() ?? []) layers.add(layer);
  return [...layers].sort((a, b) => a - b);
}

function graphDifferences(made: Graph, stored: Graph): readonly string[] {
  const [a, b] = [encodeGraph(made), encodeGraph(stored)];
  const kinds = ['layers', 'volumes', 'points', 'halves', 'tombstones'] as const;
  return kinds.flatMap((kind) => {
    const inLog = new Set(a[kind].map((item) => stable(item)));
    const inIndex = new Set(b[kind].map((item) => stable(item)));
    const beyond = (these: ReadonlySet<string>, those: ReadonlySet<string>) =>
      [...these].filter((item) => !those.has(item));
    return [
      ...beyond(inLog, inIndex).map((item) => `the index lacks what the log has among its ${kind}: ${short(item)}`),
      ...beyond(inIndex, inLog).map((item) => `the index has what the log lacks among its ${kind}: ${short(item)}`),
    ];
  });
}

/** JSON with the keys of every object in order. */
const stable = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
const short = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}…` : text);

async function compareImage(
  made: EngineCore,
  stored: EngineCore,
  top: LayerId,
  compared: ReadonlySet<LayerId>,
): Promise<readonly StoredDamage[]> {
  const chains = [made.chains.of(top), stored.chains.of(top)] as const;
  const sets = chains.flatMap(({ links }) => {
    const shared = links.findIndex(({ index }) => compared.has(index.id));
    return (shared < 0 ? links : links.slice(0, shared)).map((link) => link.index.present);
  });
  const blocks = Math.floor(chains[0].size / BLOCK_BYTES);
  const wrong: { readonly block: number; readonly detail: string }[] = [];
  for (const number of unionWithin(sets, 0, Math.ceil(blocks / pageBlocks))) {
    const inLog = pagesAt(chains[0], number, made.pages);
    const inIndex = pagesAt(chains[1], number, stored.pages);
    for (let index = 0; index < pageBlocks; index++) {
      const block = number * pageBlocks + index;
      const a = resolve(inLog, block, index);
      const b = resolve(inIndex, block, index);
      if (a === undefined && b === undefined) continue;
      const detail = await disagreement(stored, a, b, index);
      if (detail !== undefined) wrong.push({ block, detail });
    }
  }
  return ranges(wrong).map(({ blocks, detail }) => ({ detail, seen: whoSees(stored, top, blocks) }));
}

/** How the two differ in one block, in words. */
async function disagreement(
  stored: EngineCore,
  a: Page | undefined,
  b: Page | undefined,
  index: number,
): Promise<string | undefined> {
  if (a === undefined || b === undefined || a.sequence[index] !== b.sequence[index]) {
    const [log, mine] = [a, b].map((page) => (page === undefined ? 'zeros' : `record ${page.sequence[index]}`));
    return `the index says ${mine} where the log says ${log}`;
  }
  if (a.sum[index] !== b.sum[index]) return 'the index has another checksum than the log';
  const [inLog, inIndex] = [runAt(a, index, 0), runAt(b, index, 0)];
  if (samePlace(inLog, inIndex)) return undefined;
  const bytes = new Uint8Array(BLOCK_BYTES);
  const failure = await readAside(stored.log, inIndex, bytes);
  if (failure !== undefined) return `the index names a place that cannot be read: ${failure}`;
  return sumOf(bytes) === b.sum[index]
    ? undefined
    : `the index names a place that holds something else: segment ${inIndex.segment} at ${inIndex.offset}`;
}

const samePlace = (a: StoredRun, b: StoredRun): boolean =>
  a.segment === b.segment &&
  a.offset === b.offset &&
  a.frame_bytes === b.frame_bytes &&
  (a.frame_bytes === 0 || (a.part === b.part && a.of === b.of));

/** Blocks next to each other of which the same is to be said. */
function ranges(wrong: readonly { readonly block: number; readonly detail: string }[]) {
  const found: { readonly blocks: number[]; readonly detail: string }[] = [];
  for (const { block, detail } of wrong) {
    const last = found.at(-1);
    if (last?.detail === detail && last.blocks.at(-1) === block - 1) last.blocks.push(block);
    else found.push({ blocks: [block], detail });
  }
  return found;
}
