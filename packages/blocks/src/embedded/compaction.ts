import { passFaultPoint } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import type { EngineCore } from './core.ts';
import { type Change, decodeChange, encodeChange, graphChanges } from './graph/changes.ts';
import { encodeGraph } from './graph/graph.ts';
import { pageBlocks, pageOf } from './index/page.ts';
import { recordBytes } from './log/record-format.ts';
import type { DataRecord, LayerId, LogRecord, ScannedRecord, SegmentInfo, Sequence, ZeroRecord } from './log/types.ts';

/** Sealed segments that a checkpoint covers and that hold nothing any more that a rebuild from the log alone would need. */
export function removableSegments(core: EngineCore, checkpointed: Sequence): readonly number[] {
  if (core.pinned) return [];
  return candidates(core, checkpointed)
    .map(({ segment }) => segment)
    .filter((segment) => core.live.of(segment) === 0 && core.emptied.has(segment) && !core.log.isBeingRead(segment));
}

/**
 * Sealed segments of nothing but data of which the index, as it is now, refers to none: a checkpoint of this moment, once durable,
 * proves that they are not needed. Not to be asked after it: what was written since may be lost, and then they are needed again.
 */
export function deadSegments(core: EngineCore): readonly number[] {
  return candidates(core, core.lastSequence())
    .map(({ segment }) => segment)
    .filter((segment) => core.live.of(segment) === 0 && core.holdsDataOnly(segment));
}

const candidates = (core: EngineCore, checkpointed: Sequence): readonly SegmentInfo[] =>
  core.log.segments().filter((segment) => segment.sealed && segment.last <= checkpointed);

/**
 * Sealed segments worth rewriting together: those with little that is needed, and small ones once there are several. What is
 * needed is what the index refers to and the ranges of zeros that an earlier compaction had to keep: without the latter a segment
 * of nothing but those would be rewritten for ever.
 */
export function sparseSegments(core: EngineCore, checkpointed: Sequence): readonly number[] {
  const { compactBelow, compactSmall_bytes, compactSmallFrom, compactMost_bytes } = core.limits;
  const found = candidates(core, checkpointed)
    .filter(({ segment }) => !core.emptied.has(segment))
    .map(({ segment, used }) => ({ segment, used, needed: core.live.of(segment) + core.keptZeros.of(segment) }));
  const sparse = found.filter(({ used, needed }) => needed <= compactBelow * used);
  const small = found.filter(({ used }) => used < compactSmall_bytes);
  const worth = new Set(small.length >= compactSmallFrom ? [...sparse, ...small] : sparse);
  const chosen: number[] = [];
  let total = 0;
  for (const { segment, needed } of [...worth].sort((a, b) => a.needed - b.needed)) {
    total += needed;
    if (chosen.length > 0 && total > compactMost_bytes) break;
    chosen.push(segment);
  }
  return chosen;
}

interface Item {
  readonly record: LogRecord;
  readonly sequence: Sequence;
}

/**
 * Copies what is needed of some segments elsewhere, under its old sequences, and points the index there. The old segments go after
 * the next durable checkpoint [C6.2]. Their control records are made superfluous by one record of the whole graph; ranges of zeros
 * are copied, because what they hide may still lie in another segment, unless a newer one of the same copies hides all of it.
 */
export async function compactSegments(core: EngineCore, segments: readonly number[]): Promise<void> {
  const data: Item[] = [];
  const zeros: ZeroItem[] = [];
  let control = false;
  for (const segment of segments) {
    for await (const found of core.log.scanSegment(segment)) {
      if (found.type === 'control') control ||= changesGraph(decodeChange(found.body));
      else if (found.type === 'zero') {
        const { layer, block, count, sequence } = found;
        if (core.graph.layers.has(currentLayer(core, layer)))
          zeros.push({ record: { type: 'zero', layer, block, count }, sequence });
      } else
        for (const part of liveParts(core, segment, found))
          data.push({ record: await copy(core, found, part), sequence: found.sequence });
    }
  }
  if (control) {
    for (const change of graphChanges(encodeGraph(core.graph))) core.appendControl(encodeChange(change));
    await core.log.durable();
  }
  const items: readonly Item[] = [...data, ...uncovered(core, zeros)];
  if (items.length > 0) {
    const places = await core.log.relocate(items);
    passFaultPoint('compaction.relocated');
    items.forEach(({ record, sequence }, index) => {
      const place = places[index]!;
      if (record.type === 'zero') {
        core.keptZeros.add(place.segment, recordBytes(record));
        core.holdsMore(place.segment);
      }
      if (record.type !== 'data') return;
      core.writer.move(core.layerIndex(currentLayer(core, record.layer)), record.block, record.count, place, sequence);
    });
  }
  for (const segment of segments) core.emptied.add(segment);
}

interface ZeroItem extends Item {
  readonly record: ZeroRecord;
}

/** Ranges of zeros that no newer one of the same layer covers as a whole. */
function uncovered(core: EngineCore, zeros: readonly ZeroItem[]): readonly ZeroItem[] {
  const byLayer = new Map<LayerId, ZeroItem[]>();
  for (const item of zeros) {
    const layer = currentLayer(core, item.record.layer);
    byLayer.set(layer, [...(byLayer.get(layer) ?? []), item]);
  }
  const kept: ZeroItem[] = [];
  for (const items of byLayer.values()) {
    const newest: ZeroItem[] = [];
    for (const item of items.sort((a, b) => b.sequence - a.sequence)) {
      const end = item.record.block + item.record.count;
      const covered = newest.some(
        ({ record }) => record.block <= item.record.block && end <= record.block + record.count,
      );
      if (!covered) newest.push(item);
    }
    kept.push(...newest);
  }
  return kept;
}

const changesGraph = ({ op }: Change): boolean => op !== 'checkpoint' && op !== 'oldest_checkpoint';

const currentLayer = (core: EngineCore, layer: LayerId): LayerId => core.graph.folded.get(layer) ?? layer;

/** Runs of a data record that the index still refers to in this segment. */
function liveParts(
  core: EngineCore,
  segment: number,
  found: Extract<ScannedRecord, { type: 'data' }>,
): { readonly from: number; readonly count: number }[] {
  const layer = currentLayer(core, found.layer);
  if (!core.graph.layers.has(layer)) return [];
  const index = core.layerIndex(layer);
  const parts: { from: number; count: number }[] = [];
  for (let at = 0; at < found.count; at++) {
    const block = found.block + at;
    const number = pageOf(block);
    const page = core.pages.get(index, number);
    const entry = block - number * pageBlocks;
    const live = page?.isData(entry) && page.sequence[entry] === found.sequence && page.segment[entry] === segment;
    if (!live) continue;
    const last = parts.at(-1);
    if (last !== undefined && last.from + last.count === at) last.count += 1;
    else parts.push({ from: at, count: 1 });
  }
  return parts;
}

async function copy(
  core: EngineCore,
  found: Extract<ScannedRecord, { type: 'data' }>,
  part: { readonly from: number; readonly count: number },
): Promise<DataRecord> {
  const payload = new Uint8Array(part.count * BLOCK_BYTES);
  await core.log.read({ segment: found.place.segment, offset: found.place.offset + part.from * BLOCK_BYTES }, payload);
  const checksums = found.checksums.slice(part.from * 8, (part.from + part.count) * 8);
  return { type: 'data', layer: found.layer, block: found.block + part.from, count: part.count, payload, checksums };
}
