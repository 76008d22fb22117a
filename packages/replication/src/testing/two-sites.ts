import { cycleId, type PointId, pointId, sessionId, systemClock, type VolumeId, volumeId } from '@antipode/base';
import { type BlockEngine, BlockError, type CyclePlan, type CyclePoint, type Generation } from '@antipode/blocks';
import {
  ManualClock,
  openEngineOn,
  readAll,
  SimulatedCheckpointStore,
  SimulatedDisk,
  seededRandom,
  smallLogLimits,
} from '@antipode/blocks/testing';
import { tlsLinks } from '../transfer/frame-links.ts';
import { transferLimits } from '../transfer/limits.ts';
import { createReceiver, type Receiver } from '../transfer/receiver.ts';
import { createShipper, type Shipper } from '../transfer/shipper.ts';
import { testIdentity } from '../transfer/test-identity.ts';
import type { Admission, PeerEndpoint, ShipOutcome, ShipProgress } from '../transfer/types.ts';

export type Identity = Awaited<ReturnType<typeof testIdentity>>;
export const theSession = sessionId('s');
export const theGeneration: Generation = { number: 1, site: 'A', nonce: 'n' };

/** Wraps an engine before the data channel gets it: where faults are planted. */
export type Wrap = (engine: BlockEngine) => BlockEngine;

/** One site: an embedded engine on a simulated disk, which a crash leaves in any state that it may. */
class Site {
  readonly disk: SimulatedDisk;
  readonly #checkpoints: SimulatedCheckpointStore;
  engine!: Awaited<ReturnType<typeof openEngineOn>>;
  /** What the data channel holds of the engine: of no use once the process has crashed. */
  face!: BlockEngine;
  #life = {};

  constructor(seed: number) {
    const random = seededRandom(seed);
    this.disk = new SimulatedDisk({ random });
    this.#checkpoints = new SimulatedCheckpointStore({ random });
  }

  async open(): Promise<void> {
    this.engine = await openEngineOn({
      disk: this.disk.mount(),
      checkpoints: this.#checkpoints.mount(),
      // Stands still: an engine that a crash has taken must not wake up later.
      clock: new ManualClock(),
      logLimits: smallLogLimits,
    });
    const life = {};
    this.#life = life;
    this.face = new Proxy<BlockEngine>(this.engine, {
      get: (engine, key) => {
        const value: unknown = Reflect.get(engine, key);
        if (typeof value !== 'function') return value;
        return (...args: readonly unknown[]): unknown => {
          if (this.#life !== life) throw new BlockError('closed', 'the process has crashed');
          return Reflect.apply(value, engine, args);
        };
      },
    });
  }

  async crash(): Promise<void> {
    this.#life = {};
    // What was ordered has been written in the turn that ends here; what was not synced may be lost.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    this.disk.crash();
    this.#checkpoints.crash();
    await this.open();
  }
}

/** Two sites that hold the two halves of one session, and the data channel between them over real TLS. */
export class TwoSites {
  readonly here: Identity;
  readonly there: Identity;
  readonly #wrap: Wrap;
  readonly #wrapSource: Wrap;
  readonly #a: Site;
  readonly #b: Site;
  readonly locals: readonly VolumeId[];
  readonly remotes: readonly VolumeId[];
  admission: Admission = { admit: true };
  #receiver!: Receiver;
  #endpoint!: PeerEndpoint;
  shipper!: Shipper;
  /** How long the source waits for an answer at most, where a test does not want to wait as long as production does. */
  patience_ms: number = transferLimits.answer_ms;
  #closed: Promise<void> | undefined;
  #number = 0;

