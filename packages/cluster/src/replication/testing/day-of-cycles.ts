import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemRandom } from '@antipode/base';
import type { EnumValue } from '@antipode/contract';
import type { PeerMessage, ScheduleRule } from '@antipode/replication';
import { Catalog } from '../../catalog/catalog.ts';
import { FullDatabase } from '../../catalog/testing/full-database.ts';
import { CatalogWatch } from '../../services/catalog-watch.ts';
import { Reporter } from '../../services/occurrences.ts';
import { newVolumeDocument, protectionOf } from '../../services/volume-document.ts';
import type { PeerRequest } from '../peer-wire.ts';
import type { RemoteRecord, RemoteSystems } from '../remote-systems.ts';
import { Sessions } from '../sessions.ts';
import { PeerUnreachable } from '../step-runner.ts';
import { MemoryDataPlane } from './memory-data-plane.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface DaySetting {
  readonly sessions: number;
  readonly hours: number;
  readonly cyclesAtOnce: number;
  readonly schedule: ScheduleRule;
  /** Objectives and how many of a hundred sessions have each. */
  readonly mix: readonly (readonly [EnumValue<'RPO'>, number])[];
  /** The link is down from this hour on, for so many minutes. */
  readonly outage?: { readonly atHour: number; readonly minutes: number };
  /** The catalogs of both sides take nothing from this hour on, for so many minutes. */
  readonly full?: { readonly atHour: number; readonly minutes: number };
  /** Where the two catalogs are put; a directory in memory makes it a test of the program and not of the disk. */
  readonly directory: string;
  readonly tell?: (hour: HourOfCycles) => void;
}

export interface Spread {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly most: number;
}

export interface HourOfCycles {
  readonly hour: number;
  readonly cycles: number;
  /** Behind the moment that the schedule had named, ms. */
  readonly late_ms: Spread;
  /** Starts within one second. */
  readonly startsInASecond_most: number;
  readonly atOnce_most: number;
  readonly waiting_most: number;
  readonly sessionsBeyondObjective: number;
  readonly alertsActive: number;
  /** Since the beginning. */
  readonly alertsRaised: number;
  readonly cpu_s: number;
  readonly wall_s: number;
  readonly rss_bytes: number;
  readonly heap_bytes: number;
}

/**
 * A day, or a part of one, of two clusters with many sessions: the program's own sessions, drivers, state machines, places on the
 * link, monitor and catalogs at both sides, with a clock that jumps and a data plane without data.
 */
export async function dayOfCycles(setting: DaySetting): Promise<readonly HourOfCycles[]> {
  const clock = new VirtualClock(Date.parse('2026-06-03T00:00:00Z'));
  const home = mkdtempSync(join(setting.directory, 'day-of-cycles-'));
  const pair = new PairOfSites(clock, home, setting);
  try {
    await pair.protectAll();
    const hours: HourOfCycles[] = [];
    for (let hour = 0; hour < setting.hours; hour++) {
      const report = await pair.hour(hour);
      setting.tell?.(report);
      hours.push(report);
    }
    return hours;
  } finally {
    pair.close();
    rmSync(home, { recursive: true, force: true });
  }
}

const linkDelay_ms = 2;

class PairOfSites {
  readonly #clock: VirtualClock;
  readonly #setting: DaySetting;
  readonly #planes: readonly [MemoryDataPlane, MemoryDataPlane];
  readonly #databases: readonly FullDatabase[];
  readonly #catalogs: readonly [Catalog, Catalog];
  readonly #watches: readonly CatalogWatch[];
  readonly #sites: readonly [Sessions, Sessions];
  readonly #records: readonly [RemoteRecord, RemoteRecord];
  #up = true;
  #lates: number[] = [];
  #cycles = 0;
  #second = 0;
  #inSecond = 0;
  #inSecondMost = 0;
  #waitingMost = 0;

