import { BLOCK_BYTES, type BlockEngine, type BlockRun } from '@antipode/blocks';
import { diskError } from '@antipode/blocks/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { noise, TwoSites, theSession, type Wrap } from './testing/two-sites.ts';

const MiB = 1024 * 1024;
const open: TwoSites[] = [];
afterEach(async () => {
  for (const sites of open.splice(0)) await sites.close();
});
async function sites(options: Parameters<typeof TwoSites.open>[0]): Promise<TwoSites> {
  const opened = await TwoSites.open(options);
  open.push(opened);
  return opened;
}

/** An engine of which some functions are others. */
const with_ =
  (change: (engine: BlockEngine) => Partial<BlockEngine>): Wrap =>
  (engine) => {
    const changed = change(engine);
    return new Proxy(engine, { get: (same, key) => Reflect.get(key in changed ? changed : same, key) });
  };

/** What the first call of `writeStage` does with its runs. */
const firstRuns = (fault: (runs: readonly BlockRun[]) => readonly BlockRun[]): Wrap =>
  with_((engine) => {
    let calls = 0;
    return {
      writeStage: (session, cycle, point, pair, runs) => {
        const given = calls++ === 0 ? fault(runs) : runs;
        return given.length === 0 ? undefined : engine.writeStage(session, cycle, point, pair, given);
      },
    };
  });

/** Counts proofs: a fault that was found makes a second one. */
const countingProofs = (proofs: { count: number }, inner: Wrap): Wrap =>
  with_((engine) => {
    const wrapped = inner(engine);
    return {
      writeStage: wrapped.writeStage,
      verifyStage: (...call) => {
        proofs.count += 1;
        return wrapped.verifyStage(...call);
      },
    };
  });

describe('faults planted in a cycle', () => {
  const planted: readonly (readonly [string, (runs: readonly BlockRun[]) => readonly BlockRun[]])[] = [
    ['an extent that the difference leaves out', () => []],
    ['an extent applied at the wrong place', (runs) => runs.map((run) => ({ ...run, block: run.block + 1 }))],
    ['bytes that are not those of their place, with checksums that fit', (runs) => [swapped(runs[0]!)]],
  ];
  it.each(planted)('%s fails the proof, and what is committed is equal [C8.3] [C8.4] [C8.5]', async (_name, fault) => {
    const proofs = { count: 0 };
    const two = await sites({ sizes: [4 * MiB], wrap: countingProofs(proofs, firstRuns(fault)) });
    await two.source.open(two.locals[0]!).write(MiB, noise(256 * 1024, 1), false);
    await two.cycle();
    expect(proofs.count).toBe(2);
    expect(await two.differing()).toEqual([]);
  });

  it('a commit that is not on stable storage is not told as one to a source that asks once more [C3.4]', async () => {
    let two: TwoSites;
    const wrap = with_((engine) => ({
      commitStage: (...call) => {
        two.targetDisk.faults = { sync: () => diskError('EIO') };
        return engine.commitStage(...call);
      },
    }));
    two = await sites({ sizes: [4 * MiB], wrap });
    await two.source.open(two.locals[0]!).write(MiB, noise(256 * 1024, 1), false);
    const plan = two.plan([await two.freeze()]);
    const refused = { kind: 'failed', failure: { code: 'peer_io_error' } };
    expect([await two.ship(plan), await two.ship(plan)]).toMatchObject([refused, refused]);
    two.targetDisk.faults = {};
    await two.crashTarget();
    // Whatever the crash has left of it: the source still has the base before.
    expect([undefined, plan.points[0]!.id]).toContain(two.target.half(theSession)?.base?.point);
  });

  it('a base that is not what the source believes fails the proof of the next cycle [C8.3] [C8.5]', async () => {
    const proofs = { count: 0 };
    let lie = true;
    // In the first cycle one block is staged otherwise, and the destination says what the source wants to hear.
    const two = await sites({
      sizes: [4 * MiB],
      wrap: countingProofs(
        proofs,
        with_((engine) => ({
          writeStage: (session, cycle, point, pair, runs) =>
            engine.writeStage(session, cycle, point, pair, lie ? [swapped(runs[0]!)] : runs),
          verifyStage: async (session, cycle, progress) => {
            const digests = await engine.verifyStage(session, cycle, progress);
            if (!lie) return digests;
            lie = false;
            return [[await two.source.digest(two.locals[0]!, two.source.points()[0]!.id)]];
          },
        })),
      ),
    });
    const head = two.source.open(two.locals[0]!);
    await head.write(0, noise(256 * 1024, 2), false);
    await two.cycle();
    expect(await two.differing()).toEqual([0]);
    proofs.count = 0;
    await head.write(2 * MiB, noise(BLOCK_BYTES, 3), false);
    await two.cycle();
    expect(proofs.count).toBe(2);
    expect(await two.differing()).toEqual([]);
  });

  it('a fault that a repair does not mend is never committed, and page and volume are named [C8.4]', async () => {
    const two = await sites({
      sizes: [4 * MiB],
      wrap: with_((engine) => ({
        writeStage: (session, cycle, point, pair, runs) =>
          engine.writeStage(session, cycle, point, pair, [swapped(runs[0]!)]),
        repairStage: async () => undefined,
      })),
    });
    await two.source.open(two.locals[0]!).write(2 * MiB, noise(256 * 1024, 4), false);
    const outcome = await two.ship(two.plan([await two.freeze()]));
    expect(outcome).toMatchObject({ kind: 'failed', failure: { code: 'proof_mismatch', retry: false } });
    expect(outcome.kind === 'failed' && outcome.failure.message).toMatch(/volume a0.*page 2/);
    expect(two.target.half(theSession)?.base).toBeUndefined();
    expect(two.target.volume(two.remotes[0]!)?.replica).toBeUndefined();
  });

  it('a flipped bit in what the source has stored is not shipped [C8.1]', async () => {
    const two = await sites({
      sizes: [4 * MiB],
      wrapSource: with_((engine) => ({
        readBlocks: async (volume, point, block, count, payload, checksums) => {
          await engine.readBlocks(volume, point, block, count, payload, checksums);
          payload[0] = payload[0]! ^ 1;
        },
      })),
    });
    await two.source.open(two.locals[0]!).write(0, noise(256 * 1024, 5), false);
    const outcome = await two.ship(two.plan([await two.freeze()]));
    expect(outcome.kind).toBe('failed');
    expect(two.target.half(theSession)?.base).toBeUndefined();
    expect(two.target.half(theSession)?.stage?.address).toEqual({ point: 0, pair: 0, block: 0 });
  });
});

