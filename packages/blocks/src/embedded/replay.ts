import { BlockError } from '../port/errors.ts';
import { type ReplayStart, writeCheckpoint } from './checkpoint.ts';
import type { EngineCore } from './core.ts';
import { applyChange } from './graph/apply.ts';
import { type Change, ChangeGatherer } from './graph/changes.ts';
import type { EncodedGraph } from './graph/graph.ts';
import { wholeFrame } from './layer-writer.ts';
import type { LayerId, ScannedRecord, Sequence } from './log/types.ts';

/**
 * Whether the log says that a checkpoint is older than one by which segments were given back: then what it names, and what should
 * follow it, may be gone, and the whole is to be read from the log instead.
 */
export async function isVoid(core: EngineCore, start: ReplayStart): Promise<boolean> {
  const gatherer = new ChangeGatherer();
  for await (const record of core.log.scan(start.after)) {
    if (record.type !== 'control') continue;
    const change = gatherer.take(record.body, record.sequence);
    if (change?.op === 'oldest_checkpoint' && change.sequence > start.placesAt) return true;
  }
  return false;
}

/** Enters into graph and index what the log has after the checkpoint that was loaded, in the one order [C6.1]. */
export async function replay(core: EngineCore, start: ReplayStart): Promise<void> {
  const { after, graphAt, placesAt } = start;
  if (core.log.lastSequence() < after) {
    throw new BlockError(
      'io_error',
      `the log ends at ${core.log.lastSequence()}, before its checkpoint at ${after}: part of it is missing`,
    );
  }
  let entered = after;
  const gatherer = new ChangeGatherer();
  for await (const record of core.log.scan(after)) {
    // A long scan keeps memory bounded, and goes on from here if it is cut short. Only between two sequences: compaction may have
    // cut one record into several of the same. And never within a change of several records.
    if (core.pages.dirtyCount > core.limits.dirtyPages && record.sequence > entered && !gatherer.between)
      await writeCheckpoint(core, { after: entered, graphAt: Math.max(graphAt, entered), placesAt });
    if (record.type !== 'control') enter(core, record);
    else enterChange(core, gatherer.take(record.body, record.sequence), record.sequence, graphAt);
    entered = record.sequence;
  }
  for (const damage of core.log.damages()) {
    core.emit({ kind: 'damage', detail: `segment ${damage.segment} at ${damage.offset}: ${damage.detail}` });
  }
}

/**
 * Without a checkpoint: the whole log. Control records that compaction has removed are made up for by the newest record of the
 * whole graph, which then counts from the beginning.
 */
export async function rebuild(core: EngineCore): Promise<void> {
  core.pages.discard();
  const placesAt = core.log.lastSequence();
  await replay(core, { after: 0 as Sequence, graphAt: await newestGraph(core), placesAt });
}

/** The newest record of the whole graph is entered first; answers its sequence, 0 if there is none. */
async function newestGraph(core: EngineCore): Promise<number> {
  let newest: { readonly graph: EncodedGraph; readonly sequence: number } | undefined;
  const gatherer = new ChangeGatherer();
  for await (const record of core.log.scan(0 as Sequence)) {
    if (record.type !== 'control') continue;
    const change = gatherer.take(record.body, record.sequence);
    if (change?.op === 'graph') newest = { graph: change.graph, sequence: record.sequence };
  }
  if (newest === undefined) return 0;
  applyChange(core.graph, { op: 'graph', graph: newest.graph });
  core.chains.invalidate();
  return newest.sequence;
}

function enterChange(core: EngineCore, change: Change | undefined, sequence: Sequence, graphAt: number): void {
  // What came before the newest whole graph is in it; and a whole graph only sums up what is here already, except that layers may
  // be folded in it that the index does not have folded yet.
  if (change === undefined || sequence <= graphAt || change.op === 'graph') return;
  applyChange(core.graph, change);
  core.chains.invalidate();
}

function enter(core: EngineCore, record: Exclude<ScannedRecord, { type: 'control' }>): void {
  switch (record.type) {
    case 'data':
    case 'packed': {
      const layer = living(core, record.layer);
      if (layer === undefined) return;
      // Checksum bytes stand anywhere in a buffer; words stand on multiples of eight.
      const sums = new BigUint64Array(record.count);
      new Uint8Array(sums.buffer).set(record.checksums);
      const { block, count, place, sequence } = record;
      const frame = record.type === 'packed' ? wholeFrame(record.frame_bytes, count) : undefined;
      core.writer.putData(core.layerIndex(layer), block, count, place, sums, sequence, frame);
      return;
    }
    case 'zero': {
      const layer = living(core, record.layer);
      if (layer === undefined) return;
      core.writer.putZero(core.layerIndex(layer), core.chains.of(layer), record.block, record.count, record.sequence);
      return;
    }
  }
}

function living(core: EngineCore, layer: LayerId): LayerId | undefined {
  const now = core.graph.folded.get(layer) ?? layer;
  return core.graph.layers.has(now) ? now : undefined;
}
