import { type PointId, pointId, sessionId, type VolumeId, volumeId } from '@antipode/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextTurn } from '../embedded/end-of-turn.ts';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockEngine } from '../port/engine.ts';
import { isBlockError } from '../port/errors.ts';
import type { Manifest } from '../port/moving.ts';
import type { HalfInfo } from '../port/types.ts';
import { bytesOf, type CrashingEngine, type Image, imageOf, sameImage } from './crash-contract.ts';
import { shipImages } from './ship-images.ts';

const blocks = 256;
const size = blocks * BLOCK_BYTES;
const session = sessionId('s');
const first = volumeId('v0');

/** What a move does, in this order; it may be cut off before, within or after each. */
const acts = ['round', 'depart', 'ship', 'adopt', 'settle'] as const;
type Act = (typeof acts)[number];

export type MovingStep =
  | { kind: 'write' | 'zero'; volume: number; block: number; count: number }
  | { kind: 'freeze' }
  | { kind: 'drop' | 'fork'; point: number }
  | { kind: 'settle' | 'crash' | 'reopen'; side: 0 | 1 }
  | {
      kind: 'move';
      /** Cut off in this act, so many turns after it was begun; absent: not at all. */
      cut?: { act: Act; turns: number; whom: readonly (0 | 1)[] };
      /** Checkpoints and compaction on both sides between the acts. */
      housekeeping: boolean;
      /** What has arrived of a move that was cut off is kept for the next one. */
      keep: boolean;
    };

const side = fc.constantFrom(0 as const, 1 as const);
export const movingStep: fc.Arbitrary<MovingStep> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('write' as const, 'write' as const, 'zero' as const),
      volume: fc.nat(3),
      block: fc.nat(blocks - 1),
      count: fc.integer({ min: 1, max: 24 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('freeze' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('drop' as const, 'fork' as const), point: fc.nat(8) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('settle' as const, 'crash' as const, 'reopen' as const),
      side,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record(
      {
        kind: fc.constant('move' as const),
        cut: fc.record({
          act: fc.constantFrom(...acts),
          turns: fc.nat(6),
          whom: fc.constantFrom([0] as const, [1] as const, [0, 1] as const),
        }),
        housekeeping: fc.boolean(),
        keep: fc.boolean(),
      },
      { requiredKeys: ['kind', 'housekeeping', 'keep'] },
    ),
  },
);

/**
 * Two engines that hand a family of volumes, its points and its half of a session over to each other. At any moment at most one
 * serves it, whatever dies; what settles the move makes it exactly one, with everything that was written.
 */
export function describeMovingContract(
  name: string,
  open: (seed: number) => Promise<CrashingEngine>,
  options: { readonly runs?: number } = {},
): void {
  describe(`the moving contract: ${name}`, () => {
    it('one engine serves a unit, with every byte, whatever dies while it moves [C4.3] [C6.1]', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.nat(1e9),
          fc.array(movingStep, { minLength: 1, maxLength: 25, size: 'max' }),
          async (seed, steps) => {
            const history = new MovingHistory([await open(seed), await open(seed + 1)]);
            try {
              await history.begin();
              for (const step of steps) await history.play(step);
              await history.check();
            } finally {
              await history.dispose();
            }
          },
        ),
        { numRuns: options.runs ?? 20 },
      );
    });
  });
}

export class MovingHistory {
  readonly #sides: [CrashingEngine, CrashingEngine];
  #owner: 0 | 1 = 0;
  #half: HalfInfo | undefined;
  readonly #heads = new Map<VolumeId, Image>();
  readonly #points = new Map<PointId, ReadonlyMap<VolumeId, Image>>();
  #next = 1;
  /** A move that was given up, whose images the other side still has. */
  #kept: string | undefined;

  constructor(sides: [CrashingEngine, CrashingEngine]) {
    this.#sides = sides;
  }

