import { cycleId, type PointId, pointId, proposalId, sessionId, testId, type VolumeId, volumeId } from '@antipode/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockEngine, BlockRun } from '../port/engine.ts';
import type { CyclePlan, DiffExtent, Generation, PointSpec, RestartAddress } from '../port/types.ts';
import { bytesOf, type CrashingEngine, type Image, imageOf, sameImage } from './crash-contract.ts';

const MiB = 1024 * 1024;
const session = sessionId('s');
const holder = `session:${session}`;
const names = [
  [volumeId('a0'), volumeId('a1')],
  [volumeId('b0'), volumeId('b1')],
] as const;

export type SessionStep =
  | { kind: 'write'; volume: number; block: number; count: number }
  | { kind: 'zero'; volume: number; block: number; count: number }
  | { kind: 'grow'; volume: number; units: number }
  | { kind: 'snapshot' }
  | { kind: 'shrink_and_grow'; volume: number; units: number }
  | { kind: 'restore' | 'drop'; side: number; point: number }
  | { kind: 'cycle'; accidents: readonly { after: number; side: number; crash: boolean }[]; giveUpAfter: number }
  | { kind: 'planned' | 'unplanned' | 'replug' }
  | { kind: 'start_test'; point: number }
  | { kind: 'test_write'; volume: number; block: number; count: number }
  | { kind: 'stop_test'; keep: boolean }
  | { kind: 'crash' | 'reopen' | 'settle'; side: number };

const volume = fc.nat(1);
const side = fc.nat(1);
/** Many at the beginning, to meet each other, and some behind what a volume was made with, where only growing leads. */
const block = fc.oneof(fc.nat(30), fc.nat(300), fc.integer({ min: 250, max: 320 }));

export const sessionStep: fc.Arbitrary<SessionStep> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      volume,
      block,
      count: fc.integer({ min: 1, max: 16 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('zero' as const),
      volume,
      block,
      count: fc.integer({ min: 1, max: 200 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('grow' as const), volume, units: fc.integer({ min: 1, max: 64 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('snapshot' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('shrink_and_grow' as const),
      volume,
      units: fc.integer({ min: 1, max: 64 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('restore' as const, 'drop' as const), side, point: fc.nat(9) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('cycle' as const),
      accidents: fc.array(fc.record({ after: fc.nat(12), side, crash: fc.boolean() }), { maxLength: 3 }),
      giveUpAfter: fc.oneof({ weight: 4, arbitrary: fc.constant(1e9) }, { weight: 1, arbitrary: fc.nat(12) }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('planned' as const, 'unplanned' as const, 'replug' as const) }),
  },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constant('start_test' as const), point: fc.nat(9) }),
      fc.record({
        kind: fc.constant('test_write' as const),
        volume,
        block,
        count: fc.integer({ min: 1, max: 16 }),
      }),
      fc.record({ kind: fc.constant('stop_test' as const), keep: fc.boolean() }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('crash' as const, 'reopen' as const, 'settle' as const), side }),
  },
);

/** Two engines and one session between them: whatever happens, what arrived is what was frozen, as a whole, and nothing is lost. */
export function describeSessionContract(
  name: string,
  open: (seed: number) => Promise<CrashingEngine>,
  options: { readonly runs?: number } = {},
): void {
  describe(`the session contract: ${name}`, () => {
    it('replicas equal their points through accidents, failovers, tests and what diverged [C2.1] [C2.2] [C2.4] [C2.5] [C2.6] [C3.1] [C3.5] [C8.2]', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.nat(1e9),
          fc.array(sessionStep, { minLength: 1, maxLength: 30, size: 'max' }),
          async (seed, steps) => {
            const history = new SessionHistory([await open(seed), await open(seed + 1)]);
            try {
              await history.begin();
              for (const step of steps) await history.play(step);
              await history.finish();
            } finally {
              await history.dispose();
            }
          },
        ),
        { numRuns: options.runs ?? 40 },
      );
    });
  });
}

class GivenUp extends Error {}

export class SessionHistory {
  readonly #sides: [CrashingEngine, CrashingEngine];
  #source = 0;
  /** The old source has not heard yet that it is one. */
  #cut = false;
  #generation: Generation = { number: 1, site: 'A', nonce: '1' };
  #heads: Image[] = [];
  /** What every point ever made holds, by volume of the session. */
  readonly #frozen = new Map<PointId, readonly Image[]>();
  /** Snapshots that have not been shipped yet, oldest first. */
  #toShip: PointId[] = [];
  readonly #dropped = [new Set<PointId>(), new Set<PointId>()];
  #cycle: CyclePlan | undefined;
  /** What the heads of the destination hold while they are tested. */
  #test: { readonly id: string; readonly heads: Image[] } | undefined;
  #next = 1;

