import { setTimeout as pause } from 'node:timers/promises';
import type { Target } from './coverage.ts';
import type { CrashSite } from './crash-site.ts';
import { operations } from './operations.ts';
import { type Point, points, pointsOfMoves, processOf } from './points.ts';
import { describe, type Kill, type Rounds } from './rounds.ts';

/** A point at a site, and the ways that lead there. */
interface Goal {
  readonly point: string;
  readonly site: string;
  readonly ways: readonly Point[];
  attempts: number;
}

/** So many points are armed in one round at most: each death may be followed by another one on the way back. */
const together = 4;
/** After so many rounds in which nobody died of those that were waited for, a goal is given up. */
const patience = 3;
/** How long what goes on by itself (checkpoints, compaction) may take once the operation is over. */
const after_ms = 8_000;
const most_ms = 120_000;

const cost = ({ operation }: Point): number => Number(operation === 'upgrade');

/**
 * Leads to one point after the other at each site, has a process die there, and looks at everything as after any death. A point belongs
 * to a side of a session: for the other site the sessions are turned round.
 */
export class Walk {
  readonly #rounds: Rounds;
  #goals: Goal[];

  constructor(rounds: Rounds, names: readonly string[], appliances: number) {
    this.#rounds = rounds;
    const all = names.flatMap((point) =>
      rounds.pair.sites.map(({ name: site }) => ({
        ...{ point, site, attempts: 0 },
        ways: points.filter(({ name }) => name === point),
      })),
    );
    const left = all.filter(({ point, site }) => !rounds.coverage.hasDied(point, site));
    const possible = (goal: Goal) => goal.ways.length > 0 && (appliances > 1 || !pointsOfMoves.includes(goal.point));
    this.#goals = left.filter(possible);
    for (const goal of left.filter((one) => !possible(one)))
      this.#miss(goal, goal.ways.length > 0 ? 'needs two appliances' : 'no operation is known that leads there');
  }

  async run(): Promise<void> {
    while (this.#goals.length > 0) {
      await this.#agreeOnSource();
      const [first] = this.#reachable();
      if (first === undefined) await this.#turnRound();
      else await this.#rounds.round(() => this.#round(first), `, ${this.#goals.length} places left`);
    }
  }

