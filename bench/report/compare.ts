import type { CellResult, ContenderResult } from '../runner/results.ts';
import { extent, median, spread } from '../runner/statistics.ts';

/** How one contender of a cell did. */
export interface Line {
  readonly name: string;
  readonly role: ContenderResult['role'];
  /** Median over the rounds, in the cell's unit. */
  readonly median: number;
  /** Half of the distance between the rounds' least and most, as a share of the median. */
  readonly spread: number;
  readonly cpu: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /**
   * Median of the rounds' ratios; above 1 the product is better than a peer, and a variant better than the product measured
   * plainly. Undefined for the product itself.
   */
  readonly ratio?: number;
  readonly ratioLeast?: number;
  readonly ratioMost?: number;
  readonly failure?: string;
}

/** Medians, spreads and ratios of a cell. Ratios are made round by round, of measurements that followed each other. */
export function compare(cell: CellResult): readonly Line[] {
  const ours = cell.contenders.find(({ role }) => role === 'ours');
  return cell.contenders.map((contender): Line => {
    const values = contender.samples.map(({ value }) => value);
    const of = (pick: (sample: ContenderResult['samples'][number]) => number | undefined): number =>
      median(contender.samples.map(pick).filter((value) => value !== undefined));
    const ratios =
      ours === undefined || contender.role === 'ours'
        ? []
        : ratiosOf(cell.better, ours, contender).filter(Number.isFinite);
    const [ratioLeast, ratioMost] = extent(ratios);
    return {
      name: contender.name,
      role: contender.role,
      median: median(values),
      spread: spread(values),
      cpu: of(({ cpu }) => cpu),
      p50_ms: of(({ p50_ms }) => p50_ms),
      p99_ms: of(({ p99_ms }) => p99_ms),
      ...(ratios.length === 0 ? {} : { ratio: median(ratios), ratioLeast, ratioMost }),
      ...(contender.failure === undefined ? {} : { failure: contender.failure }),
    };
  });
}

function ratiosOf(better: CellResult['better'], ours: ContenderResult, other: ContenderResult): readonly number[] {
  const rounds = Math.min(ours.samples.length, other.samples.length);
  return Array.from({ length: rounds }, (_, round) => {
    const our = ours.samples[round]?.value ?? Number.NaN;
    const their = other.samples[round]?.value ?? Number.NaN;
    const faster = better === 'more' ? our / their : their / our;
    return other.role === 'variant' ? 1 / faster : faster;
  });
}
