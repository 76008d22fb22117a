import type { Clock, Timer } from '@antipode/base';
import { nodeOf } from '../supervisor/appliances.ts';
import { type HostCounters, type IoCounters, rolledUp, type Sample, type Sums, since, sumOf } from './figures.ts';
import { endOf, finerThan, type Interval, intervals, periods, shortestOf } from './periods.ts';
import type { KeptSample, MetricsStore, SeriesKey } from './store.ts';

/** What is measured, and where it belongs. */
export interface MetricsSources {
  io(): Promise<readonly IoCounters[]>;
  hostIo(): Promise<readonly HostCounters[]>;
  /** Initiators, whose they are, and the names that they prove. */
  initiators(): readonly {
    readonly id: string;
    readonly host: string;
    readonly group: string | null;
    readonly names: readonly string[];
  }[];
  /** Volumes and the groups that they are in. */
  volumes(): readonly { readonly id: string; readonly group: string | null; readonly appliance: string }[];
  appliances(): readonly string[];
  /** Space of everything: expensive, asked every five minutes. `changed`: volumes that were written since. */
  space(changed: ReadonlySet<string>): Promise<readonly (readonly [SeriesKey, Sums])[]>;
  /** Space of one thing as it is now; undefined: it is not measured by itself. */
  spaceNow(kind: string, id: string): Promise<Sums | undefined>;
  /** Running totals of replication: bytes shipped so far, and bytes to go. */
  copies(): Promise<readonly CopyCounters[]>;
}

export interface CopyCounters {
  readonly session: string;
  readonly remote: string;
  readonly resource: { readonly kind: 'volume' | 'vg'; readonly id: string };
  readonly appliance: string;
  readonly shipped_bytes: number;
  readonly remaining_bytes: number;
}

/** How fast one volume was copied in the period that ended last. */
export interface CopyRate {
  readonly volume: string;
  readonly at_ms: number;
  readonly bytes_per_s: number;
  readonly remaining_bytes: number;
}

export interface MetricsRecorderDeps {
  readonly store: MetricsStore;
  readonly sources: MetricsSources;
  readonly clock: Clock;
  readonly onRates: (rates: readonly CopyRate[]) => void;
  readonly onError: (error: unknown) => void;
}

const idle: Sample = { seconds: 20, sums: {}, last: {} };

/** Measures every twenty seconds, on the clock's own marks, and adds periods up into longer ones. */
export class MetricsRecorder {
  readonly #store: MetricsStore;
  readonly #sources: MetricsSources;
  readonly #clock: Clock;
  readonly #onRates: MetricsRecorderDeps['onRates'];
  readonly #onError: (error: unknown) => void;
  #timer: Timer | undefined;
  #stopped = false;
  #io = new Map<string, Sums>();
  #hosts = new Map<string, Sums>();
  #copies = new Map<string, Sums>();
  #changed = new Set<string>();
  #looked = false;

  constructor({ store, sources, clock, onRates, onError }: MetricsRecorderDeps) {
    this.#store = store;
    this.#sources = sources;
    this.#clock = clock;
    this.#onRates = onRates;
    this.#onError = onError;
  }

  /** Takes a first look at what there is, so that there is an answer at once, and goes on by itself. */
  async start(): Promise<void> {
    await this.#measureSpace(endOf('Five_Mins', this.#clock.now())).catch(this.#onError);
    await this.#baseline().catch(this.#onError);
    this.#next();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #next(): void {
    if (this.#stopped) return;
    const now = this.#clock.now();
    const mark = endOf('Twenty_Sec', now + 1);
    this.#timer = this.#clock.after(mark - now, () => {
      void this.tick(mark)
        .catch(this.#onError)
        .finally(() => this.#next());
    });
  }

  /** One mark of the clock. */
  async tick(at_ms: number): Promise<void> {
    this.#store.add('Twenty_Sec', at_ms, [...(await this.#performance()), ...(await this.#copying(at_ms))]);
    const fiveMinutes = at_ms % periods.Five_Mins.length_ms === 0;
    if (fiveMinutes) await this.#measureSpace(at_ms);
    this.rollUp(at_ms);
    if (fiveMinutes) this.#store.expire(at_ms);
  }

  /** Counters as they are, so that the first period shows what happened in it. */
  async #baseline(): Promise<void> {
    await this.#performance();
    await this.#copying(this.#clock.now());
    this.#looked = true;
  }

