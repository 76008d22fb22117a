import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Coverage, type Phase, type PointRow, type Role, type Target } from './coverage.ts';
import { type CrashPair, type PairOptions, passing } from './crash-pair.ts';
import type { CrashSite, Scope } from './crash-site.ts';
import { type DeathRow, Deaths } from './deaths.ts';
import { type OperationName, operationNames, operations } from './operations.ts';
import { lossModes } from './write-loss.ts';

const run = promisify(execFile);
const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');

/** What earlier runs have done, which a run goes on from; and what it leaves for the next one. */
export interface Known {
  readonly points: readonly PointRow[];
  readonly deaths: readonly DeathRow[];
}

export interface RoundOptions extends PairOptions {
  /** Operations that there are at random; all of them when nothing is said. */
  readonly operations?: readonly OperationName[];
  readonly say: (line: string) => void;
  /** Deaths of earlier runs: it aims at what is left, and counts those among its own. */
  readonly earlier?: Known;
  /** After each round, what there is so far: the last of it stands when a round finds something. */
  readonly after?: (report: Report) => void;
}

/** A point at a site that a walk did not lead to. */
export interface Missed {
  readonly point: string;
  readonly site: string;
  readonly why: string;
}

export interface Report {
  readonly rounds: number;
  readonly kills: number;
  readonly byScope: Readonly<Record<string, number>>;
  /** Kills that were carried out at points, one row a point. */
  readonly points: readonly PointRow[];
  /** Kills of any kind, by what went on, who died and where. */
  readonly deaths: readonly DeathRow[];
  readonly missed: readonly Missed[];
  readonly byOperation: Readonly<Record<string, number>>;
  readonly powerCuts: number;
  readonly sectorsLost: number;
  /** Processes and clusters that were stopped for a while, by which. */
  readonly stops: Readonly<Record<string, number>>;
  readonly fulls: number;
  readonly requests: number;
  readonly changesChecked: number;
  readonly took_ms: number;
}

export interface Kill {
  readonly site: CrashSite;
  readonly scope: Scope;
  readonly target: Target | undefined;
}

/** A cluster that is up again answers within this, on a machine that does much else as well. */
const answer_ms = 300_000;

/** What rounds of deaths are made of, whoever plans them: hosts, an operation, the way back, the look at everything; and the count. */
export class Rounds {
  readonly pair: CrashPair;
  readonly chance: () => number;
  readonly coverage: Coverage;
  readonly deaths: Deaths;
  readonly missed: Missed[] = [];
  readonly stops: Record<string, number> = {};
  kills = 0;
  rounds = 0;
  fulls = 0;
  readonly #options: RoundOptions;
  readonly #started = performance.now();
  readonly #byScope: Record<string, number> = {};
  readonly #byOperation: Record<string, number> = {};
  #powerCuts = 0;
  #sectorsLost = 0;
  #checked = 0;

  constructor(pair: CrashPair, options: RoundOptions) {
    this.pair = pair;
    this.#options = options;
    this.chance = options.chance;
    this.coverage = new Coverage(options.chance, options.earlier?.points);
    this.deaths = new Deaths(options.earlier?.deaths);
  }

  get operations(): readonly OperationName[] {
    return this.#options.operations ?? operationNames;
  }

  /** A round that says in a line what it was. */
  async round(work: () => Promise<string>, goal: string): Promise<void> {
    this.rounds += 1;
    const before = performance.now();
    const text = await work();
    const took_ms = Math.round(performance.now() - before);
    this.#options.say(`${this.kills}${goal}, round ${this.rounds}, ${took_ms} ms: ${text}`);
    this.#options.after?.(this.report());
  }

