import { setTimeout as pause } from 'node:timers/promises';
import { commandOf, memoryOf } from '../runner/process-figures.ts';
import type { Figure } from '../runner/results.ts';
import type { Site } from './clusters.ts';

interface Seen {
  readonly name: string;
  readonly pss_MiB: number[];
  readonly rss_MiB: number[];
}

/** Memory of a cluster's processes over time, by what each of them is. */
export class MemorySamples {
  readonly #site: Site;
  readonly #seen = new Map<string, Seen>();

  constructor(site: Site) {
    this.#site = site;
  }

  /** Looks once. */
  look(): void {
    let pss = 0;
    let rss = 0;
    for (const pid of this.#site.pids) {
      const memory = memoryOf(pid);
      if (memory === undefined) continue;
      const name = /\/(dataplane|management)\/main/.exec(commandOf(pid))?.[1] ?? 'supervisor';
      this.#add(name, memory.pss_MiB, memory.rss_MiB);
      pss += memory.pss_MiB;
      rss += memory.rss_MiB;
    }
    this.#add('all', pss, rss);
  }

  /** Looks every so often until a work has ended. */
  async during<T>(work: Promise<T>, every_ms: number): Promise<T> {
    const over = new AbortController();
    const ended = work.finally(() => over.abort());
    while (!over.signal.aborted) {
      this.look();
      await pause(every_ms, undefined, { signal: over.signal }).catch(() => undefined);
    }
    this.look();
    return await ended;
  }

  /** First, last and most of each process and of all together. */
  figures(prefix: string, title: string): readonly Figure[] {
    return [...this.#seen.values()].flatMap(({ name, pss_MiB, rss_MiB }) => {
      const row = `${title}, ${name}`;
      const of = (suffix: string, value: number, column: string): Figure => ({
        ...{ id: `${prefix}-${name}-${suffix}`, title: `${row}: ${column}`, value, unit: 'MiB' },
        place: { row, column },
      });
      return [
        of('first', pss_MiB[0] ?? Number.NaN, 'PSS first'),
        of('last', pss_MiB.at(-1) ?? Number.NaN, 'PSS last'),
        of('most', Math.max(...pss_MiB), 'PSS most'),
        of('rss', Math.max(...rss_MiB), 'RSS most'),
      ];
    });
  }

  /** Proportional memory of all processes together, one value for each look. */
  get series_MiB(): readonly number[] {
    return this.#seen.get('all')?.pss_MiB ?? [];
  }

  #add(name: string, pss: number, rss: number): void {
    const seen = this.#seen.get(name) ?? { name, pss_MiB: [], rss_MiB: [] };
    seen.pss_MiB.push(pss);
    seen.rss_MiB.push(rss);
    this.#seen.set(name, seen);
  }
}
