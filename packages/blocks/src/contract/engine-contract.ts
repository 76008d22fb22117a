import { cycleId, type PointId, pointId, proposalId, sessionId, type VolumeId, volumeId } from '@antipode/base';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { BLOCK_BYTES, type BlockDevice } from '../port/device.ts';
import type { BlockEngine, BlockRun } from '../port/engine.ts';
import { BlockError } from '../port/errors.ts';
import type { CyclePlan, Generation, PointSpec } from '../port/types.ts';
import { bytesOf, copyOf, ModelEngine, type ModelImage } from './model.ts';

/** One engine on stores of its own. `reopen`: closes it and opens it on the same stores; `crash`: the same without closing. */
export interface EngineUnderTest {
  readonly engine: BlockEngine;
  reopen(): Promise<EngineUnderTest>;
  crash?(): Promise<EngineUnderTest>;
  /** Background work that may be due is done. */
  settle?(): Promise<void>;
  dispose(): Promise<void>;
}

const MiB = 1024 * 1024;
const v = (name: string) => volumeId(name);
const p = (name: string) => pointId(name);
const spec = (id: PointId, kind: PointSpec['kind'] = 'snapshot'): PointSpec => ({
  id,
  kind,
  instant_ms: 1_000,
  tag: {},
});
/** Bytes without a zero among them; those of every fourth seed cannot be packed. */
function filled(length: number, seed: number): Uint8Array {
  if (seed % 4 !== 3) return Uint8Array.from({ length }, (_, index) => (seed * 31 + index * 7) % 251 || 1);
  let noise = seed;
  return Uint8Array.from({ length }, () => {
    noise = (Math.imul(noise, 1664525) + 1013904223) >>> 0;
    return (noise >>> 16) % 251 || 1;
  });
}
const first: Generation = { number: 1, site: 'A', nonce: 'one' };
const second: Generation = { number: 2, site: 'B', nonce: 'two' };

export async function readAll(device: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.size());
  await device.read(0, bytes);
  return bytes;
}

async function refused(work: () => unknown, code: BlockError['code']): Promise<void> {
  try {
    await work();
  } catch (error) {
    expect(error).toBeInstanceOf(BlockError);
    expect((error as BlockError).code).toBe(code);
    return;
  }
  expect.fail(`expected ${code}`);
}

/** Copies what turns `from` into `to` out of one engine into the staging layers of another, as a cycle does. */
export async function shipCycle(source: BlockEngine, target: BlockEngine, plan: CyclePlan): Promise<void> {
  const mirrored: CyclePlan = {
    ...plan,
    pairs: plan.pairs.map(({ local, remote }) => ({ local: remote, remote: local })),
  };
  await target.openStage(mirrored);
  let from = plan.base;
  for (const [index, point] of plan.points.entries()) {
    for (const [number, pair] of plan.pairs.entries()) {
      const difference = await source.difference(pair.local, from, point.id);
      for await (const extent of difference.extents(0)) {
        await target.writeStage(plan.session, plan.cycle, index, number, [
          await runOf(source, pair.local, point.id, extent),
        ]);
      }
    }
    from = point.id;
  }
  await target.syncStage(plan.session, plan.cycle, { point: plan.points.length, pair: 0, block: 0 });
}

async function runOf(
  source: BlockEngine,
  volume: VolumeId,
  point: PointId,
  extent: { kind: 'data' | 'zero'; block: number; count: number },
): Promise<BlockRun> {
  if (extent.kind === 'zero') return { block: extent.block, count: extent.count };
  const payload = new Uint8Array(extent.count * BLOCK_BYTES);
  const checksums = new Uint8Array(extent.count * 8);
  await source.readBlocks(volume, point, extent.block, extent.count, payload, checksums);
  return { block: extent.block, count: extent.count, payload, checksums };
}