  report(): Report {
    return {
      rounds: this.rounds,
      kills: this.kills,
      byScope: this.#byScope,
      points: this.coverage.rows(),
      deaths: this.deaths.rows(),
      missed: this.missed,
      byOperation: this.#byOperation,
      powerCuts: this.#powerCuts,
      sectorsLost: this.#sectorsLost,
      stops: this.stops,
      fulls: this.fulls,
      requests: this.pair.protecteds.flatMap(({ hosts }) => hosts).reduce((sum, host) => sum + host.requests, 0),
      changesChecked: this.#checked,
      took_ms: Math.round(performance.now() - this.#started),
    };
  }

  // --- what goes on -------------------------------------------------------------------------------------------------

  /** Hosts write until each has something to lose. */
  async writeSome(): Promise<void> {
    const pair = this.pair;
    pair.startHosts();
    const hosts = pair.protecteds.flatMap((what) => what.hosts);
    const end = performance.now() + 120_000;
    const wanted = 10 + Math.floor(this.chance() * 60);
    while (hosts.some((host) => host.acknowledged < wanted)) {
      const ended = hosts.find((host) => host.ended !== undefined);
      if (ended !== undefined)
        throw new Error(`a host on ${ended.volumes.join()} cannot write at rest: ${ended.ended}`);
      if (performance.now() > end) throw new Error('hosts do not get on');
      await pause(10);
    }
  }

  /** The operation on both protected objects; never rejects: it is meant to be cut off. */
  async operate(operation: OperationName): Promise<void> {
    this.#byOperation[operation] = (this.#byOperation[operation] ?? 0) + 1;
    await Promise.all(this.pair.protecteds.map((what) => operations[operation](this.pair, what).catch(interrupted)));
  }

  // --- the way back -------------------------------------------------------------------------------------------------

  /** One who died while this went on. */
  note({ site, scope, target }: Kill, phase: Phase): void {
    this.kills += 1;
    this.#byScope[scope] = (this.#byScope[scope] ?? 0) + 1;
    this.deaths.note(phase, scope, site.name);
    if (target !== undefined) this.coverage.killed(target);
  }

  /** The cluster is up again, by its own supervisor or by being started. */
  async recover({ site, scope }: Pick<Kill, 'site' | 'scope'>, lost: Set<CrashSite>): Promise<void> {
    if (scope === 'cluster') await this.#afterDeath(site, lost);
    // What a dead supervisor left may still be there when the next one comes: that is part of the promise.
    if (scope === 'cluster' || scope === 'supervisor') await this.startAgain(site, scope, lost);
    await this.answers(site);
  }

  /** The start, too, may be cut off, more than once: by a death of its own, or at a point that is still armed. */
  async startAgain(site: CrashSite, scope: Scope, lost: Set<CrashSite>): Promise<void> {
    for (let started = false, again = 0; !started; again++) {
      const cutOff = scope === 'cluster' && again < 3 && this.chance() < 0.4;
      const hits = site.hits;
      const starting = site.start();
      if (cutOff) {
        await pause(100 + this.chance() * 1_500);
        if (site.kill('cluster') > 0) this.note({ site, scope, target: undefined }, 'rest');
      }
      started = (await starting) && site.running;
      if (cutOff || (!started && site.hits > hits)) {
        started = false;
        await this.#afterDeath(site, lost);
      } else if (!started) throw new Error(`${site.name} does not start: ${site.lastLines()}`);
    }
  }

  /** Every process of the site is gone; perhaps with what it had not synced. */
  async #afterDeath(site: CrashSite, lost: Set<CrashSite>): Promise<void> {
    await site.gone();
    const mode = site.canLose && this.chance() < 0.6 ? this.pick(lossModes) : undefined;
    const loss = site.lose(mode, this.chance);
    if (mode === undefined) return;
    this.#powerCuts += 1;
    this.#sectorsLost += loss.sectors;
    lost.add(site);
  }

  /** The site serves REST, and every volume of a host; or it has died as a whole once more, at an order that was left. */
  async answers(site: CrashSite): Promise<void> {
    const names = this.pair.protecteds.flatMap(({ hosts }) => hosts.flatMap(({ volumes }) => volumes));
    const end = performance.now() + answer_ms;
    for (;;) {
      try {
        await site.client.all('cluster', { select: 'id' });
        // Appliances come back one by one.
        for (const name of names) await (await site.open(name)).close();
        return;
      } catch (error) {
        if (!site.running) return;
        if (performance.now() > end)
          throw new Error(`${site.name} does not answer: ${String(error)}: ${site.lastLines()}`);
        await pause(60);
      }
    }
  }

