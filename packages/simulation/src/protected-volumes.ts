import type { PointId, SessionId, VolumeId } from '@antipode/base';
import {
  BLOCK_BYTES,
  type BlockEngine,
  type BlockRun,
  type CyclePlan,
  isBlockError,
  type Pair,
  type PointSpec,
} from '@antipode/blocks';
import type { Half } from '@antipode/replication';
import { History, type Image, type OpId, unreadable } from './history.ts';
import { ProcessDied } from './process-died.ts';
import type { Invariant } from './report.ts';
import { Shipping } from './shipping.ts';
import { isOwn, keyOf, type Side, unlooked } from './side.ts';
import type { Engine, Site } from './site.ts';
import { imageOf, marked } from './volumes.ts';

export interface ProtectedDeps {
  readonly violate: (invariant: Invariant, message: string) => void;
  readonly tell: (text: string) => void;
  readonly count: (what: string, by?: number) => void;
  readonly fraction: () => number;
  readonly now_ms: () => number;
  readonly after: (delay_ms: number, work: () => void) => void;
}

export type SideIndex = 0 | 1;

/** What a host orders of one member: `at` and `blocks` are blocks. */
interface Write {
  readonly member: number;
  readonly at: number;
  readonly blocks: number;
  readonly kind: 'data' | 'zero' | 'trim';
  readonly fua: boolean;
}

/** A promotion at a side: from then on the other is fenced. */
interface Promotion {
  readonly side: SideIndex;
  readonly generation: number;
  readonly planned: boolean;
  readonly at_ms: number;
}

const failed = (error: unknown): boolean => !(error instanceof ProcessDied);

/** Volumes that are protected by one session after another, on both sides, the hosts that use them, and what must be true of them. */
export class ProtectedVolumes {
  /** The session that was begun last; it may have been undone or deleted since. */
  session: SessionId;
  readonly name: string;
  /** The objective of its rules. */
  readonly rpo: string;
  readonly sides: readonly [Side, Side];
  readonly blocksEach: number;
  readonly history: History;
  readonly #deps: ProtectedDeps;
  #tips = new Set<OpId>([0]);
  #promotion: Promotion | undefined;
  /** Since when both sides could talk to each other without hindrance; undefined: they cannot. */
  healthySince_ms: number | undefined;
  /** Hosts leave the volumes alone. */
  quiet = false;

  constructor(
    given: {
      readonly session: SessionId;
      readonly name: string;
      readonly rpo: string;
      readonly sites: readonly [Site, Site];
      readonly volumes: readonly [readonly VolumeId[], readonly VolumeId[]];
      readonly blocksEach: number;
    },
    deps: ProtectedDeps,
  ) {
    this.session = given.session;
    this.name = given.name;
    this.rpo = given.rpo;
    this.#deps = deps;
    this.blocksEach = given.blocksEach;
    this.history = new History(given.blocksEach * given.volumes[0].length);
    const side = (index: SideIndex): Side => ({
      site: given.sites[index],
      volumes: given.volumes[index],
      head: unlooked(),
      shown: undefined,
      newest: 0,
      shipping: new Shipping(given.sites[index].name, deps),
      buried: new Set(),
    });
    this.sides = [side(0), side(1)];
  }

  count(what: string): void {
    this.#deps.count(what);
  }

  sideOf(site: Site): SideIndex | undefined {
    return this.sides[0].site === site ? 0 : this.sides[1].site === site ? 1 : undefined;
  }

  half(side: SideIndex): Half | undefined {
    return this.sides[side].site.management?.services.sessions.entries.get(this.session)?.record.half;
  }

  /** The volume, or group, that is protected, at a side. */
  resource(side: SideIndex): string | undefined {
    const { site, volumes } = this.sides[side];
    const volume = site.management?.catalog.get('volume', volumes[0]!);
    return volumes.length > 1 ? (volume?.group_id ?? undefined) : volume?.id;
  }

  get kind(): 'volume' | 'volume_group' {
    return this.sides[0].volumes.length > 1 ? 'volume_group' : 'volume';
  }

