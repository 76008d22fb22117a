import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CrashPair, type PairOptions, passing } from './crash-pair.ts';
import type { CrashSite, Scope } from './crash-site.ts';
import { type OperationName, operationNames, operations } from './operations.ts';
import { type Point, points } from './points.ts';
import { lossModes } from './write-loss.ts';

const run = promisify(execFile);
const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');

export interface CampaignOptions extends PairOptions {
  readonly kills: number;
  /** Share of kills that are aimed at a named point; the others come at random moments. */
  readonly aimed: number;
  /** How long a process is stopped for by SIGSTOP, and after how many rounds the next one is. */
  readonly stop_ms: number;
  readonly stopEvery: number;
  /** Where in the list of points to begin. */
  readonly firstPoint: number;
  readonly say: (line: string) => void;
}

export interface Report {
  readonly rounds: number;
  readonly kills: number;
  readonly byScope: Readonly<Record<string, number>>;
  /** Kills that were carried out at a point, by its name. */
  readonly byPoint: Readonly<Record<string, number>>;
  readonly byOperation: Readonly<Record<string, number>>;
  readonly powerCuts: number;
  readonly sectorsLost: number;
  readonly stops: number;
  readonly requests: number;
  readonly changesChecked: number;
  readonly took_ms: number;
}