  /** What can be led to with the roles that sites have now; what was tried least comes first, and what takes longest last. */
  #reachable(): { readonly goal: Goal; readonly way: Point }[] {
    const roles = this.#rounds.roles();
    return this.#goals
      .flatMap((goal) => {
        const way = goal.ways.filter(({ side }) => side === roles.get(goal.site));
        return way.length === 0 ? [] : [{ goal, way: way[goal.attempts % way.length]! }];
      })
      .sort((one, other) => one.goal.attempts - other.goal.attempts || cost(one.way) - cost(other.way));
  }

  async #round({ way: { operation, after } }: { readonly way: Point }): Promise<string> {
    const rounds = this.#rounds;
    const { pair } = rounds;
    const aims = this.#reachable()
      .filter(({ way }) => way.operation === operation && way.after === after)
      .slice(0, together);
    await rounds.writeSome();
    rounds.takePassed();
    const kills = aims.map(({ goal: { point, site } }) => this.#order({ point, site, phase: operation }));
    const before =
      after === undefined ? [] : [this.#order({ point: after, site: aims[0]!.goal.site, phase: operation }, 0)];
    const operating = rounds.operate(operation);
    const lost = new Set<CrashSite>();
    await this.#someoneDies(kills, operating);
    await pair.stopHosts();
    // One that starts its cluster again itself is not helped.
    if (operation === 'older_catalog') await operating;
    await this.#untilOver(operating, kills, lost);
    pair.heal();
    // What was not passed yet may be on the way to rest, where single processes die.
    const last = kills.map((kill) =>
      kill.scope === 'cluster' && !kill.site.wasHit(kill.target!.point) ? this.#order(kill.target!, 0) : kill,
    );
    const settled = await rounds.settle(operation === 'unplanned', lost);
    let text: string = operation;
    for (const kill of [...before, ...last])
      if (kill.site.settleOrder(kill.target!.point)) {
        rounds.note(kill, operation);
        text += `, ${describe(kill)}`;
      }
    for (const site of lost) text += `, power cut at ${site.name}`;
    // The last of them may have died after all was looked at.
    await this.#bringBack([], lost);
    rounds.notePassed(operation);
    this.#score(aims.map(({ goal }) => goal));
    return `${text}; ${settled}`;
  }

  /** Whoever dies comes back until the operation is over: it may wait for one of them. */
  async #untilOver(operating: Promise<void>, kills: readonly Kill[], lost: Set<CrashSite>): Promise<void> {
    let over = false;
    const ended = operating.finally(() => {
      over = true;
    });
    // What went wrong is heard at the end.
    ended.catch(() => undefined);
    while (!over) {
      await this.#bringBack(kills, lost);
      await Promise.race([ended, pause(300)]);
    }
    await ended;
    await this.#bringBack(kills, lost);
  }

  async #bringBack(kills: readonly Kill[], lost: Set<CrashSite>): Promise<void> {
    for (const site of this.#rounds.pair.sites) {
      const hit = () =>
        kills.some((kill) => kill.site === site && kill.scope === 'cluster' && site.wasHit(kill.target!.point));
      do
        await this.#rounds.recover(
          { site, scope: site.running ? 'dataplane' : hit() ? 'cluster' : 'supervisor' },
          lost,
        );
      while (!site.running);
    }
  }

  /** Now and then the whole cluster dies, and what it had not synced is lost. */
  #order(target: Target, power = 0.05): Kill {
    const site = this.#rounds.siteOf(target);
    const process = processOf(target.point);
    const isPower = process !== 'supervisor' && target.phase !== 'older_catalog' && this.#rounds.chance() < power;
    site.order(target.point, { skip: 0, whom: isPower ? 'cluster' : 'process' });
    return { site, scope: isPower ? 'cluster' : process, target };
  }

  /** Waits for the first death, and a moment for those that follow on it; or until nobody can be expected to die any more. */
  async #someoneDies(kills: readonly Kill[], operating: Promise<void>): Promise<void> {
    let over: number | undefined;
    const isOver = () => {
      over = performance.now();
    };
    // What went wrong is heard where it is awaited.
    operating.then(isOver, isOver);
    const end = performance.now() + most_ms;
    const isHit = () => kills.some(({ site, target }) => site.wasHit(target!.point));
    while (!isHit() && performance.now() < end && (over === undefined || performance.now() < over + after_ms))
      await pause(10);
  }

  #score(aimed: readonly Goal[]): void {
    const { coverage } = this.#rounds;
    const left = aimed.filter(({ point, site }) => !coverage.hasDied(point, site));
    // Where one dies others may not get: only the round in which nobody did says something about a way.
    if (left.length === aimed.length) for (const goal of left) goal.attempts += 1;
    for (const goal of left.filter(({ attempts, ways }) => attempts >= patience * ways.length))
      this.#miss(
        goal,
        `not passed in ${goal.attempts} rounds of ${goal.ways.map(({ operation }) => operation).join(', ')}`,
      );
    const missed = new Set(this.#rounds.missed.map(({ point, site }) => `${point} ${site}`));
    this.#goals = this.#goals.filter(
      ({ point, site }) => !coverage.hasDied(point, site) && !missed.has(`${point} ${site}`),
    );
  }

  #miss({ point, site }: Goal, why: string): void {
    this.#rounds.missed.push({ point, site, why });
  }

  /** Both sessions have the same source, whatever a death has left. */
  async #agreeOnSource(): Promise<void> {
    const { pair } = this.#rounds;
    const [first, ...others] = pair.protecteds;
    for (const what of others) {
      if (what.source === first!.source) continue;
      await operations.reversed(pair, what);
      await this.#rounds.settle(false, new Set());
    }
  }

  /** In peace: what was the copy is the source. */
  async #turnRound(): Promise<void> {
    await this.#rounds.round(async () => {
      await this.#rounds.operate('reversed');
      return `turned round; ${await this.#rounds.settle(false, new Set())}`;
    }, `, ${this.#goals.length} places left`);
  }
}
