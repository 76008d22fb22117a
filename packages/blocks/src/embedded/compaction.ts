import { BLOCK_BYTES } from '../port/device.ts';
import type { EngineCore } from './core.ts';
import { encodeChange } from './graph/changes.ts';
import { encodeGraph } from './graph/graph.ts';
import { pageBlocks, pageOf } from './index/page.ts';
import { CONTROL_BYTES_MAX } from './log/limits.ts';
import type { DataRecord, LayerId, LogRecord, ScannedRecord, SegmentInfo, Sequence } from './log/types.ts';

/** Sealed segments that a checkpoint covers and that hold nothing any more that a rebuild from the log alone would need. */
export function removableSegments(core: EngineCore, checkpointed: Sequence): readonly number[] {
  if (core.pinned) return [];
  return candidates(core, checkpointed)
    .filter((segment) => core.live.of(segment.segment) === 0 && core.emptied.has(segment.segment))
    .map((segment) => segment.segment);
}

const candidates = (core: EngineCore, checkpointed: Sequence): readonly SegmentInfo[] =>
  core.log.segments().filter((segment) => segment.sealed && segment.last <= checkpointed);

/** The sealed segment with the least live bytes, if it is worth rewriting. */
export function sparseSegment(core: EngineCore, checkpointed: Sequence): number | undefined {
  let best: SegmentInfo | undefined;
  for (const segment of candidates(core, checkpointed)) {
    if (core.emptied.has(segment.segment) || core.kept.has(segment.segment)) continue;
    if (core.live.of(segment.segment) > core.limits.compactBelow * segment.used) continue;
    if (best === undefined || core.live.of(segment.segment) < core.live.of(best.segment)) best = segment;
  }
  return best?.segment;
}

/**
 * Copies what is live in a segment elsewhere, under its old sequences, and points the index there. The old segment goes after the
 * next durable checkpoint [C6.2]. Its control records and ranges of zeros are made superfluous by one record of the whole graph
 * and, for zeros that still show, by being copied.
 */
export async function compactSegment(core: EngineCore, segment: number): Promise<void> {
  const records: { readonly record: LogRecord; readonly sequence: Sequence }[] = [];
  let control = false;
  for await (const found of core.log.scanSegment(segment)) {
    if (found.type === 'control') control = true;
    else if (found.type === 'zero') {
      if (core.graph.layers.has(currentLayer(core, found.layer)))
        records.push({
          record: { type: 'zero', layer: found.layer, block: found.block, count: found.count },
          sequence: found.sequence,
        });
    } else
      for (const part of liveParts(core, segment, found))
        records.push({ record: await copy(core, found, part), sequence: found.sequence });
  }
  if (control) {
    const body = encodeChange({ op: 'graph', graph: encodeGraph(core.graph) });
    // A graph that does not fit one record cannot stand in for the records it is made of: this segment stays.
    if (body.length > CONTROL_BYTES_MAX) {
      core.kept.add(segment);
      return;
    }
    core.log.append({ type: 'control', body });
    await core.log.durable();
  }
  if (records.length > 0) {
    const places = await core.log.relocate(records);
    records.forEach(({ record, sequence }, index) => {
      if (record.type === 'data')
        core.writer.move(
          core.layerIndex(currentLayer(core, record.layer)),
          record.block,
          record.count,
          places[index]!,
          sequence,
        );
    });
  }
  core.emptied.add(segment);
}

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
