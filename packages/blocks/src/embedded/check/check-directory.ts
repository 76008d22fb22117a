import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '@antipode/base';
import { BLOCK_BYTES } from '../../port/device.ts';
import type { StoredDamage } from '../../port/types.ts';
import { loadCheckpoint } from '../checkpoint.ts';
import type { CheckpointStore } from '../checkpoint-store.ts';
import { EngineCore } from '../core.ts';
import type { Disk } from '../disk.ts';
import { foldSome } from '../folding.ts';
import { pageBlocks, pageOf } from '../index/page.ts';
import { type EngineLimits, engineLimits } from '../limits.ts';
import { lmdbCheckpointStore } from '../lmdb-checkpoint-store.ts';
import type { LogLimits } from '../log/limits.ts';
import { SEGMENT_HEADER_BYTES } from '../log/segment-header.ts';
import { openSegmentLog } from '../log/segment-log.ts';
import type { SegmentLog } from '../log/types.ts';
import { openNodeDisk } from '../node-disk.ts';
import { isVoid, rebuild, replay } from '../replay.ts';
import { brokenRules } from './check-graph.ts';
import { type BadBlock, checkSegments } from './check-segments.ts';
import { compareIndices } from './compare-index.ts';
import { overlayDisk } from './overlay-disk.ts';
import { probeCheckpoint } from './probe-checkpoint.ts';
import type { CheckProgress, CheckReport, IndexReport } from './report.ts';
import { whoSees } from './seen.ts';
import { fromLog } from './verify-stored.ts';

export interface CheckParts {
  /** Never changed. */
  readonly disk: Disk;
  /** A copy of the checkpoint; absent: there is none. Throws what opening it throws. */
  readonly checkpoints?: () => CheckpointStore | Promise<CheckpointStore>;
  /** Empty, for an index made from the log alone. */
  readonly scratch: CheckpointStore;
  readonly clock: Clock;
  readonly limits?: EngineLimits;
  readonly logLimits?: Partial<LogLimits>;
}

/**
 * Checks the directory of an embedded engine that nobody has open: every record and block against its checksum, footers, the
 * graph's rules, and whether the index checkpoint says what the log says. Nothing in it is changed; `scratch` is a directory
 * for a copy of the index and one made anew, as large as the index is. Rejects with the error of the file system when there is no log.
 */
export async function checkDirectory(options: {
  readonly directory: string;
  readonly scratch: string;
  readonly progress?: (progress: CheckProgress) => void;
}): Promise<CheckReport> {
  const { directory, scratch, progress = () => undefined } = options;
  const stored = join(directory, 'index', 'checkpoint.mdb');
  const copy = join(scratch, 'stored');
  const open = async () => {
    mkdirSync(copy, { recursive: true, mode: 0o700 });
    copyFileSync(stored, join(copy, 'checkpoint.mdb'));
    const wrong = await probeCheckpoint(copy);
    if (wrong !== undefined) throw new Error(wrong);
    return lmdbCheckpointStore(copy);
  };
  return checkEngine(
    {
      disk: openNodeDisk(join(directory, 'log'), { readOnly: true }),
      ...(existsSync(stored) && { checkpoints: open }),
      scratch: lmdbCheckpointStore(join(scratch, 'made')),
      clock: systemClock,
    },
    progress,
  );
}

/** The same on given stores. Closes them. */
export async function checkEngine(
  parts: CheckParts,
  progress: (progress: CheckProgress) => void,
): Promise<CheckReport> {
  const { disk, scratch, clock, limits = engineLimits } = parts;
  // A start, as far as it would go, on a copy: what it would find is what there is.
  const log = await openSegmentLog({
    disk: overlayDisk(disk),
    clock,
    limits: { ...parts.logLimits, reserve_bytes: 0 },
  });
  const opened: CheckpointStore[] = [scratch];
  try {
    const ends = new Map(log.segments().map(({ segment, used }) => [segment, used + SEGMENT_HEADER_BYTES]));
    const lastSequence = log.lastSequence();
    const found = await checkSegments(disk, ends, (done, of) => progress({ doing: 'records', done, of }));
    progress({ doing: 'index', done: 0, of: 2 });
    const made = new EngineCore(log, scratch, limits);
    await rebuild(made);
    progress({ doing: 'index', done: 1, of: 2 });
    const broken = brokenRules(made.graph);
    const { report, stored } = await checkIndex(parts, log, made, opened, progress);
    const seen = stored ?? made;
    return {
      segments: found.segments,
      records: found.records,
      verified_bytes: found.verified_bytes,
      last_sequence: lastSequence,
      damages: [...logDamages(log, found.damages), ...blockDamages(seen, found.blocks)],
      index: report,
      graph: broken,
      volumes: [...seen.graph.volumes.values()].map(({ id, name, top, destination }) => {
        return { id, name, size: seen.graph.layers.get(top)?.size ?? 0, destination };
      }),
      points: [...seen.graph.points.values()].map(({ id, kind, tag, dropped, members }) => {
        const name = typeof tag.name === 'string' ? tag.name : id;
        return { id, kind, name, dropped, volumes: members.map(({ volume }) => volume) };
      }),
      sessions: [...seen.graph.halves.keys()],
    };
  } finally {
    await log.close();
    for (const store of opened) await store.close();
  }
}