interface Kill {
  readonly site: CrashSite;
  readonly scope: Scope;
  readonly point: string | undefined;
}

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
  #stops = 0;
  #checked = 0;
  #nextPoint: number;
  readonly #byScope: Record<string, number> = {};
  readonly #byPoint: Record<string, number> = {};
  readonly #byOperation: Record<string, number> = {};

  constructor(pair: CrashPair, options: CampaignOptions) {
    this.#pair = pair;
    this.#options = options;
    this.#chance = options.chance;
    this.#nextPoint = options.firstPoint;
  }

  async run(): Promise<Report> {
    const { kills, stopEvery, say } = this.#options;
    const started = performance.now();
    await this.#rest('the first copies');
    while (this.#kills < kills) {
      this.#rounds += 1;
      const before = performance.now();
      const text = this.#rounds % stopEvery === 0 ? await this.#stopRound() : await this.#killRound();
      say(
        `${this.#kills}/${kills} kills, round ${this.#rounds}, ${Math.round(performance.now() - before)} ms: ${text}`,
      );
    }
    await this.#finish();
    return {
      rounds: this.#rounds,
      kills: this.#kills,
      byScope: this.#byScope,
      byPoint: this.#byPoint,
      byOperation: this.#byOperation,
      powerCuts: this.#powerCuts,
      sectorsLost: this.#sectorsLost,
      stops: this.#stops,
      requests: this.#pair.protecteds.flatMap(({ hosts }) => hosts).reduce((sum, host) => sum + host.requests, 0),
      changesChecked: this.#checked,
      took_ms: Math.round(performance.now() - started),
    };
  }

  // --- rounds -------------------------------------------------------------------------------------------------------

  async #killRound(): Promise<string> {
    const pair = this.#pair;
    const aim = this.#chance() < this.#options.aimed ? this.#takePoint() : undefined;
    const operation = aim?.operation ?? this.#pick(operationNames);
    const lost = new Set<CrashSite>();
    await this.#writeSome();
    const unplanned = operation === 'unplanned';
    const kill = this.#plan(aim);
    const operating = this.#operate(operation);
    const killed = await this.#carryOut(kill, operating);
    this.#note(killed);
    let text = `${operation}, ${describe(killed)}`;
    // Hosts of the other site go on for a moment.
    await pause(this.#chance() * 150);
    await pair.stopHosts();
    await operating;
    const isolated = killed.scope === 'cluster' && this.#chance() < 0.3;
    if (isolated) pair.cut();
    await this.#recover(killed, lost);
    if (isolated) {
      text += ', read before contact';
      await this.#readCopies();
      pair.heal();
    }
    // Others die while the first is being recovered from.
    for (let more = 0; more < 6 && this.#chance() < 0.65; more++) {
      await pause(this.#chance() * 500);
      const next: Kill = { site: this.#pick(pair.sites), scope: this.#scope(), point: undefined };
      if (next.site.kill(next.scope) === 0) continue;
      this.#note(next);
      text += `, then ${describe(next)}`;
      await this.#recover(next, lost);
    }
    for (const site of lost) text += `, power cut at ${site.name}`;
    pair.heal();
    const armed = this.#armForRest();
    const settled = await this.#settle(unplanned, lost);
    for (const kill of armed) {
      if (!kill.site.settleOrder(kill.point!)) continue;
      this.#note(kill);
      text += `, then ${describe(kill)}`;
    }
    return `${text}; ${settled}`;
  }

  /** Single processes die on the way to rest as well. */
  #armForRest(): Kill[] {
    const kills: Kill[] = [];
    for (let index = 0; index < 2 && this.#chance() < this.#options.aimed; index++) {
      const what = this.#pick(this.#pair.protecteds);
      const { name, side } = this.#pick(points.filter(({ operation }) => operation === 'sync'));
      const site = side === 'source' ? what.source : what.destination;
      if (kills.some((kill) => kill.site === site && kill.point === name)) continue;
      site.order(name, { skip: Math.floor(this.#chance() * 3), whom: 'process' });
      kills.push({ site, scope: processOf(name), point: name });
    }
    return kills;
  }

  /** Processes that do nothing for a while, as in a machine that swaps or a virtual machine that is being moved. */
  async #stopRound(): Promise<string> {
    const pair = this.#pair;
    const site = this.#pick(pair.sites);
    const scope = this.#scope();
    await this.#writeSome();
    const stopped = site.processes().filter(({ kind }) => scope === 'cluster' || kind === scope);
    const operation = this.#pick(['sync', 'pause'] as const);
    site.signal(stopped, 'SIGSTOP');
    const operating = this.#operate(operation);
    await pause(this.#options.stop_ms);
    site.signal(stopped, 'SIGCONT');
    this.#stops += 1;
    await pair.stopHosts();
    await operating;
    return `${operation}, ${scope} of ${site.name} stopped for ${this.#options.stop_ms} ms; ${await this.#settle(false, new Set())}`;
  }

  /** Hosts write until each has something to lose. */
  async #writeSome(): Promise<void> {
    const pair = this.#pair;
    pair.startHosts();
    const hosts = pair.protecteds.flatMap((what) => what.hosts);
    const end = performance.now() + 30_000;
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

  #plan(aim: Point | undefined): Kill {
    if (aim === undefined) return { site: this.#pick(this.#pair.sites), scope: this.#scope(), point: undefined };
    const what = this.#pick(this.#pair.protecteds);
    const site = aim.side === 'source' ? what.source : what.destination;
    const whom = this.#chance() < 0.4 ? 'cluster' : 'process';
    site.order(aim.name, { skip: this.#chance() < 0.6 ? 0 : 1 + Math.floor(this.#chance() * 3), whom });
    return { site, scope: whom === 'cluster' ? 'cluster' : processOf(aim.name), point: aim.name };
  }

  /** Waits until the death has happened; one whose point is not reached comes at a moment of its own. */
  async #carryOut(kill: Kill, operating: Promise<void>): Promise<Kill> {
    const { site, point } = kill;
    if (point === undefined) {
      await pause(this.#chance() * 700);
    } else {
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
    }
    const instead: Kill = { site, scope: kill.scope, point: undefined };
    if (site.kill(instead.scope) === 0) site.kill('cluster');
    return instead;
  }

  /** The cluster is up again, by its own supervisor or by being started. */
  async #recover({ site, scope }: Kill, lost: Set<CrashSite>): Promise<void> {
    // What a dead supervisor left may still be there when the next one comes: that is part of the promise.
    if (scope === 'supervisor' && !(await site.start()))
      throw new Error(`${site.name} does not start: ${site.lastLines()}`);
    if (scope === 'cluster') {
      await this.#afterDeath(site, lost);
      // The start, too, may be cut off, more than once.
      for (let started = false, again = 0; !started; again++) {
        const cutOff = again < 3 && this.#chance() < 0.4;
        const starting = site.start();
        if (cutOff) {
          await pause(100 + this.#chance() * 1_500);
          if (site.kill('cluster') > 0) this.#note({ site, scope, point: undefined });
        }
        started = (await starting) && site.running;
        if (cutOff) {
          started = false;
          await this.#afterDeath(site, lost);
        } else if (!started) throw new Error(`${site.name} does not start: ${site.lastLines()}`);
      }
    }
    await this.#answers(site);
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

  async #answers(site: CrashSite): Promise<void> {
    const end = performance.now() + 60_000;
    for (;;) {
      try {
        await site.client.all('cluster', { select: 'id' });
        const device = await site.open('ledger');
        await device.close();
        return;
      } catch (error) {
        if (performance.now() > end)
          throw new Error(`${site.name} does not answer: ${String(error)}: ${site.lastLines()}`);
        await pause(25);
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

  #takePoint(): Point {
    const point = points[this.#nextPoint % points.length]!;
    this.#nextPoint += 1;
    return point;
  }

  #scope(): Scope {
    const value = this.#chance();
    return value < 0.35 ? 'cluster' : value < 0.65 ? 'dataplane' : value < 0.9 ? 'management' : 'supervisor';
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#chance() * from.length)]!;
  }

  #note({ scope, point }: Kill): void {
    this.#kills += 1;
    this.#byScope[scope] = (this.#byScope[scope] ?? 0) + 1;
    if (point !== undefined) this.#byPoint[point] = (this.#byPoint[point] ?? 0) + 1;
  }
}

const describe = ({ site, scope, point }: Kill): string =>
  `${scope} of ${site.name} killed${point === undefined ? '' : ` at ${point}`}`;

/** Which process passes a point. */
const processOf = (point: string): Scope => (/^(session|peer|catalog)\./.test(point) ? 'management' : 'dataplane');

function interrupted(error: unknown): void {
  // Hosts' own words are heard where hosts are; here an operator's command was cut off, or refused for what a kill had left.
  if (error instanceof Error && error.name === 'NbdError') return;
  passing(error);
}
