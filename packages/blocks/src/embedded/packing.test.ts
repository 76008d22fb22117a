import { pointId, volumeId } from '@antipode/base';
import { afterEach, describe, expect, it } from 'vitest';
import { bytesOf, imageOf } from '../contract/crash-contract.ts';
import { type SimulatedEngine, simulatedEngine, tinyLimits } from '../contract/simulated-engine.ts';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockEngine, EngineEvent } from '../port/engine.ts';
import type { StoredDamage, VerifyPosition } from '../port/types.ts';
import type { EmbeddedEngine } from './embedded-engine.ts';
import { nextTurn } from './end-of-turn.ts';
import { inlinePacker } from './log/frame.ts';
import { smallLogLimits } from './log/small-limits.ts';
import { openEngineOn } from './open-engine.ts';
import { ManualClock } from './simulated/manual-clock.ts';
import { seededRandom } from './simulated/seeded-random.ts';
import { SimulatedCheckpointStore } from './simulated/simulated-checkpoint-store.ts';
import { SimulatedDisk } from './simulated/simulated-disk.ts';

const MiB = 1024 * 1024;
const a = volumeId('a');
/** Tokens of blocks that can be packed well: all alike, and each another; and of those that cannot. */
const [alike, another, noise] = [3, 2, 1];

const write = (engine: BlockEngine, block: number, token: number, count: number) =>
  engine.open(a).write(block * BLOCK_BYTES, bytesOf(token, count), false);
const firstOf = async (engine: BlockEngine, count: number) => [...(await imageOf(engine.open(a))).subarray(0, count)];
const accounts = (engine: BlockEngine) => (engine as EmbeddedEngine).accountErrors();

async function verify(engine: BlockEngine): Promise<readonly StoredDamage[]> {
  const damages: StoredDamage[] = [];
  let from: VerifyPosition | undefined;
  do {
    const step = await engine.verifyStored(from, MiB);
    damages.push(...step.damages);
    from = step.next;
  } while (from !== undefined);
  return damages;
}

describe('packing what is cold', () => {
  let under: SimulatedEngine | undefined;
  const start = async (size = 8 * MiB): Promise<SimulatedEngine> => {
    under = await simulatedEngine(4, { fallBack_max: 0 });
    await under.engine.createVolume({ id: a, name: 'a', size, tag: {} });
    return under;
  };
  const next = async (how: 'reopen' | 'crash') => {
    under = (await under![how]()) as SimulatedEngine;
    return under;
  };
  /** Packed: what takes records is sealed by the new start. */
  const packed = async () => {
    const again = await next('reopen');
    await again.settle?.();
    return again;
  };
  afterEach(() => under?.dispose());

  it('makes data smaller that can be, keeps what cannot, and counts both to the byte', async () => {
    const { engine } = await start();
    for (let block = 0; block < 1024; block += 64) await write(engine, block, block < 512 ? another : noise, 64);
    const again = await packed();
    const { live_bytes, data_bytes, log_bytes } = again.engine.usage();
    expect(data_bytes).toBe(1024 * BLOCK_BYTES);
    expect(live_bytes).toBeLessThan(0.7 * data_bytes);
    expect(log_bytes).toBeLessThan(0.75 * data_bytes);
    expect(accounts(again.engine)).toEqual([]);
    expect(await again.engine.volumeUsage(a)).toEqual({
      logical_bytes: data_bytes,
      unique_bytes: data_bytes,
      stored_bytes: live_bytes,
    });
    const wanted = Array.from({ length: 1024 }, (_, n) => (n < 512 ? another : noise));
    expect(await firstOf(again.engine, 1024)).toEqual(wanted);
    const crashed = await next('crash');
    expect(crashed.engine.usage()).toMatchObject({ live_bytes, data_bytes });
    expect(accounts(crashed.engine)).toEqual([]);
    expect(await firstOf(crashed.engine, 1024)).toEqual(wanted);
  });

  it('does not change what a digest says, nor what differs, and is found again without an index', async () => {
    const { engine } = await start();
    await write(engine, 0, another, 200);
    await engine.freeze({ id: pointId('p'), kind: 'snapshot', instant_ms: 1, tag: {} }, [a]);
    await write(engine, 100, alike, 50);
    await engine.freeze({ id: pointId('q'), kind: 'snapshot', instant_ms: 2, tag: {} }, [a]);
    const seen = async (of: BlockEngine) => {
      const { summary, extents } = await of.difference(a, pointId('p'), pointId('q'));
      const found = [];
      for await (const extent of extents(0)) found.push(extent);
      return [await of.digest(a, pointId('p')), await of.digest(a, pointId('q')), summary, found];
    };
    const before = await seen(engine);
    const again = await packed();
    expect(again.engine.usage().live_bytes).toBeLessThan(0.5 * again.engine.usage().data_bytes);
    expect(await seen(again.engine)).toEqual(before);
    again.checkpoints.clear();
    const rebuilt = await next('crash');
    expect(await seen(rebuilt.engine)).toEqual(before);
    expect(rebuilt.engine.usage().live_bytes).toBeLessThan(0.5 * rebuilt.engine.usage().data_bytes);
    expect(accounts(rebuilt.engine)).toEqual([]);
  });

  it('gives back what blocks took that were packed with others and then written anew', async () => {
    const { engine } = await start();
    for (let block = 0; block < 1024; block += 256) await write(engine, block, another, 256);
    const { engine: full } = await packed();
    const { log_bytes } = full.usage();
    // One of every two blocks of a frame, and that in the order of the log.
    for (let block = 0; block < 1024; block += 2) await write(full, block, alike, 1);
    const { engine: half } = await packed();
    expect(accounts(half)).toEqual([]);
    expect(half.usage().data_bytes).toBe(1024 * BLOCK_BYTES);
    expect(half.usage().log_bytes).toBeLessThan(log_bytes);
    expect(await firstOf(half, 1024)).toEqual(Array.from({ length: 1024 }, (_, n) => (n % 2 === 0 ? alike : another)));
    await half.open(a).trim(0, 8 * MiB, true);
    const { engine: empty } = await packed();
    for (let round = 0; round < 3; round++) await under!.settle?.();
    expect(empty.usage()).toMatchObject({ live_bytes: 0, data_bytes: 0 });
    expect(empty.usage().log_bytes).toBeLessThan(MiB);
  });

  it('damaged bytes of a frame are an error with volume and block, in a read and in a scrub, and nothing else is [C6.3]', async () => {
    const { engine } = await start();
    for (let block = 0; block < 256; block += 64) await write(engine, block, another, 64);
    const again = await packed();
    const events: EngineEvent[] = [];
    again.engine.on((event) => events.push(event));
    const device = again.engine.open(a);
    const bytes = new Uint8Array(BLOCK_BYTES);
    // The frame of blocks 20 and 21: told apart by its record's header.
    const { name, offset } = frameOf(again.disk, 20);
    for (const at of [0, 8, 12, 16, 100]) {
      again.disk.flip(name, offset + at);
      // What is kept unpacked says nothing of the disk.
      for (const other of [40, 80, 120]) await device.read(other * BLOCK_BYTES, bytes);
      const reading = async () => device.read(21 * BLOCK_BYTES, bytes);
      await expect(reading()).rejects.toMatchObject({
        code: 'corrupt',
        message: expect.stringContaining('packed data'),
      });
      expect(events.at(-1)).toMatchObject({ kind: 'damage', volume: a });
      await device.read(22 * BLOCK_BYTES, bytes);
      const damages = await verify(again.engine);
      expect(damages).toMatchObject([
        { offset, seen: [{ volume: a, offset: 20 * BLOCK_BYTES, length: 2 * BLOCK_BYTES, head: true }] },
      ]);
      again.disk.flip(name, offset + at);
      await device.read(21 * BLOCK_BYTES, bytes);
    }
    // Damage of what compaction copies stays damage.
    again.disk.flip(name, offset + 100);
    for (let block = 64; block < 256; block += 64) await write(again.engine, block, alike, 64);
    const { engine: moved } = await packed();
    expect(await verify(moved)).toMatchObject([{ seen: [{ volume: a, offset: 20 * BLOCK_BYTES }] }]);
    await expect(async () => moved.open(a).read(20 * BLOCK_BYTES, bytes)).rejects.toMatchObject({ code: 'corrupt' });
  });
});

