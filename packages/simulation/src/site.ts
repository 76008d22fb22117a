import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import type { Random } from '@antipode/base';
import type { BlockEngine } from '@antipode/blocks';
import {
  openEngineOn,
  engineLimits as productionLimits,
  SimulatedCheckpointStore,
  SimulatedDisk,
  seededRandom,
  smallLogLimits,
} from '@antipode/blocks/testing';
import {
  answerPeer,
  assembleDataPlane,
  Catalog,
  type ClusterServices,
  checkCatalog,
  connectDataPlane,
  fingerprintOf,
  makeClusterServices,
  rebuildCatalog,
  serveLocal,
} from '@antipode/cluster/parts';
import { type CatalogCopy, copyCatalog, putCopyBack } from './catalog-copy.ts';
import { certificates } from './certificates.ts';
import { clockOf, Life } from './life.ts';
import { mortalCheckpoints, mortalDatabase, mortalDisk } from './mortal-stores.ts';
import { addressOf, type Network } from './network.ts';
import { Path } from './path.ts';
import { ProcessDied } from './process-died.ts';
import type { Scheduler } from './scheduler.ts';
import { SimulatedSocket } from './simulated-socket.ts';

export type Engine = Awaited<ReturnType<typeof openEngineOn>>;

/** The data plane of a site while it runs. */
export interface RunningDataPlane {
  readonly life: Life;
  readonly engine: Engine;
}

/** The management of a site while it runs. */
export interface RunningManagement {
  readonly life: Life;
  readonly services: ClusterServices;
  readonly catalog: Catalog;
}

export interface SiteDeps {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly seed: number;
  /** Shows the data plane's engine to observers, who may look and not touch. */
  readonly observe: (site: Site, engine: Engine) => BlockEngine;
  readonly started: (site: Site, process: ProcessKind) => void;
  readonly tell: (site: Site, what: string) => void;
  /** Something ended that nobody ended. */
  readonly failed: (site: Site, what: string, error: unknown) => void;
}

/** Small enough that checkpoints, folding, sealing and compaction all happen within hours, and not with every write. */
const engineLimits = {
  ...productionLimits,
  cachedPages: 64,
  resolvedPages: 16,
  dirtyPages: 16,
  checkpointEvery_bytes: 512 * 1024,
  compactBelow: 0.5,
};

export type ProcessKind = 'dataplane' | 'management';
/** How a process ends: with its machine, whose unsynced writes are lost, or alone. */
type End = 'power' | 'kill';

const limits = {
  /** How long a supervisor takes to start a process again, at least and at most. */
  restart_ms: [50, 2_000],
  /** How long a machine without power stays away. */
  outage_ms: [2_000, 120_000],
  heartbeat_ms: 120_000,
} as const;

/** One cluster: a machine with its disk, and the two processes that its supervisor keeps running on it. */
export class Site {
  readonly index: number;
  readonly name: string;
  readonly serial: string;
  readonly fingerprint: string;
  readonly disk: SimulatedDisk;
  readonly #checkpoints: SimulatedCheckpointStore;
  readonly #database: string;
  /** Holds the database in memory while no process does. */
  readonly #keeper: DatabaseSync;
  readonly random: Random;
  readonly #deps: SiteDeps;
  /** Between the site's own processes. */
  readonly #inside: Path;
  #lives: Partial<Record<ProcessKind, Life>> = {};
  #accept: ((socket: SimulatedSocket) => void) | undefined;
  #connection: DatabaseSync | undefined;
  #away = false;
  #scrub: string | undefined;
  #copies: CatalogCopy[] = [];
  /** Its catalog was lost whole, and not everything has been made again that is no part of the log. */
  hasLostCatalog = false;
  /** The next start is to rebuild the catalog from the log. */
  #rebuild = false;
  /** The machine's wall clock beyond the true one. */
  skew_ms = 0;
  /** Some of what lies on its disk is not what was written. */
  rotten = false;
  /** Reads of its disk give out wrong bytes now and then. */
  readsWrongly = false;
  dataPlane: RunningDataPlane | undefined;
  management: RunningManagement | undefined;