  // --- looking ------------------------------------------------------------------------------------------------------

  /** Without contact each site shows one complete moment, whatever its part. */
  async readCopies(): Promise<void> {
    for (const what of this.pair.protecteds)
      for (const host of what.hosts) {
        host.fit(await this.pair.images(what.destination, host), 0, `${what.destination.name} before contact`);
        this.#checked += host.issued;
      }
  }

  /** Brings both to rest, and looks for what hosts were told. */
  async settle(unplanned: boolean, lost: ReadonlySet<CrashSite>): Promise<string> {
    const floors = new Map(
      this.pair.protecteds.flatMap((what) => {
        // After an unplanned failover the copy may be as old as the last rest; after a power cut what was not flushed may be gone.
        const least = (host: { acknowledged: number; flushed: number }) =>
          unplanned ? 0 : lost.has(what.source) ? host.flushed : host.acknowledged;
        return what.hosts.map((host) => [host, least(host)] as const);
      }),
    );
    const issued = this.pair.protecteds.flatMap(({ hosts }) => hosts).reduce((sum, host) => sum + host.issued, 0);
    await this.rest('after the kill', (host) => floors.get(host) ?? 0);
    this.#checked += issued;
    return `${issued} changes looked for at both sites`;
  }

  async rest(where: string, floor: (host: Parameters<CrashPair['images']>[1]) => number = () => 0): Promise<void> {
    const pair = this.pair;
    for (const what of pair.protecteds) await pair.converge(what);
    await pair.sweep();
    for (const what of pair.protecteds) {
      await pair.converge(what);
      for (const host of what.hosts) {
        const images = await pair.images(what.source, host);
        host.adopt(host.fit(images, floor(host), `${what.source.name} (source), ${where}`));
      }
      await pair.syncNow(what);
      for (const host of what.hosts) {
        const fit = host.fit(
          await pair.images(what.destination, host),
          host.issued,
          `${what.destination.name} (destination), ${where}`,
        );
        if (fit.torn !== undefined) throw new Error('a copy shows more than its source');
        host.rebase();
      }
    }
  }

  /** Both stop as asked, and a check of their directories finds nothing. */
  async finish(): Promise<void> {
    for (const site of this.pair.sites) {
      const code = await site.stop();
      if (code !== 0) throw new Error(`${site.name} ended with ${code}: ${site.lastLines()}`);
      await run(process.execPath, [cli, 'fsck', '--data', site.data]).catch((error: { stdout?: string }) => {
        throw new Error(`fsck finds damage at ${site.name}: ${error.stdout ?? String(error)}`);
      });
    }
  }

  // --- who is what --------------------------------------------------------------------------------------------------

  siteOf({ site }: Target): CrashSite {
    return this.pair.sites.find(({ name }) => name === site)!;
  }

  roles(): Map<string, Role> {
    return new Map(
      this.pair.sites.map((site): [string, Role] => {
        const isSource = this.pair.protecteds.map(({ source }) => source === site);
        return [site.name, !isSource.includes(false) ? 'source' : isSource.includes(true) ? 'mixed' : 'destination'];
      }),
    );
  }

  takePassed(): ReadonlyMap<string, readonly string[]> {
    return new Map(this.pair.sites.map((site) => [site.name, site.takePassed()]));
  }

  /** What was passed since it was asked last was passed in this phase, by roles that sites had when it began. */
  notePassed(phase: Phase): void {
    for (const [site, names] of this.takePassed()) this.coverage.passed(names, this.roles().get(site)!, phase);
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.chance() * from.length)]!;
  }
}

export const describe = ({ site, scope, target }: Kill): string =>
  `${scope} of ${site.name} killed${target === undefined ? '' : ` at ${target.point}`}`;

function interrupted(error: unknown): void {
  // Hosts' own words are heard where hosts are; here an operator's command was cut off, or refused for what a kill had left.
  if (error instanceof Error && error.name === 'NbdError') return;
  passing(error);
}
