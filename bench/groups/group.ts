import type { Bench } from '../runner/bench.ts';
import type { GroupResult } from '../runner/results.ts';
import type { GroupName } from './names.ts';

export interface Group {
  readonly name: GroupName;
  /** One sentence: what is measured. */
  readonly about: string;
  /** Titles of its cells, for `--list`. */
  readonly cells: readonly string[];
  run(bench: Bench): Promise<GroupResult>;
}

/** Whether the user wants this cell. */
export const isWanted = (bench: Bench, cell: { readonly id: string; readonly title: string }): boolean => {
  const { work } = bench.settings;
  return work === undefined || cell.id.includes(work) || cell.title.toLowerCase().includes(work);
};
