import type { GroupResult } from '../runner/results.ts';
import { compare } from './compare.ts';
import { show, showRatio } from './numbers.ts';

/** What is aimed at: a ratio to a contender of a cell, or a bound of a figure. */
export type Goal =
  | {
      readonly kind: 'ratio';
      readonly group: string;
      /** Ids of cells; the goal holds when it holds for each. */
      readonly cells: RegExp;
      readonly against: RegExp;
      readonly least: number;
      readonly title: string;
    }
  | {
      readonly kind: 'figure';
      readonly group: string;
      readonly figures: RegExp;
      readonly most: number;
      readonly title: string;
    };

export interface Verdict {
  readonly title: string;
  readonly goal: string;
  readonly reached: string;
  readonly met: boolean;
}

const ratio = (title: string, group: string, cells: RegExp, against: RegExp, least: number): Goal => ({
  kind: 'ratio',
  ...{ title, group, cells, against, least },
});
const figure = (title: string, group: string, figures: RegExp, most: number): Goal => ({
  kind: 'figure',
  ...{ title, group, figures, most },
});

/** The goals of the data plane, as docs/benchmarks.md has them. */
export const goals: readonly Goal[] = [
  ratio('4 KiB random read, QD 16, to qemu-nbd qcow2', 'block', /^randread-16$/, /qcow2/, 3),
  ratio('4 KiB random read, QD 16, to nbdkit file', 'block', /^randread-16$/, /nbdkit/, 1.2),
  ratio('4 KiB random write, QD 16, to qemu-nbd qcow2', 'block', /^randwrite-16$/, /qcow2/, 2),
  ratio('4 KiB write + flush, to qemu-nbd qcow2', 'block', /^commit$/, /qcow2/, 1),
  ratio('1 MiB sequential read, to qemu-nbd qcow2', 'block', /^seqread$/, /qcow2/, 1),
  ratio('1 MiB sequential write, to qemu-nbd qcow2', 'block', /^seqwrite$/, /qcow2/, 0.7),
  ratio(
    'any of these with 10 snapshots, to without',
    'block',
    /^(randread-16|randwrite-16|commit|seqread|seqwrite)$/,
    /with 10/,
    0.8,
  ),
  ratio('initial sync, to nbdcopy into a fresh qcow2', 'replication', /^initial$/, /nbdcopy.*fresh/, 1),
  ratio('delta of 1 %, to rsync', 'replication', /^delta-1$/, /rsync/, 5),
  figure('session GET p99 under full host load, ms', 'rest', /^session-get-loaded-p99$/, 20),
  figure('p99.9 of hosts while housekeeping goes on, ms', 'housekeeping', /^while-.*-p999$/, 50),
  figure('memory of a cluster under load, MiB', 'memory', /^overload-.*-most$/, 1024),
];

/** Which goals this run can judge, and how they came out. */
export function judge(groups: readonly GroupResult[], all: readonly Goal[] = goals): readonly Verdict[] {
  return all.flatMap((goal) => {
    const group = groups.find((candidate) => candidate.group === goal.group);
    return group === undefined ? [] : goal.kind === 'ratio' ? judgeRatio(goal, group) : judgeFigure(goal, group);
  });
}

function judgeRatio(goal: Goal & { kind: 'ratio' }, group: GroupResult): readonly Verdict[] {
  const ratios = group.cells
    .filter(({ id }) => goal.cells.test(id))
    .flatMap((cell) => compare(cell).filter((line) => line.role !== 'ours' && goal.against.test(line.name)))
    .flatMap((line) => line.ratio ?? []);
  if (ratios.length === 0) return [];
  const least = Math.min(...ratios);
  return [{ title: goal.title, goal: showRatio(goal.least), reached: showRatio(least), met: least >= goal.least }];
}

function judgeFigure(goal: Goal & { kind: 'figure' }, group: GroupResult): readonly Verdict[] {
  const values = group.figures.filter(({ id }) => goal.figures.test(id)).map(({ value }) => value);
  if (values.length === 0) return [];
  const most = Math.max(...values);
  return [{ title: goal.title, goal: `at most ${show(goal.most)}`, reached: show(most), met: most <= goal.most }];
}
