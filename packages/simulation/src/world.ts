import { type Random, type SessionId, sessionId, type VolumeId, volumeId } from '@antipode/base';
import type { BlockEngine, Pair, PointSpec } from '@antipode/blocks';
import { seededRandom } from '@antipode/blocks/testing';
import { Aimed } from './aimed.ts';
import { addressOf, Network } from './network.ts';
import { OldMessages } from './old-messages.ts';
import { ProcessDied } from './process-died.ts';
import { ProtectedVolumes } from './protected-volumes.ts';
import { type Invariant, Trace, Violated, type Violation } from './report.ts';
import type { Scheduler } from './scheduler.ts';
import { type Engine, Site } from './site.ts';
import { remembersOtherwise } from './tidiness.ts';

const MiB = 2 ** 20;
/** Blocks a volume: the smallest that there is. */
export const blocksEach = MiB / 4096;

/** One protected volume or group of a world: which site it begins at, where its copy goes, and how many members it has. */
export interface Plan {
  readonly from: number;
  readonly to: number;
  readonly members: number;
  readonly rpo: string;
  /** Whether a rule takes snapshots, which go with the copy. */
  readonly snapshots?: boolean;
}

const context = {
  principal: { user: 'admin', roleIds: ['1'], isBuiltIn: true, mustChangePassword: false },
  clientAddress: '192.0.2.9',
  progress: () => undefined,
} as never;

/** Sites, links and protected volumes on one virtual clock, and what is wrong with them. */
export class World {
  readonly scheduler: Scheduler;
  readonly begun_ms: number;
  /** What hosts do. */
  readonly random: Random;
  readonly evilRandom: Random;
  readonly operatorRandom: Random;
  readonly rotRandom: Random;
  readonly headerRandom: Random;
  /** Of those who end sessions and begin them again. */
  readonly endingRandom: Random;
  /** Of those whose whole catalog is lost. */
  readonly lossRandom: Random;
  /** Of what is aimed at moments. */
  readonly aimedRandom: Random;
  readonly aimed: Aimed;
  readonly oldMessages: OldMessages;
  /** Kinds of faults and commands that do not happen in this world. */
  readonly without: ReadonlySet<string>;
  readonly network: Network;
  readonly sites: readonly Site[];
  readonly protectedVolumes: ProtectedVolumes[] = [];
  readonly trace: Trace;
  violation: Violation | undefined;
  /** How much less happens now than in a rough hour. */
  calm = 1;
  /** Something that matters is being done for some volumes: by an engine, or by an operator. */
  onMoment: (what: string, volumes: ProtectedVolumes) => void = () => undefined;

  constructor(
    scheduler: Scheduler,
    options: {
      readonly seed: number;
      readonly sites: number;
      readonly keep: number;
      readonly without: ReadonlySet<string>;
    },
  ) {
    this.scheduler = scheduler;
    this.without = options.without;
    // Each concern has a chance of its own, so that leaving something out does not change all the rest.
    this.evilRandom = seededRandom(options.seed * 16 + 1_000_003);
    this.operatorRandom = seededRandom(options.seed * 16 + 2_000_003);
    this.rotRandom = seededRandom(options.seed * 16 + 4_000_037);
    this.endingRandom = seededRandom(options.seed * 16 + 5_000_011);
    this.headerRandom = seededRandom(options.seed * 16 + 7_000_003);
    this.lossRandom = seededRandom(options.seed * 16 + 6_000_011);
    this.aimedRandom = seededRandom(options.seed * 16 + 8_000_009);
    this.aimed = new Aimed(this);
    this.oldMessages = new OldMessages(this);
    const linkRandom = seededRandom(options.seed * 16 + 3_000_017);
    this.begun_ms = scheduler.now_ms;
    this.trace = new Trace(options.keep);
    this.random = seededRandom(options.seed);
    this.network = new Network(scheduler, () => linkRandom.fraction());
    this.network.onMessage = (from, to, text, copy) => this.tell(`${from}>${to} ${copy} ${text.length}`);
    this.network.around = (to, copy, text, work) => this.oldMessages.answered(to, copy, text, work);
    this.sites = Array.from(
      { length: options.sites },
      (_, index) =>
        new Site(index, {
          scheduler,
          network: this.network,
          seed: options.seed,
          observe: (site, engine) => this.#observed(site, engine),
          started: (site, kind) => {
            this.tell(`${site.name} ${kind} is up`);
            const otherwise = kind === 'management' ? remembersOtherwise(site) : undefined;
            if (otherwise !== undefined) this.violate('g-old-messages', `${site.name} began with ${otherwise}`);
          },
          tell: (site, what) => {
            this.tell(`${site.name} ${what}`);
            this.trace.count(what.includes('did not start') ? 'starts refused' : what);
            if (what === 'power lost' || what === 'dataplane killed')
              for (const volumes of this.protectedVolumes) volumes.ended(site, what === 'power lost');
          },
          failed: (site, what, error) => this.tell(`${site.name} ${what}: ${String(error)}`),
        }),
    );
    for (const site of this.sites) site.start();
  }