/** What every engine must pass: the port's promises, by example and against a model with random histories. */
export function describeEngineContract(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`the engine contract: ${name}`, () => {
    const opened: EngineUnderTest[] = [];
    const start = async (): Promise<EngineUnderTest> => {
      const under = await open();
      opened.push(under);
      return under;
    };
    afterEach(async () => {
      for (const under of opened.splice(0)) await under.dispose();
    });

    describe('volumes', () => {
      it('are thin, zero-filled, sized in units, and created once', async () => {
        const { engine } = await start();
        await engine.createVolume({ id: v('a'), name: 'a', size: 2 * MiB, tag: {} });
        await engine.createVolume({ id: v('a'), name: 'a', size: 2 * MiB, tag: {} });
        same(await readAll(engine.open(v('a'))), new Uint8Array(2 * MiB), 'the volume');
        await refused(() => engine.createVolume({ id: v('a'), name: 'b', size: 2 * MiB, tag: {} }), 'exists');
        await refused(() => engine.createVolume({ id: v('b'), name: 'b', size: MiB + 1, tag: {} }), 'out_of_range');
        await refused(() => engine.createVolume({ id: v('b'), name: 'b', size: 8192, tag: {} }), 'out_of_range');
      });

      it('a discarded empty volume of 256 TiB stores nothing [C1.3]', async () => {
        const { engine } = await start();
        const size = 256 * 1024 ** 4;
        await engine.createVolume({ id: v('huge'), name: 'huge', size, tag: {} });
        const before = engine.usage().log_bytes;
        await engine.open(v('huge')).trim(0, size, true);
        await engine.freeze(spec(p('1')), [v('huge')]);
        await engine.open(v('huge')).writeZeroes(0, size, true);
        expect(engine.usage().log_bytes - before).toBeLessThan(4096);
      });

      it('reads and writes any offset and length, and refuses what lies outside', async () => {
        const { engine } = await start();
        await engine.createVolume({ id: v('a'), name: 'a', size: MiB, tag: {} });
        const device = engine.open(v('a'));
        await device.write(4095, filled(4098, 3), false);
        const back = new Uint8Array(4098);
        await device.read(4095, back);
        expect(back).toEqual(filled(4098, 3));
        await refused(() => device.read(MiB - 1, new Uint8Array(2)), 'out_of_range');
        await refused(() => device.write(MiB, new Uint8Array(1), false), 'out_of_range');
        await refused(() => device.trim(-1, 10, false), 'out_of_range');
      });

      it('concurrent pieces of one block all arrive', async () => {
        const { engine } = await start();
        await engine.createVolume({ id: v('a'), name: 'a', size: MiB, tag: {} });
        const device = engine.open(v('a'));
        await Promise.all(
          Array.from({ length: 64 }, (_, index) => device.write(index * 64, new Uint8Array(64).fill(index + 1), false)),
        );
        const back = new Uint8Array(4096);
        await device.read(0, back);
        expect(back).toEqual(Uint8Array.from({ length: 4096 }, (_, index) => Math.floor(index / 64) + 1));
      });

      it('hold blocks far apart, more of them than an index keeps at hand, while they are written and read', async () => {
        const under = await start();
        const spread = 400;
        await under.engine.createVolume({ id: v('a'), name: 'a', size: spread * MiB, tag: {} });
        const device = under.engine.open(v('a'));
        const back = new Uint8Array(4096);
        const stamp = (round: number, n: number) => new Uint8Array(4096).fill(((round * 7 + n) % 250) + 1);
        for (let round = 0; round < 3; round++) {
          for (let n = 0; n < spread; n++) {
            await device.write(n * MiB, stamp(round, n), false);
            // Looks at what was written long ago: it may have left memory, its newest state may not.
            const old = (n * 37) % spread;
            await device.read(old * MiB, back);
            const expected = old <= n ? stamp(round, old) : round === 0 ? new Uint8Array(4096) : stamp(round - 1, old);
            same(back, expected, `MiB ${old} after ${n} of round ${round}`);
          }
          await under.settle?.();
        }
      });

      it('say what is allocated', async () => {
        const { engine } = await start();
        await engine.createVolume({ id: v('a'), name: 'a', size: 4 * MiB, tag: {} });
        const device = engine.open(v('a'));
        await device.write(2 * MiB, filled(8192, 1), false);
        expect(await device.status(0, 4 * MiB, 10)).toEqual([
          { kind: 'hole', length: 2 * MiB },
          { kind: 'data', length: 8192 },
          { kind: 'hole', length: 2 * MiB - 8192 },
        ]);
        expect(await device.status(2 * MiB + 100, 200, 10)).toEqual([{ kind: 'data', length: 200 }]);
      });
    });

    describe('points', () => {
      it('size belongs to every layer: what a restore cut off never shows again [C1.4]', async () => {
        const { engine } = await start();
        await engine.createVolume({ id: v('a'), name: 'a', size: 2 * MiB, tag: {} });
        await engine.freeze(spec(p('small')), [v('a')]);
        await engine.resizeVolume(v('a'), 4 * MiB);
        await engine.open(v('a')).write(3 * MiB, filled(4096, 9), false);
        await engine.freeze(spec(p('large')), [v('a')]);
        await engine.restore([{ volume: v('a'), point: p('small'), of: v('a') }]);
        expect(engine.volume(v('a'))?.size).toBe(2 * MiB);
        await engine.resizeVolume(v('a'), 4 * MiB);
        same(await readAll(engine.open(v('a'))), new Uint8Array(4 * MiB), 'the volume');
        await engine.freeze(spec(p('grown')), [v('a')]);
        const difference = await engine.difference(v('a'), p('large'), p('grown'));
        expect(difference.summary.zero_blocks).toBe(1);
      });

      it('are named by uuid, frozen once, and a held one stays until its last hold is gone [C1.1] [P2]', async () => {
        const { engine } = await start();
        await engine.createVolume({ id: v('a'), name: 'a', size: MiB, tag: {} });
        await engine.open(v('a')).write(0, filled(4096, 1), false);
        await engine.freeze(spec(p('1')), [v('a')], 'me');
        await engine.open(v('a')).write(0, filled(4096, 2), false);
        await engine.freeze(spec(p('1')), [v('a')], 'me');
        await engine.dropPoint(p('1'));
        expect(engine.point(p('1'))?.dropped).toBe(true);
        expect((await readAll(engine.openPoint(p('1'), v('a')))).subarray(0, 4096)).toEqual(filled(4096, 1));
        await engine.release(p('1'), 'me');
        expect(engine.point(p('1'))).toBeUndefined();
      });

      it('freeze many volumes at one instant of the one order [C9.3]', async () => {
        const { engine } = await start();
        const names = [v('a'), v('b'), v('c')];
        for (const id of names) await engine.createVolume({ id, name: id, size: MiB, tag: {} });
        const devices = names.map((id) => engine.open(id));
        const stamp = (n: number) => new Uint8Array(4096).fill(n);
        const writes: unknown[] = [];
        for (let n = 1; n <= 40; n++) {
          writes.push(devices[n % 3]!.write(0, stamp(n), false));
          if (n === 20) writes.push(engine.freeze(spec(p('mid')), names));
        }
        await Promise.all(writes);
        const seen = await Promise.all(names.map(async (id) => (await readAll(engine.openPoint(p('mid'), id)))[0]));
        expect(seen.sort((a, b) => a! - b!)).toEqual([18, 19, 20]);
      });

      it('a freeze is durable with everything before it when it resolves [C3.2]', async () => {
        const { engine, crash } = await start();
        if (crash === undefined) return;
        await engine.createVolume({ id: v('a'), name: 'a', size: MiB, tag: {} });
        const writing = engine.open(v('a')).write(0, filled(8192, 7), false);
        await engine.freeze(spec(p('1')), [v('a')]);
        await writing;
        const again = await crash();
        opened.push(again);
        expect((await readAll(again.engine.openPoint(p('1'), v('a')))).subarray(0, 8192)).toEqual(filled(8192, 7));
      });

      it('several volumes are restored together, or none of them', async () => {
        const { engine } = await start();
        for (const name of ['a', 'b']) {
          await engine.createVolume({ id: v(name), name, size: MiB, tag: {} });
          await engine.open(v(name)).write(0, filled(4096, 1), false);
        }
        await engine.freeze(spec(p('both')), [v('a'), v('b')]);
        for (const name of ['a', 'b']) await engine.open(v(name)).write(0, filled(4096, 2), false);
        await engine.resizeVolume(v('b'), 2 * MiB);
        const image = (name: string, point = p('both')) => ({ volume: v(name), point, of: v(name) });
        const holds = async (name: string, seed: number) =>
          expect((await readAll(engine.open(v(name)))).subarray(0, 4096), name).toEqual(filled(4096, seed));
        await expect(engine.restore([image('a'), image('b', p('none'))])).rejects.toMatchObject({ code: 'not_found' });
        await expect(engine.restore([image('a'), image('a')])).rejects.toMatchObject({ code: 'out_of_range' });
        for (const name of ['a', 'b']) await holds(name, 2);
        await engine.restore([image('a'), image('b')]);
        for (const name of ['a', 'b']) await holds(name, 1);
        expect(engine.volume(v('b'))?.size).toBe(MiB);
        await engine.restore([]);
      });

      it('difference walks the tree, not the line [C1.2]', async () => {
        const { engine } = await start();
        await engine.createVolume({ id: v('a'), name: 'a', size: MiB, tag: {} });
        const device = engine.open(v('a'));
        await device.write(0, filled(4096, 1), false);
        await engine.freeze(spec(p('root')), [v('a')]);
        await device.write(4096, filled(4096, 2), false);
        await engine.freeze(spec(p('left')), [v('a')]);
        await engine.restore([{ volume: v('a'), point: p('root'), of: v('a') }]);
        await device.write(8192, filled(4096, 3), false);
        await engine.freeze(spec(p('right')), [v('a')]);
        const difference = await engine.difference(v('a'), p('left'), p('right'));
        const extents = [];
        for await (const extent of difference.extents(0)) extents.push(extent);
        expect(extents).toEqual([
          { kind: 'zero', block: 1, count: 1 },
          { kind: 'data', block: 2, count: 1 },
        ]);
        expect(difference.summary.whole).toBe(false);
      });

      it('changed blocks of a range are marked, with where to look next; without a base those that are not zeros', async () => {
        const under = await start();
        const { engine } = under;
        await engine.createVolume({ id: v('a'), name: 'a', size: 4 * MiB, tag: {} });
        const device = engine.open(v('a'));
        const changed = async (from: string | undefined, to: string, block: number, count: number) => {
          const marked: number[] = [];
          const base = from === undefined ? undefined : p(from);
          const next = await engine.changedWithin(v('a'), base, p(to), block, count, (one) => marked.push(one));
          return [marked, next];
        };
        await device.write(0, filled(8192, 1), false);
        await device.write(12_288, new Uint8Array(4096), false);
        await engine.freeze(spec(p('one')), [v('a')]);
        await device.trim(4096, 4096, false);
        await device.write(2 * MiB, filled(4096, 2), false);
        await engine.freeze(spec(p('two')), [v('a')]);
        await device.write(0, filled(4096, 3), false);
        await engine.freeze(spec(p('three')), [v('a')]);
        expect(await changed(undefined, 'one', 0, 1024)).toEqual([[0, 1], undefined]);
        expect(await changed('one', 'two', 0, 256)).toEqual([[1], 512]);
        expect(await changed('two', 'one', 2, 1000)).toEqual([[512], undefined]);
        expect(await changed('one', 'three', 0, 1)).toEqual([[0], 1]);
        expect(await changed('one', 'one', 0, 1024)).toEqual([[], undefined]);
        await engine.dropPoint(p('two'));
        await under.settle?.();
        expect(await changed('one', 'three', 0, 1024)).toEqual([[0, 1, 512], undefined]);
      });

      it('written zeros, trimmed and never written hash alike, and sizes count [C8.2]', async () => {
        const { engine } = await start();
        for (const id of [v('a'), v('b'), v('c')]) await engine.createVolume({ id, name: id, size: 2 * MiB, tag: {} });
        await engine.open(v('a')).write(0, new Uint8Array(8192), false);
        await engine.open(v('b')).write(0, filled(8192, 5), false);
        await engine.open(v('b')).trim(0, 8192, false);
        await engine.freeze(spec(p('1')), [v('a'), v('b'), v('c')]);
        const digests = await Promise.all([v('a'), v('b'), v('c')].map((id) => engine.digest(id, p('1'))));
        expect(new Set(digests).size).toBe(1);
        await engine.resizeVolume(v('c'), 4 * MiB);
        await engine.freeze(spec(p('2')), [v('c')]);
        expect(await engine.digest(v('c'), p('2'))).not.toBe(digests[0]);
      });
    });

    describe('halves', () => {
      const session = sessionId('s');
      const pairAB = [{ local: v('a'), remote: v('b') }];
      const pairBA = [{ local: v('b'), remote: v('a') }];
      const planOf = (cycle: string, target: string, base?: string): CyclePlan => ({
        session,
        cycle: cycleId(cycle),
        generation: first,
        ...(base && { base: p(base) }),
        points: [{ ...spec(p(target), 'internal'), tag: { session }, sizes: [2 * MiB] }],
        pairs: pairAB,
      });
      const couple = async () => {
        const source = await start();
        const target = await start();
        await source.engine.createVolume({ id: v('a'), name: 'vol', size: 2 * MiB, tag: {} });
        await target.engine.createVolume({ id: v('b'), name: 'vol', size: 2 * MiB, destination: true, tag: {} });
        await source.engine.createHalf({ session, role: 'source', generation: first, pairs: pairAB, tag: {} });
        await target.engine.createHalf({ session, role: 'destination', generation: first, pairs: pairBA, tag: {} });
        return { source, target };
      };
      const cycle = async (source: BlockEngine, target: BlockEngine, number: number) => {
        const plan = planOf(`c${number}`, `p${number}`, number === 1 ? undefined : `p${number - 1}`);
        await source.freeze(plan.points[0]!, [v('a')], `session:${session}`);
        await shipCycle(source, target, plan);
        const digests = await target.verifyStage(session, plan.cycle, () => undefined);
        expect(digests).toEqual([[await source.digest(v('a'), plan.points[0]!.id)]]);
        await target.commitStage(session, plan.cycle, first, digests.at(-1)!);
        await source.advanceBase(session, first, { point: plan.points[0]!.id, digests: digests.at(-1)! });
      };

      it('a destination changes only as a whole, at the commit, and open devices see it [C2.1] [C3.3] [P9]', async () => {
        const { source, target } = await couple();
        await source.engine.open(v('a')).write(4096, filled(12288, 4), false);
        const seen = target.engine.open(v('b'));
        const plan = planOf('c1', 'p1');
        await source.engine.freeze(plan.points[0]!, [v('a')], 'h');
        await shipCycle(source.engine, target.engine, plan);
        same(await readAll(seen), new Uint8Array(2 * MiB), 'the volume');
        expect(seen.access()).toBe('read_only');
        await refused(() => seen.write(0, filled(4096, 1), false), 'read_only');
        const digests = await target.engine.verifyStage(session, plan.cycle, () => undefined);
        await refused(() => target.engine.commitStage(session, plan.cycle, second, digests[0]!), 'stale');
        await target.engine.commitStage(session, plan.cycle, first, digests[0]!);
        await target.engine.commitStage(session, plan.cycle, first, digests[0]!);
        expect((await readAll(seen)).subarray(4096, 16384)).toEqual(filled(12288, 4));
        expect(target.engine.volume(v('b'))?.replica).toBe('p1');
      });

      it('two internal points a side at most in steady state; the base stays until the next commit is known [C2.6] [C3.4]', async () => {
        const { source, target } = await couple();
        for (let number = 1; number <= 4; number++) {
          await source.engine.open(v('a')).write(number * 4096, filled(4096, number), false);
          await cycle(source.engine, target.engine, number);
          expect(source.engine.points().length).toBeLessThanOrEqual(2);
          expect(target.engine.points().length).toBeLessThanOrEqual(2);
        }
        await source.settle?.();
        await target.settle?.();
        same(await readAll(target.engine.open(v('b'))), await readAll(source.engine.open(v('a'))), 'the copy');
      });

      it('an address is durable, only rises, and survives a restart; a wrong base voids the stage [C3.5]', async () => {
        const { source, target } = await couple();
        await source.engine.open(v('a')).write(0, filled(MiB, 6), false);
        const plan = planOf('c1', 'p1');
        const mirrored: CyclePlan = { ...plan, pairs: pairBA };
        await target.engine.openStage(mirrored);
        expect(await target.engine.syncStage(session, plan.cycle, { point: 0, pair: 0, block: 128 })).toEqual({
          point: 0,
          pair: 0,
          block: 128,
        });
        expect(await target.engine.syncStage(session, plan.cycle, { point: 0, pair: 0, block: 64 })).toEqual({
          point: 0,
          pair: 0,
          block: 128,
        });
        const again = await target.reopen();
        opened.push(again);
        expect((await again.engine.openStage(mirrored)).address).toEqual({ point: 0, pair: 0, block: 128 });
        await refused(() => again.engine.openStage({ ...mirrored, cycle: cycleId('c2'), base: p('nowhere') }), 'stale');
        await refused(() => again.engine.openStage({ ...mirrored, generation: second }), 'stale');
      });

      it('takes nothing of a run on trust [C8.1]', async () => {
        const { target } = await couple();
        const plan = planOf('c1', 'p1');
        await target.engine.openStage({ ...plan, pairs: pairBA });
        const payload = filled(4096, 1);
        const stage = (run: BlockRun) => target.engine.writeStage(session, plan.cycle, 0, 0, [run]);
        await refused(() => stage({ block: 0, count: 1, payload, checksums: new Uint8Array(8) }), 'corrupt');
        await refused(() => stage({ block: 512, count: 1, payload, checksums: new Uint8Array(8) }), 'out_of_range');
        await refused(() => stage({ block: 0, count: 2, payload, checksums: new Uint8Array(16) }), 'out_of_range');
        await refused(() => stage({ block: 0, count: 1e9 }), 'out_of_range');
        same(await readAll(target.engine.open(v('b'))), new Uint8Array(2 * MiB), 'the volume');
      });

      it('a seal refuses every write ordered after it, also on open devices and after a restart [C4.2] [C4.3]', async () => {
        const { source } = await couple();
        const device = source.engine.open(v('a'));
        await device.write(0, filled(4096, 1), false);
        await source.engine.seal(session, proposalId('x'), spec(p('sealed'), 'internal'));
        for (const work of [
          () => device.write(0, filled(4096, 2), false),
          () => device.trim(0, 4096, false),
          () => device.writeZeroes(0, 4096, true),
        ])
          await refused(work, 'read_only');
        const again = await source.reopen();
        opened.push(again);
        await refused(() => again.engine.open(v('a')).write(0, filled(4096, 2), false), 'read_only');
        await again.engine.unseal(session, proposalId('x'));
        await again.engine.open(v('a')).write(0, filled(4096, 2), false);
      });

      it('promotion is one record: roles, generation and the right to write change together; refused proposals stay refused [C4.1] [C4.2]', async () => {
        const { source, target } = await couple();
        await source.engine.open(v('a')).write(0, filled(4096, 1), false);
        await cycle(source.engine, target.engine, 1);
        await target.engine.refuseProposal(session, proposalId('no'));
        await refused(() => target.engine.promote(session, { next: second, proposal: proposalId('no') }), 'stale');
        await refused(() => target.engine.promote(session, { next: { ...second, number: 3 } }), 'stale');
        await target.engine.promote(session, { next: second });
        await target.engine.promote(session, { next: second });
        const device = target.engine.open(v('b'));
        await device.write(4096, filled(4096, 8), false);
        const back = new Uint8Array(8192);
        await device.read(0, back);
        expect(back).toEqual(Uint8Array.from([...filled(4096, 1), ...filled(4096, 8)]));
        await refused(() => target.engine.openStage({ ...planOf('c9', 'p9', 'p1'), pairs: pairBA }), 'stale');
      });

      it('a failover to an older snapshot forks it and leaves the replica held and untouched [C2.2]', async () => {
        const { source, target } = await couple();
        await source.engine.open(v('a')).write(0, filled(4096, 1), false);
        await cycle(source.engine, target.engine, 1);
        await target.engine.freeze(spec(p('kept')), [v('b')]);
        await source.engine.open(v('a')).write(0, filled(4096, 2), false);
        await cycle(source.engine, target.engine, 2);
        await target.engine.promote(session, { next: second, from: p('kept') });
        const device = target.engine.open(v('b'));
        await device.write(8192, filled(4096, 3), false);
        expect((await readAll(device)).subarray(0, 4096)).toEqual(filled(4096, 1));
        expect((await readAll(target.engine.openPoint(p('p2'), v('b')))).subarray(0, 4096)).toEqual(filled(4096, 2));
        expect(target.engine.half(session)?.base?.point).toBe('p2');
      });

      it('an old source keeps what it held beyond the common base before it follows again [C2.4]', async () => {
        const { source, target } = await couple();
        await source.engine.open(v('a')).write(0, filled(4096, 1), false);
        await cycle(source.engine, target.engine, 1);
        const device = source.engine.open(v('a'));
        await device.write(0, filled(4096, 7), false);
        const preserved = spec(p('diverged'), 'diverged');
        // The second time as after a death between the record and the answer.
        for (let times = 0; times < 2; times++)
          expect((await source.engine.demote(session, second, p('p1'), preserved)).diverged_bytes).toBe(4096);
        await refused(() => device.write(0, filled(4096, 2), false), 'read_only');
        expect((await readAll(device)).subarray(0, 4096)).toEqual(filled(4096, 1));
        expect((await readAll(source.engine.openPoint(p('diverged'), v('a')))).subarray(0, 4096)).toEqual(
          filled(4096, 7),
        );
        expect(source.engine.half(session)).toMatchObject({
          role: 'destination',
          generation: second,
          base: { point: 'p1' },
        });
      });

      it('there and back without a write: nothing differs [C2.5]', async () => {
        const { source, target } = await couple();
        await source.engine.open(v('a')).write(0, filled(4096, 1), false);
        await cycle(source.engine, target.engine, 1);
        await target.engine.promote(session, { next: second });
        expect((await source.engine.demote(session, second, p('p1'), spec(p('d'), 'diverged'))).diverged_bytes).toBe(0);
        expect(source.engine.point(p('d'))).toBeUndefined();
        await target.engine.freeze({ ...spec(p('back'), 'internal'), tag: { session } }, [v('b')]);
        const { summary } = await target.engine.difference(v('b'), p('p1'), p('back'));
        expect(summary).toMatchObject({ data_blocks: 0, zero_blocks: 0, whole: false });
      });

      it('a removed half leaves a tombstone, and its volume stays a destination until it is told otherwise [C5.6]', async () => {
        const { source, target } = await couple();
        await source.engine.open(v('a')).write(0, filled(4096, 1), false);
        await cycle(source.engine, target.engine, 1);
        await target.engine.removeHalf(session);
        expect(target.engine.tombstones()).toEqual([{ session, generation: first }]);
        await refused(
          () => target.engine.createHalf({ session, role: 'destination', generation: first, pairs: pairBA, tag: {} }),
          'stale',
        );
        const device = target.engine.open(v('b'));
        await refused(() => device.write(0, filled(4096, 2), false), 'read_only');
        await target.engine.changeVolume(v('b'), { destination: false });
        expect((await readAll(device)).subarray(0, 4096)).toEqual(filled(4096, 1));
        await device.write(0, filled(4096, 2), false);
      });
    });

    describe('any history', () => {
      it('is what the model says, through restarts; and differences turn one image into the other [C1.5]', async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 40 }), async (operations) => {
            const history = new History(await open());
            try {
              for (const step of operations) await history.play(step);
              await history.check();
            } finally {
              await history.under.dispose();
            }
          }),
          { numRuns: 30 },
        );
      });
    });
  });
}

