import { setTimeout as pause } from 'node:timers/promises';
import type { Target } from './coverage.ts';
import { CrashPair } from './crash-pair.ts';
import { type CrashSite, type Scope, scopes } from './crash-site.ts';
import type { OperationName } from './operations.ts';
import { processOf } from './points.ts';
import { describe, type Kill, type Report, type RoundOptions, Rounds } from './rounds.ts';
import { Walk } from './walk.ts';

export interface CampaignOptions extends RoundOptions {
  /** First, a death at each of these points at each site at which nobody has died there yet. */
  readonly walk?: readonly string[];
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
}

/** So long an operation may take before somebody looks after who has died. */
const patience_ms = 5_000;
/** Further orders beside the one that a round waits for. */
const moreOrders = 3;

/**
 * Rounds of: hosts write, an operator does something, a process or a whole cluster dies in the middle of it, perhaps another one
 * while the first comes back; then what hosts were told is looked for, both sites are brought to rest, and their images compared.
 * Throws at the first thing that is not as promised.
 */
export async function runCampaign(options: CampaignOptions): Promise<Report> {
  const pair = new CrashPair(options);
  try {
    await pair.start();
    const rounds = new Rounds(pair, options);
    await rounds.rest('the first copies');
    rounds.notePassed('rest');
    if (options.walk !== undefined) await new Walk(rounds, options.walk, options.appliances).run();
    await new Campaign(rounds, options).run();
    await rounds.finish();
    return rounds.report();
  } finally {
    await pair.stop();
  }
}

/** Rounds whose operations, victims and moments come by chance. */
class Campaign {
  readonly #rounds: Rounds;
  readonly #options: CampaignOptions;
  #stopped = 0;

  constructor(rounds: Rounds, options: CampaignOptions) {
    this.#rounds = rounds;
    this.#options = options;
  }

