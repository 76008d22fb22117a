/** The middle value; the mean of the two in the middle for an even count; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] ?? Number.NaN;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

/** Least and most of a series; NaN for none. */
export const extent = (values: readonly number[]): readonly [number, number] =>
  values.length === 0 ? [Number.NaN, Number.NaN] : [Math.min(...values), Math.max(...values)];

/** Half of the distance between least and most, as a share of the median: the ± of a table. */
export function spread(values: readonly number[]): number {
  const [least, most] = extent(values);
  return (most - least) / 2 / median(values);
}

/** The value that the share `p` (0 to 1) of a series does not exceed: the nearest rank. NaN for none. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
}