  constructor(sides: [CrashingEngine, CrashingEngine]) {
    this.#sides = sides;
  }

  async begin(): Promise<void> {
    for (const which of [0, 1] as const) {
      const engine = this.#engine(which);
      for (const id of names[which])
        await engine.createVolume({ id, name: id, size: MiB, destination: which === 1, tag: {} });
      await engine.createHalf({
        session,
        role: which === 0 ? 'source' : 'destination',
        generation: this.#generation,
        pairs: pairsOf(which),
        tag: {},
      });
    }
    this.#heads = [new Uint32Array(256), new Uint32Array(256)];
  }

  async dispose(): Promise<void> {
    for (const under of this.#sides) await under.dispose();
  }

  async play(step: SessionStep): Promise<void> {
    const source = this.#engine(this.#source);
    switch (step.kind) {
      case 'write':
      case 'zero': {
        const image = this.#heads[step.volume]!.slice();
        const from = step.block % image.length;
        const to = Math.min(image.length, from + step.count);
        const token = step.kind === 'write' ? this.#next++ : 0;
        const device = source.open(names[this.#source as 0][step.volume]!);
        if (step.kind === 'write') await device.write(from * BLOCK_BYTES, bytesOf(token, to - from), false);
        else await device.trim(from * BLOCK_BYTES, (to - from) * BLOCK_BYTES, false);
        this.#heads[step.volume] = image.fill(token, from, to);
        return;
      }
      case 'grow': {
        const image = this.#heads[step.volume]!;
        const larger = new Uint32Array(Math.min(512, image.length + step.units * 2));
        if (larger.length === image.length) return;
        larger.set(image);
        await source.resizeVolume(names[this.#source as 0][step.volume]!, larger.length * BLOCK_BYTES);
        this.#heads[step.volume] = larger;
        return;
      }
      case 'snapshot': {
        const point = this.#spec('snapshot');
        await source.freeze(point, names[this.#source as 0]);
        this.#frozen.set(point.id, [...this.#heads]);
        this.#toShip.push(point.id);
        return;
      }
      case 'shrink_and_grow': {
        // What chance alone seldom does in this order: what was cut off must not show when the volume grows again [C1.4].
        await this.play({ kind: 'snapshot' });
        const small = [...this.#frozen.keys()].at(-1)!;
        const { length } = this.#heads[step.volume]!;
        await this.play({ kind: 'grow', volume: step.volume, units: step.units });
        await this.play({ kind: 'write', volume: step.volume, block: length, count: 4 });
        await this.play({ kind: 'cycle', accidents: [], giveUpAfter: 1e9 });
        await this.#restore(small);
        await this.play({ kind: 'cycle', accidents: [], giveUpAfter: 1e9 });
        return this.play({ kind: 'grow', volume: step.volume, units: step.units });
      }
      case 'restore': {
        const points = source.points().filter((point) => point.kind === 'snapshot' && !point.dropped);
        const point = points[step.point % Math.max(1, points.length)];
        return point === undefined ? undefined : this.#restore(point.id);
      }
      case 'drop': {
        const engine = this.#engine(step.side);
        const points = engine.points().filter((point) => point.kind !== 'internal' && !point.dropped);
        const point = points[step.point % Math.max(1, points.length)];
        if (point === undefined) return;
        await engine.dropPoint(point.id);
        this.#dropped[step.side]!.add(point.id);
        return;
      }
      case 'cycle':
        if (!this.#cut) await this.#sync(step.accidents, step.giveUpAfter);
        return;
      case 'planned':
        return this.#cut ? undefined : this.#failOver(true);
      case 'unplanned':
        return this.#cut ? undefined : this.#failOver(false);
      case 'start_test':
        return this.#cut || this.#test !== undefined ? undefined : this.#startTest(step.point);
      case 'test_write': {
        if (this.#test === undefined) return;
        const image = this.#test.heads[step.volume]!.slice();
        const from = step.block % image.length;
        const to = Math.min(image.length, from + step.count);
        const token = this.#next++;
        const device = this.#engine(1 - this.#source).open(names[(1 - this.#source) as 0][step.volume]!);
        await device.write(from * BLOCK_BYTES, bytesOf(token, to - from), false);
        this.#test.heads[step.volume] = image.fill(token, from, to);
        return;
      }
      case 'stop_test':
        return this.#test === undefined ? undefined : this.#stopTest(step.keep);
      case 'replug':
        return this.#cut ? this.#demote() : undefined;
      case 'crash':
      case 'reopen':
        return this.#again(step.side, step.kind === 'crash');
      case 'settle':
        await this.#sides[step.side]!.settle?.();
        return;
    }
  }

  async finish(): Promise<void> {
    await this.check();
    if (this.#cut) await this.#demote();
    await this.#sync([], 1e9);
    for (const which of [0, 1]) {
      await this.#sides[which]!.settle?.();
      await this.#again(which, true);
    }
    await this.check();
  }

  async #restore(point: PointId): Promise<void> {
    const source = this.#engine(this.#source);
    for (const id of names[this.#source as 0]) await source.restore([{ volume: id, point: point, of: id }]);
    this.#heads = [...this.#frozen.get(point)!];
  }

  async #startTest(pick: number): Promise<void> {
    const engine = this.#engine(1 - this.#source);
    const snapshots = engine.points().filter((point) => point.kind === 'snapshot' && !point.dropped);
    const chosen = pick % 2 === 0 ? undefined : snapshots[pick % Math.max(1, snapshots.length)]?.id;
    const point = chosen ?? engine.half(session)?.base?.point;
    const id = testId(`t${this.#next++}`);
    if (point === undefined) return expect(engine.startTest(session, id)).rejects.toThrow('nothing was copied');
    await engine.startTest(session, id, chosen);
    await engine.startTest(session, id, chosen);
    this.#test = { id, heads: [...this.#frozen.get(point)!] };
    await this.check();
  }

  async #stopTest(keep: boolean): Promise<void> {
    const engine = this.#engine(1 - this.#source);
    const test = this.#test!;
    const kept = keep ? this.#spec('snapshot') : undefined;
    await engine.stopTest(session, testId(test.id), kept);
    await engine.stopTest(session, testId(test.id), kept);
    if (kept !== undefined) this.#frozen.set(kept.id, test.heads);
    this.#test = undefined;
    const head = engine.open(names[(1 - this.#source) as 0][0]!);
    await expect((async () => head.write(0, bytesOf(1, 1), false))()).rejects.toThrow('does not take writes');
    await this.check();
  }

  /** Every point that a side shows holds what was frozen, heads are what they should be. */
  async check(): Promise<void> {
    for (const which of [0, 1] as const) {
      const engine = this.#engine(which);
      for (const { id, members } of engine.points()) {
        const images = this.#frozen.get(id);
        expect(images, `${id} is known`).toBeDefined();
        expect(members.length).toBe(2);
        for (const [index, volume] of names[which].entries())
          this.#same(await imageOf(engine.openPoint(id, volume)), images![index]!, `${volume} at ${id}`);
      }
    }
    for (const [index, volume] of names[this.#source as 0].entries())
      this.#same(await imageOf(this.#engine(this.#source).open(volume)), this.#heads[index]!, `head of ${volume}`);
    if (this.#cut) return;
    const destination = this.#engine(1 - this.#source);
    const base = destination.half(session)?.base?.point;
    const internal = destination.points().filter((point) => point.kind === 'internal');
    expect(internal.length).toBeLessThanOrEqual(this.#test === undefined ? 2 : 3);
    for (const [index, volume] of names[(1 - this.#source) as 0].entries()) {
      if (this.#test !== undefined) {
        this.#same(await imageOf(destination.open(volume)), this.#test.heads[index]!, `the tested head of ${volume}`);
        continue;
      }
      const found = await imageOf(destination.open(volume));
      // Without a base it is empty; its size comes with the first cycle.
      this.#same(found, base === undefined ? found.slice().fill(0) : this.#frozen.get(base)![index]!, volume);
    }
  }

  async #again(which: number, crash: boolean): Promise<void> {
    // What is not flushed may go with the crash; the model keeps it simple.
    await this.#engine(which)
      .open(names[which as 0][0])
      .flush();
    this.#sides[which] = await (crash ? this.#sides[which]!.crash() : this.#sides[which]!.reopen());
  }

  /** Ships what there is, or goes on with what was begun [C3.1]. */
  async #sync(
    accidents: readonly { readonly after: number; readonly side: number; readonly crash: boolean }[],
    giveUpAfter: number,
    target?: PointSpec,
  ): Promise<boolean> {
    this.#cycle ??= await this.#plan(target);
    const plan = this.#cycle;
    let sent = 0;
    let left = [...accidents];
    for (;;) {
      try {
        await this.#ship(plan, async () => {
          sent += 1;
          if (sent > giveUpAfter) throw new GivenUp();
          const due = left.filter(({ after }) => after < sent);
          left = left.filter(({ after }) => after >= sent);
          for (const { side, crash } of due) await this.#again(side, crash);
          return due.length > 0;
        });
        break;
      } catch (error) {
        if (error instanceof GivenUp) return false;
        throw error;
      }
    }
    const [from, to] = [this.#engine(this.#source), this.#engine(1 - this.#source)];
    const proven = await to.verifyStage(session, plan.cycle, () => undefined);
    const target_ = plan.points.at(-1)!;
    const wanted = await Promise.all(
      plan.points.map((point) => Promise.all(names[this.#source as 0].map((id) => from.digest(id, point.id)))),
    );
    expect(proven).toEqual(wanted);
    if (from.half(session)?.seal !== undefined) return true;
    await to.commitStage(session, plan.cycle, this.#generation, proven.at(-1)!);
    await this.check();
    await from.advanceBase(session, this.#generation, { point: target_.id, digests: proven.at(-1)! });
    for (const point of plan.points) await from.release(point.id, holder);
    this.#shipped(plan);
    return true;
  }

  #shipped(plan: CyclePlan): void {
    this.#cycle = undefined;
    const gone = new Set(plan.points.map((point) => point.id));
    this.#toShip = this.#toShip.filter((id) => !gone.has(id));
  }

  async #plan(sealed?: PointSpec): Promise<CyclePlan> {
    const engine = this.#engine(this.#source);
    const target = sealed ?? this.#spec('internal');
    if (sealed === undefined) {
      await engine.freeze(target, names[this.#source as 0], holder);
      this.#frozen.set(target.id, [...this.#heads]);
    }
    const points: PointSpec[] = [];
    for (const id of this.#toShip) {
      const point = engine.point(id);
      if (point === undefined || point.dropped) continue;
      await engine.hold(id, holder);
      points.push({ id, kind: 'snapshot', instant_ms: 1, tag: {} });
    }
    const base = engine.half(session)?.base?.point;
    return {
      session,
      cycle: cycleId(`c${this.#next++}`),
      generation: this.#generation,
      ...(base && { base }),
      points: [...points, target].map((point) => ({
        ...point,
        sizes: this.#frozen.get(point.id)!.map((image) => image.length * BLOCK_BYTES),
      })),
      pairs: pairsOf(1 - this.#source),
    };
  }

  /** Streams extents from the durable address on; `each` may say that one of the engines is another one now. */
  async #ship(plan: CyclePlan, each: () => Promise<boolean>): Promise<void> {
    for (let done = false; !done; ) {
      const { address } = await this.#engine(1 - this.#source).openStage(plan);
      done = await this.#shipFrom(plan, address, each);
    }
    const end = { point: plan.points.length, pair: 0, block: 0 };
    await this.#engine(1 - this.#source).syncStage(session, plan.cycle, end);
  }

  async #shipFrom(plan: CyclePlan, start: RestartAddress, each: () => Promise<boolean>): Promise<boolean> {
    const [from, to] = [this.#engine(this.#source), this.#engine(1 - this.#source)];
    for (let point = start.point; point < plan.points.length; point++) {
      const before = point === 0 ? plan.base : plan.points[point - 1]!.id;
      for (let pair = point === start.point ? start.pair : 0; pair < plan.pairs.length; pair++) {
        const first = point === start.point && pair === start.pair ? start.block : 0;
        const volume = plan.pairs[pair]!.remote;
        const difference = await from.difference(volume, before, plan.points[point]!.id);
        for await (const extent of difference.extents(first)) {
          if (await each()) return false;
          await to.writeStage(session, plan.cycle, point, pair, [
            await runOf(from, volume, plan.points[point]!.id, extent),
          ]);
          if (extent.block % 3 === 0)
            await to.syncStage(session, plan.cycle, { point, pair, block: extent.block + extent.count });
        }
      }
    }
    return true;
  }

  async #failOver(planned: boolean): Promise<void> {
    const [old, next] = [this.#engine(this.#source), this.#engine(1 - this.#source)];
    const generation = { number: this.#generation.number + 1, site: 'B', nonce: `${this.#next++}` };
    // A test in the way is refused to all but the failover that takes its copy.
    const tested = this.#test;
    if (tested !== undefined) await expect(next.promote(session, { next: generation })).rejects.toThrow('test');
    if (tested !== undefined && planned) await this.#stopTest(false);
    if (planned) {
      // What was begun is finished first: a cycle's target is fixed [C3.1].
      if (this.#cycle !== undefined) await this.#sync([], 1e9);
      const point = this.#spec('internal');
      const proposal = proposalId(`x${this.#next++}`);
      await this.#engine(this.#source).seal(session, proposal, point);
      this.#frozen.set(point.id, [...this.#heads]);
      await this.#sync([], 1e9, point);
      const plan = this.#cycle!;
      const digests = await Promise.all(
        names[this.#source as 0].map((id) => this.#engine(this.#source).digest(id, point.id)),
      );
      await next.promote(session, { next: generation, proposal, commit: { cycle: plan.cycle, digests } });
      this.#shipped(plan);
    } else {
      await next.promote(session, { next: generation, ...(tested && { testCopy: true as const }) });
      this.#test = undefined;
      const base = next.half(session)?.base?.point;
      const held = base === undefined ? undefined : this.#frozen.get(base);
      this.#lost = [...this.#heads];
      const empty = names[(1 - this.#source) as 0].map((id) => new Uint32Array(next.volume(id)!.size / BLOCK_BYTES));
      this.#heads = [...(tested?.heads ?? held ?? empty)];
      this.#cycle = undefined;
    }
    this.#toShip = [];
    this.#source = 1 - this.#source;
    this.#generation = generation;
    this.#cut = true;
    if (planned) this.#lost = [...this.#heads];
    expect(old.half(session)?.role).toBe('source');
    if (planned) await this.#demote();
  }

  #lost: readonly Image[] = [];

  async #demote(): Promise<void> {
    const engine = this.#engine(1 - this.#source);
    const base = this.#engine(this.#source).half(session)?.base?.point;
    const known = base === undefined || engine.point(base) === undefined ? undefined : base;
    expect(known).toBe(base);
    const preserve = this.#spec('diverged');
    const { diverged_bytes } = await engine.demote(session, this.#generation, base, preserve);
    const agreed = base === undefined ? this.#lost.map(() => new Uint32Array(256)) : this.#frozen.get(base)!;
    const differs = this.#lost.some((image, index) => !sameTokens(image, agreed[index]!));
    if (differs) expect(diverged_bytes).toBeGreaterThan(0);
    if (diverged_bytes > 0) this.#frozen.set(preserve.id, this.#lost);
    this.#cut = false;
    await this.check();
  }

  #spec(kind: PointSpec['kind']): PointSpec {
    return {
      id: pointId(`p${this.#next++}`),
      kind,
      instant_ms: 1,
      tag: kind === 'internal' ? { session } : {},
    };
  }

  #engine(which: number): BlockEngine {
    return this.#sides[which]!.engine;
  }

  #same(found: Image, wanted: Image, what: string): void {
    if (sameImage(found, wanted)) return;
    const at = found.findIndex((token, index) => token !== wanted[index]);
    expect.fail(`${what}: block ${at} of ${found.length} is ${found[at]} instead of ${wanted[at]} of ${wanted.length}`);
  }
}

/** Equal as far as both go, and zeros behind. */
function sameTokens(a: Image, b: Image): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return long.every((token, at) => token === (short[at] ?? 0));
}

const pairsOf = (which: number): readonly { local: VolumeId; remote: VolumeId }[] =>
  names[which as 0].map((local, index) => ({ local, remote: names[(1 - which) as 0][index]! }));

async function runOf(source: BlockEngine, volume: VolumeId, point: PointId, extent: DiffExtent): Promise<BlockRun> {
  if (extent.kind === 'zero') return { block: extent.block, count: extent.count };
  const payload = new Uint8Array(extent.count * BLOCK_BYTES);
  const checksums = new Uint8Array(extent.count * 8);
  await source.readBlocks(volume, point, extent.block, extent.count, payload, checksums);
  return { block: extent.block, count: extent.count, payload, checksums };
}