  static async open(options: {
    readonly sizes: readonly number[];
    readonly wrap?: Wrap;
    readonly wrapSource?: Wrap;
    readonly seed?: number;
  }): Promise<TwoSites> {
    const [here, there] = await Promise.all([testIdentity('here'), testIdentity('there')]);
    const sites = new TwoSites(here, there, options);
    await Promise.all([sites.#a.open(), sites.#b.open()]);
    for (const [index, size] of options.sizes.entries()) {
      const name = `v${index}`;
      await sites.source.createVolume({ id: sites.locals[index]!, name, size, tag: {} });
      await sites.target.createVolume({ id: sites.remotes[index]!, name, size, destination: true, tag: {} });
    }
    const pairs = sites.#pairs();
    const half = { session: theSession, generation: theGeneration, tag: {} };
    await sites.source.createHalf({ ...half, role: 'source', pairs });
    const mirrored = pairs.map(({ local, remote }) => ({ local: remote, remote: local }));
    await sites.target.createHalf({ ...half, role: 'destination', pairs: mirrored });
    sites.#startShipper();
    await sites.#startReceiver();
    return sites;
  }

  private constructor(
    here: Identity,
    there: Identity,
    options: { sizes: readonly number[]; wrap?: Wrap; wrapSource?: Wrap; seed?: number },
  ) {
    const { sizes, wrap = (same) => same, wrapSource = (same) => same, seed = 1 } = options;
    this.here = here;
    this.there = there;
    this.#wrap = wrap;
    this.#wrapSource = wrapSource;
    this.#a = new Site(seed);
    this.#b = new Site(seed + 1);
    this.locals = sizes.map((_, index) => volumeId(`a${index}`));
    this.remotes = sizes.map((_, index) => volumeId(`b${index}`));
  }

  get source(): BlockEngine {
    return this.#a.engine;
  }

  get target(): BlockEngine {
    return this.#b.engine;
  }

  get targetDisk(): SimulatedDisk {
    return this.#b.disk;
  }

  get endpoint(): PeerEndpoint {
    return this.#endpoint;
  }

  async crashSource(): Promise<void> {
    await this.#a.crash();
    this.#startShipper();
  }

  async crashTarget(): Promise<void> {
    await this.#receiver.close();
    await this.#b.crash();
    await this.#startReceiver();
  }

  /** Freezes all volumes: internal as a cycle's target, or a snapshot on the way there. */
  async freeze(kind: 'internal' | 'snapshot' = 'internal'): Promise<CyclePoint> {
    const number = ++this.#number;
    const point = { id: pointId(`p${number}`), kind, instant_ms: number, tag: { number } };
    await this.source.freeze(point, this.locals, 'cycle');
    return { ...point, sizes: this.locals.map((id) => this.source.volume(id)!.size) };
  }

  plan(points: readonly CyclePoint[]): CyclePlan {
    const base = this.source.half(theSession)?.base?.point;
    return {
      session: theSession,
      cycle: cycleId(`c-${points.at(-1)!.id}`),
      generation: theGeneration,
      ...(base && { base }),
      points,
      pairs: this.#pairs(),
    };
  }

  ship(plan: CyclePlan, via = this.#endpoint, onProgress?: (progress: ShipProgress) => void): Promise<ShipOutcome> {
    return this.shipper.ship({ plan, peer: via, end: 'commit' }, onProgress);
  }

  /** The source learns that the cycle is committed. */
  async advance(plan: CyclePlan, outcome: ShipOutcome): Promise<void> {
    if (outcome.kind !== 'done') throw new Error(`${outcome.failure.code}: ${outcome.failure.message}`);
    const base = { point: plan.points.at(-1)!.id, digests: outcome.digests };
    await this.source.advanceBase(theSession, theGeneration, base);
  }

  /** One cycle from a freeze to the source's new base. */
  async cycle(): Promise<ShipOutcome> {
    const plan = this.plan([await this.freeze()]);
    const outcome = await this.ship(plan);
    await this.advance(plan, outcome);
    return outcome;
  }

  /** Pairs whose images at a point (or whose heads) are not the same on both sides. */
  async differing(point?: PointId): Promise<readonly number[]> {
    const found: number[] = [];
    for (const [index, local] of this.locals.entries()) {
      const remote = this.remotes[index]!;
      const mine = point === undefined ? this.source.open(local) : this.source.openPoint(point, local);
      const theirs = point === undefined ? this.target.open(remote) : this.target.openPoint(point, remote);
      if (Buffer.compare(await readAll(mine), await readAll(theirs)) !== 0) found.push(index);
    }
    return found;
  }

  closeReceiver(): Promise<void> {
    this.#closed ??= this.#receiver.close();
    return this.#closed;
  }

  async close(): Promise<void> {
    await this.closeReceiver();
    await Promise.all([this.source.close(), this.target.close()]);
  }

  #pairs() {
    return this.locals.map((local, index) => ({ local, remote: this.remotes[index]! }));
  }

  #startShipper(): void {
    this.shipper = createShipper({
      engine: this.#wrapSource(this.#a.face),
      links: tlsLinks(this.here, systemClock),
      clock: {
        ...systemClock,
        after: (delay_ms, run) =>
          systemClock.after(delay_ms === transferLimits.answer_ms ? this.patience_ms : delay_ms, run),
      },
      localSerial: 'A',
    });
  }

  async #startReceiver(): Promise<void> {
    this.#receiver = createReceiver({
      engine: this.#wrap(this.#b.face),
      links: tlsLinks(this.there, systemClock),
      clock: systemClock,
      localSerial: 'B',
      peers: () => [this.here.fingerprint],
      admit: () => this.admission,
    });
    const address = await this.#receiver.listen({ host: '127.0.0.1', port: 0 });
    this.#endpoint = { ...address, fingerprint: this.there.fingerprint };
  }
}

/** Bytes that differ from block to block. */
export function noise(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(length / 4);
  let state = (Math.imul(seed, 2654435761) + 1) >>> 0;
  for (let index = 0; index < words.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[index] = state;
  }
  return new Uint8Array(words.buffer);
}
