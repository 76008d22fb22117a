import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BufferPool, capacityFor } from './buffer-pool.ts';
import { type BudgetWaiter, ByteBudget } from './byte-budget.ts';
import { Inlet } from './inlet.ts';
import { runsOf } from './read-reply.ts';

describe('inlet', () => {
  test('whatever the chunks, fields, copies and skips see the stream in order', () => {
    const step = fc.record({ how: fc.constantFrom('field', 'copy', 'skip'), length: fc.integer({ min: 1, max: 40 }) });
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 })), fc.array(step), (chunks, steps) => {
        const inlet = new Inlet();
        const stream = Buffer.from(Array.from({ length: chunks.reduce((a, b) => a + b, 0) }, (_, at) => at & 0xff));
        let pushed = 0;
        let used = 0;
        const waiting = [...steps];
        for (const length of [...chunks, 0]) {
          // Memory that is received into again after each turn, as the server's is.
          const chunk = Buffer.from(stream.subarray(pushed, pushed + length));
          if (length > 0) inlet.push(chunk);
          pushed += length;
          while (waiting[0] !== undefined && inlet.available >= waiting[0].length) {
            const { how, length: wanted } = waiting.shift() ?? { how: 'skip', length: 0 };
            const expected = stream.subarray(used, used + wanted);
            if (how === 'field') {
              expect(inlet.ensure(wanted)).toBe(true);
              expect(inlet.buffer.subarray(inlet.position, inlet.position + wanted)).toEqual(expected);
              inlet.advance(wanted);
            } else if (how === 'copy') {
              const target = Buffer.alloc(wanted);
              expect(inlet.takeInto(target, 0)).toBe(wanted);
              expect(target).toEqual(expected);
            } else {
              expect(inlet.skip(wanted)).toBe(wanted);
            }
            used += wanted;
          }
          inlet.detach();
          chunk.fill(0xee);
          expect(inlet.available).toBe(pushed - used);
          expect(inlet.ensure(inlet.available + 1)).toBe(false);
        }
      }),
    );
  });
});

describe('buffer pool', () => {
  test('sizes are powers of two from 4 KiB on', () => {
    expect([0, 1, 4096, 4097, 65536, 65537, 2 ** 25].map(capacityFor)).toEqual([
      4096,
      4096,
      4096,
      8192,
      65536,
      131072,
      2 ** 25,
    ]);
  });

  test('what is given back is used again, up to the bound', () => {
    const pool = new BufferPool(8192);
    const [a, b] = [pool.take(5000), pool.take(5000)];
    pool.give(a);
    pool.give(b);
    expect(pool.retained_bytes).toBe(8192);
    expect(pool.take(8192)).toBe(a);
    expect(pool.take(8192)).not.toBe(b);
    expect(pool.retained_bytes).toBe(0);
  });
});

describe('byte budget', () => {
  class Waiter implements BudgetWaiter {
    readonly budget: ByteBudget;
    readonly wants: number;
    got = 0;
    leaves = false;
    constructor(budget: ByteBudget, wants: number) {
      this.budget = budget;
      this.wants = wants;
    }
    budgetFreed(): void {
      if (this.leaves) this.budget.forget(this);
      else if (this.budget.take(this.wants, this)) this.got += 1;
    }
  }

  test('who waits is served in order, and nobody passes', () => {
    const budget = new ByteBudget(100);
    const [holder, large, small] = [new Waiter(budget, 60), new Waiter(budget, 80), new Waiter(budget, 10)];
    expect(budget.take(60, holder)).toBe(true);
    expect(budget.take(80, large)).toBe(false);
    expect(budget.take(10, small)).toBe(false);
    budget.give(30);
    expect([large.got, small.got]).toEqual([0, 0]);
    budget.give(30);
    expect([large.got, small.got]).toEqual([1, 1]);
    expect(budget.used_bytes).toBe(90);
    expect(budget.contended).toBe(false);
  });

  test('who leaves the queue makes way', () => {
    const budget = new ByteBudget(100);
    const [large, small] = [new Waiter(budget, 80), new Waiter(budget, 10)];
    budget.take(60, new Waiter(budget, 60));
    budget.take(80, large);
    budget.take(10, small);
    large.leaves = true;
    budget.forget(large);
    expect(small.got).toBe(1);
  });
});

describe('runs of a read', () => {
  const KIB64 = 65536;
  test('zeros are told from data in units of 64 KiB, and equal neighbours are one', () => {
    const data = Buffer.alloc(5 * KIB64 + 10);
    data[KIB64 + 5] = 1;
    data[3 * KIB64 - 1] = 1;
    expect(runsOf(data, data.length, true)).toEqual([
      { zero: true, start: 0, end: KIB64 },
      { zero: false, start: KIB64, end: 3 * KIB64 },
      { zero: true, start: 3 * KIB64, end: data.length },
    ]);
    expect(runsOf(data, data.length, false)).toEqual([{ zero: false, start: 0, end: data.length }]);
    expect(runsOf(data, KIB64, false)).toEqual([{ zero: true, start: 0, end: KIB64 }]);
  });

  test('one byte anywhere makes data of it', () => {
    for (const at of [0, 1, 511, 4094, 4095]) {
      const data = Buffer.alloc(8192, 0);
      data.fill(9, 4096);
      data[at] = 1;
      expect(runsOf(data, 4096, true)).toEqual([{ zero: false, start: 0, end: 4096 }]);
    }
  });
});
