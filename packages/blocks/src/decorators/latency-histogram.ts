/** Buckets are powers of two of a microsecond, up to about 67 s; slower requests count in the last one. */
const BUCKETS = 27;

/** Counts durations with a relative error of at most a factor of two, in constant memory. */
export class LatencyHistogram {
  private readonly counts = new Float64Array(BUCKETS);
  private total = 0;
  private sum = 0;
  private largest_us = 0;

  get count(): number {
    return this.total;
  }

  get sum_us(): number {
    return this.sum;
  }

  add(latency_us: number): void {
    const bucket = latency_us < 1 ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log2(latency_us)) + 1);
    this.counts[bucket]!++;
    this.total++;
    this.sum += latency_us;
    this.largest_us = Math.max(this.largest_us, latency_us);
  }

  snapshot(): LatencySnapshot {
    const buckets = [...this.counts].map((count, i) => ({ below_us: 2 ** i, count }));
    const mean_us = this.total === 0 ? 0 : this.sum / this.total;
    return { count: this.total, mean_us, max_us: this.largest_us, buckets };
  }
}

export interface LatencySnapshot {
  readonly count: number;
  readonly mean_us: number;
  readonly max_us: number;
  readonly buckets: readonly { readonly below_us: number; readonly count: number }[];
}

/** The upper bound of the bucket in which the given share of requests ends, microseconds. 0 without requests. */
export function quantile_us(latency: LatencySnapshot, share: number): number {
  let seen = 0;
  for (const { below_us, count } of latency.buckets) {
    seen += count;
    if (count > 0 && seen >= share * latency.count) return Math.min(below_us, latency.max_us);
  }
  return latency.max_us;
}
