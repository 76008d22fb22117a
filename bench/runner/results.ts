/** What one measurement of one contender gave. */
export interface Sample {
  /** In the cell's unit. */
  readonly value: number;
  /** Processor time of the server's processes, in the cell's `cpuUnit`. */
  readonly cpu?: number;
  /** Latencies seen by the load generator, milliseconds. */
  readonly p50_ms?: number;
  readonly p99_ms?: number;
}

/**
 * `ours`: the product, measured plainly, first of its cell. `variant`: the product under another condition, compared with `ours`.
 * `peer`: somebody else's.
 */
export type Role = 'ours' | 'variant' | 'peer';

/** What all of a cell's contenders have in common. */
export interface CellFacts {
  /** Short and stable: names the cell in goals and in JSON. */
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly cpuUnit?: string;
  /** Whether a larger value is the better one. */
  readonly better: 'more' | 'less';
}

export interface ContenderResult {
  readonly name: string;
  readonly role: Role;
  /** One for each round that it finished. */
  readonly samples: readonly Sample[];
  /** Why it has fewer samples than there were rounds. */
  readonly failure?: string;
}

export interface CellResult extends CellFacts {
  readonly contenders: readonly ContenderResult[];
}

/** A figure that stands alone: nothing is compared with it. */
export interface Figure {
  readonly id: string;
  readonly title: string;
  readonly value: number;
  readonly unit: string;
  /** Its place in a table of figures of one unit; alone in a line when it has none. */
  readonly place?: { readonly row: string; readonly column: string };
}

/** A figure over time. */
export interface Series {
  readonly id: string;
  readonly unit: string;
  readonly every_s: number;
  readonly values: readonly number[];
}

export interface GroupResult {
  readonly group: string;
  /** How it was measured: caching of the peers, sizes, what is shared. */
  readonly notes: readonly string[];
  /** What was left out, and why. */
  readonly skipped: readonly string[];
  readonly cells: readonly CellResult[];
  readonly figures: readonly Figure[];
  readonly series?: readonly Series[];
}
