import { type Clock, systemClock } from '@antipode/base';
import type { EmbeddedEngine } from '../embedded/embedded-engine.ts';
import { type EngineLimits, engineLimits } from '../embedded/limits.ts';
import { inlinePacker } from '../embedded/log/frame.ts';
import { smallLogLimits } from '../embedded/log/small-limits.ts';
import { openEngineOn } from '../embedded/open-engine.ts';
import { seededRandom } from '../embedded/simulated/seeded-random.ts';
import { SimulatedCheckpointStore } from '../embedded/simulated/simulated-checkpoint-store.ts';
import { SimulatedDisk } from '../embedded/simulated/simulated-disk.ts';
import type { CrashingEngine } from './crash-contract.ts';
import { mortalDisk } from './mortal-disk.ts';

/** Small enough that checkpoints, eviction, sealing, folding and compaction all happen within one history. */
export const tinyLimits: EngineLimits = {
  ...engineLimits,
  cachedPages: 4,
  resolvedPages: 3,
  dirtyPages: 3,
  checkpointEvery_bytes: 128 * 1024,
  recordMost_bytes: 64 * 1024,
  pagesATurn: 1,
  compactBelow: 0.9,
  waneFor_ms: 3,
  packAfter_ms: 0,
  packGain: 0.05,
  packMost_bytes: 512 * 1024,
  packPiece_bytes: 16 * 1024,
  packLook_ms: 30_000,
  cachedFrames: 2,
};

/** Time passes five hundred times as fast: what happens when it is quiet happens in the middle of everything. */
export const hurriedClock: Clock = {
  ...systemClock,
  after: (delay_ms, callback) => systemClock.after(delay_ms / 500, callback),
  sleep: (delay_ms, signal) => systemClock.sleep(delay_ms / 500, signal),
};

export interface SimulatedStores {
  readonly disk: SimulatedDisk;
  readonly checkpoints: SimulatedCheckpointStore;
}

/** An engine whose stores can be looked at. */
export interface SimulatedEngine extends CrashingEngine, SimulatedStores {
  /** The process ends without a word; the stores keep what they had. */
  die(): void;
}

/** An embedded engine on simulated stores; `prepare` may plant faults in them. */
export async function simulatedEngine(
  seed: number,
  options: {
    /** How many flushed checkpoints a crash may take back. */
    readonly fallBack_max: number;
    readonly prepare?: (stores: SimulatedStores) => void;
  },
): Promise<SimulatedEngine> {
  const random = seededRandom(seed);
  // With every other seed next to nothing is read from memory and reads wait for the disk, all of them or one in two: others come in
  // between.
  const waits = seed % 2 === 1;
  const disk = new SimulatedDisk({ random, cold: waits ? (seed % 4 === 1 ? 1 : 0.5) : 0, syncsNow: seed % 3 === 0 });
  const checkpoints = new SimulatedCheckpointStore({ random, fall_back_max: options.fallBack_max });
  options.prepare?.({ disk, checkpoints });
  let life = 0;
  const openHere = () => {
    const mine = ++life;
    return openEngineOn({
      disk: mortalDisk(disk.mount(), () => life === mine),
      checkpoints: checkpoints.mount(),
      clock: hurriedClock,
      limits: tinyLimits,
      packer: inlinePacker,
      logLimits: { ...smallLogLimits, ...(waits && { group_bytes: 4096, group_buffers_max: 1024 }) },
    });
  };
  /** After every start what is counted is what is there: a segment taken for empty would be given back. */
  const counted = (simulated: SimulatedEngine): SimulatedEngine => {
    const errors = (simulated.engine as EmbeddedEngine).accountErrors();
    if (errors.length > 0) throw new Error(`counts are wrong after a start: ${errors.join('; ')}`);
    return simulated;
  };
  const wrap = (engine: EmbeddedEngine, mine = life): SimulatedEngine => ({
    engine,
    disk,
    checkpoints,
    settle: () => engine.settle(),
    die: () => {
      life += 1;
    },
    reopen: async () => {
      await engine.close();
      if (random.fraction() < 0.3) checkpoints.clear();
      return counted(wrap(await openHere()));
    },
    crash: async () => {
      life += 1;
      disk.crash();
      checkpoints.crash();
      if (random.fraction() < 0.2) checkpoints.clear();
      return counted(wrap(await openHere()));
    },
    // A process that is gone has nothing to close.
    dispose: async () => {
      if (life === mine) await engine.close();
    },
  });
  return wrap(await openHere());
}