type Operation =
  | { kind: 'write'; volume: number; at: number; length: number; seed: number }
  | { kind: 'zero' | 'trim'; volume: number; at: number; length: number }
  | { kind: 'freeze'; many: boolean; volume: number }
  | { kind: 'drop' | 'restore' | 'fork'; volume: number; point: number }
  | { kind: 'delete'; volume: number }
  | { kind: 'read'; volume: number; at: number; length: number }
  | { kind: 'burst'; volume: number; at: number; lengths: number[]; seed: number }
  | { kind: 'resize'; volume: number; units: number }
  | { kind: 'reopen' | 'crash' | 'settle' | 'compare' };

const volumeChoice = fc.nat(2);
const at = fc.oneof(
  fc.nat(MiB + 100_000),
  fc.nat(100_000).map((beyond) => MiB - 30_000 + beyond),
  fc.nat(300).map((block) => block * BLOCK_BYTES),
);
const length = fc.oneof(
  fc.integer({ min: 1, max: 20_000 }),
  fc.integer({ min: 1, max: 20 }).map((blocks) => blocks * BLOCK_BYTES),
);
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ kind: fc.constant('write' as const), volume: volumeChoice, at, length, seed: fc.nat(250) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('zero' as const, 'trim' as const), volume: volumeChoice, at, length }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('freeze' as const), many: fc.boolean(), volume: volumeChoice }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('drop' as const, 'restore' as const, 'fork' as const),
      volume: volumeChoice,
      point: fc.nat(8),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), volume: volumeChoice }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('read' as const), volume: volumeChoice, at, length }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('burst' as const),
      volume: volumeChoice,
      at,
      lengths: fc.array(fc.integer({ min: 1, max: 6_000 }), { minLength: 2, maxLength: 8 }),
      seed: fc.nat(240),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('resize' as const),
      volume: volumeChoice,
      units: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('reopen' as const, 'crash' as const, 'settle' as const, 'compare' as const),
    }),
  },
);

