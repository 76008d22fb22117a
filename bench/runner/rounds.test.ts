import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Progress } from './progress.ts';
import { type Cell, measureInRounds } from './rounds.ts';

const said: string[] = [];
const progress = new Progress(
  new Writable({
    write(chunk: Buffer, _, done) {
      said.push(chunk.toString('utf8'));
      done();
    },
  }),
);
const never = new AbortController().signal;

function cellOf(order: string[], id: string, names: readonly string[], failing = ''): Cell {
  return {
    ...{ id, title: id, unit: 'ops/s', better: 'more' },
    contenders: names.map((name, index) => ({
      name,
      role: index === 0 ? 'ours' : 'peer',
      measure: () => {
        order.push(`${id}/${name}`);
        return name === failing ? Promise.reject(new Error('it broke')) : Promise.resolve({ value: order.length });
      },
    })),
  };
}

describe('alternating rounds', () => {
  it('contenders of a cell follow each other at once, and each round begins with another one', async () => {
    const order: string[] = [];
    const cells = [cellOf(order, 'a', ['x', 'y']), cellOf(order, 'b', ['x', 'y'])];
    const results = await measureInRounds(cells, { rounds: 2, progress, signal: never });
    expect(order).toEqual(['a/x', 'a/y', 'b/x', 'b/y', 'a/y', 'a/x', 'b/y', 'b/x']);
    expect(results[0]?.contenders.map(({ samples }) => samples.map(({ value }) => value))).toEqual([
      [1, 6],
      [2, 5],
    ]);
  });

  it('one that fails is left out of its cell from then on, with its reason; the others go on', async () => {
    const order: string[] = [];
    const results = await measureInRounds([cellOf(order, 'a', ['x', 'y'], 'y')], {
      rounds: 3,
      progress,
      signal: never,
    });
    expect(order.filter((step) => step === 'a/y')).toHaveLength(1);
    expect(results[0]?.contenders.map(({ samples, failure }) => [samples.length, failure])).toEqual([
      [3, undefined],
      [0, 'it broke'],
    ]);
  });

  it('no round but the first begins after the time is over', async () => {
    const order: string[] = [];
    await measureInRounds([cellOf(order, 'a', ['x'])], { rounds: 9, progress, signal: never, deadline_ms: 0 });
    expect(order).toEqual(['a/x']);
  });

  it('a cell that the time does not reach is not among the results', async () => {
    const order: string[] = [];
    const cells = [cellOf(order, 'a', ['x', 'y']), cellOf(order, 'b', ['x', 'y'])];
    const results = await measureInRounds(cells, { rounds: 1, progress, signal: never, deadline_ms: 0 });
    expect(results.map(({ id }) => id)).toEqual(['a']);
    expect(order).toEqual(['a/x', 'a/y']);
  });

  it('an abort ends it with its reason and nothing more is measured', async () => {
    const order: string[] = [];
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    await expect(
      measureInRounds([cellOf(order, 'a', ['x'])], { rounds: 2, progress, signal: stop.signal }),
    ).rejects.toThrow('enough');
    expect(order).toEqual([]);
  });
});
