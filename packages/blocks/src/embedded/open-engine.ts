import { join } from 'node:path';
import { type Clock, type Random, systemClock } from '@antipode/base';
import type { BlockEngine } from '../port/engine.ts';
import { loadCheckpoint } from './checkpoint.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import { EngineCore } from './core.ts';
import type { Disk } from './disk.ts';
import { EmbeddedEngine } from './embedded-engine.ts';
import { type EngineLimits, engineLimits } from './limits.ts';
import { lmdbCheckpointStore } from './lmdb-checkpoint-store.ts';
import { type Packer, threadPacker } from './log/frame.ts';
import type { LogLimits } from './log/limits.ts';
import { openSegmentLog } from './log/segment-log.ts';
import type { SegmentLog } from './log/types.ts';
import { openNodeDisk } from './node-disk.ts';
import { openPageCache } from './page-cache.ts';
import { isVoid, rebuild, replay } from './replay.ts';

export interface EngineParts {
  readonly disk: Disk;
  readonly checkpoints: CheckpointStore;
  readonly clock: Clock;
  /** Absent: the machine's. */
  readonly random?: Random;
  readonly limits?: EngineLimits;
  readonly logLimits?: Partial<LogLimits>;
  /** Packs what is cold; absent: nothing is packed. */
  readonly packer?: Packer;
}

/**
 * Opens the embedded engine of a directory, as production does: the log in `log`, the checkpoint in `index`. `packCold`: data
 * that hosts leave alone for `packAfter_ms` is packed in the background (the default).
 */
export async function openEmbeddedEngine(options: {
  readonly directory: string;
  readonly clock?: Clock;
  readonly packCold?: boolean;
  readonly packAfter_ms?: number;
}): Promise<BlockEngine> {
  const clock = options.clock ?? systemClock;
  const disk = openNodeDisk(join(options.directory, 'log'), { pageCache: await openPageCache() });
  const checkpoints = lmdbCheckpointStore(join(options.directory, 'index'));
  const { packAfter_ms = engineLimits.packAfter_ms } = options;
  const limits = { ...engineLimits, packAfter_ms, packLook_ms: Math.min(engineLimits.packLook_ms, packAfter_ms) };
  return openEngineOn({
    disk,
    checkpoints,
    clock,
    limits,
    ...(options.packCold !== false && { packer: threadPacker }),
  });
}

/** Opens an engine on given stores: what a crash left is put in order, and what the checkpoint lacks is read from the log. */
export async function openEngineOn(parts: EngineParts): Promise<EmbeddedEngine> {
  const limits = parts.limits ?? engineLimits;
  const log = await openSegmentLog({
    disk: parts.disk,
    clock: parts.clock,
    ...(parts.random && { random: parts.random }),
    ...(parts.logLimits && { limits: parts.logLimits }),
  });
  return new EmbeddedEngine(await restore(log, parts.checkpoints, limits, parts.packer), parts.clock);
}

async function restore(
  log: SegmentLog,
  checkpoints: CheckpointStore,
  limits: EngineLimits,
  packer: Packer | undefined,
): Promise<EngineCore> {
  const core = new EngineCore(log, checkpoints, limits, packer);
  const start = loadCheckpoint(core, checkpoints);
  if (start !== undefined && !(await isVoid(core, start))) {
    await replay(core, start);
    return core;
  }
  const fresh = new EngineCore(log, checkpoints, limits, packer);
  await rebuild(fresh);
  return fresh;
}
