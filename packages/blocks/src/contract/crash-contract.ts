import { type PointId, pointId, type VolumeId, volumeId } from '@antipode/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES, type BlockDevice } from '../port/device.ts';
import type { BlockEngine } from '../port/engine.ts';
import type { EngineUnderTest } from './engine-contract.ts';

/** An engine whose medium can lose its power at any moment. `seed` decides what the medium then keeps. */
export interface CrashingEngine extends EngineUnderTest {
  crash(): Promise<CrashingEngine>;
  reopen(): Promise<CrashingEngine>;
}

const MiB = 1024 * 1024;
const blocksOf = (bytes: number): number => bytes / BLOCK_BYTES;

/** What each block holds, as a number: 0 reads as zeros. */
export type Image = Uint32Array;

interface State {
  readonly heads: ReadonlyMap<VolumeId, Image>;
  readonly points: ReadonlyMap<PointId, ReadonlyMap<VolumeId, Image>>;
}

export type CrashStep =
  | { kind: 'write'; volume: number; block: number; count: number }
  | { kind: 'zero'; volume: number; block: number; count: number }
  | { kind: 'freeze'; volume: number; many: boolean }
  | { kind: 'drop' | 'restore' | 'restore all' | 'fork'; volume: number; point: number }
  | { kind: 'delete'; volume: number }
  | { kind: 'grow'; volume: number; units: number }
  | { kind: 'flush' | 'settle' | 'reopen' | 'crash' }
  | { kind: 'turns'; count: number };

const volume = fc.nat(2);
const block = fc.oneof(fc.nat(40), fc.nat(400));
const count = fc.integer({ min: 1, max: 16 });

export const crashStep: fc.Arbitrary<CrashStep> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('write' as const), volume, block, count }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('zero' as const),
      volume,
      block,
      count: fc.integer({ min: 1, max: 300 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('freeze' as const), volume, many: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'drop' as const,
        'drop' as const,
        'restore' as const,
        'restore all' as const,
        'fork' as const,
      ),
      volume,
      point: fc.nat(8),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), volume }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('grow' as const), volume, units: fc.integer({ min: 1, max: 64 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('flush' as const, 'settle' as const, 'reopen' as const, 'crash' as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 5 }) }) },
);

/**
 * After a crash an engine is what it was after some operation of the one order, never in between and never before the
 * last flush that was answered: every volume and every point together [C6.1] [C6.3] [C9.3].
 */
export function describeCrashContract(
  name: string,
  open: (seed: number) => Promise<CrashingEngine>,
  options: { readonly runs?: number } = {},
): void {
  describe(`the crash contract: ${name}`, () => {
    it('what a crash leaves is a prefix of what was ordered, with everything that was flushed [C6.1] [C6.3] [C9.3]', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.nat(1e9),
          fc.array(crashStep, { minLength: 1, maxLength: 60, size: 'max' }),
          async (seed, steps) => {
            const history = new CrashHistory(await open(seed));
            try {
              for (const step of steps) await history.play(step);
              await history.finish();
            } finally {
              await history.under.dispose();
            }
          },
        ),
        { numRuns: options.runs ?? 60 },
      );
    });
  });
}

export class CrashHistory {
  under: CrashingEngine;
  /** States after each operation since the engine was opened; the first is where it began. */
  #states: State[] = [{ heads: new Map(), points: new Map() }];
  /** Index of the oldest state that may be found after a crash. */
  #durable = 0;
  #devices = new Map<VolumeId, BlockDevice>();
  #running = new Set<Promise<void>>();
  #next = 1;

  constructor(under: CrashingEngine) {
    this.under = under;
  }

  get engine(): BlockEngine {
    return this.under.engine;
  }

