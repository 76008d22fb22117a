import type { OperationName } from './operations.ts';
import { type Point, pointNames, points } from './points.ts';

/** What goes on while a process dies: what an operator does, or the way to rest after it. */
export type Phase = OperationName | 'rest';
/** What a site is to the sessions; `mixed`: the source of one, the destination of another. */
export type Role = 'source' | 'destination' | 'mixed';

export interface Target {
  readonly point: string;
  /** Name of the site. */
  readonly site: string;
  readonly phase: Phase;
}

/** Kills at one point, by phase and then by site. */
export interface PointRow {
  readonly point: string;
  readonly kills: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** After so many orders that nobody carried out, a target is asked for no more. */
const patience = 3;

/**
 * Which points were passed, by whom and when, and which of them somebody has died at. It says where to aim next: at points that nobody
 * died at yet, then at those without a death at this site, then at those without one at this site in this phase.
 */
export class Coverage {
  readonly #passed = new Map<string, { point: string; role: Role; phase: Phase }>();
  readonly #kills = new Map<string, number>();
  readonly #missed = new Map<string, number>();
  readonly #chance: () => number;

  /** Begins with what the list of points says, and with the deaths of earlier campaigns; what is passed adds to it. */
  constructor(chance: () => number, earlier: readonly PointRow[] = []) {
    this.#chance = chance;
    for (const { point, kills } of earlier)
      for (const [phase, sites] of Object.entries(kills))
        for (const [site, count] of Object.entries(sites))
          for (let n = 0; n < count; n++) this.killed({ point, site, phase: phase as Phase });
    for (const { name, side, operation } of points as readonly Point[]) this.passed([name], side, operation);
  }

  passed(names: readonly string[], role: Role, phase: Phase): void {
    for (const point of names) this.#passed.set(`${point} ${role} ${phase}`, { point, role, phase });
  }

  killed(target: Target): void {
    for (const key of keysOf(target)) this.#kills.set(key, (this.#kills.get(key) ?? 0) + 1);
  }

  /** Whether somebody has died at the point at this site, whatever went on. */
  hasDied(point: string, site: string): boolean {
    return this.#kills.has(`${point} ${site}`);
  }

  missed(target: Target): void {
    const key = keysOf(target)[2];
    this.#missed.set(key, (this.#missed.get(key) ?? 0) + 1);
  }

  /** The best targets, each at another point or site: of one of these phases, whichever has the best. */
  choose(count: number, roles: ReadonlyMap<string, Role>, phases: readonly Phase[]): readonly Target[] {
    const known = new Map<string, { readonly target: Target; readonly worth: number }>();
    for (const [site, role] of roles)
      for (const seen of this.#passed.values()) {
        if (seen.role !== role && role !== 'mixed') continue;
        if (!phases.includes(seen.phase)) continue;
        const target = { point: seen.point, site, phase: seen.phase };
        const key = keysOf(target)[2];
        const missed = this.#missed.get(key) ?? 0;
        if (missed < patience || this.#kills.has(key)) known.set(key, { target, worth: this.#worth(target) });
      }
    const sorted = [...known.values()].sort((one, other) => other.worth - one.worth).map(({ target }) => target);
    const first = sorted[0];
    if (first === undefined) return [];
    return sorted.filter((target) => target.phase === first.phase).slice(0, count);
  }

  #worth(target: Target): number {
    const [anywhere, here, now] = keysOf(target);
    const kills = (key: string) => this.#kills.get(key) ?? 0;
    return (
      (kills(anywhere) === 0 ? 100 : 0) +
      (kills(here) === 0 ? 50 : 0) +
      20 / (1 + kills(now)) -
      10 * (this.#missed.get(now) ?? 0) +
      10 * this.#chance()
    );
  }

  /** One row a point that the product has or that was passed. */
  rows(): readonly PointRow[] {
    const names = new Set([...pointNames, ...[...this.#passed.values()].map(({ point }) => point)]);
    return [...names].sort().map((point) => {
      const kills: Record<string, Record<string, number>> = {};
      for (const [key, count] of this.#kills) {
        const [of, site, phase] = key.split(' ');
        if (of !== point || phase === undefined || site === undefined) continue;
        kills[phase] = { ...kills[phase], [site]: count };
      }
      return { point, kills };
    });
  }
}

/** Of the point, of the point at this site, of the point at this site in this phase. */
const keysOf = ({ point, site, phase }: Target): readonly [string, string, string] => [
  point,
  `${point} ${site}`,
  `${point} ${site} ${phase}`,
];