  /** Both halves of the newest session are there, and neither is going. */
  get isWhole(): boolean {
    return ([0, 1] as const).every((side) => {
      const half = this.half(side);
      return half !== undefined && half.state !== 'Deleting' && !this.sides[side].buried.has(this.session);
    });
  }

  /** A side's engine is given a half of a session of these volumes: what was known of the session before is over. */
  born(side: SideIndex, session: SessionId, pairs: readonly Pair[]): void {
    if (session === this.session) return;
    this.session = session;
    const other = this.sides[side === 0 ? 1 : 0];
    const copies = this.sides[side].volumes.map((own) => pairs.find(({ local }) => local === own)!.remote);
    if (copies.join() !== other.volumes.join()) this.#forget(side === 0 ? 1 : 0, copies);
    for (const each of this.sides) {
      each.shown = undefined;
      each.newest = 0;
      each.shipping.clear();
    }
    this.#promotion = undefined;
    this.#deps.count('sessions born again');
    this.#deps.tell(`${this.name}: session ${session} begins at ${this.sides[side].site.name}`);
  }

  /** The volumes of a side are other ones now: nobody has looked at them. */
  #forget(side: SideIndex, volumes: readonly VolumeId[]): void {
    this.#tips.add(this.sides[side].head.tip);
    this.sides[side].volumes = volumes;
    this.sides[side].head = unlooked();
    this.#lastKey.delete(side);
  }

  // --- hosts ----------------------------------------------------------------------------------------------------------

  /** A host does something at one side, or tries to. */
  async hostTurn(side: SideIndex): Promise<void> {
    const { site, head } = this.sides[side];
    const running = site.dataPlane;
    if (running === undefined || this.quiet) return;
    const { engine } = running;
    this.#checkForward(side, engine);
    const key = keyOf(this.session, this.sides, engine);
    if (key === undefined || !key.startsWith('open')) return this.#tryFenced(side, engine);
    if (head.key !== key) return this.#look(side, engine, key);
    const { fraction } = this.#deps;
    const burst = fraction() < 0.1 ? 6 : 1;
    for (let index = 0; index < burst; index++) this.#write(side, engine);
    if (fraction() < 0.3) await this.#flush(side, engine);
  }

  #write(side: SideIndex, engine: Engine): void {
    const { fraction } = this.#deps;
    const { volumes } = this.sides[side];
    const member = Math.floor(fraction() * volumes.length);
    const blocks = 1 + Math.floor(fraction() ** 3 * 12);
    // Some places are written again and again.
    const at = Math.floor(fraction() ** 2 * (this.blocksEach - blocks));
    const kind = fraction();
    const fua = fraction() < 0.1;
    this.#order(side, engine, { member, at, blocks, kind: kind < 0.06 ? 'trim' : kind < 0.12 ? 'zero' : 'data', fua });
  }

  /** A host writes, trims or zeroes, and hears what comes of it. */
  #order(side: SideIndex, engine: Engine, { member, at, blocks, kind, fua }: Write): void {
    const { count } = this.#deps;
    const { volumes, head } = this.sides[side];
    const zero = kind !== 'data';
    const place = member * this.blocksEach + at;
    const half = engine.half(this.session);
    const op = this.history.add(head.tip, place, blocks, zero);
    const before = head.tip;
    head.tip = op;
    const device = engine.open(volumes[member]!);
    const done = () => {
      if (this.history.depth(op) > this.history.depth(head.acked) && this.history.includes(head.tip, op))
        head.acked = op;
      if (fua && this.history.includes(head.tip, op) && this.history.depth(op) > this.history.depth(head.flushed))
        head.flushed = op;
      count('host writes');
    };
    try {
      const [offset, length] = [at * BLOCK_BYTES, blocks * BLOCK_BYTES];
      const result = zero
        ? kind === 'trim'
          ? device.trim(offset, length, fua)
          : device.writeZeroes(offset, length, fua)
        : device.write(offset, marked(op, place, blocks), fua);
      this.#accepted(side, half?.generation.number ?? 0, half?.test !== undefined);
      if (result === undefined) done();
      else result.then(done, (error: unknown) => failed(error) && this.history.doubt(op));
    } catch (error) {
      if (isBlockError(error) || error instanceof ProcessDied) {
        // Refused before it was ordered: or the process ended in the middle.
        if (error instanceof ProcessDied) return;
        this.history.doubt(op);
        count(`host writes refused ${error.code}`);
        if (error.code === 'read_only' && head.tip === op) head.tip = before;
      } else throw error;
    } finally {
      device.close();
    }
  }

  /** Whoever uses the source writes blocks again that cannot be read there, or at the other side; whether it could be done. */
  async rewrite(side: SideIndex, volume: VolumeId, block: number, blocks: number): Promise<boolean> {
    const { site, volumes, head } = this.sides[side];
    const engine = site.dataPlane?.engine;
    const key = engine && keyOf(this.session, this.sides, engine);
    if (engine === undefined || key === undefined || !key.startsWith('open')) return false;
    this.#deps.count('damaged blocks written again', blocks);
    const member = volumes.indexOf(volume);
    if (member < 0) {
      await engine.open(volume).write(block * BLOCK_BYTES, marked(1, block, blocks), false);
      return true;
    }
    if (head.key !== key) await this.#look(side, engine, key);
    if (head.key !== key) return false;
    this.#order(side, engine, { member, at: block, blocks, kind: 'data', fua: false });
    return true;
  }

  async #flush(side: SideIndex, engine: Engine): Promise<void> {
    const { volumes, head } = this.sides[side];
    const covered = head.acked;
    const { key } = head;
    try {
      await engine.open(volumes[0]!).flush();
      if (head.key !== key || !this.history.includes(head.tip, covered)) return;
      if (this.history.depth(covered) > this.history.depth(head.flushed)) head.flushed = covered;
      this.#deps.count('host flushes');
    } catch (error) {
      if (!isBlockError(error) && failed(error)) throw error;
    }
  }

  /** Where nobody may write, a write must be refused. */
  #tryFenced(side: SideIndex, engine: Engine): void {
    const { volumes } = this.sides[side];
    if (keyOf(this.session, this.sides, engine) === undefined) return;
    try {
      const device = engine.open(volumes[0]!);
      const result = device.write(0, marked(1, 0, 1), false);
      Promise.resolve(result).then(
        () =>
          this.#deps.violate(
            'd-one-writer',
            `a host wrote at ${this.sides[side].site.name}, which is ${keyOf(this.session, this.sides, engine)}`,
          ),
        () => undefined,
      );
    } catch {
      this.#deps.count('host writes fenced');
    }
  }

  /** A write was ordered at a side: it must not be fenced [d]. */
  #accepted(side: SideIndex, generation: number, testing: boolean): void {
    const promotion = this.#promotion;
    if (testing || promotion === undefined || promotion.side === side || generation >= promotion.generation) return;
    const { now_ms, violate } = this.#deps;
    const { site } = this.sides[side];
    if (promotion.planned)
      violate('d-one-writer', `a host wrote at ${site.name} after the other side took over as planned`);
    const together = Math.max(this.healthySince_ms ?? Number.POSITIVE_INFINITY, promotion.at_ms);
    if (now_ms() - together > fence_ms)
      violate('d-one-writer', `a host wrote at ${site.name} ${now_ms() - together} ms after it could know better`);
  }

  // --- looking --------------------------------------------------------------------------------------------------------

  /** Looks at what hosts find before they write: after a start, a change of role, or a test's beginning. */
  async #look(side: SideIndex, engine: Engine, key: string): Promise<void> {
    const { head, volumes, site } = this.sides[side];
    if (head.looking === engine) return;
    head.looking = engine;
    try {
      const image = await this.stable(engine, volumes);
      if (image === undefined || keyOf(this.session, this.sides, engine) !== key) return;
      const last = this.#lastKey.get(side);
      const same = head.key === undefined && last === key;
      // Neither the end of a session nor the beginning of one changes what a source holds.
      const stayed =
        last !== undefined && last !== key && isOwn(last) && isOwn(key) && [last, key].includes('open alone');
      const moment = this.momentOf(image, `hosts of ${site.name} find`, same || stayed ? head.tip : undefined);
      if (moment === undefined) return;
      const whole = !image.includes(unreadable);
      if (!whole) this.history.doubtUnseen(image, moment);
      if (same || stayed) this.#checkKept(side, moment);
      else if (whole) this.#checkPromoted(side, moment, key);
      this.#tips.add(head.tip);
      head.tip = moment;
      head.acked = moment;
      head.flushed = moment;
      head.powerLost = false;
      head.key = key;
      this.#lastKey.set(side, key);
      this.#deps.tell(`${this.name}: hosts of ${site.name} go on from ${moment} (${key})`);
      for (const [place, mark] of whole ? [] : image.entries())
        if (mark === unreadable)
          this.#order(side, engine, {
            member: Math.floor(place / this.blocksEach),
            at: place % this.blocksEach,
            ...{ blocks: 1, kind: 'data', fua: false },
          });
    } catch (error) {
      if (!isBlockError(error) && failed(error)) throw error;
    } finally {
      if (head.looking === engine) head.looking = undefined;
    }
  }

  /** Under which key hosts have last found what they wrote themselves. */
  readonly #lastKey = new Map<SideIndex, string>();

  /** Which moment an image shows. Where blocks cannot be read it may be one of several: one on the way to `likely`, if there is one. */
  momentOf(image: Image, who: string, likely?: OpId): OpId | undefined {
    const tips = [this.sides[0].head.tip, this.sides[1].head.tip, ...this.#tips];
    const sought = likely !== undefined && image.includes(unreadable) ? [[likely], tips] : [tips];
    const moment = sought.map((some) => this.history.momentOf(image, some)).find((found) => found !== undefined);
    if (moment === undefined)
      this.#deps.violate('a-one-moment', `${who} a mixture in ${this.name}: ${this.history.explain(image)}`);
    return moment;
  }

  /** After a start: everything flushed is there, and without a loss of power everything acknowledged [b]. */
  #checkKept(side: SideIndex, moment: OpId): void {
    const { head, site } = this.sides[side];
    const required = head.powerLost ? head.flushed : head.acked;
    if (this.history.includes(head.tip, moment) && this.history.depth(moment) >= this.history.depth(required)) return;
    this.#deps.violate(
      'b-flushed-survives',
      `after a ${head.powerLost ? 'loss of power' : 'kill'} ${site.name} shows ${this.name} as after ${moment}; ${required} was ${head.powerLost ? 'flushed' : 'acknowledged'}`,
    );
  }

  /** A side that has become the source as planned has all that was acknowledged at the other [c]. */
  #checkPromoted(side: SideIndex, moment: OpId, key: string): void {
    const promotion = this.#promotion;
    if (promotion === undefined || promotion.side !== side || !promotion.planned || key.includes('destination')) return;
    if (!key.includes(` ${promotion.generation} `)) return;
    const required = this.#atPromotion.get(promotion);
    if (required !== undefined && !this.history.includes(moment, required))
      this.#deps.violate(
        'c-planned-failover-loses-nothing',
        `${this.name} goes on from ${moment} after a planned failover; ${required} was to be there`,
      );
  }

  /** What had to be there at the old source when a planned promotion happened. */
  readonly #atPromotion = new Map<Promotion, OpId>();

  /** Reads all volumes while nothing moves them; undefined: something did. */
  async stable(engine: Engine, volumes: readonly VolumeId[]): Promise<Image | undefined> {
    const pointers = () => volumes.map((id) => engine.volume(id)?.replica ?? '').join();
    const before = `${pointers()} ${keyOf(this.session, this.sides, engine)}`;
    const image = await this.image(
      this.sides.find(({ site }) => site.dataPlane?.engine === engine)?.site,
      engine,
      volumes,
    );
    return `${pointers()} ${keyOf(this.session, this.sides, engine)}` === before ? image : undefined;
  }

  /** What volumes show at a site. A block that cannot be read is one that has rotted there, and no other. */
  async image(
    site: Site | undefined,
    engine: BlockEngine,
    volumes: readonly VolumeId[],
    point?: PointId,
  ): Promise<Image> {
    const image = await imageOf(engine, volumes, this.blocksEach, point);
    if (!image.includes(unreadable)) return image;
    this.#deps.count('images with damaged blocks');
    if (site?.rotten === false && !site.readsWrongly)
      this.#deps.violate(
        'b-flushed-survives',
        `${site.name} cannot read a block of ${this.name}, and nothing has rotted there`,
      );
    return image;
  }

  /** A destination shows one moment of its source, and never an older one than before [a]. */
  async checkDestination(side: SideIndex): Promise<void> {
    const { site, volumes } = this.sides[side];
    const engine = site.dataPlane?.engine;
    const half = engine?.half(this.session);
    if (engine === undefined || half?.role !== 'destination' || half.test !== undefined) return;
    try {
      const image = await this.stable(engine, volumes);
      if (image === undefined) return;
      this.#deps.count('destination images checked');
      const moment = this.momentOf(image, `the destination ${site.name} shows`);
      if (moment === undefined || image.includes(unreadable)) return;
      const shown = this.sides[side].shown;
      const generation = half.generation.number;
      const before = shown?.generation === generation ? shown : undefined;
      if (before !== undefined && this.history.isBack(before, moment))
        this.#deps.violate('a-one-moment', `${site.name} went back from ${before.moment} to ${moment} in ${this.name}`);
      const landed = before !== undefined && (before.landed || before.moment !== moment);
      this.sides[side].shown = { generation, moment, landed };
    } catch (error) {
      if (!isBlockError(error) && failed(error)) throw error;
    }
  }

  // --- what happens ----------------------------------------------------------------------------------------------------

  /** A process or machine at a site has ended. */
  ended(site: Site, power: boolean): void {
    const side = this.sideOf(site);
    if (side === undefined) return;
    const { head } = this.sides[side];
    head.key = undefined;
    head.powerLost ||= power;
  }

  /** What the engine at a side does for this session, as it does it. */
  observe(side: SideIndex, method: string, args: readonly unknown[], result: () => Promise<unknown>): void {
    // Whether it is answered or not: what hosts find from here on may be another image.
    if (method === 'promote' || method === 'demote') {
      this.#lastKey.delete(side);
      // An earlier session of the same volumes may have been of this very role and generation.
      this.sides[side].head.key = undefined;
    }
    switch (method) {
      case 'removeHalf': {
        const { session } = this;
        return void result().then(
          () => {
            this.sides[side].buried.add(session);
            this.#promotion = undefined;
            this.#deps.count('halves removed');
          },
          () => undefined,
        );
      }
      case 'seal':
        return this.#sealed(side, result);
      case 'promote':
        return this.#promoted(side, args[1] as { next: { number: number }; proposal?: string }, result);
      case 'demote':
        return this.#demoted(side, args[3] as PointSpec, result);
      case 'openStage':
        return this.sides[side].shipping.staged(args[0] as CyclePlan, result);
      case 'abandonStage':
        return this.sides[side].shipping.abandoned(String(args[1]));
      case 'syncStage':
        return this.sides[side].shipping.synced(String(args[1]), result);
      case 'writeStage':
        return this.#shipped(side, args);
      case 'commitStage':
        result().then(
          () => {
            this.#deps.count('cycles committed');
            void this.checkDestination(side);
          },
          () => undefined,
        );
    }
  }

  /** Hosts go on while a source is sealed: it is a short time, so they come at once. */
  #sealed(side: SideIndex, result: () => Promise<unknown>): void {
    result().then(
      () => {
        this.#deps.count('seals');
        for (const wait_ms of sealTried_ms)
          this.#deps.after(wait_ms, () =>
            this.hostTurn(side).catch((error: unknown) => {
              if (failed(error)) throw error;
            }),
          );
      },
      () => undefined,
    );
  }

  /** Role and generation of a half only ever go on, whoever ends in between [g]. */
  #checkForward(side: SideIndex, engine: BlockEngine): void {
    const generation = engine.half(this.session)?.generation.number;
    const { site, newest } = this.sides[side];
    if (generation === undefined) return;
    if (generation < newest)
      this.#deps.violate('g-old-messages', `${site.name} went back from generation ${newest} to ${generation}`);
    this.sides[side].newest = Math.max(newest, generation);
    // Management says another thing than the engine for a moment only, while an operation is under way.
    const half = this.half(side);
    if (half === undefined || half.operation !== undefined || half.generation.number <= generation) return;
    this.#deps.violate(
      'g-old-messages',
      `${site.name} is of generation ${half.generation.number} and its engine of ${generation}`,
    );
  }

  #promoted(
    side: SideIndex,
    { next, proposal }: { next: { number: number }; proposal?: string },
    result: () => Promise<unknown>,
  ): void {
    const other = this.sides[side === 0 ? 1 : 0];
    result().then(
      () => {
        if (this.#promotion !== undefined && this.#promotion.generation >= next.number) return;
        const planned = proposal !== undefined;
        const promotion = { side, generation: next.number, planned, at_ms: this.#deps.now_ms() };
        this.#promotion = promotion;
        // Where the machine has lost power and no host has looked since, what was only acknowledged may have been gone before.
        const { acked, flushed, powerLost } = other.head;
        if (planned) this.#atPromotion.set(promotion, powerLost ? flushed : acked);
        this.#deps.count(planned ? 'planned failovers' : 'unplanned failovers');
        this.#deps.tell(`${this.name}: ${this.sides[side].site.name} is the source, generation ${next.number}`);
      },
      () => undefined,
    );
  }

  /** What an old source held beyond the common base is kept [b]. */
  #demoted(side: SideIndex, preserve: PointSpec, result: () => Promise<unknown>): void {
    const { head, site, volumes } = this.sides[side];
    const engine = site.dataPlane?.engine;
    const known = head.key !== undefined;
    const check = async (bytes: number) => {
      if (engine === undefined || !known || engine.point(preserve.id) === undefined) return;
      const image = await this.image(site, engine, volumes, preserve.id);
      this.#deps.count('diverged images checked');
      const moment = this.momentOf(image, `what diverged at ${site.name} holds`);
      if (image.includes(unreadable)) return;
      if (moment !== undefined && this.history.depth(moment) < this.history.depth(head.acked))
        this.#deps.violate(
          'b-flushed-survives',
          `of what diverged at ${site.name}, ${bytes} bytes, ${head.acked} is missing`,
        );
    };
    result().then(
      (value) => {
        const { diverged_bytes } = value as { diverged_bytes: number };
        if (diverged_bytes > 0 && site.dataPlane?.engine === engine && engine?.point(preserve.id) === undefined)
          this.#deps.violate(
            'b-flushed-survives',
            `${diverged_bytes} bytes diverged at ${site.name} in ${this.name}, and no point keeps them`,
          );
        this.#deps.tell(`${this.name}: ${site.name} is a destination now, ${diverged_bytes} bytes diverged`);
        check(diverged_bytes).catch((error: unknown) => {
          if (!isBlockError(error) && failed(error)) throw error;
        });
      },
      () => undefined,
    );
  }

  /** What is durable at the destination, or in its copy already, is not sent to it [f]. */
  #shipped(side: SideIndex, args: readonly unknown[]): void {
    const { site, volumes, shown, shipping } = this.sides[side];
    const [, cycle, point, pair, runs] = args as [string, string, number, number, readonly BlockRun[]];
    const half = site.dataPlane?.engine.half(this.session);
    const stage = half?.stage;
    const comparable =
      stage?.plan.cycle === cycle &&
      stage.plan.points.length === 1 &&
      stage.plan.base !== undefined &&
      volumes.length === stage.plan.pairs.length &&
      shown?.generation === half?.generation.number;
    const held = comparable && shown !== undefined ? this.history.state(shown.moment) : undefined;
    shipping.shipped({ cycle, point, pair }, runs, held, pair * this.blocksEach);
  }

  /** Something made of the volumes' content shows one moment of it [a]. */
  async checkImage(engine: BlockEngine, volumes: readonly VolumeId[], what: string, point?: PointId): Promise<void> {
    const image = await imageOf(engine, volumes, this.blocksEach, point);
    this.momentOf(image, `${what} ${this.name} shows`);
  }
}

/** When hosts try to write after a seal. */
const sealTried_ms = [0, 1, 20, 300, 2_000];

/** How long after an unhindered contact begins an old source may still take writes: heartbeats, back-offs and the demotion. */
const fence_ms = 600_000;