  get #now(): State {
    return this.#states.at(-1)!;
  }

  async play(step: CrashStep): Promise<void> {
    if (this.#now.heads.size === 0) this.#create();
    switch (step.kind) {
      case 'write': {
        const [id, image] = this.#volume(step.volume);
        const from = step.block % image.length;
        const to = Math.min(image.length, from + step.count);
        const token = this.#next++;
        this.#order(this.#device(id).write(from * BLOCK_BYTES, bytesOf(token, to - from), false));
        return this.#change(id, (blocks) => blocks.fill(token, from, to));
      }
      case 'zero': {
        const [id, image] = this.#volume(step.volume);
        const from = step.block % image.length;
        const to = Math.min(image.length, from + step.count);
        this.#order(this.#device(id).trim(from * BLOCK_BYTES, (to - from) * BLOCK_BYTES, false));
        return this.#change(id, (blocks) => blocks.fill(0, from, to));
      }
      case 'freeze': {
        const members = step.many ? [...this.#now.heads.keys()] : [this.#volume(step.volume)[0]];
        const id = pointId(`p${this.#next++}`);
        this.#order(this.engine.freeze({ id, kind: 'snapshot', instant_ms: 1, tag: {} }, members));
        const images = new Map(members.map((member) => [member, this.#now.heads.get(member)!]));
        return this.#push({ heads: this.#now.heads, points: new Map([...this.#now.points, [id, images]]) });
      }
      case 'drop': {
        const [point] = this.#image(step) ?? [];
        if (point === undefined) return;
        this.#order(this.engine.dropPoint(point));
        const points = new Map(this.#now.points);
        points.delete(point);
        return this.#push({ heads: this.#now.heads, points });
      }
      case 'restore': {
        const [point, of, image] = this.#image(step) ?? [];
        if (point === undefined || of === undefined || image === undefined || !this.#now.heads.has(of)) return;
        this.#order(this.engine.restore([{ volume: of, point: point, of: of }]));
        return this.#push({ heads: new Map([...this.#now.heads, [of, image]]), points: this.#now.points });
      }
      case 'restore all': {
        const [point] = this.#image(step) ?? [];
        if (point === undefined) return;
        const images = [...this.#now.points.get(point)!].filter(([id]) => this.#now.heads.has(id));
        this.#order(this.engine.restore(images.map(([id]) => ({ volume: id, point, of: id }))));
        return this.#push({ heads: new Map([...this.#now.heads, ...images]), points: this.#now.points });
      }
      case 'fork': {
        const [point, of, image] = this.#image(step) ?? [];
        if (point === undefined || of === undefined || image === undefined || this.#now.heads.size >= 3) return;
        const id = volumeId(`v${this.#next++}`);
        this.#order(this.engine.fork({ id, name: id, point, of, tag: {} }));
        return this.#push({ heads: new Map([...this.#now.heads, [id, image]]), points: this.#now.points });
      }
      case 'delete': {
        if (this.#now.heads.size < 2) return;
        const [id] = this.#volume(step.volume);
        this.#order(this.engine.deleteVolume(id));
        const heads = new Map(this.#now.heads);
        heads.delete(id);
        const points = new Map<PointId, ReadonlyMap<VolumeId, Image>>();
        for (const [point, members] of this.#now.points) {
          const left = new Map([...members].filter(([member]) => member !== id));
          if (left.size > 0) points.set(point, left);
        }
        return this.#push({ heads, points });
      }
      case 'grow': {
        const [id, image] = this.#volume(step.volume);
        const larger = new Uint32Array(Math.min(512, image.length + step.units * 2));
        if (larger.length === image.length) return;
        larger.set(image);
        this.#order(this.engine.resizeVolume(id, larger.length * BLOCK_BYTES));
        return this.#push({ heads: new Map([...this.#now.heads, [id, larger]]), points: this.#now.points });
      }
      case 'flush': {
        const now = this.#states.length - 1;
        await this.#device([...this.#now.heads.keys()][0]!).flush();
        this.#durable = Math.max(this.#durable, now);
        return;
      }
      case 'settle':
        await this.#answered();
        return this.under.settle?.();
      case 'turns':
        for (let turn = 0; turn < step.count; turn++) await new Promise((resolve) => setImmediate(resolve));
        return;
      case 'reopen':
        await this.#answered();
        this.under = await this.under.reopen();
        this.#durable = this.#states.length - 1;
        return this.#recovered('a restart');
      case 'crash':
        this.under = await this.under.crash();
        return this.#recovered('a crash');
    }
  }

  /** One more crash, and then what points share and what digests say must agree with the model too. */
  async finish(): Promise<void> {
    await this.play({ kind: 'crash' });
    await this.under.settle?.();
    await this.#recovered('background work');
    const images = [...this.#now.points].flatMap(([point, members]) =>
      [...members].map(([id, image]) => ({ point, id, image })),
    );
    for (const from of images.slice(-3)) {
      for (const to of images.slice(-3)) {
        if (from.id !== to.id) continue;
        const equal = sameImage(from.image, to.image);
        const digests = [await this.engine.digest(from.id, from.point), await this.engine.digest(to.id, to.point)];
        expect(digests[0] === digests[1]).toBe(equal);
        await this.#compareDifference(from, to);
      }
    }
  }

  async #compareDifference(
    from: { point: PointId; id: VolumeId; image: Image },
    to: { point: PointId; image: Image },
  ): Promise<void> {
    const result = new Uint32Array(to.image.length);
    result.set(from.image.subarray(0, to.image.length));
    const difference = await this.engine.difference(from.id, from.point, to.point);
    for await (const { kind, block, count } of difference.extents(0)) {
      for (let at = block; at < block + count; at++) result[at] = kind === 'zero' ? 0 : to.image[at]!;
    }
    expect([...result]).toEqual([...to.image]);
  }

  /** The engine must be in one of the states that it may be in, and goes on from there. */
  async #recovered(after: string): Promise<void> {
    this.#devices.clear();
    this.#running.clear();
    const found = await observe(this.engine);
    for (let index = this.#states.length - 1; index >= this.#durable; index--) {
      if (differs(found, this.#states[index]!) !== undefined) continue;
      this.#states = [this.#states[index]!];
      this.#durable = 0;
      return;
    }
    const reasons = this.#states
      .slice(this.#durable)
      .map((state, index) => `${index}: ${differs(found, state)}`)
      .slice(-6);
    expect.fail(
      `after ${after} the engine is in none of ${this.#states.length - this.#durable} states: ${reasons.join('; ')}`,
    );
  }

  async #answered(): Promise<void> {
    await Promise.all(this.#running);
    this.#running.clear();
  }

  #order(work: unknown): void {
    if (!(work instanceof Promise)) return;
    const running = work.then(() => undefined);
    running.catch(() => undefined);
    this.#running.add(running);
  }

  #push(state: State): void {
    this.#states.push(state);
  }

  #change(id: VolumeId, change: (image: Image) => void): void {
    const image = this.#now.heads.get(id)!.slice();
    change(image);
    this.#push({ heads: new Map([...this.#now.heads, [id, image]]), points: this.#now.points });
  }

  #create(): void {
    const id = volumeId(`v${this.#next++}`);
    this.#order(this.engine.createVolume({ id, name: id, size: MiB, tag: {} }));
    this.#push({ heads: new Map([[id, new Uint32Array(blocksOf(MiB))]]), points: this.#now.points });
  }

  #device(id: VolumeId): BlockDevice {
    let device = this.#devices.get(id);
    if (device === undefined) {
      device = this.engine.open(id);
      this.#devices.set(id, device);
    }
    return device;
  }

  #volume(choice: number): [VolumeId, Image] {
    const heads = [...this.#now.heads];
    return heads[choice % heads.length]!;
  }

  #image(step: { volume: number; point: number }): [PointId, VolumeId, Image] | undefined {
    const points = [...this.#now.points];
    if (points.length === 0) return undefined;
    const [point, members] = points[step.point % points.length]!;
    const [id, image] = [...members][step.volume % members.size]!;
    return [point, id, image];
  }
}

export const sameImage = (a: Image, b: Image): boolean =>
  a.length === b.length && a.every((token, at) => token === b[at]);

/** Blocks that tell their token; they can be packed well, or a little, or not at all, and no two of them are alike but of every third token. */
export function bytesOf(token: number, count: number): Uint8Array {
  const words = new Uint32Array((count * BLOCK_BYTES) / 4).fill(token);
  const perBlock = BLOCK_BYTES / 4;
  let noise = token * 2654435761 + 1;
  for (let at = 0; token % 3 !== 0 && at < words.length; at++) {
    if (at % perBlock === 7) continue;
    noise = (Math.imul(noise, 1664525) + 1013904223) >>> 0;
    if (token % 3 === 1 || at % 8 === 0) words[at] = noise;
  }
  return new Uint8Array(words.buffer);
}

export async function imageOf(device: BlockDevice): Promise<Image> {
  const bytes = new Uint8Array(device.size());
  await device.read(0, bytes);
  const words = new Uint32Array(bytes.buffer);
  return Uint32Array.from({ length: blocksOf(bytes.length) }, (_, index) => words[index * (BLOCK_BYTES / 4) + 7]!);
}

async function observe(engine: BlockEngine): Promise<State> {
  const heads = new Map<VolumeId, Image>();
  for (const { id } of engine.volumes()) heads.set(id, await imageOf(engine.open(id)));
  const points = new Map<PointId, Map<VolumeId, Image>>();
  for (const { id, members } of engine.points()) {
    const images = new Map<VolumeId, Image>();
    for (const member of members) images.set(member.volume, await imageOf(engine.openPoint(id, member.volume)));
    points.set(id, images);
  }
  return { heads, points };
}

/** What tells two states apart, in a few words. */
function differs(found: State, wanted: State): string | undefined {
  const heads = imagesDiffer(found.heads, wanted.heads);
  if (heads !== undefined) return `heads: ${heads}`;
  if (found.points.size !== wanted.points.size || [...wanted.points.keys()].some((id) => !found.points.has(id)))
    return `points ${[...found.points.keys()]} instead of ${[...wanted.points.keys()]}`;
  for (const [id, images] of wanted.points) {
    const difference = imagesDiffer(found.points.get(id)!, images);
    if (difference !== undefined) return `point ${id}: ${difference}`;
  }
  return undefined;
}

function imagesDiffer(found: ReadonlyMap<VolumeId, Image>, wanted: ReadonlyMap<VolumeId, Image>): string | undefined {
  if (found.size !== wanted.size || [...wanted.keys()].some((id) => !found.has(id)))
    return `volumes ${[...found.keys()]} instead of ${[...wanted.keys()]}`;
  for (const [id, image] of wanted) {
    const there = found.get(id)!;
    if (there.length !== image.length) return `${id} has ${there.length} blocks instead of ${image.length}`;
    const at = there.findIndex((token, index) => token !== image[index]);
    if (at >= 0) return `${id} block ${at} is ${there[at]} instead of ${image[at]}`;
  }
  return undefined;
}
