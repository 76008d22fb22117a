import { cycleId, pointId, sessionId, volumeId } from '@antipode/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextTurn } from '../embedded/end-of-turn.ts';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockEngine } from '../port/engine.ts';
import { isBlockError } from '../port/errors.ts';
import type { CyclePlan } from '../port/types.ts';
import { bytesOf, type CrashingEngine, imageOf } from './crash-contract.ts';
import { shipImages } from './ship-images.ts';
import { simulatedEngine } from './simulated-engine.ts';

const size = 256 * BLOCK_BYTES;
const session = sessionId('s');
const [here, there] = [volumeId('v0'), volumeId('r')];
const generation = { number: 1, site: 'A', nonce: '1' };

/** A cycle whose plan takes several records, the more the more points it has. */
const planOf = (name: string, points: number): CyclePlan => ({
  session,
  cycle: cycleId(name),
  generation,
  points: Array.from({ length: points }, (_, index) => ({
    id: pointId(`${name}-${index}`),
    kind: index === points - 1 ? 'internal' : 'snapshot',
    instant_ms: index,
    tag: index === points - 1 ? { session } : { name: `snapshot ${index}`, description: 'ü"\\'.repeat(150) },
    sizes: [size],
  })),
  pairs: [{ local: here, remote: there }],
});

async function destination(engine: BlockEngine): Promise<void> {
  await engine.createVolume({ id: here, name: 'v', size, destination: true, tag: {} });
  const pairs = [{ local: here, remote: there }];
  await engine.createHalf({ session, role: 'destination', generation, pairs, tag: {} });
}

describe('a change of several records', () => {
  it('happens as a whole or not at all, whenever the power goes; what comes after a piece of one is not disturbed by it [C3.1] [C6.1]', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1e9),
        fc.array(
          fc.record({
            points: fc.integer({ min: 180, max: 500 }),
            turns: fc.nat(4),
            end: fc.constantFrom('crash', 'crash', 'reopen', 'abandon', 'commit'),
            settle: fc.boolean(),
          }),
          { minLength: 1, maxLength: 3, size: 'max' },
        ),
        async (seed, steps) => {
          let under: CrashingEngine = await simulatedEngine(seed, { fallBack_max: seed % 3 });
          try {
            await destination(under.engine);
            let base: string | undefined;
            let known = 0;
            /** What is staged since before. */
            let standing: unknown;
            for (const [index, { points, turns, end, settle }] of steps.entries()) {
              const { engine } = under;
              const plan = { ...planOf(`c${index}`, points), ...(base !== undefined && { base: pointId(base) }) };
              const opening = engine.openStage(plan).then(
                () => 'open',
                () => 'gone',
              );
              if (end === 'crash') {
                for (let turn = 0; turn < turns; turn++) await nextTurn();
                under = await under.crash();
                const found = under.engine.half(session)!.stage;
                expect([plan, standing]).toContainEqual(found?.plan);
                standing = found?.plan;
                // A small change directly behind what was cut short.
                await under.engine.changeVolume(here, { name: `v${index}` });
                under = await under.crash();
                expect(under.engine.volume(here)?.name).toBe(`v${index}`);
                expect(under.engine.half(session)!.stage?.plan).toEqual(found?.plan);
                continue;
              }
              expect(await opening).toBe('open');
              if (settle) await under.settle?.();
              if (end === 'reopen') under = await under.reopen();
              expect(under.engine.half(session)!.stage?.plan).toEqual(plan);
              standing = end === 'reopen' ? plan : undefined;
              if (end === 'abandon') await under.engine.abandonStage(session, plan.cycle);
              if (end !== 'commit') continue;
              const digests = await under.engine.verifyStage(session, plan.cycle, () => undefined);
              await under.engine.commitStage(session, plan.cycle, generation, digests.at(-1)!);
              base = plan.points.at(-1)!.id;
              known += points - 1;
            }
            const { engine } = under;
            expect(engine.half(session)!.base?.point).toBe(base);
            expect(engine.points().filter(({ kind }) => kind === 'snapshot').length).toBe(known);
          } finally {
            await under.dispose();
          }
        },
      ),
      { numRuns: 8 },
    );
  });

  it('is refused beyond its bound, and nothing changes', async () => {
    const under = await simulatedEngine(2, { fallBack_max: 0 });
    await destination(under.engine);
    // What is staged stays: a plan that does not fit takes nothing's place.
    await under.engine.openStage(planOf('before', 3));
    const before = under.engine.half(session);
    const refused = await under.engine.openStage(planOf('huge', 14_000)).catch((error: unknown) => error);
    expect(isBlockError(refused) && refused.code).toBe('out_of_range');
    expect(under.engine.half(session)).toEqual(before);
    await under.dispose();
  });

  it('moves a volume with more snapshots than one record describes, and a death in the adoption leaves one owner', async () => {
    for (const turns of [0, 1, 2, 50]) {
      let source: CrashingEngine = await simulatedEngine(4, { fallBack_max: 0 });
      let target: CrashingEngine = await simulatedEngine(6, { fallBack_max: 0 });
      await source.engine.createVolume({ id: here, name: 'v', size, tag: {} });
      const device = source.engine.open(here);
      const description = 'ü"\\'.repeat(150);
      for (let index = 0; index < 250; index++) {
        if (index % 100 === 0) await device.write((index / 100) * BLOCK_BYTES, bytesOf(index + 1, 1), false);
        const tag = { name: `snapshot ${index}`, description };
        await source.engine.freeze({ id: pointId(`p${index}`), kind: 'snapshot', instant_ms: index, tag }, [here]);
      }
      await device.flush();
      const image = await imageOf(device);
      const point = { id: pointId('m'), kind: 'internal', instant_ms: 0, tag: {} } as const;
      const manifest = await source.engine.moving.depart('m', [here], point);
      await shipImages({ move: 'm', volumes: [here] }, source.engine, target.engine);
      void target.engine.moving.adopt('m', 1, manifest).catch(() => undefined);
      for (let turn = 0; turn < turns; turn++) await nextTurn();
      target = await target.crash();
      source = await source.crash();
      const { adopted } = await target.engine.moving.settleArrival('m');
      await source.engine.moving[adopted ? 'departed' : 'stay']('m');
      const [owner, other] = adopted ? [target, source] : [source, target];
      expect(owner.engine.points().filter(({ kind }) => kind === 'snapshot').length).toBe(250);
      expect(await imageOf(owner.engine.open(here))).toEqual(image);
      expect(other.engine.volumes()).toEqual([]);
      expect(adopted || turns < 50).toBe(true);
      await source.dispose();
      await target.dispose();
    }
  });
});
