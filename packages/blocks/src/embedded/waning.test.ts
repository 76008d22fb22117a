import { onFaultPoint, volumeId } from '@antipode/base';
import { afterEach, describe, expect, it } from 'vitest';
import { bytesOf } from '../contract/crash-contract.ts';
import { tinyLimits } from '../contract/simulated-engine.ts';
import { BLOCK_BYTES } from '../port/device.ts';
import type { EmbeddedEngine } from './embedded-engine.ts';
import { nextTurn } from './end-of-turn.ts';
import { engineLimits } from './limits.ts';
import { smallLogLimits } from './log/small-limits.ts';
import { openEngineOn } from './open-engine.ts';
import { ManualClock } from './simulated/manual-clock.ts';
import { seededRandom } from './simulated/seeded-random.ts';
import { SimulatedCheckpointStore } from './simulated/simulated-checkpoint-store.ts';
import { SimulatedDisk } from './simulated/simulated-disk.ts';
import { Waning } from './waning.ts';

const MiB = 1024 * 1024;
const a = volumeId('a');
const limits = { ...engineLimits, waneFor_ms: 2_000, waneLeast: 0.1, waneMost_bytes: 1_000, waneFree: 0.1 };
const fill = (segment: number, needed: number, used = 100) => ({ segment, used, needed });

describe('what is left alone because it is dying anyway', () => {
  it('is a segment that lost more than a little of late, and no other', () => {
    const waning = new Waning(limits);
    const left = (needed: number, now_ms: number) => waning.among([fill(1, needed)], 1, now_ms).has(1);
    expect(left(30, 0)).toBe(true);
    expect(left(25, 1_999)).toBe(true);
    // What it lost since it was first looked at is little.
    expect(left(20, 2_000)).toBe(false);
    expect(left(19, 2_001)).toBe(true);
    expect(left(19, 4_000)).toBe(true);
    expect(left(19, 4_001)).toBe(false);
  });

  it('is nothing when it comes to too much together, or when space is scarce', () => {
    const sparse = Array.from({ length: 11 }, (_, n) => fill(n, 5));
    expect(new Waning(limits).among(sparse.slice(0, 10), 1, 0).size).toBe(10);
    expect(new Waning(limits).among(sparse, 1, 0).size).toBe(0);
    expect(new Waning(limits).among(sparse.slice(0, 10), 0.09, 0).size).toBe(0);
  });
});

describe('an engine whose volume is written anew again and again', () => {
  let engine: EmbeddedEngine | undefined;
  afterEach(async () => {
    onFaultPoint(undefined);
    await engine?.close();
  });

  it('copies nothing that goes by itself, and what stays once nobody writes any more', async () => {
    const clock = new ManualClock();
    let copies = 0;
    onFaultPoint((name) => {
      if (name === 'compaction.relocated') copies += 1;
    });
    engine = await openEngineOn({
      disk: new SimulatedDisk({ random: seededRandom(1) }).mount(),
      checkpoints: new SimulatedCheckpointStore({ random: seededRandom(2) }).mount(),
      clock,
      limits: { ...tinyLimits, waneFor_ms: 2_000, compactBelow: 0.6 },
      logLimits: smallLogLimits,
    });
    const turns = async () => {
      for (let turn = 0; turn < 200; turn++) await nextTurn();
    };
    await engine.createVolume({ id: a, name: 'a', size: 16 * MiB, tag: {} });
    const device = engine.open(a);
    const write = async (block: number, count: number) => {
      await device.write(block * BLOCK_BYTES, bytesOf(1 + (block % 7), count), false);
      clock.advance(100);
      await turns();
    };
    for (let pass = 0; pass < 3; pass++) for (let block = 0; block < 4096; block += 256) await write(block, 256);
    await device.flush();
    // One is of a segment of which a change of the graph was needed; it costs no copy of data. Without rest it is 19.
    expect(copies).toBeLessThanOrEqual(1);
    // What is overwritten here and there leaves segments that are sparse and stay so.
    for (let block = 0; block < 2048; block++)
      if (block % 4 > 0) await device.write(block * BLOCK_BYTES, bytesOf(9, 1), false);
    await device.flush();
    await turns();
    expect(copies).toBeLessThanOrEqual(1);
    const before = engine.usage().log_bytes;
    for (let second = 0; second < 8; second++) {
      clock.advance(1_000);
      await turns();
    }
    expect(copies).toBeGreaterThan(0);
    expect(engine.usage().log_bytes).toBeLessThan(before - MiB);
    expect(engine.accountErrors()).toEqual([]);
  }, 60_000);
});