  constructor(index: number, deps: SiteDeps) {
    this.index = index;
    this.#deps = deps;
    this.name = String.fromCharCode(65 + index);
    this.serial = `PS00000000000${index + 1}`;
    this.fingerprint = fingerprintOf(certificates[index]!);
    this.random = seededRandom(deps.seed * 16 + index);
    const stores = seededRandom(deps.seed * 16 + index + 8);
    this.disk = new SimulatedDisk({ random: stores });
    this.#checkpoints = new SimulatedCheckpointStore({ random: stores });
    this.#database = `file:/antipode-${deps.seed}-${this.name}-${worlds++}?vfs=memdb`;
    this.#keeper = new DatabaseSync(this.#database);
    this.#inside = new Path(deps.scheduler, () => this.random.fraction(), {
      cut: false,
      delay_ms: 0.05,
      jitter_ms: 0.05,
      bytes_per_ms: 1e6,
      drop: 0,
      duplicate: 0,
      late: 0,
      late_ms: 0,
    });
    deps.network.stations[index] = { fingerprint: this.fingerprint };
  }

  get certificate(): string {
    return certificates[this.index]!;
  }

  get isUp(): boolean {
    return this.dataPlane !== undefined && this.management !== undefined;
  }

  start(): void {
    this.#away = false;
    this.#launch('dataplane');
    this.#launch('management');
  }

  /** Ends a process, or the machine, before its n-th effect from now; at once if n is 0. */
  crash(what: ProcessKind | 'power', steps: number): void {
    if (this.#away) return;
    const life = what === 'power' ? (this.#lives.dataplane ?? this.#lives.management) : this.#lives[what];
    if (life === undefined) return;
    this.#ending.set(life, what === 'power' ? 'power' : 'kill');
    if (steps === 0) life.end();
    else life.doom(steps);
  }

  /** Nobody dies of what was ordered before. */
  spare(): void {
    for (const life of Object.values(this.#lives)) {
      life.spare();
      this.#ending.delete(life);
    }
  }

  readonly #ending = new Map<Life, End>();

  /** Keeps a copy of the catalog beside it, as clusters do every few hours. */
  copyCatalog(): void {
    if (this.management === undefined) return;
    this.#copies.push(copyCatalog(this.#keeper));
    if (this.#copies.length > copiesKept) this.#copies.shift();
  }

  /** Volumes are not what they were: copies of the catalog from before are of no use. */
  dropCopies(): void {
    this.#copies = [];
  }

  /** The catalog is lost, and an administrator puts a copy of it back. `share`: which of those there are, 1 is the newest. */
  loseCatalog(share: number): void {
    const copy = this.#copies[Math.floor(share * this.#copies.length)];
    if (copy === undefined || this.#away) return;
    this.crash('management', 0);
    this.#deps.scheduler.after(limits.restart_ms[0] / 2, () => {
      if (this.#connection === undefined) putCopyBack(this.#keeper, copy);
    });
  }

  /** The whole catalog is lost, and every copy of it; false: not while a session is being born, whose other half nobody could undo. */
  eraseCatalog(): boolean {
    if (this.#away || this.management === undefined || this.management.catalog.count('intent') > 0) return false;
    this.crash('management', 0);
    this.#copies = [];
    this.#deps.scheduler.after(limits.restart_ms[0] / 2, () => {
      if (this.#connection !== undefined) return;
      putCopyBack(this.#keeper, new Map());
      this.hasLostCatalog = true;
    });
    return true;
  }

  /** An administrator has it rebuilt from the log by the next start. */
  askRebuild(): void {
    this.#rebuild = true;
  }

  /** Ends everything for good. */
  stop(): void {
    this.#away = true;
    for (const life of Object.values(this.#lives)) life.end();
    this.#connection?.close();
    this.#keeper.close();
  }

  #launch(kind: ProcessKind): void {
    if (this.#away) return;
    const { scheduler } = this.#deps;
    const life = new Life(`${kind} of ${this.name}`, () => scheduler.turn(() => this.#ended(kind, life)));
    this.#lives[kind] = life;
    const work = kind === 'dataplane' ? this.#openDataPlane(life) : this.#openManagement(life);
    work.then(
      () => this.#deps.started(this, kind),
      (error: unknown) => {
        if (!life.alive || error instanceof ProcessDied) return;
        this.#deps.tell(this, `${kind} did not start: ${error instanceof Error ? error.message : String(error)}`);
        life.end();
      },
    );
  }

  #ended(kind: ProcessKind, life: Life): void {
    if (this.#lives[kind] !== life) return;
    const { scheduler, network, tell } = this.#deps;
    const end = this.#ending.get(life) ?? 'kill';
    this.#ending.delete(life);
    tell(this, end === 'power' ? 'power lost' : `${kind} killed`);
    const between = ([least, most]: readonly [number, number]) => least + this.random.fraction() * (most - least);
    this.#clear(kind);
    network.hangUp(life);
    if (kind === 'dataplane' && end === 'kill') {
      this.disk.kill();
      this.#checkpoints.kill();
    }
    if (end === 'kill') return void scheduler.after(between(limits.restart_ms), () => this.#launch(kind));
    this.#away = true;
    for (const other of Object.keys(this.#lives) as ProcessKind[]) {
      const rest = this.#lives[other]!;
      this.#clear(other);
      rest.end();
      network.hangUp(rest);
    }
    this.disk.crash();
    this.#checkpoints.crash();
    scheduler.after(between(limits.outage_ms), () => this.start());
  }

  #clear(kind: ProcessKind): void {
    delete this.#lives[kind];
    if (kind === 'dataplane') {
      this.dataPlane = undefined;
      this.#accept = undefined;
      delete this.#deps.network.stations[this.index]!.accept;
    } else {
      this.management = undefined;
      delete this.#deps.network.stations[this.index]!.answer;
      // Its closing rolls back what was not committed.
      this.#connection?.close();
      this.#connection = undefined;
    }
  }

  async #openDataPlane(life: Life): Promise<void> {
    const { scheduler, network, observe } = this.#deps;
    const clock = clockOf(life, scheduler, () => this.skew_ms);
    const engine = await openEngineOn({
      disk: mortalDisk(this.disk.mount(), life),
      checkpoints: mortalCheckpoints(this.#checkpoints.mount(), life),
      clock,
      random: this.random,
      limits: engineLimits,
      logLimits: smallLogLimits,
    });
    if (!life.alive) return;
    const here = addressOf(this.index);
    const { plane, scrub, receiver } = assembleDataPlane({
      appliance: 'A1',
      engine: observe(this, engine),
      clock,
      random: this.random,
      identity: { serial: this.serial, certificate: this.certificate, privateKey: '' },
      network: network.dataNetwork(this.index, life),
      scrubPlace: {
        load: () => this.#scrub,
        keep: (text) => {
          if (life.step()) this.#scrub = text;
        },
      },
      config: { scrubEvery_ms: 7 * 86_400_000, scrubRate_bytes_per_s: 2 ** 24 },
      addresses: () => ({ nbd: here, replication: here }),
      ioCounters: () => [],
      hostCounters: () => [],
      setAccess: () => undefined,
      setLimits: () => undefined,
    });
    await receiver().listen(here);
    this.#accept = (socket) => serveLocal(plane, socket);
    this.dataPlane = { life, engine };
    scrub.open();
  }

  async #openManagement(life: Life): Promise<void> {
    const { scheduler, network, failed } = this.#deps;
    const clock = clockOf(life, scheduler, () => this.skew_ms);
    this.#connection = new DatabaseSync(this.#database);
    const catalog = new Catalog(mortalDatabase(this.#connection, life));
    const dataPlane = connectDataPlane(() => this.#dial(life), clock);
    await dataPlane.ready();
    await checkCatalog(catalog, dataPlane, this.#rebuild);
    // Of whom hashes and logins are kept is no matter here: somebody has been entered, so the catalog is not a lost one.
    if (catalog.count('local_user') === 0) enterUser(catalog);
    const here = addressOf(this.index);
    let trusted: ReturnType<ClusterServices['trust']['list']> | undefined;
    const services = makeClusterServices({
      catalog,
      dataPlane,
      clock,
      random: this.random,
      call: network.calls(this.index, life),
      identity: { serial: this.serial, certificate: this.certificate },
      config: {
        name: this.name,
        heartbeat_ms: limits.heartbeat_ms,
        localPauseResume: 'pause_both',
        schedule: 'share_of_rpo',
        cyclesAtOnce: 8,
      },
      addresses: () => ({ management: `192.0.2.${this.index + 1}`, peer: here, data: here }),
      trustChanged: () => {
        trusted = undefined;
      },
      looks: { objectives_ms: 120_000, rules_ms: 120_000, expiry_ms: 600_000 },
      onError: (error, what) => {
        if (life.alive) failed(this, what, error);
      },
    });
    services.jobs.recover();
    // Asked for with every message, and changed by pairings alone.
    const trustedNow = () => {
      trusted ??= services.trust.list();
      return trusted;
    };
    const answering = { trusted: trustedNow, answer: services.answer };
    network.stations[this.index]!.answer = (fingerprint, text) => {
      life.mustLive();
      return answerPeer(fingerprint, text, answering);
    };
    await services.start(async () => {
      if (!this.#rebuild) return;
      await rebuildCatalog(services.storage, async () => undefined);
      life.mustLive();
      this.#rebuild = false;
      this.#deps.tell(this, 'catalog rebuilt');
    });
    services.startSchedules();
    if (life.alive) this.management = { life, services, catalog };
  }

  /** The local protocol's socket; refused while no data plane listens. */
  #dial(life: Life): SimulatedSocket {
    const { scheduler, network } = this.#deps;
    const serving = this.#lives.dataplane;
    const listener = this.#accept;
    const ends = { path: this.#inside };
    const [near, far] = SimulatedSocket.pair(scheduler, { life, ...ends }, { life: serving ?? life, ...ends });
    if (listener === undefined || serving === undefined) {
      scheduler.turn(() => near.destroy());
      return near;
    }
    network.track(life, near);
    network.track(serving, far);
    this.#inside.carry(0, () => {
      if (!serving.alive) return near.destroy();
      listener(far);
      near.connected();
    });
    return near;
  }
}

const copiesKept = 4;

/** Worlds of this process: each has databases of its own. */
let worlds = 0;

function enterUser(catalog: Catalog): void {
  catalog.put('local_user', {
    id: 'U1',
    name: 'admin',
    role_id: '1',
    is_built_in: true,
    is_default_password: false,
    is_locked: false,
    is_mfa_bypass: true,
    mfa_alias: null,
    password_expiration_timestamp: null,
  });
}

/** A short name of a text, for traces. */
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);