  async begin(): Promise<void> {
    const engine = this.#engine(0);
    await engine.createVolume({ id: first, name: 'v0', size, tag: {} });
    this.#heads.set(first, new Uint32Array(blocks));
    const generation = { number: 1, site: 'A', nonce: '1' };
    const pairs = [{ local: first, remote: volumeId('r') }];
    await engine.createHalf({ session, role: 'source', generation, pairs, tag: {} });
    const base = pointId('base');
    await engine.freeze({ id: base, kind: 'internal', instant_ms: 1, tag: { session } }, [first], `session:${session}`);
    await engine.advanceBase(session, generation, { point: base, digests: [await engine.digest(first, base)] });
    this.#points.set(base, new Map([[first, new Uint32Array(blocks)]]));
    this.#half = engine.half(session);
  }

  async dispose(): Promise<void> {
    for (const under of this.#sides) await under.dispose();
  }

  #engine(which: number): BlockEngine {
    return this.#sides[which as 0].engine;
  }

  async #flush(): Promise<void> {
    await this.#engine(this.#owner).open(first).flush();
  }

  async play(step: MovingStep): Promise<void> {
    const engine = this.#engine(this.#owner);
    switch (step.kind) {
      case 'write':
      case 'zero': {
        const volume = [...this.#heads.keys()][step.volume % this.#heads.size]!;
        const end = Math.min(blocks, step.block + step.count);
        const token = step.kind === 'write' ? this.#next++ : 0;
        const at = step.block * BLOCK_BYTES;
        if (step.kind === 'write') await engine.open(volume).write(at, bytesOf(token, end - step.block), true);
        else await engine.open(volume).trim(at, (end - step.block) * BLOCK_BYTES, true);
        this.#heads.set(volume, this.#heads.get(volume)!.slice().fill(token, step.block, end));
        return;
      }
      case 'freeze': {
        const id = pointId(`p${this.#next++}`);
        await engine.freeze({ id, kind: 'snapshot', instant_ms: 1, tag: { name: id } }, [...this.#heads.keys()]);
        this.#points.set(id, new Map(this.#heads));
        return this.#flush();
      }
      case 'drop': {
        const id = this.#snapshot(step.point);
        if (id === undefined) return;
        await engine.dropPoint(id);
        this.#points.delete(id);
        return this.#flush();
      }
      case 'fork': {
        const point = this.#snapshot(step.point);
        if (point === undefined || this.#heads.size > 3) return;
        const id = volumeId(`v${this.#next++}`);
        await engine.fork({ id, name: id, point, of: first, tag: {} });
        this.#heads.set(id, this.#points.get(point)!.get(first)!);
        return this.#flush();
      }
      case 'settle':
        return this.#sides[step.side].settle?.();
      case 'crash':
      case 'reopen':
        this.#sides[step.side] = await this.#sides[step.side][step.kind]();
        return;
      case 'move':
        return this.#move(step);
    }
  }

  #snapshot(which: number): PointId | undefined {
    const ids = [...this.#points.keys()].slice(1);
    return ids[which % Math.max(1, ids.length)];
  }

  async #move({ cut, housekeeping, keep }: Extract<MovingStep, { kind: 'move' }>): Promise<void> {
    const move = this.#kept ?? `m${this.#next++}`;
    this.#kept = undefined;
    const from = this.#owner;
    const to = from === 0 ? 1 : 0;
    const order = { move, volumes: [first] };
    let manifest: Manifest | undefined;
    const perform = async (act: Act, alive: () => boolean): Promise<void> => {
      const [source, destination] = [this.#engine(from), this.#engine(to)];
      const point = pointId(`m${this.#next++}`);
      const spec = { id: point, kind: 'internal', instant_ms: 1, tag: { purpose: 'migration' } } as const;
      switch (act) {
        case 'round':
          await source.freeze(spec, source.moving.unitOf([first]).volumes, `migration:${move}`);
          await shipImages(order, source, destination, alive);
          return;
        case 'depart':
          manifest = await source.moving.depart(move, [first], spec);
          return;
        case 'ship':
          await shipImages(order, source, destination, alive);
          return;
        case 'adopt': {
          const epoch = destination.moving.arrivals().find((arrival) => arrival.move === move)!.epoch;
          return destination.moving.adopt(move, epoch, manifest!);
        }
        case 'settle':
          return this.#settle(move, from, to);
      }
    };
    for (const act of acts) {
      if (cut?.act !== act) {
        await perform(act, () => true);
        if (housekeeping) for (const under of this.#sides) await under.settle?.();
        if (act !== 'settle') await this.#onlyOne(act === 'round' ? from : act === 'adopt' ? to : undefined);
        continue;
      }
      let alive = true;
      // It may never end: whom it waits for is dead.
      void perform(act, () => alive).catch(() => undefined);
      for (let turn = 0; turn < cut.turns; turn++) await nextTurn();
      alive = false;
      for (const whom of cut.whom) this.#sides[whom] = await this.#sides[whom].crash();
      const served = await this.#served();
      expect(served.length, `served by ${served} after a death in ${act}`).toBeLessThanOrEqual(1);
      break;
    }
    await this.#settle(move, from, to);
    if (this.#owner === to || !keep) await this.#engine(to).moving.forgetArrival(move);
    else this.#kept = move;
    await this.check();
  }

  /** Who asks both finds out, however often: one has it, and the other has nothing. */
  async #settle(move: string, from: 0 | 1, to: 0 | 1): Promise<void> {
    const [source, destination] = [this.#engine(from), this.#engine(to)];
    const { adopted } = await destination.moving.settleArrival(move);
    if (adopted) await source.moving.departed(move);
    else await source.moving.stay(move);
    this.#owner = adopted ? to : from;
    if (adopted) return;
    for (const { id, holds } of source.points()) {
      if (!holds.includes(`migration:${move}`)) continue;
      await source.dropPoint(id);
      await source.release(id, `migration:${move}`);
    }
  }

  async #served(): Promise<readonly number[]> {
    const served: number[] = [];
    for (const which of [0, 1]) if (await serves(this.#engine(which))) served.push(which);
    return served;
  }

  async #onlyOne(which: 0 | 1 | undefined): Promise<void> {
    expect(await this.#served()).toEqual(which === undefined ? [] : [which]);
  }

  async check(): Promise<void> {
    await this.#onlyOne(this.#owner);
    const engine = this.#engine(this.#owner);
    const other = this.#engine(1 - this.#owner);
    expect(other.volumes()).toEqual([]);
    expect(other.points()).toEqual([]);
    expect([other.half(session), other.tombstones()]).toEqual([undefined, []]);
    expect(
      engine
        .volumes()
        .map(({ id }) => id)
        .sort(),
    ).toEqual([...this.#heads.keys()].sort());
    for (const [id, image] of this.#heads)
      expect(sameImage(await imageOf(engine.open(id)), image), `the head of ${id}`).toBe(true);
    const points = engine.points().filter(({ dropped }) => !dropped);
    expect(points.map(({ id }) => id).sort()).toEqual([...this.#points.keys()].sort());
    for (const { id, members } of points)
      for (const { volume } of members)
        expect(
          sameImage(await imageOf(engine.openPoint(id, volume)), this.#points.get(id)!.get(volume)!),
          `${volume} at ${id}`,
        ).toBe(true);
    expect(engine.half(session)).toEqual(this.#half);
  }
}

/** Whether a host's write is taken: what is written is what is there already. */
async function serves(engine: BlockEngine): Promise<boolean> {
  try {
    const bytes = new Uint8Array(BLOCK_BYTES);
    const device = engine.open(first);
    await device.read(0, bytes);
    await device.write(0, bytes, false);
    return true;
  } catch (error) {
    if (isBlockError(error)) return false;
    throw error;
  }
}
