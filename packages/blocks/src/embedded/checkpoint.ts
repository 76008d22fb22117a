import { passFaultPoint } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import { BlockError } from '../port/errors.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import type { EngineCore } from './core.ts';
import { nextTurn } from './end-of-turn.ts';
import { applyChange } from './graph/apply.ts';
import { type EncodedGraph, encodeGraph } from './graph/graph.ts';
import type { LayerId, Sequence } from './log/types.ts';

/** docs/formats/checkpoint.md */
export const checkpointVersion = 1;
export const oldestCheckpointVersion = 1;
const headKey = Uint8Array.of(0x68);

interface Head {
  readonly version: number;
  /** Everything up to here is in the checkpoint, and nothing after it. */
  readonly sequence: number;
  /** Control records up to here are in the graph: ahead of `sequence` only while an index is being rebuilt. */
  readonly graphAt: number;
  /** Places are as of here: ahead of `sequence` or behind it only while a start is reading the log. */
  readonly placesAt: number;
  readonly graph: EncodedGraph;
  /** Layer, blocks of data, blocks of holes, bytes that its data takes in the log (where those are fewer). */
  readonly layers: readonly (readonly [number, number, number, number?])[];
  readonly live: readonly (readonly [number, number])[];
}

/**
 * Writes what the index and the graph are now. Holds only records that are durable: the log is synced up to the checkpoint's
 * sequence before the store hears of it [C6.3]. Resolves with that sequence.
 */
export async function writeCheckpoint(core: EngineCore, replayed?: ReplayStart): Promise<Sequence> {
  const sequence = replayed?.after ?? core.lastSequence();
  const head: Head = {
    version: checkpointVersion,
    sequence,
    graphAt: replayed?.graphAt ?? sequence,
    placesAt: replayed?.placesAt ?? sequence,
    graph: encodeGraph(core.graph),
    layers: [...core.pages.layers()].map(({ id, data, holes, stored_bytes }) =>
      stored_bytes === data * BLOCK_BYTES ? [id, data, holes] : [id, data, holes, stored_bytes],
    ),
    live: core.live.encode(),
  };
  const bytes = Buffer.from(JSON.stringify(head), 'utf8');
  const taken = core.pages.takeChanges();
  const since = core.sinceCheckpoint_bytes;
  const { moves } = core;
  let moved = false;
  try {
    while (taken.encodeSome(core.limits.pagesATurn)) await nextTurn();
    await core.log.durable();
    // A log that starts again appends once more what it cannot prove to have been durable, and then it lies elsewhere. This record
    // carries the proof: nothing up to `sequence` moves after it.
    core.note({ op: 'checkpoint', sequence });
    await core.log.durable();
    moved = core.moves !== moves;
    passFaultPoint('checkpoint.recorded');
    if (!moved) await core.store.commit([...taken.puts, { key: headKey, value: bytes }]);
  } catch (error) {
    core.pages.putBack(taken);
    throw error;
  }
  if (moved) {
    // Places that were taken are void [C6.4]: take them again.
    core.pages.putBack(taken);
    return writeCheckpoint(core, replayed);
  }
  passFaultPoint('checkpoint.stored');
  core.sinceCheckpoint_bytes -= since;
  core.pages.settle(taken);
  return sequence;
}

/** Where a scan of the log starts, and up to where control records are in the graph already. */
export interface ReplayStart {
  readonly after: Sequence;
  readonly graphAt: number;
  readonly placesAt: number;
}

/** Loads the checkpoint, if there is one, into an empty core. */
export function loadCheckpoint(core: EngineCore, store: CheckpointStore): ReplayStart | undefined {
  const bytes = store.get(headKey);
  if (bytes === undefined) return undefined;
  const head = JSON.parse(Buffer.from(bytes).toString('utf8')) as Head;
  if (head.version < oldestCheckpointVersion || head.version > checkpointVersion) {
    throw new BlockError(
      'io_error',
      `the checkpoint is of format ${head.version}; this program knows ${oldestCheckpointVersion} to ${checkpointVersion}`,
    );
  }
  applyChange(core.graph, { op: 'graph', graph: head.graph });
  core.pages.load();
  for (const [id, data, holes, stored_bytes = data * BLOCK_BYTES] of head.layers)
    Object.assign(core.pages.layer(id as LayerId), { data, holes, stored_bytes });
  core.live.load(head.live);
  return { after: head.sequence as Sequence, graphAt: head.graphAt, placesAt: head.placesAt };
}
