import type { Clock } from '@antipode/base';
import { type BlockDevice, compose, StatisticsCollector } from '@antipode/blocks';
import { bytesKey, type CountedOperation, type IoCounters, microsecondsKey, opsKey } from '../metrics/figures.ts';

const counted = { read: 'read', write: 'write', unmap: 'trim', zero: 'writeZeroes' } as const;

/** Counts what hosts do, one set of counters a volume, from the start of this process. */
export class IoStatistics {
  readonly #clock: Clock;
  readonly #collectors = new Map<string, StatisticsCollector>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A device whose requests count for its volume. */
  counted(volume: string, device: BlockDevice): BlockDevice {
    let collector = this.#collectors.get(volume);
    if (collector === undefined) {
      collector = new StatisticsCollector(this.#clock);
      this.#collectors.set(volume, collector);
    }
    return compose(device, collector.decorator);
  }

  forget(volume: string): void {
    this.#collectors.delete(volume);
  }

  counters(): readonly IoCounters[] {
    return [...this.#collectors].map(([volume, collector]) => {
      const totals = collector.totals();
      const counters: Record<string, number> = {};
      for (const [name, operation] of Object.entries(counted)) {
        const { operations, bytes, latency_us } = totals[operation];
        counters[opsKey(name as CountedOperation)] = operations;
        counters[bytesKey(name as CountedOperation)] = bytes;
        counters[microsecondsKey(name as CountedOperation)] = latency_us;
      }
      return { volume, counters };
    });
  }
}