  get passed_ms(): number {
    return this.scheduler.now_ms - this.begun_ms;
  }

  tell(text: string): void {
    this.trace.tell(this.passed_ms, text);
  }

  violate(invariant: Invariant, message: string): void {
    if (this.violation !== undefined) return;
    this.violation = { invariant, at_ms: this.passed_ms, message };
    this.tell(`VIOLATED ${invariant}: ${message}`);
  }

  /** Something rejected and nobody was there to hear it: in production that ends a process. */
  unheard(error: unknown): void {
    if (error instanceof ProcessDied) return;
    if (error instanceof Error && error.message.includes('this process has crashed')) return;
    this.violate('no-failure-unheard', error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  /** Runs the world until a promise is settled; what it came to. */
  async until<T>(work: Promise<T>, most_ms = 3_600_000): Promise<T> {
    let settled = false;
    const seen = work.finally(() => {
      settled = true;
    });
    seen.catch(() => undefined);
    await this.scheduler.runUntil(this.scheduler.now_ms + most_ms, () => settled || this.violation !== undefined);
    if (this.violation !== undefined) throw new Violated(this.violation);
    if (!settled) throw new Error('it does not come to an end');
    return seen;
  }

  /** Runs until a condition holds between two events; false: not within that time. */
  async reached(condition: () => boolean, most_ms: number): Promise<boolean> {
    await this.scheduler.runUntil(this.scheduler.now_ms + most_ms, () => condition() || this.violation !== undefined);
    return condition();
  }

  async pass(ms: number): Promise<void> {
    await this.scheduler.runUntil(this.scheduler.now_ms + ms, () => this.violation !== undefined);
  }

  /** A verb of a site's interface, as its handler gets it. */
  async call(site: number, verb: string, id: string, body: unknown): Promise<Record<string, unknown>> {
    const services = this.sites[site]!.management?.services;
    if (services === undefined) throw absent(`${this.sites[site]!.name} is away`);
    const handlers = services.handlers() as Record<
      string,
      (context: never, id: string, body: unknown) => Promise<unknown>
    >;
    return (await handlers[verb]!(context, id, body)) as Record<string, unknown>;
  }

  /** Pairs two sites as an administrator of both would. */
  async pair(a: number, b: number): Promise<void> {
    await this.reached(() => this.sites[a]!.isUp && this.sites[b]!.isUp, 60_000);
    this.#pairs.push([a, b]);
    await this.until(this.pairNow(this.sites[a]!, this.sites[b]!));
  }

  readonly #pairs: (readonly [number, number])[] = [];

  /** The sites that a site is paired with, or was before it lost its catalog. */
  peersOf({ index }: Site): readonly Site[] {
    return this.#pairs.flatMap(([a, b]) => (a === index ? [this.sites[b]!] : b === index ? [this.sites[a]!] : []));
  }

  /** Certificates are exchanged, and the second site is entered at the first, which has it enter the first. */
  async pairNow({ index: a }: Site, { index: b }: Site): Promise<void> {
    for (const [at, of] of [
      [a, b],
      [b, a],
    ] as const) {
      const { name, serial, certificate, fingerprint } = this.sites[of]!;
      const identity = { serial, name, version: '1', certificate, managementAddress: `192.0.2.${of + 1}` };
      const running = this.sites[at]!.management;
      if (running === undefined) throw absent(`${this.sites[at]!.name} is away`);
      running.services.remotes.trust({ ...identity, peer: addressOf(of), data: addressOf(of) }, fingerprint);
    }
    await this.call(a, 'remote_system.create', '', { management_address: `192.0.2.${b + 1}` });
  }

  /** How a site calls another one that it is paired with. */
  remoteAt(site: Site, of: Site): string {
    const [known] = site.management?.catalog.list('remote_system', 'serial_number', of.serial) ?? [];
    if (known === undefined) throw absent(`${site.name} does not know ${of.name}`);
    return known.id;
  }

  /** Makes a volume, or a group with members, and protects it. */
  async protect(plan: Plan): Promise<ProtectedVolumes> {
    const name = `v${this.protectedVolumes.length}`;
    const { from, to, members, rpo } = plan;
    const remote = this.remoteAt(this.sites[from]!, this.sites[to]!);
    const done = (verb: string, id: string, body: unknown) => this.until(this.call(from, verb, id, body));
    const rule = await done('replication_rule.create', '', { name, rpo, remote_system_id: remote });
    const policyOf = async () => {
      if (!plan.snapshots) return { name, replication_rule_ids: [rule.id] };
      const each = { name, interval: 'One_Hour', desired_retention: 3 };
      const snapshots = await done('snapshot_rule.create', '', each);
      return { name, replication_rule_ids: [rule.id], snapshot_rule_ids: [snapshots.id] };
    };
    const policy = await done('policy.create', '', await policyOf());
    const ids: string[] = [];
    for (let index = 0; index < members; index++)
      ids.push(String((await done('volume.create', '', { name: `${name}.${index}`, size: MiB })).id));
    let resource = ids[0]!;
    if (members > 1) {
      const group = await done('volume_group.create', '', { name, volume_ids: ids, is_write_order_consistent: true });
      resource = String(group.id);
    }
    await done(members > 1 ? 'volume_group.modify' : 'volume.modify', resource, { protection_policy_id: policy.id });
    const { catalog } = this.sites[from]!.management!;
    const [document] = catalog.list('replication_session', 'local_resource_id', resource);
    const session: SessionId = sessionId(document!.id);
    const half = this.sites[from]!.dataPlane!.engine.half(session)!;
    const locals: readonly VolumeId[] = half.pairs.map(({ local }) => volumeId(local));
    const remotes: readonly VolumeId[] = half.pairs.map(({ remote: copy }) => volumeId(copy));
    const made = new ProtectedVolumes(
      {
        session,
        name,
        rpo,
        sites: [this.sites[from]!, this.sites[to]!],
        volumes: [locals, remotes],
        blocksEach,
      },
      {
        violate: (invariant, message) => this.violate(invariant, message),
        tell: (text) => this.tell(text),
        count: (what, by) => this.trace.count(what, by),
        fraction: () => this.random.fraction(),
        now_ms: () => this.scheduler.now_ms,
        after: (delay_ms, work) => void this.scheduler.after(delay_ms, work),
      },
    );
    this.protectedVolumes.push(made);
    return made;
  }

  stop(): void {
    for (const site of this.sites) site.stop();
  }

  /** The engine as the data channel and management get it: observed, and otherwise itself. */
  #observed(site: Site, engine: Engine): BlockEngine {
    return new Proxy<BlockEngine>(engine, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key);
        if (typeof value !== 'function') return value;
        return (...args: readonly unknown[]): unknown => {
          if (key === 'createHalf') this.#born(site, args[0] as Newborn);
          const watched =
            watchedMethods.has(String(key)) || key === 'abandonStage'
              ? this.protectedVolumes.find(({ session }) => session === sessionIn(String(key), args))
              : undefined;
          const result: unknown = Reflect.apply(value, target, args);
          if (key === 'createHalf') this.oldMessages.reborn(site, args[0] as Newborn, result as Promise<void>);
          if (key === 'freeze' && (args[0] as PointSpec).kind === 'snapshot') this.aimed.snapshotAsked(site);
          if (key === 'removeHalf') this.oldMessages.buried(site, args[0] as SessionId, result as Promise<void>);
          if (watched === undefined) return result;
          this.tell(`${site.name} ${String(key)}`);
          if (key === 'promote' || key === 'demote')
            (result as Promise<unknown>).then(
              () => this.aimed.turned(site, watched),
              () => undefined,
            );
          if (key !== 'abandonStage') this.onMoment(String(key), watched);
          watched.observe(watched.sideOf(site)!, String(key), args, () => Promise.resolve(result));
          return result;
        };
      },
    });
  }

  /** A source's half of volumes that were protected before. */
  #born(site: Site, { session, role, pairs }: Newborn): void {
    if (role !== 'source') return;
    for (const volumes of this.protectedVolumes) {
      const side = volumes.sideOf(site);
      if (side !== undefined && pairs.some(({ local }) => volumes.sides[side].volumes.includes(local)))
        volumes.born(side, session, pairs);
      if (volumes.session === session) this.onMoment('createHalf', volumes);
    }
  }
}

const absent = (message: string): Error => Object.assign(new Error(message), { name: 'Absent' });

interface Newborn {
  readonly session: SessionId;
  readonly role: string;
  readonly pairs: readonly Pair[];
}

const watchedMethods = new Set([
  'removeHalf',
  'promote',
  'demote',
  'seal',
  'unseal',
  'startTest',
  'stopTest',
  'advanceBase',
  'resetBase',
  'openStage',
  'syncStage',
  'writeStage',
  'commitStage',
]);

const sessionIn = (method: string, args: readonly unknown[]): unknown =>
  method === 'openStage' ? (args[0] as { session: unknown }).session : args[0];
