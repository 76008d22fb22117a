import type { Clock } from '@antipode/base';
import { around, type DeviceDecorator, type Operation } from './decorator.ts';
import { LatencyHistogram, type LatencySnapshot } from './latency-histogram.ts';

export interface OperationStatistics {
  /** Requests answered, failed ones included. */
  readonly operations: number;
  readonly errors: number;
  /** Of requests that succeeded. For `writeZeroes`, `trim` and `status` the length of the range. */
  readonly bytes: number;
  readonly latency: LatencySnapshot;
}

export interface OperationTotals {
  readonly operations: number;
  readonly errors: number;
  readonly bytes: number;
  /** Of all requests together, microseconds. */
  readonly latency_us: number;
}

export interface DeviceStatistics {
  readonly inFlight: number;
  readonly byOperation: Readonly<Record<Operation, OperationStatistics>>;
}

const OPERATIONS: readonly Operation[] = ['read', 'write', 'writeZeroes', 'trim', 'flush', 'status'];

/** Counts what passes; one of these may stand around several devices. */
export class StatisticsCollector {
  readonly decorator: DeviceDecorator;
  private readonly clock: Clock;
  private readonly counters = new Map(
    OPERATIONS.map((operation) => [operation, { errors: 0, bytes: 0, latency: new LatencyHistogram() }]),
  );
  private inFlight = 0;

  constructor(clock: Clock) {
    this.clock = clock;
    this.decorator = around(({ operation, length }, run) => {
      const start_ms = this.clock.monotonic();
      this.inFlight++;
      const end = (failed: boolean) => this.end(operation, length, start_ms, failed);
      return watched(run, end);
    });
  }

  snapshot(): DeviceStatistics {
    const entries = [...this.counters].map(([operation, { errors, bytes, latency }]) => {
      const shown = latency.snapshot();
      return [operation, { operations: shown.count, errors, bytes, latency: shown }] as const;
    });
    return { inFlight: this.inFlight, byOperation: Object.fromEntries(entries) as DeviceStatistics['byOperation'] };
  }

  /** Counters without their distributions: cheap enough to be asked often. */
  totals(): Readonly<Record<Operation, OperationTotals>> {
    const entries = [...this.counters].map(([operation, { errors, bytes, latency }]) => {
      const { count: operations, sum_us: latency_us } = latency;
      return [operation, { operations, errors, bytes, latency_us }] as const;
    });
    return Object.fromEntries(entries) as Record<Operation, OperationTotals>;
  }

  private end(operation: Operation, length: number, start_ms: number, failed: boolean): void {
    const counter = this.counters.get(operation)!;
    this.inFlight--;
    counter.latency.add((this.clock.monotonic() - start_ms) * 1000);
    if (failed) counter.errors++;
    else counter.bytes += length;
  }
}

/** Runs something and tells how it ended, at once where it ends at once. */
function watched<T>(run: () => T | Promise<T>, end: (failed: boolean) => void): T | Promise<T> {
  let running: T | Promise<T>;
  try {
    running = run();
  } catch (error) {
    end(true);
    throw error;
  }
  if (!(running instanceof Promise)) {
    end(false);
    return running;
  }
  return running.then(
    (value) => {
      end(false);
      return value;
    },
    (error: unknown) => {
      end(true);
      throw error;
    },
  );
}
