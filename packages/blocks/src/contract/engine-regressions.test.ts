import { cycleId, type PointId, pointId, sessionId, volumeId } from '@antipode/base';
import { afterEach, describe, expect, it } from 'vitest';
import { diskError } from '../embedded/simulated/simulated-disk.ts';
import { durableBlocks } from '../embedded/simulated/stored-blocks.ts';
import { sumOf } from '../embedded/zero-block.ts';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockEngine, EngineEvent } from '../port/engine.ts';
import { type BlockErrorCode, isBlockError } from '../port/errors.ts';
import type { CyclePlan, Generation, PointSpec } from '../port/types.ts';
import { bytesOf, type CrashingEngine, imageOf } from './crash-contract.ts';
import { shipCycle } from './engine-contract.ts';
import { shipImages } from './ship-images.ts';
import { hurriedClock, type SimulatedEngine, simulatedEngine } from './simulated-engine.ts';

const MiB = 1024 * 1024;
const session = sessionId('s');
const [a, b] = [volumeId('a'), volumeId('b')];
const first: Generation = { number: 1, site: 'A', nonce: '1' };
const second: Generation = { number: 2, site: 'B', nonce: '2' };
const toB = [{ local: a, remote: b }];
const toA = [{ local: b, remote: a }];
const p = (text: string): PointId => pointId(text);
const spec = (id: string, kind: PointSpec['kind'] = 'snapshot'): PointSpec => ({
  id: p(id),
  kind,
  instant_ms: 1,
  tag: kind === 'internal' ? { session } : {},
});
const write = (engine: BlockEngine, volume: typeof a, block: number, token: number, count = 1) =>
  engine.open(volume).write(block * BLOCK_BYTES, bytesOf(token, count), false);
const tokenAt = async (engine: BlockEngine, volume: typeof a, block: number) =>
  (await imageOf(engine.open(volume)))[block];

async function refusedWith(work: () => unknown): Promise<BlockErrorCode | 'nothing'> {
  try {
    await work();
    return 'nothing';
  } catch (error) {
    if (isBlockError(error)) return error.code;
    throw error;
  }
}

