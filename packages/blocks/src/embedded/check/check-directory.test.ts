import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pointId, systemClock, volumeId } from '@antipode/base';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CrashHistory, crashStep } from '../../contract/crash-contract.ts';
import { simulatedEngine, tinyLimits } from '../../contract/simulated-engine.ts';
import { BLOCK_BYTES } from '../../port/device.ts';
import type { BlockEngine } from '../../port/engine.ts';
import type { StoredDamage, VerifyPosition } from '../../port/types.ts';
import { engineLimits } from '../limits.ts';
import { lmdbCheckpointStore } from '../lmdb-checkpoint-store.ts';
import { threadPacker } from '../log/frame.ts';
import { smallLogLimits } from '../log/small-limits.ts';
import { openNodeDisk } from '../node-disk.ts';
import { openEmbeddedEngine, openEngineOn } from '../open-engine.ts';
import { ManualClock } from '../simulated/manual-clock.ts';
import { seededRandom } from '../simulated/seeded-random.ts';
import { SimulatedCheckpointStore } from '../simulated/simulated-checkpoint-store.ts';
import { sumOf } from '../zero-block.ts';
import { checkDirectory, checkEngine } from './check-directory.ts';

const MiB = 1024 * 1024;
const [a, b] = [volumeId('a'), volumeId('b')];
const bytes = (count: number, token: number) => new Uint8Array(count * BLOCK_BYTES).fill(token);
let directory = '';
let running: BlockEngine | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'antipode-check-'));
});
afterEach(async () => {
  await running?.close();
  running = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const open = async (): Promise<BlockEngine> => {
  running = await openEmbeddedEngine({ directory: join(directory, 'A1') });
  return running;
};
const close = async (): Promise<void> => {
  await running?.close();
  running = undefined;
};
let checks = 0;
const check = () =>
  checkDirectory({ directory: join(directory, 'A1'), scratch: join(directory, `scratch${checks++}`) });
const segmentFiles = () =>
  readdirSync(join(directory, 'A1', 'log'))
    .filter((name) => name.startsWith('segment-'))
    .map((name) => join(directory, 'A1', 'log', name));

/** Flips one bit of the only place in the log that holds this pattern; answers segment file and offset. */
function damageWhere(pattern: Uint8Array, at = 100): { readonly path: string; readonly offset: number } {
  for (const path of segmentFiles()) {
    const content = readFileSync(path);
    const offset = content.indexOf(pattern);
    if (offset < 0) continue;
    flip(path, offset + at);
    return { path, offset };
  }
  throw new Error('the pattern is nowhere');
}
function flip(path: string, offset: number): void {
  const file = openSync(path, 'r+');
  writeSync(file, Uint8Array.of(readFileSync(path)[offset]! ^ 1), 0, 1, offset);
  closeSync(file);
}
/** The frame that begins with a block: by the header of its record. */
function frameOf(block: number): { readonly path: string; readonly offset: number } {
  for (const path of segmentFiles()) {
    const content = readFileSync(path);
    for (let at = 4096; at + 64 <= content.length; at += 8) {
      const isPacked = content.readUInt32LE(at + 8) === 0x5243_4e41 && content.readUInt32LE(at + 12) === 6;
      if (isPacked && content.readUInt32LE(at + 40) === block)
        return { path, offset: at + 64 + 8 * content.readUInt32LE(at + 48) };
    }
  }
  throw new Error('no frame begins with the block');
}
const snapshotOf = () =>
  ['log', 'index'].flatMap((part) =>
    readdirSync(join(directory, 'A1', part)).map((name) => {
      const path = join(directory, 'A1', part, name);
      return [path, statSync(path).mtimeMs, readFileSync(path).toString('base64').length];
    }),
  );

/** Two volumes, one with a point that a write hides, and everything closed. */
async function stored(): Promise<void> {
  const engine = await open();
  for (const id of [a, b]) await engine.createVolume({ id, name: `vol-${id}`, size: 4 * MiB, tag: {} });
  await engine.open(a).write(MiB, bytes(4, 0x11), false);
  await engine.freeze({ id: pointId('p'), kind: 'snapshot', instant_ms: 1, tag: { name: 'before' } }, [a]);
  await engine.open(a).write(MiB + BLOCK_BYTES, bytes(1, 0x22), false);
  await engine.open(b).write(0, bytes(8, 0x33), false);
  await close();
}

describe('checking a directory', () => {
  it('finds nothing in one that is whole, and changes nothing in it', async () => {
    await stored();
    const before = snapshotOf();
    const report = await check();
    expect(report.damages).toEqual([]);
    expect(report.graph).toEqual([]);
    expect(report.index).toMatchObject({ state: 'agrees', differences: [] });
    expect(report.volumes.map(({ name }) => name)).toEqual(['vol-a', 'vol-b']);
    expect(report.points).toMatchObject([{ name: 'before', volumes: [a] }]);
    expect(report.verified_bytes).toBeGreaterThan(13 * BLOCK_BYTES);
    expect(snapshotOf()).toEqual(before);
  });

  it('names volume, offset and length of a damaged block, and the point where it is seen only there', async () => {
    await stored();
    // Four blocks of 0x11: the second one is hidden in the head by a later write.
    const { path, offset } = damageWhere(bytes(4, 0x11), 100);
    flip(path, offset + BLOCK_BYTES + 5);
    damageWhere(bytes(8, 0x33), 7 * BLOCK_BYTES);
    const { damages } = await check();
    const seen = damages.flatMap((damage) => damage.seen);
    const snapshot = { id: 'p', name: 'before' };
    expect(seen).toContainEqual({
      volume: a,
      name: 'vol-a',
      offset: MiB,
      length: BLOCK_BYTES,
      head: true,
      points: [snapshot],
    });
    expect(seen).toContainEqual(
      expect.objectContaining({ volume: b, offset: 7 * BLOCK_BYTES, length: BLOCK_BYTES, head: true, points: [] }),
    );
    expect(seen).toContainEqual(
      expect.objectContaining({
        volume: a,
        offset: MiB + BLOCK_BYTES,
        length: BLOCK_BYTES,
        head: false,
        points: [snapshot],
      }),
    );
    expect(seen).toHaveLength(3);
  });

  it('names volume, offset and length of the blocks of a damaged frame', async () => {
    await stored();
    const engine = await openEngineOn({
      disk: openNodeDisk(join(directory, 'A1', 'log')),
      checkpoints: lmdbCheckpointStore(join(directory, 'A1', 'index')),
      clock: systemClock,
      limits: { ...engineLimits, packAfter_ms: 0 },
      packer: threadPacker,
    });
    await engine.settle();
    const packed = engine.usage();
    await engine.close();
    expect(packed.live_bytes).toBeLessThan(packed.data_bytes / 4);
    expect((await check()).damages).toEqual([]);
    // Two blocks of 0x33 in a frame: LZ4 says the byte once, behind the frame's header.
    const { path, offset } = frameOf(4);
    flip(path, offset + 20);
    const { damages, index } = await check();
    expect(damages).toMatchObject([
      {
        offset,
        detail: expect.stringContaining('packed data'),
        seen: [{ volume: b, offset: 4 * BLOCK_BYTES, length: 2 * BLOCK_BYTES, head: true, points: [] }],
      },
    ]);
    expect(index.differences).toEqual([]);
  });

  it('names the point alone where the head has been written since', async () => {
    await stored();
    const { path, offset } = damageWhere(bytes(4, 0x11), 0);
    flip(path, offset);
    flip(path, offset + BLOCK_BYTES);
    const { damages } = await check();
    expect(damages).toMatchObject([
      {
        seen: [
          { volume: a, offset: MiB + BLOCK_BYTES, length: BLOCK_BYTES, head: false, points: [{ name: 'before' }] },
        ],
      },
    ]);
  });

  it('tells of a damaged record, of what only the index knows then, and of a damaged footer and header', async () => {
    await stored();
    const { path, offset } = damageWhere(bytes(8, 0x33), 0);
    flip(path, offset);
    // The header of the record stands before its eight checksums.
    flip(path, offset - 64 - 64 + 32);
    const report = await check();
    expect(report.damages.map(({ detail }) => detail).join()).toMatch(/no records/);
    expect(report.index.state).toBe('disagrees');
    expect(report.index.differences.flatMap(({ seen }) => seen)).toMatchObject([
      { volume: b, offset: 0, length: 8 * BLOCK_BYTES, head: true },
    ]);
    flip(path, offset - 64 - 64 + 32);
    flip(path, statSync(path).size - 40);
    expect((await check()).damages.map(({ detail }) => detail).join()).toMatch(/footer/);
    flip(path, statSync(path).size - 40);
    flip(path, 2048 + 33);
    expect((await check()).damages.map(({ detail }) => detail).join()).toMatch(/segment header/);
  });

  it('tells of an index that is gone, empty, or not what the log says', async () => {
    await stored();
    const index = join(directory, 'A1', 'index');
    const engine = await open();
    await engine.createVolume({ id: volumeId('c'), name: 'vol-c', size: MiB, tag: {} });
    await close();
    // What stands beside the records of `b` stands in the index too: the checksum of a block.
    const sum = Buffer.alloc(8);
    sum.writeBigUInt64LE(sumOf(bytes(1, 0x33)));
    const file = join(index, 'checkpoint.mdb');
    for (let at = readFileSync(file).indexOf(sum); at >= 0; at = readFileSync(file).indexOf(sum, at + 1))
      flip(file, at);
    const changed = await check();
    expect(changed.damages).toEqual([]);
    expect(changed.index).toMatchObject({
      state: 'disagrees',
      differences: [{ seen: [{ volume: b, offset: 0, length: 8 * BLOCK_BYTES, head: true }] }],
    });
    writeFileSync(file, new Uint8Array(64 * 1024).fill(7));
    expect((await check()).index.state).toBe('unreadable');
    rmSync(index, { recursive: true });
    expect(await check()).toMatchObject({ damages: [], index: { state: 'absent' } });
  });

  it('a segment that is gone is told by the records that it held', async () => {
    await stored();
    const engine = await open();
    await engine.open(b).write(0, bytes(4, 0x44), true);
    await close();
    rmSync(segmentFiles()[0]!);
    const report = await check();
    // Whether the first segment was compacted away cannot be told from the log alone; the index knows that it is needed.
    expect(report.damages.length + report.index.differences.length).toBeGreaterThan(0);
  });
});

describe('verifying what is stored while hosts write', () => {
  const whole = async (engine: BlockEngine, most_bytes: number) => {
    const damages: StoredDamage[] = [];
    let verified = 0;
    let steps = 0;
    let from: VerifyPosition | undefined;
    do {
      const step = await engine.verifyStored(from, most_bytes);
      damages.push(...step.damages);
      verified += step.verified_bytes;
      from = step.next === undefined ? undefined : (JSON.parse(JSON.stringify(step.next)) as VerifyPosition);
      steps += 1;
    } while (from !== undefined);
    return { damages, verified, steps };
  };

  it('goes in bounded steps, and finds what is damaged by volume and offset', async () => {
    await stored();
    damageWhere(bytes(8, 0x33), 3 * BLOCK_BYTES);
    const engine = await open();
    const { damages, steps } = await whole(engine, BLOCK_BYTES);
    expect(steps).toBeGreaterThan(3);
    expect(damages).toMatchObject([
      { seen: [{ volume: b, offset: 3 * BLOCK_BYTES, length: BLOCK_BYTES, head: true, points: [] }] },
    ]);
  });

  it('takes nothing for damage that is written, moved or given back meanwhile', async () => {
    const under = await simulatedEngine(3, { fallBack_max: 0 });
    await under.engine.createVolume({ id: a, name: 'a', size: 4 * MiB, tag: {} });
    const device = under.engine.open(a);
    const random = seededRandom(5);
    let stop = false;
    const writing = (async () => {
      for (let n = 1; !stop; n++) {
        await device.write(Math.floor(random.fraction() * 900) * BLOCK_BYTES, bytes(1 + (n % 9), n % 250), false);
        if (n % 40 === 0) await under.settle?.();
      }
    })();
    for (let round = 0; round < 8; round++) expect((await whole(under.engine, 64 * 1024)).damages).toEqual([]);
    stop = true;
    await writing;
    await under.dispose();
  });
});

describe('any history, cut off at any moment', () => {
  it('leaves stores in which a check finds nothing: the index says what the log says [C6.3]', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1e9),
        fc.array(crashStep, { minLength: 1, maxLength: 60, size: 'max' }),
        async (seed, steps) => {
          const under = await simulatedEngine(seed, { fallBack_max: 1 });
          const history = new CrashHistory(under);
          for (const step of steps) await history.play(step);
          // Dies where it stands; a check looks at what it left.
          const { disk, checkpoints } = under;
          under.die();
          disk.crash();
          checkpoints.crash();
          const report = await checkEngine(
            {
              disk: disk.mount(),
              checkpoints: () => checkpoints.mount(),
              scratch: new SimulatedCheckpointStore({ random: seededRandom(1), fall_back_max: 0 }).mount(),
              clock: new ManualClock(),
              limits: tinyLimits,
              logLimits: smallLogLimits,
            },
            () => undefined,
          );
          expect([report.damages, report.graph, report.index.differences]).toEqual([[], [], []]);
          expect(['agrees', 'absent', 'void']).toContain(report.index.state);
        },
      ),
      { numRuns: 60 },
    );
  });
});