/** Where the frame with a block is, in which file: by the header of its record. */
function frameOf(disk: SimulatedDisk, block: number): { readonly name: string; readonly offset: number } {
  for (const name of disk.fileNames()) {
    const content = disk.contents(name);
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    for (let at = 4096; at + 64 <= content.length; at += 8) {
      const isPacked = view.getUint32(at + 8, true) === 0x5243_4e41 && view.getUint32(at + 12, true) === 6;
      if (isPacked && view.getUint32(at + 40, true) === block)
        return { name, offset: at + 64 + 8 * view.getUint32(at + 48, true) };
    }
  }
  throw new Error('no frame begins with the block');
}

describe('what is cold, and what is hot', () => {
  const minute = 60_000;

  it('is packed when hosts have left it alone for a while, and unpacked when they read it here and there', async () => {
    const clock = new ManualClock();
    const disk = new SimulatedDisk({ random: seededRandom(1) });
    const engine = await openEngineOn({
      disk: disk.mount(),
      checkpoints: new SimulatedCheckpointStore({ random: seededRandom(2) }).mount(),
      clock,
      limits: { ...tinyLimits, packAfter_ms: 5 * minute },
      logLimits: smallLogLimits,
      packer: inlinePacker,
    });
    const isPacked = () => engine.usage().live_bytes < 0.7 * engine.usage().data_bytes;
    const pass = async (minutes: number) => {
      clock.advance(minutes * minute);
      let done = false;
      const settled = engine.settle().finally(() => {
        done = true;
      });
      // What began by itself rests now and then.
      for (; !done; await nextTurn()) clock.advance(1);
      await settled;
    };
    await engine.createVolume({ id: a, name: 'a', size: 8 * MiB, tag: {} });
    // More than a segment, so that the first one is sealed.
    for (let block = 0; block < 1024; block += 256) await write(engine, block, another, 256);
    await engine.open(a).flush();
    await pass(0);
    await pass(4);
    expect(isPacked()).toBe(false);
    // Overwritten in part, it has to lie still once more.
    for (let block = 0; block < 1024; block += 128) await write(engine, block, another, 16);
    await pass(2);
    expect(isPacked()).toBe(false);
    await pass(3);
    await pass(3);
    expect(isPacked()).toBe(true);
    // Read from end to end it stays as it is.
    await imageOf(engine.open(a));
    await pass(1);
    expect(isPacked()).toBe(true);
    const bytes = new Uint8Array(BLOCK_BYTES);
    for (let block = 1; block < 1024; block += 2) await engine.open(a).read(block * BLOCK_BYTES, bytes);
    await pass(1);
    await pass(1);
    expect(isPacked()).toBe(false);
    expect(accounts(engine)).toEqual([]);
    await pass(6);
    expect(isPacked()).toBe(true);
    await engine.close();
  });
});
