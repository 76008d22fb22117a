import type { Progress } from './progress.ts';
import type { CellFacts, CellResult, ContenderResult, Role, Sample } from './results.ts';

export interface Contender {
  readonly name: string;
  readonly role: Role;
  /** One measurement. */
  measure(): Promise<Sample>;
}

export interface Cell extends CellFacts {
  readonly contenders: readonly Contender[];
}

export interface RoundsSetting {
  readonly rounds: number;
  /** No round begins that would end after this, and no cell after it, except the first (on the scale of performance.now()). */
  readonly deadline_ms?: number;
  readonly progress: Progress;
  /** Aborted: the round in work is given up. */
  readonly signal: AbortSignal;
}

/**
 * Measures every cell in alternating rounds: within a round a cell's contenders follow each other at once, so that other work on
 * the machine meets them alike, and each round begins with another one. A contender that fails in a cell is left out of the
 * cell's further rounds; the others go on. Cells for which there was no time are not among the results.
 */
export async function measureInRounds(
  cells: readonly Cell[],
  { rounds, progress, signal, deadline_ms = Number.POSITIVE_INFINITY }: RoundsSetting,
): Promise<readonly CellResult[]> {
  const samples = new Map<Contender, Sample[]>();
  const failures = new Map<Contender, string>();
  const begin_ms = performance.now();
  for (let round = 0; round < rounds; round += 1) {
    const now_ms = performance.now();
    if (round > 0 && now_ms + (now_ms - begin_ms) / round > deadline_ms) break;
    for (const cell of cells) {
      if (samples.size > 0 && performance.now() > deadline_ms) break;
      for (const contender of rotated(cell.contenders, round)) {
        signal.throwIfAborted();
        progress.step(`round ${round + 1}/${rounds} · ${cell.title} · ${contender.name}`);
        if (failures.has(contender)) continue;
        try {
          const sample = await contender.measure();
          samples.set(contender, [...(samples.get(contender) ?? []), sample]);
        } catch (error) {
          signal.throwIfAborted();
          failures.set(contender, error instanceof Error ? error.message : String(error));
        }
      }
    }
  }
  const begun = cells.filter(({ contenders }) => contenders.some((one) => samples.has(one) || failures.has(one)));
  return begun.map(({ contenders, ...facts }) => ({
    ...facts,
    contenders: contenders.map((contender): ContenderResult => {
      const failure = failures.get(contender);
      return {
        name: contender.name,
        role: contender.role,
        samples: samples.get(contender) ?? [],
        ...(failure === undefined ? {} : { failure }),
      };
    }),
  }));
}

/** Steps of progress that `measureInRounds` takes. */
export const stepsOf = (cells: readonly Cell[], rounds: number): number =>
  rounds * cells.reduce((total, cell) => total + cell.contenders.length, 0);

const rotated = <T>(items: readonly T[], by: number): readonly T[] => {
  const first = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
};
