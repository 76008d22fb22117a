import { cycleId, type PointId, pointId, type VolumeId, volumeId } from '@antipode/base';
import type { BlockEngine, CyclePair, CyclePlan, CyclePoint, Pair, PointKind } from '@antipode/blocks';
import { readAll } from '@antipode/blocks/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TwoSites, theGeneration, theSession } from './testing/two-sites.ts';

const block_bytes = 4096;
const size = 1024 * 1024;
const blocks = 64;

type Step =
  | { readonly kind: 'write'; readonly count: number }
  | { readonly kind: 'snapshot'; readonly one: boolean; readonly pick: number }
  | { readonly kind: 'add' | 'remove' | 'drop'; readonly pick: number }
  | {
      readonly kind: 'cycle';
      readonly crash: 'none' | 'source' | 'target';
      readonly after: number;
      readonly late: boolean;
    }
  | { readonly kind: 'crash'; readonly side: 'source' | 'target' };

const pick = fc.nat(9);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('write' as const), count: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('snapshot' as const), one: fc.boolean(), pick }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('add' as const, 'remove' as const, 'drop' as const), pick }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('cycle' as const),
      crash: fc.constantFrom('none' as const, 'none' as const, 'source' as const, 'target' as const),
      after: fc.nat(12),
      late: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      side: fc.constantFrom('source' as const, 'target' as const),
    }),
  },
);

describe('a group between two sites', () => {
  it('members come and go, snapshots travel, everything crashes: no image shows stamp n+1 without n, and the copy changes as a whole [C3.1] [C3.3] [C9.3]', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1e9),
        fc.array(step, { minLength: 4, maxLength: 24, size: 'max' }),
        async (seed, steps) => {
          const history = new GroupHistory(await TwoSites.open({ sizes: [size, size], seed }));
          try {
            for (const one of steps) await history.play(one);
            await history.failOver();
          } finally {
            await history.sites.close();
          }
        },
      ),
      { numRuns: 15 },
    );
  }, 300_000);
});

/** One write of the host: stamps rise by one, and the next is issued when the one before is acknowledged. */
interface Write {
  readonly stamp: number;
  readonly volume: VolumeId;
  readonly block: number;
}

class GroupHistory {
  readonly sites: TwoSites;
  #members: VolumeId[];
  #writes: Write[] = [];
  #number = 0;
  #base: { readonly point: PointId; readonly pairs: readonly Pair[] } | undefined;
  /** Snapshots not shipped yet, oldest first. */
  #toShip: { readonly point: CyclePointAt; dropped: boolean }[] = [];

  constructor(sites: TwoSites) {
    this.sites = sites;
    this.#members = [...sites.locals];
  }

  async play(step: Step): Promise<void> {
    switch (step.kind) {
      case 'write':
        for (let index = 0; index < step.count; index++) await this.#write();
        return;
      case 'snapshot': {
        const of = step.one ? [this.#members[step.pick % this.#members.length]!] : [...this.#members];
        this.#toShip.push({ point: await this.#freeze('snapshot', of), dropped: false });
        return;
      }
      case 'add':
        return this.#add();
      case 'remove':
        return this.#members.length > 1 ? this.#remove(step.pick) : undefined;
      case 'drop': {
        const chosen = this.#toShip[step.pick % Math.max(1, this.#toShip.length)];
        if (chosen === undefined || chosen.dropped) return;
        chosen.dropped = true;
        return this.sites.source.dropPoint(chosen.point.id);
      }
      case 'cycle':
        return this.#cycle(step);
      case 'crash':
        return step.side === 'source' ? this.#crashSource() : this.#crashTarget();
    }
  }

  /** The copy is opened as it is: members and images are those of the newest complete cycle. */
  async failOver(): Promise<void> {
    const { target } = this.sites;
    await target.promote(theSession, { next: { number: 2, site: 'B', nonce: 'b' } });
    const half = target.half(theSession)!;
    expect(half.joining).toEqual([]);
    if (this.#base === undefined) return;
    const images = new Map<VolumeId, Uint8Array>();
    for (const { local, remote } of half.pairs) images.set(remote, await readAll(target.open(local)));
    this.#isPrefix(images);
  }

  async #write(): Promise<void> {
    const stamp = (this.#writes.at(-1)?.stamp ?? 0) + 1;
    const volume = this.#members[stamp % this.#members.length]!;
    const block = (stamp * 7) % blocks;
    const bytes = new Uint8Array(new Uint32Array(block_bytes / 4).fill(stamp).buffer);
    const device = this.sites.source.open(volume);
    await device.write(block * block_bytes, bytes, false);
    device.close();
    this.#writes.push({ stamp, volume, block });
  }

  async #freeze(kind: PointKind, of: readonly VolumeId[]): Promise<CyclePointAt> {
    const number = ++this.#number;
    const tag = kind === 'internal' ? { session: theSession } : { name: `q${number}` };
    const spec = { id: pointId(`q${number}`), kind, instant_ms: number, tag };
    await this.sites.source.freeze(spec, of, kind === 'internal' ? holder : undefined);
    return { ...spec, of };
  }

  async #add(): Promise<void> {
    const number = ++this.#number;
    const id = volumeId(`a-late-${number}`);
    await this.sites.source.createVolume({ id, name: `late-${number}`, size, tag: {} });
    this.#members.push(id);
  }

