import { describe, expect, it } from 'vitest';
import type { CellResult, GroupResult } from '../runner/results.ts';
import { compare } from './compare.ts';
import { type Goal, judge } from './goals.ts';
import { goalsText, groupText } from './text.ts';

const samples = (...values: readonly number[]) => values.map((value) => ({ value }));
const rate: CellResult = {
  ...{ id: 'randread-16', title: 'random read', unit: 'ops/s', better: 'more' },
  contenders: [
    { name: 'antipode', role: 'ours', samples: samples(100, 300, 200) },
    { name: 'with 10 snapshots', role: 'variant', samples: samples(50, 150, 100) },
    { name: 'qemu-nbd qcow2', role: 'peer', samples: samples(50, 100, 200) },
    { name: 'nbdkit file', role: 'peer', samples: [], failure: 'it ended' },
  ],
};
const seconds: CellResult = {
  ...{ id: 'delta-1', title: 'delta', unit: 's', better: 'less' },
  contenders: [
    { name: 'antipode', role: 'ours', samples: samples(2) },
    { name: 'rsync', role: 'peer', samples: samples(10) },
  ],
};
const group = (name: string, cells: readonly CellResult[], figures: GroupResult['figures'] = []): GroupResult => ({
  ...{ group: name, notes: ['a note'], skipped: ['a peer: not here'], cells, figures },
});

describe('ratios', () => {
  it('are medians of the rounds’ own ratios: above 1 the product is better', () => {
    const [ours, variant, peer] = compare(rate);
    expect(ours).toMatchObject({ median: 200, spread: 0.5 });
    expect(ours?.ratio).toBeUndefined();
    expect(peer).toMatchObject({ median: 100, ratio: 2, ratioLeast: 1, ratioMost: 3 });
    expect(variant?.ratio).toBe(0.5);
  });

  it('of seconds: less is better', () => {
    expect(compare(seconds)[1]?.ratio).toBe(5);
  });
});

describe('goals', () => {
  const goals: readonly Goal[] = [
    { ...{ kind: 'ratio', group: 'block', title: 'reads', cells: /^randread-16$/, against: /qcow2/, least: 3 } },
    { ...{ kind: 'ratio', group: 'block', title: 'kept', cells: /^randread-16$/, against: /with 10/, least: 0.5 } },
    { ...{ kind: 'figure', group: 'rest', title: 'p99', figures: /^p99$/, most: 20 } },
    { ...{ kind: 'ratio', group: 'replication', title: 'not run', cells: /./, against: /./, least: 1 } },
  ];
  const verdicts = judge(
    [group('block', [rate]), group('rest', [], [{ id: 'p99', title: 'p99', value: 35, unit: 'ms' }])],
    goals,
  );

  it('are judged by the worst of what they name, and only where it was measured', () => {
    expect(verdicts.map(({ title, met }) => [title, met])).toEqual([
      ['reads', false],
      ['kept', true],
      ['p99', false],
    ]);
  });

  it('stand beside what was reached', () => {
    expect(goalsText(verdicts)).toContain('missed');
    expect(goalsText(verdicts).split('\n')[2]).toMatch(/reads\s+3\.00x\s+2\.00x\s+missed/);
    expect(goalsText([])).toBe('');
  });
});

describe('the text of a group', () => {
  it('has a line for each contender, what failed and why, what was left out, and notes', () => {
    const text = groupText(group('block', [rate]));
    expect(text).toMatch(/random read\s+200\s+ops\/s\s+±50%/);
    expect(text).toMatch(/to qemu-nbd qcow2\s+100\s+ops\/s\s+±75%\s+2\.00x\s+1\.00-3\.00/);
    expect(text).toContain('to nbdkit file: failed: it ended');
    expect(text).toContain('skipped: a peer: not here');
    expect(text).toContain('note: a note');
  });

  it('places figures of one kind in a table', () => {
    const of = (row: string, column: string, value: number) => ({
      ...{ id: `${row}-${column}`, title: '', value, unit: 'MiB', place: { row, column } },
    });
    const text = groupText(group('memory', [], [of('a', 'first', 1), of('a', 'last', 2), of('b', 'first', 3)]));
    expect(text).toMatch(/over time\s+first\s+last\na\s+1\.00 MiB\s+2\.00 MiB\nb\s+3\.00 MiB/);
  });
});
