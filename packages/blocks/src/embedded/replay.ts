import { BlockError } from '../port/errors.ts';
import { type ReplayStart, writeCheckpoint } from './checkpoint.ts';
import type { EngineCore } from './core.ts';
import { applyChange } from './graph/apply.ts';
import { type Change, decodeChange } from './graph/changes.ts';
import type { LayerId, ScannedRecord, Sequence } from './log/types.ts';

/**
 * Enters into graph and index what the log has after the checkpoint that was loaded, in the one order [C6.1]. False: the log says
 * that this checkpoint is older than one by which segments were given back; the whole is to be read from the log instead.
 */
export async function replay(core: EngineCore, start: ReplayStart): Promise<boolean> {
  const { after, graphAt, placesAt } = start;
  if (core.log.lastSequence() < after) {
    throw new BlockError(
      'io_error',
      `the log ends at ${core.log.lastSequence()}, before its checkpoint at ${after}: part of it is missing`,
    );
  }
  let entered = after;
  for await (const record of core.log.scan(after)) {
    // A long scan keeps memory bounded, and goes on from here if it is cut short. Only between two sequences: compaction may have
    // cut one record into several of the same.
    if (core.pages.dirtyCount > core.limits.dirtyPages && record.sequence > entered)
      await writeCheckpoint(core, { after: entered, graphAt: Math.max(graphAt, entered), placesAt });
    if (!enter(core, record, graphAt, placesAt)) return false;
    entered = record.sequence;
  }
  for (const damage of core.log.damages()) {
    core.emit({ kind: 'damage', detail: `segment ${damage.segment} at ${damage.offset}: ${damage.detail}` });
  }
  return true;
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
  let newest: { readonly change: Change; readonly sequence: number } | undefined;
  for await (const record of core.log.scan(0 as Sequence)) {
    if (record.type !== 'control') continue;
    const change = decodeChange(record.body);
    if (change.op === 'graph') newest = { change, sequence: record.sequence };
  }
  if (newest === undefined) return 0;
  applyChange(core.graph, newest.change);
  core.chains.invalidate();
  return newest.sequence;
}

/** False: the checkpoint is void. */
function enter(core: EngineCore, record: ScannedRecord, graphAt: number, placesAt: number): boolean {
  switch (record.type) {
    case 'control': {
      const change = decodeChange(record.body);
      if (change.op === 'oldest_checkpoint') return placesAt >= change.sequence;
      // What came before the newest whole graph is in it; and a whole graph only sums up what is here already, except that layers may
      // be folded in it that the index does not have folded yet.
      if (record.sequence <= graphAt || change.op === 'graph') return true;
      applyChange(core.graph, change);
      core.chains.invalidate();
      return true;
    }
    case 'data': {
      const layer = living(core, record.layer);
      if (layer === undefined) return true;
      // Checksum bytes stand anywhere in a buffer; words stand on multiples of eight.
      const sums = new BigUint64Array(record.count);
      new Uint8Array(sums.buffer).set(record.checksums);
      core.writer.putData(core.layerIndex(layer), record.block, record.count, record.place, sums, record.sequence);
      return true;
    }
    case 'zero': {
      const layer = living(core, record.layer);
      if (layer === undefined) return true;
      core.writer.putZero(core.layerIndex(layer), core.chains.of(layer), record.block, record.count, record.sequence);
      return true;
    }
  }
}

function living(core: EngineCore, layer: LayerId): LayerId | undefined {
  const now = core.graph.folded.get(layer) ?? layer;
  return core.graph.layers.has(now) ? now : undefined;
}
