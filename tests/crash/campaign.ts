import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Coverage, type Phase, type PointRow, type Role, type Target } from './coverage.ts';
import { CrashPair, type PairOptions, passing } from './crash-pair.ts';
import type { CrashSite, Scope } from './crash-site.ts';
import { type OperationName, operationNames, operations } from './operations.ts';
import { lossModes } from './write-loss.ts';

const run = promisify(execFile);
const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');

export interface CampaignOptions extends PairOptions {
  readonly kills: number;
  /** Share of kills that are aimed at a named point; the others come at random moments. */
  readonly aimed: number;
  /** How likely one more death at random follows on each, while a site comes back. */
  readonly more: number;
  /** How long a process is stopped for by SIGSTOP, and after how many rounds the next one is. */
  readonly stop_ms: number;
  readonly stopEvery: number;
  /** After how many rounds the next one has a full disk. */
  readonly fullEvery: number;
  /** Rounds with a stopped process and with a full disk that there are to be; the latter need file systems of the sites' own. */
  readonly stops: number;
  readonly fulls: number;
  /** Whether each operation is first carried out once in peace, to see which points it passes. */
  readonly census: boolean;
  /** Operations that there are; all of them when nothing is said. */
  readonly operations?: readonly OperationName[];
  readonly say: (line: string) => void;
  /** Deaths of earlier campaigns: it aims at other points first, and counts those among its own. */
  readonly earlier?: readonly PointRow[];
  /** After each round, what there is so far: the last of it stands when a round finds something. */
  readonly after?: (report: Report) => void;
}

export interface Report {
  readonly rounds: number;
  readonly kills: number;
  readonly byScope: Readonly<Record<string, number>>;
  /** Kills that were carried out at points, one row a point. */
  readonly points: readonly PointRow[];
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

interface Kill {
  readonly site: CrashSite;
  readonly scope: Scope;
  readonly target: Target | undefined;
}

/** A cluster that is up again answers within this, on a machine that does much else as well. */
const answer_ms = 300_000;
/** So long an operation may take before somebody looks after who has died. */
const patience_ms = 5_000;
/** Further orders beside the one that a round waits for. */
const moreOrders = 3;
const stoppable: readonly Scope[] = ['dataplane', 'management', 'supervisor', 'cluster'];

/**
 * Rounds of: hosts write, an operator does something, a process or a whole cluster dies in the middle of it, perhaps another one
 * while the first comes back; then what hosts were told is looked for, both sites are brought to rest, and their images compared.
 * Throws at the first thing that is not as promised.
 */
export async function runCampaign(options: CampaignOptions): Promise<Report> {
  const pair = new CrashPair(options);
  try {
    await pair.start();
    return await new Campaign(pair, options).run();
  } finally {
    await pair.stop();
  }
}

class Campaign {
  readonly #pair: CrashPair;
  readonly #options: CampaignOptions;
  readonly #chance: () => number;
  #kills = 0;
  #rounds = 0;
  #powerCuts = 0;
  #sectorsLost = 0;
  #checked = 0;
  #stopped = 0;
  #fulls = 0;
  readonly #stops: Record<string, number> = {};
  readonly #coverage: Coverage;
  readonly #byScope: Record<string, number> = {};
  readonly #byOperation: Record<string, number> = {};

  constructor(pair: CrashPair, options: CampaignOptions) {
    this.#pair = pair;
    this.#options = options;
    this.#chance = options.chance;
    this.#coverage = new Coverage(options.chance, options.earlier);
  }

