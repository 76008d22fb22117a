import { BlockError } from '../port/errors.ts';
import { type ReplayStart, writeCheckpoint } from './checkpoint.ts';
import type { EngineCore } from './core.ts';
import { applyChange } from './graph/apply.ts';
import { type Change, decodeChange } from './graph/changes.ts';
import type { LayerId, ScannedRecord, Sequence } from './log/types.ts';

/**
 * Enters into graph and index what the log has after a checkpoint, in the one order [C6.1]. Without a checkpoint that is all of
 * it; control records that compaction has removed are made up for by the newest record of the whole graph, which then counts
 * from the beginning.
 */
export async function replay(core: EngineCore, start: ReplayStart): Promise<void> {
  const { after } = start;
  if (core.log.lastSequence() < after) {
    throw new BlockError(
      'io_error',
      `the log ends at ${core.log.lastSequence()}, before its checkpoint at ${after}: part of it is missing`,
    );
  }
  const graphAt = after === 0 ? await newestGraph(core) : start.graphAt;
  for await (const record of core.log.scan(after)) {
    enter(core, record, graphAt);
    // A long scan keeps memory bounded, and goes on from here if it is cut short.
    if (core.pages.dirtyCount > core.limits.dirtyPages)
      await writeCheckpoint(core, { after: record.sequence, graphAt: Math.max(graphAt, record.sequence) });
  }
  for (const damage of core.log.damages()) {
    core.emit({ kind: 'damage', detail: `segment ${damage.segment} at ${damage.offset}: ${damage.detail}` });
  }
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

function enter(core: EngineCore, record: ScannedRecord, graphAt: number): void {
  switch (record.type) {
    case 'control':
      // What came before the newest whole graph is in it.
      if (record.sequence <= graphAt) return;
      applyChange(core.graph, decodeChange(record.body));
      core.chains.invalidate();
      return;
    case 'data': {
      const layer = living(core, record.layer);
      if (layer === undefined) return;
      // Checksum bytes stand anywhere in a buffer; words stand on multiples of eight.
      const sums = new BigUint64Array(record.count);
      new Uint8Array(sums.buffer).set(record.checksums);
      return core.writer.putData(
        core.layerIndex(layer),
        record.block,
        record.count,
        record.place,
        sums,
        record.sequence,
      );
    }
    case 'zero': {
      const layer = living(core, record.layer);
      if (layer === undefined) return;
      return core.writer.putZero(
        core.layerIndex(layer),
        core.chains.of(layer),
        record.block,
        record.count,
        record.sequence,
      );
    }
  }
}

function living(core: EngineCore, layer: LayerId): LayerId | undefined {
  const now = core.graph.folded.get(layer) ?? layer;
  return core.graph.layers.has(now) ? now : undefined;
}
