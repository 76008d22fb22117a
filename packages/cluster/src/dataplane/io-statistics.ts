import type { Clock } from '@antipode/base';
import { type BlockDevice, compose, StatisticsCollector } from '@antipode/blocks';
import {
  bytesKey,
  type CountedOperation,
  type HostCounters,
  type IoCounters,
  microsecondsKey,
  opsKey,
  type Sums,
} from '../metrics/figures.ts';

const counted = { read: 'read', write: 'write', unmap: 'trim', zero: 'writeZeroes' } as const;

/** Counts what hosts do, one set of counters a volume and one a host that proves who it is, from the start of this process. */
export class IoStatistics {
  readonly #clock: Clock;
  readonly #volumes = new Map<string, StatisticsCollector>();
  readonly #hosts = new Map<string, { readonly names: readonly string[]; readonly collector: StatisticsCollector }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A device whose requests count for its volume. */
  counted(volume: string, device: BlockDevice): BlockDevice {
    let collector = this.#volumes.get(volume);
    if (collector === undefined) {
      collector = new StatisticsCollector(this.#clock);
      this.#volumes.set(volume, collector);
    }
    return compose(device, collector.decorator);
  }

  /** A device whose requests count for the host with these names, whatever the volume. */
  countedHost(given: readonly string[], device: BlockDevice): BlockDevice {
    const names = [...new Set(given.map((name) => name.toLowerCase()))].sort();
    const key = JSON.stringify(names);
    let host = this.#hosts.get(key);
    if (host === undefined) {
      host = { names, collector: new StatisticsCollector(this.#clock) };
      this.#hosts.set(key, host);
    }
    return compose(device, host.collector.decorator);
  }

  forget(volume: string): void {
    this.#volumes.delete(volume);
  }

  counters(): readonly IoCounters[] {
    return [...this.#volumes].map(([volume, collector]) => ({ volume, counters: countersOf(collector) }));
  }

  hostCounters(): readonly HostCounters[] {
    return [...this.#hosts.values()].map(({ names, collector }) => ({ names, counters: countersOf(collector) }));
  }
}

function countersOf(collector: StatisticsCollector): Sums {
  const totals = collector.totals();
  const counters: Record<string, number> = {};
  for (const [name, operation] of Object.entries(counted)) {
    const { operations, bytes, latency_us } = totals[operation];
    counters[opsKey(name as CountedOperation)] = operations;
    counters[bytesKey(name as CountedOperation)] = bytes;
    counters[microsecondsKey(name as CountedOperation)] = latency_us;
  }
  return counters;
}
