/** What was counted in a period; sums, so that periods can be added without loss. */
export type Sums = Readonly<Record<string, number>>;

/** Families of metrics: what is summed, what is measured, and how both are shown. */
export type Family = 'performance' | 'space' | 'copy';

/** One period of one series as it is kept. */
export interface Sample {
  /** Seconds that were observed. */
  readonly seconds: number;
  /** Added over time: operations, bytes, microseconds. */
  readonly sums: Sums;
  /** What is true at the end of the period. */
  readonly last: Sums;
  /** The highest of what shorter periods showed; absent in the shortest ones. */
  readonly most?: Sums;
}

export const operations = ['read', 'write', 'unmap', 'zero'] as const;
export type CountedOperation = (typeof operations)[number];

/** A volume's counters since its data plane began to serve; they only grow, or begin again at zero. */
export interface IoCounters {
  readonly volume: string;
  readonly counters: Sums;
}

/** The same of a host, known by what its certificate names. */
export interface HostCounters {
  /** In lower case, sorted. */
  readonly names: readonly string[];
  readonly counters: Sums;
}

export const opsKey = (operation: CountedOperation) => `${operation}_ops`;
export const bytesKey = (operation: CountedOperation) => `${operation}_bytes`;
export const microsecondsKey = (operation: CountedOperation) => `${operation}_us`;

export const sumOf = (parts: readonly Sums[]): Sums => {
  const total: Record<string, number> = {};
  for (const part of parts) for (const [key, value] of Object.entries(part)) total[key] = (total[key] ?? 0) + value;
  return total;
};

/** What was counted since `before`; a counter that is lower than it was has begun again. */
export const since = (now: Sums, before: Sums | undefined): Sums =>
  Object.fromEntries(
    Object.entries(now).map(([key, value]) => {
      const earlier = before?.[key] ?? 0;
      return [key, value >= earlier ? value - earlier : value];
    }),
  );

/** Rates, sizes and latencies of a period, under the names of a period that was not rolled up. */
export function shownOf(family: Family, sample: Sample): Sums {
  if (family === 'space') return sample.last;
  if (family === 'copy') return copyFigures(sample);
  return performanceFigures(sample);
}

function performanceFigures({ sums, seconds }: Sample): Sums {
  const per = (value: number) => (seconds > 0 ? value / seconds : 0);
  const ratio = (value: number, of: number) => (of > 0 ? value / of : 0);
  const shown: Record<string, number> = {};
  for (const operation of operations) {
    const ops = sums[opsKey(operation)] ?? 0;
    const bytes = sums[bytesKey(operation)] ?? 0;
    const size = operation === 'read' || operation === 'write' ? `avg_${operation}_size` : `avg_${operation}_io_size`;
    shown[`${operation}_iops`] = per(ops);
    shown[`${operation}_bandwidth`] = per(bytes);
    shown[`avg_${operation}_latency`] = ratio(sums[microsecondsKey(operation)] ?? 0, ops);
    shown[size] = ratio(bytes, ops);
  }
  // The total of a volume's load is what it reads and writes.
  const both = (key: (operation: CountedOperation) => string) => (sums[key('read')] ?? 0) + (sums[key('write')] ?? 0);
  shown.total_iops = per(both(opsKey));
  shown.total_bandwidth = per(both(bytesKey));
  shown.avg_latency = ratio(both(microsecondsKey), both(opsKey));
  shown.avg_io_size = ratio(both(bytesKey), both(opsKey));
  return shown;
}

function copyFigures({ sums, last, seconds }: Sample): Sums {
  const transferred = sums.data_transferred ?? 0;
  return {
    data_transferred: transferred,
    data_remaining: last.data_remaining ?? 0,
    transfer_rate: seconds > 0 ? transferred / seconds : 0,
    transfer_time: sums.transfer_time ?? 0,
  };
}

/** Several periods of one series as one. */
export function rolledUp(family: Family, samples: readonly Sample[]): Sample {
  const most: Record<string, number> = {};
  for (const sample of samples)
    for (const [key, value] of Object.entries(sample.most ?? shownOf(family, sample)))
      most[key] = Math.max(most[key] ?? Number.NEGATIVE_INFINITY, value);
  return {
    seconds: samples.reduce((sum, { seconds }) => sum + seconds, 0),
    sums: sumOf(samples.map(({ sums }) => sums)),
    last: samples.at(-1)?.last ?? {},
    most,
  };
}

/** A rolled-up period under the names that such periods have: `avg_` or `last_` of each figure, and `max_` of it. */
export function rolledUpFields(family: Family, sample: Sample): Sums {
  const shown = shownOf(family, sample);
  if (family === 'copy') return shown;
  const fields: Record<string, number> = {};
  for (const [name, value] of Object.entries(shown)) {
    const plain = name.startsWith('avg_') ? name : `${family === 'space' ? 'last' : 'avg'}_${name}`;
    fields[plain] = value;
    fields[`max_${name}`] = sample.most?.[name] ?? value;
  }
  return fields;
}