describe('bits that flip on the destination’s disk', () => {
  it('in staged blocks are found before the commit: the cycle fails, and what is committed later is equal [C8.3] [C8.5]', async () => {
    let flipped = false;
    const two: TwoSites = await sites({
      sizes: [4 * MiB],
      wrap: with_((engine) => ({
        verifyStage: (...call) => {
          if (!flipped) flip(two, noise(BLOCK_BYTES, 7));
          flipped = true;
          return engine.verifyStage(...call);
        },
      })),
    });
    await two.source.open(two.locals[0]!).write(MiB, noise(256 * 1024, 7), false);
    const plan = two.plan([await two.freeze()]);
    const outcome = await two.ship(plan);
    expect(outcome).toMatchObject({ kind: 'failed', failure: { code: 'proof_mismatch' } });
    expect(two.target.half(theSession)?.base).toBeUndefined();
    await two.advance(plan, await two.ship(plan));
    expect(await two.differing()).toEqual([]);
  });

  it('in the old base are outside of a cycle’s sight; they are never given out, and are told of [C8.1]', async () => {
    const two = await sites({ sizes: [4 * MiB] });
    const damaged: (number | undefined)[] = [];
    two.target.on((event) => {
      if (event.kind === 'damage') damaged.push(event.block);
    });
    await two.source.open(two.locals[0]!).write(MiB, noise(256 * 1024, 8), false);
    await two.cycle();
    flip(two, noise(BLOCK_BYTES, 8));
    await two.cycle();
    const head = two.target.open(two.remotes[0]!);
    await expect(async () => head.read(MiB, new Uint8Array(BLOCK_BYTES))).rejects.toMatchObject({ code: 'corrupt' });
    expect(damaged).toContain(256);
  });
});

describe('cycles of many points and pairs', () => {
  it('ship each point once, in order, and the copy has them all [C3.1]', async () => {
    const two = await sites({ sizes: [4 * MiB, 2 * MiB, MiB] });
    const heads = two.locals.map((id) => two.source.open(id));
    const points = [];
    for (const kind of ['snapshot', 'snapshot', 'internal'] as const) {
      for (const [index, head] of heads.entries())
        await head.write(points.length * 128 * 1024, noise(256 * 1024, points.length * 10 + index), false);
      points.push(await two.freeze(kind));
    }
    const plan = two.plan(points);
    const outcome = await two.ship(plan);
    await two.advance(plan, outcome);
    expect(outcome.progress.shipped_bytes).toBe(3 * 3 * 256 * 1024);
    for (const { id } of points) expect(await two.differing(id)).toEqual([]);
    // Only what each point added is stored.
    const next = await two.cycle();
    expect(next.progress).toMatchObject({ shipped_bytes: 0, total_bytes: 0 });
  });

  it('two orders for one cycle are one', async () => {
    const two = await sites({ sizes: [4 * MiB] });
    await two.source.open(two.locals[0]!).write(0, noise(MiB, 6), false);
    const plan = two.plan([await two.freeze()]);
    const [first, second] = await Promise.all([two.ship(plan), two.ship(plan)]);
    expect(first.progress.shipped_bytes).toBe(MiB);
    expect(second).toBe(first);
  });
});

/** The same place with other bytes, and checksums that belong to them: what only a digest of the whole finds. */
function swapped(run: BlockRun): BlockRun {
  const payload = Uint8Array.from(run.payload!);
  const checksums = Uint8Array.from(run.checksums!);
  payload.copyWithin(0, BLOCK_BYTES, 2 * BLOCK_BYTES);
  checksums.copyWithin(0, 8, 16);
  return { ...run, payload, checksums };
}

/** Flips one bit of a block that lies on the destination's disk. */
function flip(two: TwoSites, block: Uint8Array): void {
  const { targetDisk } = two;
  const places = targetDisk
    .fileNames()
    .map((name) => ({ name, offset: Buffer.from(targetDisk.contents(name)).indexOf(block) }))
    .filter(({ offset }) => offset >= 0);
  expect(places).toHaveLength(1);
  targetDisk.flip(places[0]!.name, places[0]!.offset + 100);
}