  async run(): Promise<void> {
    const rounds = this.#rounds;
    const { kills, stops, fulls, census } = this.#options;
    if (census) for (const operation of rounds.operations) await this.#peacefulRound(operation);
    while (rounds.kills < kills || this.#stopped < stops || rounds.fulls < fulls)
      await rounds.round(() => this.#round(), `/${kills} kills`);
  }

  // --- rounds -------------------------------------------------------------------------------------------------------

  async #round(): Promise<string> {
    const { kills, stops, fulls, stopEvery, fullEvery } = this.#options;
    const rounds = this.#rounds;
    const killed = rounds.kills >= kills;
    if (this.#stopped < stops && (killed || rounds.rounds % stopEvery === 0)) return this.#stopRound();
    if (rounds.fulls < fulls && (killed || rounds.rounds % fullEvery === 0)) return this.#fullRound();
    return this.#killRound();
  }

  /** Nobody dies: shows which points an operation passes. */
  async #peacefulRound(operation: OperationName): Promise<void> {
    await this.#rounds.writeSome();
    const operating = this.#rounds.operate(operation);
    await operating;
    await this.#rounds.pair.stopHosts();
    this.#rounds.notePassed(operation);
    this.#rounds.pair.heal();
    await this.#rounds.settle(operation === 'unplanned', new Set());
    this.#rounds.notePassed('rest');
  }

  async #killRound(): Promise<string> {
    const pair = this.#rounds.pair;
    const aims = this.#chance() < this.#options.aimed ? this.#aims() : [];
    const fewest = this.#fewest();
    const operation = (aims[0]?.phase as OperationName | undefined) ?? fewest.operation;
    const lost = new Set<CrashSite>();
    await this.#rounds.writeSome();
    this.#rounds.takePassed();
    const unplanned = operation === 'unplanned';
    const [kill, ...others] = this.#plan(aims, fewest);
    const operating = this.#rounds.operate(operation);
    const killed = await this.#carryOut(kill!, operating);
    this.#rounds.note(killed, operation);
    let text = `${operation}, ${describe(killed)}`;
    // Hosts of the other site go on for a moment.
    await pause(this.#chance() * 150);
    await pair.stopHosts();
    // A failover in doubt waits for the peer, which may be the one that is dead.
    await Promise.race([operating, pause(patience_ms)]);
    const isolated = killed.scope === 'cluster' && this.#chance() < 0.3;
    if (isolated) pair.cut();
    await this.#rounds.recover(killed, lost);
    if (isolated) {
      text += ', read before contact';
      await this.#rounds.readCopies();
      pair.heal();
    }
    text += this.#takeOrders(others);
    this.#rounds.notePassed(operation);
    // Others die while the first is being recovered from, at both sites side by side.
    text += (await Promise.all(pair.sites.map((site) => this.#killMore(site, lost)))).join('');
    for (const site of lost) text += `, power cut at ${site.name}`;
    pair.heal();
    await operating;
    const armed = this.#armForRest();
    const settled = await this.#rounds.settle(unplanned, lost);
    const died = this.#takeOrders(armed);
    // The last of them may have died after all was looked at.
    if (died !== '') await Promise.all(pair.sites.map((site) => this.#rounds.answers(site)));
    text += died;
    this.#rounds.notePassed('rest');
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
      const dying: readonly Scope[] = other !== undefined && this.#chance() < 0.6 ? [scope, other] : [scope];
      for (const [index, one] of dying.entries()) {
        if (index > 0) await pause(this.#chance() * 400);
        const kill: Kill = { site, scope: one, target: undefined };
        if (site.kill(one) === 0) continue;
        this.#rounds.note(kill, 'rest');
        text += `, then ${describe(kill)}`;
      }
      await this.#rounds.recover({ site, scope }, lost);
    }
    return text;
  }

  /** Takes orders back; notes those that were carried out. */
  #takeOrders(kills: readonly Kill[]): string {
    let text = '';
    for (const kill of kills) {
      if (kill.site.settleOrder(kill.target!.point)) {
        this.#rounds.note(kill, kill.target!.phase);
        text += `, then ${describe(kill)}`;
      } else this.#rounds.coverage.missed(kill.target!);
    }
    return text;
  }

  /** Single processes die on the way to rest as well. */
  #armForRest(): Kill[] {
    if (this.#chance() >= this.#options.aimed) return [];
    return this.#rounds.coverage
      .choose(1 + Math.floor(this.#chance() * moreOrders), this.#rounds.roles(), ['rest'])
      .map((target) => {
        const site = this.#rounds.siteOf(target);
        site.order(target.point, { skip: this.#chance() < 0.5 ? 0 : Math.floor(this.#chance() * 3), whom: 'process' });
        return { site, scope: processOf(target.point), target };
      });
  }

  /** Processes that do nothing for a while, as in a machine that swaps or a virtual machine that is being moved. */
  async #stopRound(): Promise<string> {
    const pair = this.#rounds.pair;
    // Each kind of process at each site in turn.
    const site = pair.sites[this.#stopped % 2]!;
    const scope = scopes[Math.floor(this.#stopped / 2) % scopes.length]!;
    await this.#rounds.writeSome();
    const stopped = site.processes().filter(({ kind }) => scope === 'cluster' || kind === scope);
    const operation = this.#rounds.pick(
      this.#rounds.operations.filter((name) => ['sync', 'pause', 'planned', 'test'].includes(name)),
    );
    site.signal(stopped, 'SIGSTOP');
    const operating = this.#rounds.operate(operation);
    await pause(this.#options.stop_ms);
    site.signal(stopped, 'SIGCONT');
    this.#stopped += 1;
    const what = `${scope} of ${site.name}`;
    this.#rounds.stops[what] = (this.#rounds.stops[what] ?? 0) + 1;
    await pair.stopHosts();
    await operating;
    await this.#rounds.answers(site);
    return `${operation}, ${what} stopped for ${this.#options.stop_ms} ms; ${await this.#rounds.settle(false, new Set())}`;
  }

  /** A disk that somebody else fills to its last byte while hosts write, and processes die on it; then the space comes back. */
  async #fullRound(): Promise<string> {
    const pair = this.#rounds.pair;
    const site = pair.sites[this.#rounds.fulls % 2]!;
    await this.#rounds.writeSome();
    const operation = this.#rounds.pick(
      this.#rounds.operations.filter((name) => ['sync', 'pause', 'members'].includes(name)),
    );
    const empty = pair.fill(site);
    let text = `${operation}, disk of ${site.name} full`;
    let starting: Promise<boolean> | undefined;
    try {
      const operating = this.#rounds.operate(operation);
      await pause(500 + this.#chance() * 1_500);
      for (let more = 0; more < 3; more++) {
        const kill: Kill = {
          site: this.#chance() < 0.7 ? site : pair.sites.find((other) => other !== site)!,
          scope: this.#scope(),
          target: undefined,
        };
        // One that was killed as a whole is on its way back, and need not get there before there is space.
        if ((kill.site === site && starting !== undefined) || kill.site.kill(kill.scope) === 0) continue;
        this.#rounds.note(kill, operation);
        text += `, ${describe(kill)}`;
        if (kill.site !== site) await this.#rounds.recover(kill, new Set());
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
    await this.#rounds.answers(site);
    this.#rounds.fulls += 1;
    return `${text}; ${await this.#rounds.settle(false, new Set())}`;
  }

  // --- killing ------------------------------------------------------------------------------------------------------

  /** Orders for the points that were chosen; the first is the one to wait for. Without any: a death at a moment of its own. */
  #plan(aims: readonly Target[], fewest: Pick<Kill, 'site' | 'scope'>): Kill[] {
    if (aims.length === 0) return [{ site: fewest.site, scope: fewest.scope, target: undefined }];
    return aims.map((target, index) => {
      const site = this.#rounds.siteOf(target);
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
      this.#rounds.coverage.missed(target);
    }
    const instead: Kill = { site, scope: kill.scope, target: undefined };
    if (site.kill(instead.scope) > 0) return instead;
    // It is dead already, at a further order: then all of them die.
    site.kill('cluster');
    return { ...instead, scope: 'cluster' };
  }

  // --- chance -------------------------------------------------------------------------------------------------------

  get #chance(): () => number {
    return this.#rounds.chance;
  }

  #aims(): readonly Target[] {
    const { coverage, operations } = this.#rounds;
    const roles = this.#rounds.roles();
    const [best] = coverage.choose(1, roles, operations);
    if (best === undefined) return [];
    return coverage.choose(1 + Math.floor(this.#chance() * (1 + moreOrders)), roles, [best.phase]);
  }

  /** Where the fewest have died so far: during which operation, of which kind and where. */
  #fewest(): { readonly operation: OperationName; readonly site: CrashSite; readonly scope: Scope } {
    const { deaths, operations, pair } = this.#rounds;
    const all = operations.flatMap((operation) =>
      pair.sites.flatMap((site) =>
        scopes.map((scope) => ({
          ...{ operation, site, scope },
          worth: deaths.count(operation, scope, site.name) + this.#chance(),
        })),
      ),
    );
    return all.reduce((best, one) => (one.worth < best.worth ? one : best));
  }

  #scope(): Scope {
    const value = this.#chance();
    return value < 0.2 ? 'cluster' : value < 0.58 ? 'dataplane' : value < 0.92 ? 'management' : 'supervisor';
  }
}