  constructor(clock: VirtualClock, home: string, setting: DaySetting) {
    this.#clock = clock;
    this.#setting = setting;
    // Most cycles are small, some are ten and a few a hundred times as large.
    const cost = () => {
      const size = Math.random() ** 6;
      return { took_ms: 40 + size * 20_000, bytes: Math.round(size * 2 ** 30) };
    };
    this.#planes = [new MemoryDataPlane(clock, cost), new MemoryDataPlane(clock, cost)];
    this.#planes[0].connect(this.#planes[1]);
    this.#databases = ['a.db', 'b.db'].map((name) => new FullDatabase(join(home, name)));
    this.#catalogs = this.#databases.map((database) => new Catalog(database)) as unknown as readonly [Catalog, Catalog];
    this.#records = [remoteRecord('to-b', 'B'), remoteRecord('to-a', 'A')];
    this.#sites = [this.#site(0), this.#site(1)];
    this.#watches = ([0, 1] as const).map((side) => {
      const [catalog, sessions] = [this.#catalogs[side], this.#sites[side]];
      const about = () => ({ type: 'cluster', id: '0', name: 'cluster' });
      const reporter = new Reporter(catalog, clock, systemRandom);
      const watch = new CatalogWatch({ catalog, clock, reporter, about, resumed: () => sessions.catchUp() });
      if (setting.full !== undefined) watch.start();
      return watch;
    });
    const { monitor } = this.#sites[0];
    const follow = monitor.notice.bind(monitor);
    monitor.notice = (notice, record) => {
      follow(notice, record);
      if (notice.kind === 'synchronized') this.#cycles += 1;
      if (notice.kind !== 'cycle_started') return;
      if (notice.trigger === 'schedule') this.#lates.push(notice.late_ms);
      const second = Math.floor(clock.now() / 1000);
      this.#inSecond = second === this.#second ? this.#inSecond + 1 : 1;
      this.#second = second;
      this.#inSecondMost = Math.max(this.#inSecondMost, this.#inSecond);
    };
  }

  /** A policy for each objective, assigned to its volumes one after the other, as fast as that goes. */
  async protectAll(): Promise<void> {
    const catalog = this.#catalogs[0];
    const own = { managed_by: 'User', managed_by_id: null, is_read_only: false, is_replica: false } as const;
    const policies = this.#setting.mix.flatMap(([rpo, share]) => {
      const rule = { ...own, id: `rule-${rpo}`, name: `rule-${rpo}`, rpo, remote_system_id: this.#records[0].id };
      catalog.put('replication_rule', { ...rule, alert_threshold: 1 });
      const policy = {
        ...own,
        id: `policy-${rpo}`,
        name: `policy-${rpo}`,
        description: null,
        type: 'Protection',
      } as const;
      catalog.put('policy', { ...policy, snapshot_rule_ids: [], replication_rule_ids: [rule.id] });
      return Array.from({ length: share }, () => policy.id);
    });
    for (const site of this.#sites) await site.start();
    const all = async () => {
      for (let index = 0; index < this.#setting.sessions; index++) {
        const id = systemRandom.uuid();
        const deps = { clock: this.#clock, random: systemRandom };
        const protection = protectionOf(id, null, null, null, 'User');
        const document = newVolumeDocument(deps, { id, name: `v${index}`, size: 2 ** 30, type: 'Primary', protection });
        const policy = catalog.get('policy', policies[index % policies.length]!)!;
        catalog.put('volume', { ...document, state: 'Ready', protection_policy_id: policy.id }, {});
        await this.#sites[0].protect({ kind: 'volume', id, name: document.name } as never, policy);
      }
    };
    let done = false;
    const work = all().then(() => {
      done = true;
    });
    while (!done) await this.#clock.runUntil(this.#clock.now() + 1_000);
    await work;
  }

  async hour(hour: number): Promise<HourOfCycles> {
    const begun = { cpu: process.cpuUsage(), wall: performance.now() };
    this.#lates = [];
    this.#cycles = 0;
    this.#inSecondMost = 0;
    this.#waitingMost = 0;
    this.#planes[0].shippingMost = this.#planes[0].shipping;
    const gate = this.#sites[0].gateOf(this.#records[0].id);
    const look = () => {
      this.#waitingMost = Math.max(this.#waitingMost, gate.waiting().length);
    };
    const until = this.#clock.now() + 3_600_000;
    const { outage, full } = this.#setting;
    if (full?.atHour === hour) {
      for (const database of this.#databases) database.isFull = true;
      await this.#clock.runUntil(this.#clock.now() + full.minutes * 60_000, look);
      for (const database of this.#databases) database.isFull = false;
    }
    if (outage?.atHour === hour) {
      this.#setLink(false);
      await this.#clock.runUntil(this.#clock.now() + outage.minutes * 60_000, look);
      this.#setLink(true);
    }
    await this.#clock.runUntil(until, look);
    const cpu = process.cpuUsage(begun.cpu);
    const beyond = this.#sites[0]
      .records()
      .filter(({ half }) => half.lastSync !== undefined && this.#clock.now() - half.lastSync.instant_ms > half.rpo_ms);
    const memory = process.memoryUsage();
    return {
      hour,
      cycles: this.#cycles,
      late_ms: spreadOf(this.#lates),
      startsInASecond_most: this.#inSecondMost,
      atOnce_most: this.#planes[0].shippingMost,
      waiting_most: this.#waitingMost,
      sessionsBeyondObjective: beyond.length,
      alertsActive: this.#catalogs[0].list('alert', 'state', 'ACTIVE').length,
      alertsRaised: this.#catalogs[0].count('alert'),
      cpu_s: (cpu.user + cpu.system) / 1e6,
      wall_s: (performance.now() - begun.wall) / 1000,
      rss_bytes: memory.rss,
      heap_bytes: memory.heapUsed,
    };
  }

  close(): void {
    for (const watch of this.#watches) watch.stop();
    for (const site of this.#sites) site.stop();
    for (const catalog of this.#catalogs) catalog.close();
  }

  #setLink(up: boolean): void {
    this.#up = up;
    for (const side of [0, 1] as const) this.#sites[side].linkChanged(this.#records[side], up);
  }

  #site(side: 0 | 1): Sessions {
    const catalog = this.#catalogs[side];
    return new Sessions({
      catalog,
      dataPlane: this.#planes[side].port(),
      clock: this.#clock,
      random: systemRandom,
      remotes: this.#remotes(side),
      reporter: new Reporter(catalog, this.#clock, systemRandom),
      site: side === 0 ? 'A' : 'B',
      localPauseResume: 'pause_both',
      schedule: this.#setting.schedule,
      cyclesAtOnce: this.#setting.cyclesAtOnce,
    });
  }

  /** The link between the two: what is said arrives after a moment, as text, or not at all. */
  #remotes(side: 0 | 1): RemoteSystems {
    const other = side === 0 ? 1 : 0;
    const across = async <T>(ask: () => Promise<T>): Promise<T> => {
      await this.#clock.sleep(linkDelay_ms);
      if (!this.#up) throw new PeerUnreachable('the link is down');
      const answer = JSON.parse(JSON.stringify(await ask())) as T;
      await this.#clock.sleep(linkDelay_ms);
      return answer;
    };
    const record = this.#records[side];
    const ask = (request: PeerRequest) =>
      across(async () => {
        const answer = await this.#sites[other].answer(this.#records[other], request).catch((error: unknown) => {
          throw new PeerUnreachable(String(error));
        });
        if (answer === undefined) throw new Error(`${request.kind} is not part of a day of cycles`);
        return answer;
      });
    const parts = {
      get: () => record,
      bySerial: () => record,
      isUp: () => this.#up,
      state: () => ({ up: this.#up, data: this.#up ? 'ok' : 'lost' }),
      verify: async () => undefined,
      channel: () => ({
        send: async (message: PeerMessage) => {
          const answer = await ask({ kind: 'session', message });
          if (answer.kind !== 'session') throw new PeerUnreachable('no answer of a session');
          return answer.reply;
        },
        dataEndpoint: () => (this.#up ? { host: '127.0.0.1', port: 1, fingerprint: 'f' } : undefined),
      }),
      ask: (_: string, request: PeerRequest) => ask(request),
    };
    return parts as unknown as RemoteSystems;
  }
}

const remoteRecord = (id: string, name: string): RemoteRecord => ({
  id,
  serial: name,
  name,
  description: null,
  managementAddress: '127.0.0.1',
  latency: 'Low',
  version: '0',
  peer: { host: '127.0.0.1', port: 1 },
  data: { host: '127.0.0.1', port: 1 },
});

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), most: sorted.at(-1) ?? 0 };
}