async function checkIndex(
  parts: CheckParts,
  log: SegmentLog,
  made: EngineCore,
  opened: CheckpointStore[],
  progress: (progress: CheckProgress) => void,
): Promise<{ readonly report: IndexReport; readonly stored?: EngineCore }> {
  const { limits = engineLimits } = parts;
  const without = (state: IndexReport['state'], detail: string) => ({ report: { state, detail, differences: [] } });
  if (parts.checkpoints === undefined) return without('absent', 'there is none: the next start makes it from the log');
  try {
    const store = await parts.checkpoints();
    opened.push(store);
    const stored = new EngineCore(log, store, limits);
    const start = loadCheckpoint(stored, store);
    if (start === undefined) return without('absent', 'it is empty: the next start makes it from the log');
    if (await isVoid(stored, start))
      return without('void', 'it is older than the log says it may be: the next start makes it anew from the log');
    if (log.lastSequence() < start.after)
      return without('ahead', `it holds records up to ${start.after}, but the log ends at ${log.lastSequence()}`);
    await replay(stored, start);
    progress({ doing: 'index', done: 2, of: 2 });
    await foldSome(made);
    await foldSome(stored);
    const differences = await compareIndices(made, stored, (done, of) => progress({ doing: 'comparison', done, of }));
    const detail = `it holds everything up to record ${start.after}`;
    return { report: { state: differences.length === 0 ? 'agrees' : 'disagrees', detail, differences }, stored };
  } catch (error) {
    // Whatever is wrong with it: what cannot be loaded here cannot be loaded by a start.
    return without('unreadable', error instanceof Error ? error.message : String(error));
  }
}

/** What the raw reading found, and what the recovery of the log adds: records that are nowhere, headers that are gone. */
function logDamages(
  log: SegmentLog,
  found: readonly {
    readonly segment: number;
    readonly offset: number;
    readonly bytes?: number;
    readonly detail: string;
  }[],
): readonly StoredDamage[] {
  const known = new Set(found.map(({ segment, offset }) => `${segment} ${offset}`));
  const more = log.damages().filter(({ segment, offset }) => !known.has(`${segment} ${offset}`));
  return [...found, ...more].map(fromLog);
}

/** Damaged blocks next to each other, and who sees them. */
function blockDamages(core: EngineCore, bad: readonly BadBlock[]): readonly StoredDamage[] {
  const damages: StoredDamage[] = [];
  let run: BadBlock[] = [];
  const close = () => {
    const first = run[0];
    if (first === undefined) return;
    const layer = core.graph.folded.get(first.layer) ?? first.layer;
    const blocks = run.filter((block) => isEntry(core, layer, block)).map(({ block }) => block);
    const { segment, offset, detail } = first;
    const bytes = first.packed ? first.bytes : run.length * BLOCK_BYTES;
    damages.push({ detail, segment, offset, bytes, seen: blocks.length === 0 ? [] : whoSees(core, layer, blocks) });
    run = [];
  };
  for (const block of bad) {
    const last = run.at(-1);
    const joins =
      last !== undefined &&
      last.segment === block.segment &&
      last.sequence === block.sequence &&
      last.block + 1 === block.block &&
      last.packed === block.packed &&
      (block.packed ? last.offset === block.offset : last.offset + BLOCK_BYTES === block.offset);
    if (!joins) close();
    run.push(block);
  }
  close();
  return damages;
}

/** Whether the index of a layer has this very block of this very record. */
function isEntry(core: EngineCore, layer: BadBlock['layer'], { block, segment, offset }: BadBlock): boolean {
  if (!core.graph.layers.has(layer)) return false;
  const number = pageOf(block);
  const page = core.pages.get(core.layerIndex(layer), number);
  const index = block - number * pageBlocks;
  return page?.segment[index] === segment && page.offset[index] === offset;
}