describe('the embedded engine', () => {
  it('a compaction that is given wrong bytes by every other read copies the right ones [C8.1]', async () => {
    const under = await simulatedEngine(2, { fallBack_max: 0 });
    const { engine, disk } = under;
    await engine.createVolume({ id: a, name: 'a', size: 4 * MiB, tag: {} });
    for (let block = 0; block < 1000; block++) await write(engine, a, block, block + 1);
    for (let block = 0; block < 1000; block++) if (block % 8 > 0) await write(engine, a, block, block + 2);
    let reads = 0;
    disk.faults = {
      read: (_name, _offset, target) => {
        reads += 1;
        if (reads % 2 === 1) for (let at = 2000; at < target.length; at += BLOCK_BYTES) target[at]! ^= 1;
        return undefined;
      },
    };
    await under.settle?.();
    disk.faults = {};
    const image = await imageOf(engine.open(a));
    expect(reads).toBeGreaterThan(4);
    expect([...image].slice(0, 1000)).toEqual(
      Array.from({ length: 1000 }, (_, block) => block + (block % 8 > 0 ? 2 : 1)),
    );
    await under.dispose();
  });

  it('a start that is given wrong bytes by every other read finds no damage [C6.3]', async () => {
    const under = await simulatedEngine(2, { fallBack_max: 0 });
    const { engine, disk } = under;
    await engine.createVolume({ id: a, name: 'a', size: 4 * MiB, tag: {} });
    for (let block = 0; block < 1000; block++) await write(engine, a, block, block + 1);
    for (let block = 0; block < 1000; block++) if (block % 8 > 0) await write(engine, a, block, block + 2);
    await under.settle?.();
    let reads = 0;
    disk.faults = {
      read: (_name, _offset, target) => {
        reads += 1;
        if (reads % 2 === 1) target.fill(0xff);
        return undefined;
      },
    };
    const after = await under.reopen();
    disk.faults = {};
    const damages: EngineEvent[] = [];
    after.engine.on((event) => event.kind === 'damage' && damages.push(event));
    await new Promise((resolve) => setImmediate(resolve));
    expect(damages).toEqual([]);
    expect((await imageOf(after.engine.open(a)))[999]).toBe(1001);
    await after.dispose();
  });

  it('two damaged places in one read, one at hand and one not: the read fails once it is over, and nothing else does [C8.1]', async () => {
    const unheard: unknown[] = [];
    const hear = (error: unknown) => unheard.push(error);
    process.on('unhandledRejection', hear);
    // Every other read of this disk waits for the medium.
    const under = await simulatedEngine(3, { fallBack_max: 0 });
    try {
      const { engine, disk } = under;
      await engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
      for (const block of [0, 2]) await write(engine, a, block, block + 1);
      await engine.open(a).flush();
      // It says of those before it that they are durable.
      await write(engine, a, 8, 9);
      await engine.open(a).flush();
      for (const { name, offset } of durableBlocks(disk)) disk.flip(name, offset + 100);
      for (let round = 0; round < 32; round++)
        expect(await refusedWith(() => engine.open(a).read(0, new Uint8Array(4 * BLOCK_BYTES)))).toBe('corrupt');
      await new Promise((resolve) => setImmediate(resolve));
      expect(unheard).toEqual([]);
    } finally {
      process.off('unhandledRejection', hear);
      await under.dispose();
    }
  });

  const opened: CrashingEngine[] = [];
  const start = async () => {
    const under = await simulatedEngine(opened.length + 1, { fallBack_max: 0 });
    opened.push(under);
    return under;
  };
  /** The engine that goes on where another one stopped. */
  const next = async (before: CrashingEngine, how: 'reopen' | 'crash' = 'reopen') => {
    const after = (await before[how]()) as SimulatedEngine;
    opened[opened.indexOf(before)] = after;
    return after;
  };
  afterEach(async () => {
    for (const under of opened.splice(0)) await under.dispose();
  });
  const couple = async (size = 2 * MiB) => {
    const source = await start();
    const target = await start();
    await source.engine.createVolume({ id: a, name: 'a', size, tag: {} });
    await target.engine.createVolume({ id: b, name: 'b', size, destination: true, tag: {} });
    await source.engine.createHalf({ session, role: 'source', generation: first, pairs: toB, tag: {} });
    await target.engine.createHalf({ session, role: 'destination', generation: first, pairs: toA, tag: {} });
    return { source, target };
  };
  /** As the source sees it; `points`: id and size. */
  const planOf = (cycle: string, points: readonly (readonly [PointSpec, number])[], base?: string): CyclePlan => ({
    session,
    cycle: cycleId(cycle),
    generation: first,
    ...(base && { base: p(base) }),
    points: points.map(([point, size]) => ({ ...point, sizes: [size] })),
    pairs: toB,
  });
  const complete = async (source: BlockEngine, target: BlockEngine, plan: CyclePlan) => {
    await shipCycle(source, target, plan);
    const digests = (await target.verifyStage(session, plan.cycle, () => undefined)).at(-1)!;
    await target.commitStage(session, plan.cycle, first, digests);
    await source.advanceBase(session, first, { point: plan.points.at(-1)!.id, digests });
    return digests;
  };

  it('answers a freeze though the point is dropped before it is durable', async () => {
    const { engine } = await start();
    await engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    const freezing = engine.freeze(spec('1'), [a]);
    await engine.dropPoint(p('1'));
    expect((await freezing).id).toBe('1');
  });

  it('a checkpoint never keeps places that a failed sync made void [C6.4]', async () => {
    for (let failing = 0; failing < 4; failing++) {
      const under = (await start()) as Awaited<ReturnType<typeof simulatedEngine>>;
      await under.engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
      // Enough that stays where it is, so that no compaction follows with a checkpoint of its own.
      await write(under.engine, a, 50, 9, 200);
      await under.settle?.();
      await write(under.engine, a, 0, 7, 20);
      let syncs = 0;
      under.disk.faults = { sync: () => (syncs++ === failing ? diskError('EIO') : undefined) };
      await under.settle?.();
      await under.engine.open(a).flush();
      under.disk.faults = {};
      const again = await next(under, 'crash');
      expect((await imageOf(again.engine.open(a))).subarray(0, 21)).toEqual(
        Uint32Array.from({ length: 21 }, (_, block) => (block < 20 ? 7 : 0)),
      );
    }
  });

  it('a deleted volume leaves a held point when its last hold goes', async () => {
    const { engine } = await start();
    await engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    await engine.createVolume({ id: b, name: 'b', size: MiB, tag: {} });
    await engine.freeze(spec('1'), [a, b], 'me');
    await engine.deleteVolume(a);
    expect(engine.point(p('1'))?.members.length).toBe(2);
    await engine.release(p('1'), 'me');
    expect(engine.point(p('1'))?.members.map(({ volume }) => volume)).toEqual([b]);
  });

  it('a layer that cuts the image is not folded away: a shrunk and grown volume never shows old bytes [C1.4]', async () => {
    const { source, target } = await couple(2 * MiB);
    await source.engine.freeze(spec('small'), [a]);
    await source.engine.resizeVolume(a, 4 * MiB);
    await write(source.engine, a, 800, 7);
    await source.engine.freeze(spec('p1', 'internal'), [a]);
    await complete(source.engine, target.engine, planOf('c1', [[spec('p1', 'internal'), 4 * MiB]]));
    await source.engine.restore([{ volume: a, point: p('small'), of: a }]);
    await source.engine.freeze(spec('p2', 'internal'), [a]);
    await complete(source.engine, target.engine, planOf('c2', [[spec('p2', 'internal'), 2 * MiB]], 'p1'));
    await target.engine.promote(session, { next: second });
    await target.engine.removeHalf(session);
    for (const { id } of target.engine.points()) await target.engine.dropPoint(id);
    await target.settle?.();
    await target.engine.resizeVolume(b, 4 * MiB);
    await target.settle?.();
    expect(await tokenAt(target.engine, b, 800)).toBe(0);
  });

  it('digests of a shrunk image do not stand in for those of the larger one below it [C8.2]', async () => {
    const { source, target } = await couple(2 * MiB);
    await source.engine.freeze(spec('small'), [a]);
    await source.engine.resizeVolume(a, 4 * MiB);
    await write(source.engine, a, 1, 5);
    await write(source.engine, a, 800, 7);
    await source.engine.freeze(spec('p1', 'internal'), [a], 'me');
    await complete(source.engine, target.engine, planOf('c1', [[spec('p1', 'internal'), 4 * MiB]]));
    await target.engine.hold(p('p1'), 'me');
    await source.engine.restore([{ volume: a, point: p('small'), of: a }]);
    await write(source.engine, a, 1, 5);
    await source.engine.freeze(spec('p2', 'internal'), [a], 'me');
    // The same block of the same content is shipped again; without it the layer at the destination would be empty.
    const plan = planOf('c2', [[spec('p2', 'internal'), 2 * MiB]], 'p1');
    await target.engine.openStage({ ...plan, pairs: toA });
    const again = await next(target);
    const staged = await again.engine.verifyStage(session, plan.cycle, () => undefined);
    expect(staged.length).toBe(1);
    expect(await again.engine.digest(b, p('p1'))).toBe(await source.engine.digest(a, p('p1')));
  });

  it('what is repaired in a staged image stays under what later points changed, also after the index is lost [C6.1] [C8.4]', async () => {
    const { source, target: young } = await couple();
    const target = await next(young);
    await write(source.engine, a, 3, 31);
    await write(source.engine, a, 100, 5, 200);
    await source.engine.freeze(spec('snap'), [a]);
    await write(source.engine, a, 3, 32);
    await source.engine.freeze(spec('p1', 'internal'), [a]);
    const plan = planOf('c1', [
      [spec('snap'), 2 * MiB],
      [spec('p1', 'internal'), 2 * MiB],
    ]);
    await shipCycle(source.engine, target.engine, plan);
    const payload = new Uint8Array(BLOCK_BYTES);
    const checksums = new Uint8Array(8);
    await source.engine.readBlocks(a, p('snap'), 3, 1, payload, checksums);
    await target.engine.repairStage(session, plan.cycle, 0, 0, [{ block: 3, count: 1, payload, checksums }]);
    const digests = await target.engine.verifyStage(session, plan.cycle, () => undefined);
    expect(digests.flat()).toEqual([await source.engine.digest(a, p('snap')), await source.engine.digest(a, p('p1'))]);
    await target.engine.commitStage(session, plan.cycle, first, digests.at(-1)!);
    await target.engine.dropPoint(p('snap'));
    await target.settle?.();
    expect(await tokenAt(target.engine, b, 3)).toBe(32);
    // Compaction of a segment of control records writes the folded graph; the repaired record is dead and still there; and now the
    // index is lost.
    const later = await next(target);
    await later.engine.hold(p('p1'), 'me');
    const last = (await next(later)) as CrashingEngine & { checkpoints: { clear(): void } };
    await last.settle?.();
    await last.engine.open(b).flush();
    last.checkpoints.clear();
    const rebuilt = await next(last, 'crash');
    expect(await tokenAt(rebuilt.engine, b, 3)).toBe(32);
  });

  it('a promotion with a commit tells of the commit, and may go back to the former base', async () => {
    const { source, target } = await couple();
    await write(source.engine, a, 0, 1);
    await source.engine.freeze(spec('p1', 'internal'), [a]);
    await complete(source.engine, target.engine, planOf('c1', [[spec('p1', 'internal'), 2 * MiB]]));
    await write(source.engine, a, 0, 2);
    await source.engine.freeze(spec('p2', 'internal'), [a]);
    const plan = planOf('c2', [[spec('p2', 'internal'), 2 * MiB]], 'p1');
    await shipCycle(source.engine, target.engine, plan);
    const digests = (await target.engine.verifyStage(session, plan.cycle, () => undefined)).at(-1)!;
    const events: EngineEvent[] = [];
    target.engine.on((event) => events.push(event));
    await target.engine.promote(session, { next: second, commit: { cycle: plan.cycle, digests }, from: p('p1') });
    expect(events).toContainEqual({ kind: 'committed', session, cycle: plan.cycle, points: [p('p2')] });
    expect(await tokenAt(target.engine, b, 0)).toBe(1);
    expect(target.engine.half(session)?.base?.point).toBe('p2');
  });

  it('the end of a half lets go of everything that it held [C5.6]', async () => {
    const { source } = await couple();
    await source.engine.freeze(spec('snap'), [a]);
    await source.engine.hold(p('snap'), `session:${session}`);
    await source.engine.removeHalf(session);
    expect(source.engine.point(p('snap'))?.holds).toEqual([]);
  });

  it('a copy that was left behind by one session does not keep what the copies beside it were [C2.6]', async () => {
    const [c, d] = [volumeId('c'), volumeId('d')];
    const [source, target] = [await start(), await start()];
    for (const id of [a, c]) await source.engine.createVolume({ id, name: id, size: MiB, tag: {} });
    for (const id of [b, d]) await target.engine.createVolume({ id, name: id, size: MiB, destination: true, tag: {} });
    const later = sessionId('t');
    const cycle = async (id: typeof session, point: string, pairs: typeof toB, base?: string) => {
      await source.engine.freeze({ ...spec(point, 'internal'), tag: { session: id } }, [a, c]);
      const points = [{ ...spec(point, 'internal'), tag: { session: id }, sizes: pairs.map(() => MiB) }];
      const plan = { session: id, cycle: cycleId(point), generation: first, points, pairs };
      await shipCycle(source.engine, target.engine, { ...plan, ...(base && { base: p(base) }) });
      const digests = (await target.engine.verifyStage(id, plan.cycle, () => undefined)).at(-1)!;
      await target.engine.commitStage(id, plan.cycle, first, digests);
    };
    const bear = (id: typeof session, pairs: typeof toB) =>
      target.engine.createHalf({
        ...{ session: id, role: 'destination', generation: first, tag: {} },
        pairs: pairs.map(({ local, remote }) => ({ local: remote, remote: local })),
      });
    const both = [...toB, { local: c, remote: d }];
    await bear(session, both);
    await cycle(session, 'p1', both);
    await target.engine.removeHalf(session);
    expect(target.engine.point(p('p1'))?.members.map(({ volume }) => volume)).toEqual([b, d]);
    await bear(later, toB);
    await cycle(later, 'p2', toB);
    await cycle(later, 'p3', toB, 'p2');
    expect(target.engine.point(p('p1'))?.members.map(({ volume }) => volume)).toEqual([d]);
    expect(await tokenAt(target.engine, d, 0)).toBe(0);
    await target.engine.deleteVolume(d);
    expect(target.engine.points().map(({ id }) => id)).toEqual(['p3']);
  });

  it('takes nothing that lies before the restart address [C3.5]', async () => {
    const { target } = await couple();
    const plan = planOf('c1', [
      [spec('snap'), 2 * MiB],
      [spec('p1', 'internal'), 2 * MiB],
    ]);
    await target.engine.openStage({ ...plan, pairs: toA });
    await target.engine.syncStage(session, plan.cycle, { point: 1, pair: 0, block: 5 });
    const stage = (point: number, block: number) => () =>
      target.engine.writeStage(session, plan.cycle, point, 0, [{ block, count: 1 }]);
    expect(await refusedWith(stage(0, 9))).toBe('out_of_range');
    expect(await refusedWith(stage(1, 4))).toBe('out_of_range');
    expect(await refusedWith(stage(1, 5))).toBe('nothing');
  });

  it('acknowledges the restart address that is durable, not one that was ordered meanwhile [C3.5]', async () => {
    const { target } = await couple();
    const plan = planOf('c1', [[spec('p1', 'internal'), 2 * MiB]]);
    await target.engine.openStage({ ...plan, pairs: toA });
    const sync = (block: number) => target.engine.syncStage(session, plan.cycle, { point: 0, pair: 0, block });
    const answers = [sync(5), sync(7)];
    expect((await answers[0])?.block).toBe(5);
    expect((await answers[1])?.block).toBe(7);
  });

  it('says what a volume reads as data, each block once', async () => {
    const { engine } = await start();
    await engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    for (const round of [1, 2, 3]) {
      await write(engine, a, 0, round, 10);
      await engine.freeze(spec(`s${round}`), [a]);
    }
    await engine.open(a).trim(0, 5 * BLOCK_BYTES, false);
    expect((await engine.volumeUsage(a)).logical_bytes).toBe(5 * BLOCK_BYTES);
  });

  it('a segment of dead data and a range of zeros keeps the zeros: what they hide is still in an older one [C6.1] [C6.2]', async () => {
    const under = await start();
    const { engine } = under;
    await engine.createVolume({ id: a, name: 'a', size: 16 * MiB, tag: {} });
    // Some of the first segment stays live, so it stays, and block 0 in it with what the trim is to hide.
    await write(engine, a, 0, 1, 256);
    await write(engine, a, 256, 2, 256);
    // Then the trim, in the middle of more than a segment of data that dies.
    const dying = [1024, 1280, 1536, 1792, 2048, 2304];
    for (const block of dying.slice(0, 3)) await write(engine, a, block, 3, 256);
    await engine.open(a).trim(0, 16 * BLOCK_BYTES, true);
    for (const block of dying.slice(3)) await write(engine, a, block, 3, 256);
    for (const token of [6, 7]) for (const block of dying) await write(engine, a, block, token, 256);
    await engine.open(a).flush();
    for (let round = 0; round < 3; round++) await under.settle?.();
    expect(engine.usage().log_bytes).toBeLessThan(14 * MiB);
    under.checkpoints.clear();
    const rebuilt = await next(under, 'crash');
    expect(await tokenAt(rebuilt.engine, a, 0)).toBe(0);
    expect(await tokenAt(rebuilt.engine, a, 16)).toBe(1);
    expect(await tokenAt(rebuilt.engine, a, 1536)).toBe(7);
  });

  it('gives space back though the graph is larger than one record, and is rebuilt from the log alone [C7.1]', async () => {
    const under = await start();
    const { engine } = under;
    await engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    const tag = { text: 'x'.repeat(32 * 1024) };
    const names = Array.from({ length: 60 }, (_, point) => `s${point}`);
    await Promise.all(names.map((name) => engine.freeze({ ...spec(name), tag }, [a])));
    await write(engine, a, 0, 1);
    const before = engine.usage().log_bytes;
    let now = await next(under);
    await now.settle?.();
    await Promise.all(names.filter((name) => name !== 's7').map((name) => now.engine.dropPoint(p(name))));
    for (let round = 0; round < 4; round++) {
      await now.settle?.();
      now = await next(now);
    }
    await now.settle?.();
    expect(now.engine.usage().log_bytes).toBeLessThan(before / 2);
    expect(await tokenAt(now.engine, a, 0)).toBe(1);
    expect(now.engine.points().map(({ id }) => id)).toEqual(['s7']);
    const last = now as CrashingEngine & { checkpoints: { clear(): void } };
    last.checkpoints.clear();
    now = await next(last, 'crash');
    expect(await tokenAt(now.engine, a, 0)).toBe(1);
    expect(now.engine.points().map(({ id }) => id)).toEqual(['s7']);
  });

  it('gives no segment back whose copies no checkpoint has, because the one after compaction failed [C6.2]', async () => {
    const before = await start();
    await before.engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    const tokens = Array.from({ length: 256 }, (_, block) => (block < 128 ? 1 + block : 0));
    for (let block = 0; block < 128; block++) await write(before.engine, a, block, tokens[block]!);
    // A segment of its own, of which a checkpoint of this process knows.
    const under = await next(before);
    await under.settle?.();
    under.checkpoints.failAfter(0);
    // Enough dies that the rest is copied, and not so much that a checkpoint is due before.
    for (let block = 0; block < 128; block += 6) {
      tokens[block] = 1000 + block;
      await write(under.engine, a, block, tokens[block]!);
    }
    await under.engine.open(a).flush();
    await expect.poll(() => under.checkpoints.failures).toBeGreaterThan(0);
    // It is looked at again after a while, and would go now.
    await hurriedClock.sleep(30_000);
    const after = await next(under, 'crash');
    expect([...(await imageOf(after.engine.open(a)))]).toEqual(tokens);
    await after.settle?.();
    expect([...(await imageOf(after.engine.open(a)))]).toEqual(tokens);
  });

  it('a demotion that is asked for again is answered once it is durable, and not before [C4.1]', async () => {
    const { engine, disk } = await start();
    await engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    await engine.createHalf({ session, role: 'source', generation: first, pairs: toB, tag: {} });
    let release = () => {};
    disk.faults = { sync: () => new Promise((resolve) => (release = () => resolve(undefined))) };
    const demote = () => engine.demote(session, second, undefined, spec('kept', 'diverged'));
    let answered = 0;
    const both = [demote(), demote()].map((answer) => answer.then(() => (answered += 1)));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    const early = answered;
    disk.faults = {};
    release();
    await Promise.all(both);
    expect(early).toBe(0);
  });

  it('a proof says that it goes on for as long as it goes on: its digests take minutes of a large image [C8.2]', async () => {
    const { engine } = await start();
    const groups = 64;
    const group_bytes = 256 * MiB;
    const size = groups * group_bytes;
    await engine.createVolume({ id: b, name: 'b', size, destination: true, tag: {} });
    await engine.createHalf({ session, role: 'destination', generation: first, pairs: toA, tag: {} });
    const cycle = cycleId('large');
    await engine.openStage({
      session,
      cycle,
      generation: first,
      points: [{ ...spec('p', 'internal'), sizes: [size] }],
      pairs: toA,
    });
    const checksums = new Uint8Array(new BigUint64Array([sumOf(bytesOf(7, 1))]).buffer);
    for (let group = 0; group < groups; group++) {
      const block = (group * group_bytes) / BLOCK_BYTES;
      await engine.writeStage(session, cycle, 0, 0, [{ block, count: 1, payload: bytesOf(7, 1), checksums }]);
    }
    let told = 0;
    let afterReading = 0;
    await engine.verifyStage(session, cycle, (blocks, of) => {
      told += 1;
      if (blocks === of) afterReading += 1;
    });
    expect(told).toBeGreaterThanOrEqual(2 * groups);
    expect(afterReading).toBeGreaterThanOrEqual(groups);
  });

  it('a commit that the disk stores later than its caller could wait for is told of then [C3.3]', async () => {
    const { engine, disk } = await start();
    await engine.createVolume({ id: b, name: 'b', size: MiB, destination: true, tag: {} });
    await engine.createHalf({ session, role: 'destination', generation: first, pairs: toA, tag: {} });
    const cycle = cycleId('late');
    const points = [{ ...spec('p', 'internal'), sizes: [MiB] }];
    await engine.openStage({ session, cycle, generation: first, points, pairs: toA });
    const [digests] = await engine.verifyStage(session, cycle, () => undefined);
    const told: EngineEvent[] = [];
    engine.on((event) => event.kind === 'committed' && told.push(event));
    disk.faults = { sync: () => diskError('EIO') };
    expect(await refusedWith(() => engine.commitStage(session, cycle, first, digests!))).toBe('io_error');
    expect(told).toEqual([]);
    disk.faults = {};
    await expect.poll(() => told).toEqual([{ kind: 'committed', session, cycle, points: [p('p')] }]);
  });

  it('what is named to another appliance as an image is durable: after a crash nothing else may have its name [C6.1]', async () => {
    const { engine, disk } = await start();
    await engine.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    await write(engine, a, 0, 1);
    let release = () => {};
    disk.faults = { sync: () => new Promise((resolve) => (release = () => resolve(undefined))) };
    const freezing = engine.freeze(spec('p'), [a]);
    let named: number | undefined;
    const naming = engine.moving.images([a]).then((images) => (named = images.length));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    const early = named;
    disk.faults = {};
    release();
    await Promise.all([freezing, naming]);
    expect([early, named]).toEqual([undefined, 1]);
  });

  it('an image that was half over when the one below it was deleted arrives as it is, not on what it stood on before [C1.2]', async () => {
    const [{ engine: source }, { engine: destination }] = [await start(), await start()];
    await source.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    await source.freeze(spec('p1'), [a]);
    await write(source, a, 100, 1);
    await source.freeze(spec('p2'), [a]);
    // What the second one has and the first and the third one have not is in no difference of these two.
    await source.open(a).trim(100 * BLOCK_BYTES, BLOCK_BYTES, false);
    await write(source, a, 2, 2);
    await source.freeze(spec('p3'), [a]);
    const ship = (most = Number.POSITIVE_INFINITY) =>
      shipImages({ move: 'm', volumes: [a] }, source, destination, (runs) => runs < most);
    // All of the second image, and of the third one its first block alone.
    await ship(2);
    await source.dropPoint(p('p2'));
    await ship();
    const manifest = await source.moving.depart('m', [a], spec('p4', 'internal'));
    await ship();
    await destination.moving.adopt('m', 1, manifest);
    const tokens = await imageOf(destination.open(a));
    expect([...tokens.slice(0, 101)].filter((token) => token !== 0)).toEqual([2]);
  });

  it('an image that is not what the sender says is not kept: it is shipped anew, not taken for complete [C8.2]', async () => {
    const [{ engine: source }, { engine: destination }] = [await start(), await start()];
    await source.createVolume({ id: a, name: 'a', size: MiB, tag: {} });
    await write(source, a, 1, 1);
    await source.freeze(spec('p1'), [a]);
    const [image] = await source.moving.images([a]);
    const ship = async (token: number) => {
      const { next } = await destination.moving.openImage('m', image!);
      const payload = bytesOf(token, 1);
      const checksums = new Uint8Array(new BigUint64Array([sumOf(payload)]).buffer);
      await destination.moving.writeImage('m', image!.image, [{ block: 1, count: 1, payload, checksums }]);
      await destination.moving.syncImage('m', image!.image, 2);
      await destination.moving.closeImage('m', image!.image);
      const proven = await destination.moving.proveImage(
        'm',
        image!.image,
        await source.moving.imageDigest(image!.image),
      );
      return [next, proven];
    };
    expect(await ship(7)).toEqual([0, { next: 0, complete: false }]);
    expect(await ship(1)).toEqual([0, { next: MiB / BLOCK_BYTES, complete: true }]);
  });
});