class History {
  under: EngineUnderTest;
  readonly model = new ModelEngine();
  readonly volumes: VolumeId[] = [];
  #next = 0;
  /** Reads under way while the history goes on: each finds what was there when it was asked for. */
  #reads: Promise<void>[] = [];

  constructor(under: EngineUnderTest) {
    this.under = under;
  }

  get engine(): BlockEngine {
    return this.under.engine;
  }

  async play(step: Operation): Promise<void> {
    if (this.volumes.length === 0) await this.#create();
    switch (step.kind) {
      case 'write': {
        const { id, image } = this.#volume(step.volume);
        const offset = step.at % image.size;
        const data = filled(Math.min(step.length, image.size - offset), step.seed);
        await this.engine.open(id).write(offset, data, step.seed % 5 === 0);
        return this.model.write(id, offset, data);
      }
      case 'zero':
      case 'trim': {
        const { id, image } = this.#volume(step.volume);
        const offset = step.at % image.size;
        const size = Math.min(step.length, image.size - offset);
        const device = this.engine.open(id);
        await (step.kind === 'zero' ? device.writeZeroes(offset, size, false) : device.trim(offset, size, false));
        return this.model.write(id, offset, new Uint8Array(size));
      }
      case 'read': {
        const { id, image } = this.#volume(step.volume);
        const offset = step.at % image.size;
        const target = new Uint8Array(Math.min(step.length, image.size - offset));
        const expected = bytesOf(image).subarray(offset, offset + target.length);
        const reading = Promise.resolve(this.engine.open(id).read(offset, target));
        this.#reads.push(reading.then(() => same(target, expected, `what was read of ${id} at ${offset}`)));
        return;
      }
      case 'freeze': {
        const members = step.many ? [...this.volumes] : [this.#volume(step.volume).id];
        const point = p(`p${this.#next++}`);
        await this.engine.freeze(spec(point), members);
        return this.model.freeze(point, members);
      }
      case 'drop': {
        const point = this.#point(step.point);
        if (point === undefined) return;
        await this.engine.dropPoint(point);
        this.model.points.delete(point);
        return;
      }
      case 'restore': {
        const { id } = this.#volume(step.volume);
        const point = this.#point(step.point);
        if (point === undefined || !this.model.points.get(point)?.has(id)) return;
        await this.engine.restore([{ volume: id, point: point, of: id }]);
        return this.model.restore(id, point, id);
      }
      case 'fork': {
        const point = this.#point(step.point);
        const { id: of } = this.#volume(step.volume);
        if (point === undefined || !this.model.points.get(point)?.has(of) || this.volumes.length >= 3) return;
        const id = v(`v${this.#next++}`);
        await this.engine.fork({ id, name: id, point, of, tag: {} });
        this.model.heads.set(id, copyOf(this.model.image(point, of)));
        this.volumes.push(id);
        return;
      }
      case 'delete': {
        if (this.volumes.length < 2) return;
        const { id } = this.#volume(step.volume);
        await this.engine.deleteVolume(id);
        this.volumes.splice(this.volumes.indexOf(id), 1);
        this.model.heads.delete(id);
        for (const [point, members] of this.model.points) {
          members.delete(id);
          if (members.size === 0) this.model.points.delete(point);
        }
        return;
      }
      case 'burst': {
        // Pieces next to each other at once, most of which share a block with the next: none may lose a neighbour's bytes.
        const { id, image } = this.#volume(step.volume);
        const device = this.engine.open(id);
        let offset = step.at % image.size;
        // What lies there is on the medium first, so that a merge has to wait for it.
        const below = filled(Math.min(step.lengths.length * 4_000, image.size - offset), step.seed);
        await device.write(offset, below, true);
        await device.write(offset, below.subarray(0, 1), true);
        this.model.write(id, offset, below);
        const writing: unknown[] = [];
        for (const [index, wanted] of step.lengths.entries()) {
          const data = filled(Math.min(wanted, image.size - offset), step.seed + index);
          writing.push(device.write(offset, data, false));
          this.model.write(id, offset, data);
          offset += data.length;
        }
        await Promise.all(writing);
        return;
      }
      case 'resize': {
        const { id, image } = this.#volume(step.volume);
        const size = Math.max(image.size, MiB + step.units * 8192);
        await this.engine.resizeVolume(id, size);
        return this.#cut(image, size);
      }
      case 'reopen':
        await this.#allRead();
        this.under = await this.under.reopen();
        return;
      case 'crash':
        if (this.under.crash === undefined) return;
        await this.#allRead();
        await this.engine.open(this.volumes[0]!).flush();
        this.under = await this.under.crash();
        return;
      case 'settle':
        await this.under.settle?.();
        return;
      case 'compare':
        return this.check();
    }
  }

  async check(): Promise<void> {
    await this.#allRead();
    for (const id of this.volumes)
      same(await readAll(this.engine.open(id)), bytesOf(this.model.head(id)), `head of ${id}`);
    const images: { point: PointId; id: VolumeId; image: ModelImage }[] = [];
    for (const [point, members] of this.model.points)
      for (const [id, image] of members) images.push({ point, id, image });
    for (const { point, id, image } of images)
      same(await readAll(this.engine.openPoint(point, id)), bytesOf(image), `${id} at ${point}`);
    for (const from of images.slice(-3)) {
      for (const to of images.slice(-3)) {
        if (from.id !== to.id) continue;
        await this.#applyDifference(from, to);
        const equal = from.image.size === to.image.size && Buffer.compare(bytesOf(from.image), bytesOf(to.image)) === 0;
        expect((await this.engine.digest(from.id, from.point)) === (await this.engine.digest(to.id, to.point))).toBe(
          equal,
        );
      }
    }
  }

  async #applyDifference(
    from: { point: PointId; id: VolumeId; image: ModelImage },
    to: { point: PointId; image: ModelImage },
  ): Promise<void> {
    const difference = await this.engine.difference(from.id, from.point, to.point);
    const result = new Uint8Array(to.image.size);
    result.set(bytesOf(from.image).subarray(0, to.image.size));
    let data = 0;
    let zero = 0;
    for await (const extent of difference.extents(0)) {
      const target = result.subarray(extent.block * BLOCK_BYTES, (extent.block + extent.count) * BLOCK_BYTES);
      if (extent.kind === 'zero') {
        target.fill(0);
        zero += extent.count;
        continue;
      }
      data += extent.count;
      await this.engine.readBlocks(
        from.id,
        to.point,
        extent.block,
        extent.count,
        target,
        new Uint8Array(extent.count * 8),
      );
    }
    same(result, bytesOf(to.image), `difference ${from.point} to ${to.point}`);
    expect(difference.summary).toMatchObject({ data_blocks: data, zero_blocks: zero });
  }