  async #performance(): Promise<(readonly [SeriesKey, Sample])[]> {
    const counted = new Map((await this.#sources.io()).map(({ volume, counters }) => [volume, counters]));
    const groups = new Map<string, Sums[]>();
    const samples: (readonly [SeriesKey, Sample])[] = [];
    const all: Sums[] = [];
    const present = new Map<string, Sums>();
    const byAppliance = new Map<string, Sums[]>(this.#sources.appliances().map((id) => [id, []]));
    for (const { id, group, appliance } of this.#sources.volumes()) {
      const counters = counted.get(id) ?? {};
      const sums = nonZero(since(counters, this.#io.get(id)));
      present.set(id, counters);
      if ((sums.write_ops ?? 0) + (sums.unmap_ops ?? 0) + (sums.zero_ops ?? 0) > 0) this.#changed.add(id);
      samples.push([
        { family: 'performance', kind: 'volume', id },
        { ...idle, sums },
      ]);
      all.push(sums);
      byAppliance.get(appliance)?.push(sums);
      if (group !== null) groups.set(group, [...(groups.get(group) ?? []), sums]);
    }
    this.#io = present;
    for (const [id, sums] of groups)
      samples.push([
        { family: 'performance', kind: 'vg', id },
        { ...idle, sums: sumOf(sums) },
      ]);
    for (const [appliance, parts] of byAppliance) {
      const sums = sumOf(parts);
      samples.push([
        { family: 'performance', kind: 'appliance', id: appliance },
        { ...idle, sums },
      ]);
      samples.push([
        { family: 'performance', kind: 'node', id: nodeOf(appliance) },
        { ...idle, sums },
      ]);
    }
    samples.push([
      { family: 'performance', kind: 'cluster', id: '0' },
      { ...idle, sums: sumOf(all) },
    ]);
    return [...samples, ...(await this.#byHost())];
  }

  /** What each initiator did, and with it its host and the host's group. */
  async #byHost(): Promise<(readonly [SeriesKey, Sample])[]> {
    const counted = new Map<string, Sums[]>();
    for (const { names, counters } of await this.#sources.hostIo()) {
      const key = JSON.stringify(names);
      counted.set(key, [...(counted.get(key) ?? []), counters]);
    }
    const present = new Map([...counted].map(([key, parts]) => [key, sumOf(parts)]));
    const moved = [...present].map(([key, counters]) => ({
      names: JSON.parse(key) as readonly string[],
      sums: nonZero(since(counters, this.#hosts.get(key))),
    }));
    this.#hosts = present;
    const parts = new Map<string, { readonly key: SeriesKey; readonly sums: Sums[] }>();
    for (const initiator of this.#sources.initiators()) {
      // A certificate that names several initiators is the first one's: what it did is told once.
      const own = moved.filter(({ names }) => names.some((name) => initiator.names.includes(name)));
      for (const found of own) moved.splice(moved.indexOf(found), 1);
      for (const [kind, id] of [
        ['initiator', initiator.id],
        ['host', initiator.host],
        ['hg', initiator.group],
      ] as const) {
        if (id === null) continue;
        const name = `${kind}/${id}`;
        const entry = parts.get(name) ?? { key: { family: 'performance' as const, kind, id }, sums: [] };
        entry.sums.push(...own.map(({ sums }) => sums));
        parts.set(name, entry);
      }
    }
    return [...parts.values()].map(({ key, sums }) => [key, { ...idle, sums: sumOf(sums) }]);
  }

  async #copying(at_ms: number): Promise<(readonly [SeriesKey, Sample])[]> {
    const copies = await this.#sources.copies();
    // The whole has figures without any session too: nothing was copied.
    const bySeries = new Map<string, { key: SeriesKey; parts: Sample[] }>(
      this.#copyTotals().map(([kind, id]) => [`${kind}/${id}`, { key: { family: 'copy', kind, id }, parts: [] }]),
    );
    const present = new Map<string, Sums>();
    const rates: CopyRate[] = [];
    for (const { session, remote, resource, appliance, shipped_bytes, remaining_bytes } of copies) {
      const counters = { data_transferred: shipped_bytes };
      const before = this.#copies.get(session);
      // What a session shipped before this program looked first is not of this period; a new session's is.
      const counts = before !== undefined || this.#looked;
      present.set(session, counters);
      const moved = counts ? nonZero(since(counters, before)) : {};
      const busy = (moved.data_transferred ?? 0) > 0 || remaining_bytes > 0;
      const sample: Sample = {
        ...idle,
        sums: { ...moved, ...(busy && { transfer_time: 20_000 }) },
        last: { data_remaining: remaining_bytes },
      };
      if (resource.kind === 'volume')
        rates.push({
          volume: resource.id,
          at_ms,
          bytes_per_s: (moved.data_transferred ?? 0) / idle.seconds,
          remaining_bytes,
        });
      const keys = [
        ['replication_session', session],
        ['remote_system', remote],
        [resource.kind, resource.id],
        ['appliance', appliance],
        ['cluster', '0'],
      ];
      for (const [kind = '', id = ''] of keys) {
        const name = `${kind}/${id}`;
        const entry = bySeries.get(name) ?? { key: { family: 'copy' as const, kind, id }, parts: [] };
        entry.parts.push(sample);
        bySeries.set(name, entry);
      }
    }
    this.#copies = present;
    this.#onRates(rates);
    return [...bySeries.values()].map(({ key, parts }) => [
      key,
      { ...idle, sums: sumOf(parts.map(({ sums }) => sums)), last: sumOf(parts.map(({ last }) => last)) },
    ]);
  }

  #copyTotals(): readonly (readonly [string, string])[] {
    return [...this.#sources.appliances().map((id) => ['appliance', id] as const), ['cluster', '0']];
  }

  async #measureSpace(at_ms: number): Promise<void> {
    const changed = this.#changed;
    this.#changed = new Set();
    const measured = await this.#sources.space(changed);
    this.#store.add(
      'Five_Mins',
      at_ms,
      measured.map(([key, last]) => [key, { seconds: 300, sums: {}, last }]),
    );
  }

  /** Adds up every period that has ended; after an absence those that are still kept. */
  rollUp(now_ms: number): void {
    for (const interval of intervals) {
      const finer = finerThan(interval);
      if (finer === undefined) continue;
      const { length_ms } = periods[interval];
      const ended = Math.floor(now_ms / length_ms) * length_ms;
      const oldest = Math.floor((now_ms - periods[finer].kept_ms) / length_ms) * length_ms;
      for (
        let end = Math.max(this.#store.rolledUpTo(interval) ?? 0, oldest) + length_ms;
        end <= ended;
        end += length_ms
      ) {
        const rows: (readonly [SeriesKey, Sample])[] = [];
        for (const [key, samples] of this.#store.within(finer, end - length_ms, end))
          if (intervals.indexOf(shortestOf(key.family)) < intervals.indexOf(interval))
            rows.push([key, rolledUp(key.family, samples.flatMap(repeated))]);
        this.#store.add(interval, end, rows);
        this.#store.setRolledUpTo(interval, end);
      }
    }
  }
}

/** A row that stands for several periods, as that many. */
const repeated = (row: KeptSample): readonly Sample[] => Array<Sample>(row.repeat).fill(row);

const nonZero = (sums: Sums): Sums => Object.fromEntries(Object.entries(sums).filter(([, value]) => value !== 0));

/** The period that is under way, from the finer ones that have ended: what there is to show before the first long one has passed. */
export function underWay(
  store: MetricsStore,
  key: SeriesKey,
  interval: Interval,
  now_ms: number,
): KeptSample | undefined {
  const finer = finerThan(interval);
  if (finer === undefined || intervals.indexOf(interval) <= intervals.indexOf(shortestOf(key.family))) return undefined;
  const begin = endOf(interval, now_ms) - periods[interval].length_ms;
  const parts = store.history(key, finer).filter(({ at_ms }) => at_ms > begin);
  const inner = parts.length > 0 ? parts : [underWay(store, key, finer, now_ms)].filter((part) => part !== undefined);
  const last = inner.at(-1);
  return last && { ...rolledUp(key.family, inner.flatMap(repeated)), at_ms: last.at_ms, repeat: 1 };
}