  async run(): Promise<Report> {
    const { kills, stops, fulls, census, say, after } = this.#options;
    const started = performance.now();
    await this.#rest('the first copies');
    this.#notePassed('rest');
    if (census) for (const operation of this.#operations) await this.#peacefulRound(operation);
    while (this.#kills < kills || this.#stopped < stops || this.#fulls < fulls) {
      this.#rounds += 1;
      const before = performance.now();
      const text = await this.#round();
      say(
        `${this.#kills}/${kills} kills, round ${this.#rounds}, ${Math.round(performance.now() - before)} ms: ${text}`,
      );
      after?.(this.#report(started));
    }
    await this.#finish();
    return this.#report(started);
  }

  #report(started: number): Report {
    return {
      rounds: this.#rounds,
      kills: this.#kills,
      byScope: this.#byScope,
      points: this.#coverage.rows(),
      byOperation: this.#byOperation,
      powerCuts: this.#powerCuts,
      sectorsLost: this.#sectorsLost,
      stops: this.#stops,
      fulls: this.#fulls,
      requests: this.#pair.protecteds.flatMap(({ hosts }) => hosts).reduce((sum, host) => sum + host.requests, 0),
      changesChecked: this.#checked,
      took_ms: Math.round(performance.now() - started),
    };
  }

  // --- rounds -------------------------------------------------------------------------------------------------------

  async #round(): Promise<string> {
    const { kills, stops, fulls, stopEvery, fullEvery } = this.#options;
    const killed = this.#kills >= kills;
    if (this.#stopped < stops && (killed || this.#rounds % stopEvery === 0)) return this.#stopRound();
    if (this.#fulls < fulls && (killed || this.#rounds % fullEvery === 0)) return this.#fullRound();
    return this.#killRound();
  }

  /** Nobody dies: shows which points an operation passes. */
  async #peacefulRound(operation: OperationName): Promise<void> {
    await this.#writeSome();
    const operating = this.#operate(operation);
    await operating;
    await this.#pair.stopHosts();
    this.#notePassed(operation);
    this.#pair.heal();
    await this.#settle(operation === 'unplanned', new Set());
    this.#notePassed('rest');
  }

  async #killRound(): Promise<string> {
    const pair = this.#pair;
    const aims = this.#chance() < this.#options.aimed ? this.#aims() : [];
    const operation = (aims[0]?.phase as OperationName | undefined) ?? this.#pick(this.#operations);
    const lost = new Set<CrashSite>();
    await this.#writeSome();
    this.#takePassed();
    const unplanned = operation === 'unplanned';
    const [kill, ...others] = this.#plan(aims);
    const operating = this.#operate(operation);
    const killed = await this.#carryOut(kill!, operating);
    this.#note(killed);
    let text = `${operation}, ${describe(killed)}`;
    // Hosts of the other site go on for a moment.
    await pause(this.#chance() * 150);
    await pair.stopHosts();
    // A failover in doubt waits for the peer, which may be the one that is dead.
    await Promise.race([operating, pause(patience_ms)]);
    const isolated = killed.scope === 'cluster' && this.#chance() < 0.3;
    if (isolated) pair.cut();
    await this.#recover(killed, lost);
    if (isolated) {
      text += ', read before contact';
      await this.#readCopies();
      pair.heal();
    }
    text += this.#takeOrders(others);
    this.#notePassed(operation);
    // Others die while the first is being recovered from, at both sites side by side.
    text += (await Promise.all(pair.sites.map((site) => this.#killMore(site, lost)))).join('');
    for (const site of lost) text += `, power cut at ${site.name}`;
    pair.heal();
    await operating;
    const armed = this.#armForRest();
    const settled = await this.#settle(unplanned, lost);
    const died = this.#takeOrders(armed);
    // The last of them may have died after all was looked at.
    if (died !== '') await Promise.all(pair.sites.map((site) => this.#answers(site)));
    text += died;
    this.#notePassed('rest');
    return `${text}; ${settled}`;
  }

  /** A row of deaths at one site, each while it comes back from the one before. */
  async #killMore(site: CrashSite, lost: Set<CrashSite>): Promise<string> {
    let text = '';
    for (let more = 0; more < 5 && this.#chance() < this.#options.more; more++) {
      await pause(this.#chance() * 500);
      const scope = this.#scope();
      // Often the two that depend on each other die one shortly after the other.
      const other = scope === 'dataplane' ? 'management' : scope === 'management' ? 'dataplane' : undefined;
      const scopes = other !== undefined && this.#chance() < 0.6 ? [scope, other] : [scope];
      for (const [index, one] of scopes.entries()) {
        if (index > 0) await pause(this.#chance() * 400);
        const kill: Kill = { site, scope: one, target: undefined };
        if (site.kill(one) === 0) continue;
        this.#note(kill);
        text += `, then ${describe(kill)}`;
      }
      await this.#recover({ site, scope, target: undefined }, lost);
    }
    return text;
  }

  /** Takes orders back; notes those that were carried out. */
  #takeOrders(kills: readonly Kill[]): string {
    let text = '';
    for (const kill of kills) {
      if (kill.site.settleOrder(kill.target!.point)) {
        this.#note(kill);
        text += `, then ${describe(kill)}`;
      } else this.#coverage.missed(kill.target!);
    }
    return text;
  }

  /** Single processes die on the way to rest as well. */
  #armForRest(): Kill[] {
    if (this.#chance() >= this.#options.aimed) return [];
    return this.#coverage.choose(1 + Math.floor(this.#chance() * moreOrders), this.#roles(), ['rest']).map((target) => {
      const site = this.#siteOf(target);
      site.order(target.point, { skip: this.#chance() < 0.5 ? 0 : Math.floor(this.#chance() * 3), whom: 'process' });
      return { site, scope: processOf(target.point), target };
    });
  }

  /** Processes that do nothing for a while, as in a machine that swaps or a virtual machine that is being moved. */
  async #stopRound(): Promise<string> {
    const pair = this.#pair;
    // Each kind of process at each site in turn.
    const site = pair.sites[this.#stopped % 2]!;
    const scope = stoppable[Math.floor(this.#stopped / 2) % stoppable.length]!;
    await this.#writeSome();
    const stopped = site.processes().filter(({ kind }) => scope === 'cluster' || kind === scope);
    const operation = this.#pick(
      this.#operations.filter((name) => ['sync', 'pause', 'planned', 'test'].includes(name)),
    );
    site.signal(stopped, 'SIGSTOP');
    const operating = this.#operate(operation);
    await pause(this.#options.stop_ms);
    site.signal(stopped, 'SIGCONT');
    this.#stopped += 1;
    const what = `${scope} of ${site.name}`;
    this.#stops[what] = (this.#stops[what] ?? 0) + 1;
    await pair.stopHosts();
    await operating;
    await this.#answers(site);
    return `${operation}, ${what} stopped for ${this.#options.stop_ms} ms; ${await this.#settle(false, new Set())}`;
  }

  /** A disk that somebody else fills to its last byte while hosts write, and processes die on it; then the space comes back. */
  async #fullRound(): Promise<string> {
    const pair = this.#pair;
    const site = pair.sites[this.#fulls % 2]!;
    await this.#writeSome();
    const operation = this.#pick(this.#operations.filter((name) => ['sync', 'pause', 'members'].includes(name)));
    const empty = pair.fill(site);
    let text = `${operation}, disk of ${site.name} full`;
    let starting: Promise<boolean> | undefined;
    try {
      const operating = this.#operate(operation);
      await pause(500 + this.#chance() * 1_500);
      for (let more = 0; more < 3; more++) {
        const kill: Kill = {
          site: this.#chance() < 0.7 ? site : pair.sites.find((other) => other !== site)!,
          scope: this.#scope(),
          target: undefined,
        };
        // One that was killed as a whole is on its way back, and need not get there before there is space.
        if ((kill.site === site && starting !== undefined) || kill.site.kill(kill.scope) === 0) continue;
        this.#note(kill);
        text += `, ${describe(kill)}`;
        if (kill.site !== site) await this.#recover(kill, new Set());
        else if (kill.scope === 'cluster' || kill.scope === 'supervisor') {
          await site.gone();
          starting = site.start();
          // Heard where it is awaited.
          starting.catch(() => undefined);
        }
        await pause(this.#chance() * 2_000);
      }
      await pair.stopHosts();
      await operating;
    } finally {
      empty();
    }
    if (starting !== undefined && !(await starting) && !(await site.start()))
      throw new Error(`${site.name} does not start when there is space again: ${site.lastLines()}`);
    await this.#answers(site);
    this.#fulls += 1;
    return `${text}; ${await this.#settle(false, new Set())}`;
  }

  /** Hosts write until each has something to lose. */
  async #writeSome(): Promise<void> {
    const pair = this.#pair;
    pair.startHosts();
    const hosts = pair.protecteds.flatMap((what) => what.hosts);
    const end = performance.now() + 120_000;
    const wanted = 10 + Math.floor(this.#chance() * 60);
    while (hosts.some((host) => host.acknowledged < wanted)) {
      const ended = hosts.find((host) => host.ended !== undefined);
      if (ended !== undefined)
        throw new Error(`a host on ${ended.volumes.join()} cannot write at rest: ${ended.ended}`);
      if (performance.now() > end) throw new Error('hosts do not get on');
      await pause(10);
    }
  }

  /** The operation on both protected objects; never rejects: it is meant to be cut off. */
  async #operate(operation: OperationName): Promise<void> {
    this.#byOperation[operation] = (this.#byOperation[operation] ?? 0) + 1;
    await Promise.all(this.#pair.protecteds.map((what) => operations[operation](this.#pair, what).catch(interrupted)));
  }

  // --- killing ------------------------------------------------------------------------------------------------------

  /** Orders for the points that were chosen; the first is the one to wait for. Without any: a death at a moment of its own. */
  #plan(aims: readonly Target[]): Kill[] {
    if (aims.length === 0) return [{ site: this.#pick(this.#pair.sites), scope: this.#scope(), target: undefined }];
    return aims.map((target, index) => {
      const site = this.#siteOf(target);
      const whom = index === 0 && this.#chance() < 0.3 ? 'cluster' : 'process';
      site.order(target.point, { skip: this.#chance() < 0.75 ? 0 : 1 + Math.floor(this.#chance() * 2), whom });
      return { site, scope: whom === 'cluster' ? 'cluster' : processOf(target.point), target };
    });
  }

  /** Waits until the death has happened; one whose point is not reached comes at a moment of its own. */
  async #carryOut(kill: Kill, operating: Promise<void>): Promise<Kill> {
    const { site, target } = kill;
    if (target === undefined) {
      await pause(this.#chance() * 700);
    } else {
      const { point } = target;
      let over = false;
      void operating.then(() => {
        over = true;
      });
      const end = performance.now() + 6_000;
      let grace = 40;
      while (!site.wasHit(point) && performance.now() < end && grace > 0) {
        await pause(20);
        if (over) grace -= 1;
      }
      if (site.settleOrder(point)) return kill;
      this.#coverage.missed(target);
    }
    const instead: Kill = { site, scope: kill.scope, target: undefined };
    if (site.kill(instead.scope) > 0) return instead;
    // It is dead already, at a further order: then all of them die.
    site.kill('cluster');
    return { ...instead, scope: 'cluster' };
  }

  /** The cluster is up again, by its own supervisor or by being started. */
  async #recover({ site, scope }: Kill, lost: Set<CrashSite>): Promise<void> {
    if (scope === 'cluster') await this.#afterDeath(site, lost);
    // What a dead supervisor left may still be there when the next one comes: that is part of the promise.
    if (scope === 'cluster' || scope === 'supervisor') await this.#startAgain(site, scope, lost);
    await this.#answers(site);
  }

  /** The start, too, may be cut off, more than once: by a death of its own, or at a point that is still armed. */
  async #startAgain(site: CrashSite, scope: Scope, lost: Set<CrashSite>): Promise<void> {
    for (let started = false, again = 0; !started; again++) {
      const cutOff = scope === 'cluster' && again < 3 && this.#chance() < 0.4;
      const hits = site.hits;
      const starting = site.start();
      if (cutOff) {
        await pause(100 + this.#chance() * 1_500);
        if (site.kill('cluster') > 0) this.#note({ site, scope, target: undefined });
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
    const mode = site.canLose && this.#chance() < 0.6 ? this.#pick(lossModes) : undefined;
    const loss = site.lose(mode, this.#chance);
    if (mode === undefined) return;
    this.#powerCuts += 1;
    this.#sectorsLost += loss.sectors;
    lost.add(site);
  }

  /** The site serves REST, and every volume of a host. */
  async #answers(site: CrashSite): Promise<void> {
    const names = this.#pair.protecteds.flatMap(({ hosts }) => hosts.flatMap(({ volumes }) => volumes));
    const end = performance.now() + answer_ms;
    for (;;) {
      try {
        await site.client.all('cluster', { select: 'id' });
        // Appliances come back one by one.
        for (const name of names) await (await site.open(name)).close();
        return;
      } catch (error) {
        if (performance.now() > end)
          throw new Error(`${site.name} does not answer: ${String(error)}: ${site.lastLines()}`);
        await pause(60);
      }
    }
  }

  // --- looking ------------------------------------------------------------------------------------------------------

  /** Without contact each site shows one complete moment, whatever its part. */
  async #readCopies(): Promise<void> {
    for (const what of this.#pair.protecteds)
      for (const host of what.hosts) {
        host.fit(await this.#pair.images(what.destination, host), 0, `${what.destination.name} before contact`);
        this.#checked += host.issued;
      }
  }

  /** Brings both to rest, and looks for what hosts were told. */
  async #settle(unplanned: boolean, lost: ReadonlySet<CrashSite>): Promise<string> {
    const floors = new Map(
      this.#pair.protecteds.flatMap((what) => {
        // After an unplanned failover the copy may be as old as the last rest; after a power cut what was not flushed may be gone.
        const least = (host: { acknowledged: number; flushed: number }) =>
          unplanned ? 0 : lost.has(what.source) ? host.flushed : host.acknowledged;
        return what.hosts.map((host) => [host, least(host)] as const);
      }),
    );
    const issued = this.#pair.protecteds.flatMap(({ hosts }) => hosts).reduce((sum, host) => sum + host.issued, 0);
    await this.#rest('after the kill', (host) => floors.get(host) ?? 0);
    this.#checked += issued;
    return `${issued} changes looked for at both sites`;
  }

  async #rest(where: string, floor: (host: Parameters<CrashPair['images']>[1]) => number = () => 0): Promise<void> {
    const pair = this.#pair;
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
  async #finish(): Promise<void> {
    for (const site of this.#pair.sites) {
      const code = await site.stop();
      if (code !== 0) throw new Error(`${site.name} ended with ${code}: ${site.lastLines()}`);
      await run(process.execPath, [cli, 'fsck', '--data', site.data]).catch((error: { stdout?: string }) => {
        throw new Error(`fsck finds damage at ${site.name}: ${error.stdout ?? String(error)}`);
      });
    }
  }

  // --- chance -------------------------------------------------------------------------------------------------------

  get #operations(): readonly OperationName[] {
    return this.#options.operations ?? operationNames;
  }

  #aims(): readonly Target[] {
    const roles = this.#roles();
    const [best] = this.#coverage.choose(1, roles, this.#operations);
    if (best === undefined) return [];
    return this.#coverage.choose(1 + Math.floor(this.#chance() * (1 + moreOrders)), roles, [best.phase]);
  }

  #siteOf({ site }: Target): CrashSite {
    return this.#pair.sites.find(({ name }) => name === site)!;
  }

  #roles(): Map<string, Role> {
    return new Map(
      this.#pair.sites.map((site): [string, Role] => {
        const isSource = this.#pair.protecteds.map(({ source }) => source === site);
        return [site.name, !isSource.includes(false) ? 'source' : isSource.includes(true) ? 'mixed' : 'destination'];
      }),
    );
  }

  #takePassed(): ReadonlyMap<string, readonly string[]> {
    return new Map(this.#pair.sites.map((site) => [site.name, site.takePassed()]));
  }

  /** What was passed since it was asked last was passed in this phase, by roles that sites had when it began. */
  #notePassed(phase: Phase): void {
    for (const [site, names] of this.#takePassed()) this.#coverage.passed(names, this.#roles().get(site)!, phase);
  }

  #scope(): Scope {
    const value = this.#chance();
    return value < 0.2 ? 'cluster' : value < 0.58 ? 'dataplane' : value < 0.92 ? 'management' : 'supervisor';
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#chance() * from.length)]!;
  }

  #note({ scope, target }: Kill): void {
    this.#kills += 1;
    this.#byScope[scope] = (this.#byScope[scope] ?? 0) + 1;
    if (target !== undefined) this.#coverage.killed(target);
  }
}

const describe = ({ site, scope, target }: Kill): string =>
  `${scope} of ${site.name} killed${target === undefined ? '' : ` at ${target.point}`}`;

/** Which process passes a point. */
const processOf = (point: string): Scope => (/^(session|peer|catalog)\./.test(point) ? 'management' : 'dataplane');

function interrupted(error: unknown): void {
  // Hosts' own words are heard where hosts are; here an operator's command was cut off, or refused for what a kill had left.
  if (error instanceof Error && error.name === 'NbdError') return;
  passing(error);
}