  /** Out at once: what is left of it in a running cycle's points is held. */
  async #remove(index: number): Promise<void> {
    const { source } = this.sites;
    const [gone] = this.#members.splice(index % this.#members.length, 1);
    const pairs = source.half(theSession)!.pairs.filter(({ local }) => local !== gone);
    await source.changeHalf(theSession, { pairs });
    expect(source.volume(gone!)?.session).toBeUndefined();
    if (this.#toShip.every(({ point }) => !point.of.includes(gone!))) await source.deleteVolume(gone!);
  }

  async #cycle(step: Extract<Step, { kind: 'cycle' }>): Promise<void> {
    const { sites } = this;
    const before = await this.#heads();
    await this.#recruit();
    const target = await this.#freeze('internal', this.#members);
    const pairs = sites.source.half(theSession)!.pairs;
    const shipped = this.#toShip.filter(({ dropped }) => !dropped).map(({ point }) => point);
    for (const point of shipped) await sites.source.hold(point.id, holder);
    this.#toShip = [];
    const plan = this.#plan(target, shipped, pairs);
    // Whatever happens from here on is of the next cycle.
    if (step.late && this.#members.length > 1) await this.#remove(step.after);
    if (shipped[0] !== undefined && step.after % 3 === 0) await sites.source.dropPoint(shipped[0].id);
    let outcome = sites.ship(plan);
    if (step.crash !== 'none') {
      for (let turn = 0; turn < step.after; turn++) await new Promise((resolve) => setImmediate(resolve));
      await (step.crash === 'source' ? this.#crashSource() : this.#crashTarget());
      const first = await outcome;
      if (first.kind !== 'done') {
        const committed = sites.target.half(theSession)!.base?.point === target.id;
        if (!committed) expect(await this.#heads()).toEqual(before);
        outcome = sites.ship(plan);
      }
    }
    const done = await outcome;
    if (done.kind !== 'done') throw new Error(`${done.failure.code}: ${done.failure.message}`);
    const plain = pairs.map(({ local, remote }) => ({ local, remote }));
    await sites.source.advanceBase(theSession, theGeneration, {
      point: target.id,
      digests: done.digests,
      pairs: plain,
    });
    this.#base = { point: target.id, pairs: plain };
    await this.#checkCopy(plan, shipped);
  }

  /** The destination sets a volume aside for each member that has none, as its management does. */
  async #recruit(): Promise<void> {
    const { source, target } = this.sites;
    const half = source.half(theSession)!;
    const known = new Set(half.pairs.map(({ local }) => local));
    const fresh = this.#members
      .filter((member) => !known.has(member))
      .map((local) => ({ local, remote: volumeId(`b-of-${local}`) }));
    if (fresh.length === 0) return;
    for (const { remote } of fresh)
      await target.createVolume({ id: remote, name: remote, size, destination: true, tag: {} });
    const joining = fresh.map(({ local, remote }) => ({ local: remote, remote: local }));
    await target.changeHalf(theSession, { joining });
    await source.changeHalf(theSession, { pairs: [...half.pairs, ...fresh] });
  }

  #plan(target: CyclePointAt, shipped: readonly CyclePointAt[], pairs: readonly Pair[]): CyclePlan {
    const inBase = new Set(this.#base?.pairs.map(({ local }) => local));
    const asShipped = ({ of, ...spec }: CyclePointAt): CyclePoint => ({
      ...spec,
      sizes: pairs.map(({ local }) => (of.includes(local) ? size : 0)),
    });
    const inTarget = pairs.filter(({ local }) => target.of.includes(local));
    expect(inTarget).toEqual(pairs);
    return {
      session: theSession,
      cycle: cycleId(`c-${target.id}`),
      generation: theGeneration,
      ...(this.#base && { base: this.#base.point }),
      // A snapshot of volumes that are no members any more has nothing to ship.
      points: [...shipped.map(asShipped).filter((point) => point.sizes.some((one) => one > 0)), asShipped(target)],
      pairs: pairs.map(
        (pair): CyclePair => ({ ...pair, ...(this.#base && !inBase.has(pair.local) && { whole: true as const }) }),
      ),
    };
  }

  async #checkCopy(plan: CyclePlan, shipped: readonly CyclePointAt[]): Promise<void> {
    const { target } = this.sites;
    const half = target.half(theSession)!;
    expect(half.pairs).toEqual(plan.pairs.map(({ local, remote }) => ({ local: remote, remote: local })));
    const heads = new Map<VolumeId, Uint8Array>();
    for (const { local, remote } of half.pairs) heads.set(remote, await readAll(target.open(local)));
    this.#isPrefix(heads);
    for (const point of shipped) {
      const present = plan.pairs.filter(({ local }) => point.of.includes(local));
      const copy = target.point(point.id);
      expect(copy?.members.map(({ volume }) => volume) ?? []).toEqual(present.map(({ remote }) => remote));
      if (copy === undefined) continue;
      expect([copy.kind, copy.tag, copy.instant_ms]).toEqual(['snapshot', point.tag, point.instant_ms]);
      const images = new Map<VolumeId, Uint8Array>();
      for (const { local, remote } of present) images.set(local, await readAll(target.openPoint(point.id, remote)));
      this.#isPrefix(images);
    }
    // Nothing is left that nobody needs: one internal point, and what the snapshots hold.
    expect(target.points().filter(({ kind }) => kind === 'internal')).toHaveLength(1);
    for (const volume of target.volumes())
      expect(volume.session !== undefined).toBe(half.pairs.some(({ local }) => local === volume.id));
  }

  /** Images of one moment show the writes up to some stamp, and none beyond. */
  #isPrefix(images: ReadonlyMap<VolumeId, Uint8Array>): void {
    let newest = 0;
    for (const image of images.values())
      for (const stamp of new Uint32Array(image.buffer, image.byteOffset, image.byteLength / 4))
        newest = Math.max(newest, stamp);
    for (const [volume, image] of images) {
      const due = new Uint32Array(image.byteLength / 4);
      const words = block_bytes / 4;
      for (const write of this.#writes)
        if (write.volume === volume && write.stamp <= newest)
          due.fill(write.stamp, write.block * words, (write.block + 1) * words);
      expect(Buffer.compare(image, new Uint8Array(due.buffer)), `${volume} up to ${newest}`).toBe(0);
    }
  }

  /** What hosts of the destination see, of every volume that there is. */
  async #heads(): Promise<readonly string[]> {
    const { target } = this.sites;
    const half = target.half(theSession)!;
    const shown: string[] = [];
    for (const { local } of half.pairs)
      shown.push(`${local} ${Buffer.from(await readAll(target.open(local))).toString('base64')}`);
    return shown;
  }

  /** What a crash leaves is a prefix: the host goes on from there. */
  async #crashSource(): Promise<void> {
    await this.sites.crashSource();
    const heads = await headsOf(this.sites.source);
    let newest = 0;
    for (const image of heads.values())
      for (const stamp of new Uint32Array(image.buffer, image.byteOffset, image.byteLength / 4))
        newest = Math.max(newest, stamp);
    const lost = this.#writes.filter(({ stamp, volume }) => stamp > newest && heads.has(volume));
    // A volume that was deleted took its writes along.
    const end = lost[0]?.stamp ?? Number.POSITIVE_INFINITY;
    this.#isPrefix(heads);
    this.#writes = this.#writes.filter(({ stamp }) => stamp < end);
  }

  async #crashTarget(): Promise<void> {
    await this.sites.crashTarget();
  }
}

const holder = `session:${theSession}`;

interface CyclePointAt extends Omit<CyclePoint, 'sizes'> {
  readonly of: readonly VolumeId[];
}

async function headsOf(engine: BlockEngine): Promise<Map<VolumeId, Uint8Array>> {
  const heads = new Map<VolumeId, Uint8Array>();
  for (const { id } of engine.volumes()) heads.set(id, await readAll(engine.open(id)));
  return heads;
}
