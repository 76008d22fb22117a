import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@antipode/base';
import { describeEngineContract, type EngineUnderTest } from '../contract/engine-contract.ts';
import { simulatedEngine } from '../contract/simulated-engine.ts';
import type { EmbeddedEngine } from './embedded-engine.ts';
import { engineLimits } from './limits.ts';
import { lmdbCheckpointStore } from './lmdb-checkpoint-store.ts';
import { threadPacker } from './log/frame.ts';
import { smallLogLimits } from './log/small-limits.ts';
import { openNodeDisk } from './node-disk.ts';
import { openEngineOn } from './open-engine.ts';
import { openPageCache } from './page-cache.ts';

/** Small enough that checkpoints, eviction, sealing, folding and compaction all happen within one test. */
const small = {
  limits: {
    ...engineLimits,
    cachedPages: 8,
    resolvedPages: 3,
    dirtyPages: 4,
    checkpointEvery_bytes: 256 * 1024,
    recordMost_bytes: 64 * 1024,
    pagesATurn: 2,
    compactBelow: 0.6,
    waneFor_ms: 3,
    packAfter_ms: 0,
  },
  logLimits: smallLogLimits,
  packer: threadPacker,
};

async function onRealDisk(): Promise<EngineUnderTest> {
  const directory = await mkdtemp(join(tmpdir(), 'antipode-engine-'));
  const openHere = async () =>
    openEngineOn({
      disk: openNodeDisk(join(directory, 'log'), { pageCache: await openPageCache() }),
      checkpoints: lmdbCheckpointStore(join(directory, 'index')),
      clock: systemClock,
      ...small,
    });
  const wrap = (engine: EmbeddedEngine): EngineUnderTest => ({
    engine,
    settle: () => engine.settle(),
    reopen: async () => {
      await engine.close();
      return wrap(await openHere());
    },
    dispose: async () => {
      await engine.close();
      await rm(directory, { recursive: true, force: true });
    },
  });
  return wrap(await openHere());
}

// By example in the suite: [C1.1] [C1.2] [C1.3] [C1.4] [C2.1] [C2.6] [C3.2] [C3.4] [C4.1], each in the name of its test.
describeEngineContract('embedded, on a real disk', onRealDisk);
describeEngineContract('embedded, on a simulated disk that crashes', () => simulatedEngine(7, { fallBack_max: 2 }));
