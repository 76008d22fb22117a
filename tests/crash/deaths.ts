import type { Phase } from './coverage.ts';
import type { Scope } from './crash-site.ts';

/** How often somebody died while something went on. */
export interface DeathRow {
  readonly phase: Phase;
  readonly scope: Scope;
  readonly site: string;
  readonly count: number;
}

/** Deaths of every kind, by what went on, who died and at which site. */
export class Deaths {
  readonly #counts = new Map<string, number>();

  constructor(earlier: readonly DeathRow[] = []) {
    for (const { phase, scope, site, count } of earlier) this.#counts.set(`${phase} ${scope} ${site}`, count);
  }

  note(phase: Phase, scope: Scope, site: string): void {
    this.#counts.set(`${phase} ${scope} ${site}`, this.count(phase, scope, site) + 1);
  }

  count(phase: Phase, scope: Scope, site: string): number {
    return this.#counts.get(`${phase} ${scope} ${site}`) ?? 0;
  }

  rows(): readonly DeathRow[] {
    return [...this.#counts].map(([key, count]) => {
      const [phase, scope, site] = key.split(' ');
      return { phase: phase as Phase, scope: scope as Scope, site: site!, count };
    });
  }
}