  async #allRead(): Promise<void> {
    await Promise.all(this.#reads.splice(0));
  }

  async #create(): Promise<void> {
    const id = v(`v${this.#next++}`);
    await this.engine.createVolume({ id, name: id, size: MiB, tag: {} });
    this.model.create(id, MiB);
    this.volumes.push(id);
  }

  /** Growing shows zeros, whatever lay there before a restore cut it off [C1.4]. */
  #cut(image: ModelImage, size: number): void {
    for (const block of image.blocks.keys()) if ((block + 1) * BLOCK_BYTES > image.size) image.blocks.delete(block);
    image.size = size;
  }

  #volume(choice: number): { id: VolumeId; image: ModelImage } {
    const id = this.volumes[choice % this.volumes.length]!;
    return { id, image: this.model.head(id) };
  }

  #point(choice: number): PointId | undefined {
    const points = [...this.model.points.keys()];
    return points.length === 0 ? undefined : points[choice % points.length];
  }
}

/** Compares bytes without printing a megabyte. */
function same(actual: Uint8Array, expected: Uint8Array, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  if (Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  expect(
    at < 0
      ? 'equal'
      : `${what} differs at byte ${at} (block ${Math.floor(at / BLOCK_BYTES)}): ${actual[at]} instead of ${expected[at]}`,
  ).toBe('equal');
}
