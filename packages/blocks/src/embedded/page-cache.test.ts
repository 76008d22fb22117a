import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Gate } from './gate.ts';
import { guessedPageCache, openPageCache, type PageCache } from './page-cache.ts';

const content = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 31) % 251);
let directory: string;
let handle: number;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'page-cache-'));
  writeFileSync(join(directory, 'file'), content);
  handle = openSync(join(directory, 'file'), 'r');
});
afterAll(() => {
  closeSync(handle);
  rmSync(directory, { recursive: true, force: true });
});

describe.each<{ name: string; make: () => Promise<PageCache> | PageCache }>([
  { name: 'of the kernel', make: openPageCache },
  { name: 'guessed', make: () => guessedPageCache(() => 0) },
])('the page cache, $name', ({ make }) => {
  it('reads what was just written, wherever it goes', async () => {
    const cache = await make();
    const whole = new Uint8Array(10_000).fill(255);
    for (const [offset, at, length] of [
      [0, 0, 4096],
      [12_345, 17, 5_000],
      [99_999, 9_000, 1],
    ] as const) {
      expect(cache.read(handle, whole.subarray(at, at + length), offset)).toBe(true);
      expect(whole.subarray(at, at + length)).toEqual(content.subarray(offset, offset + length));
    }
    expect(whole.at(-1)).toBe(255);
  });

  it('says no to what the file does not have, and to a handle that is none', async () => {
    const cache = await make();
    expect(cache.read(handle, new Uint8Array(4096), content.length - 100)).toBe(false);
    expect(cache.read(handle, new Uint8Array(4096), content.length + 100)).toBe(false);
    expect(cache.read(1_000_000, new Uint8Array(4096), 0)).toBe(false);
    // It still answers for those that are.
    expect(cache.read(handle, new Uint8Array(4096), 0)).toBe(true);
  });
});

describe('a guess at the page cache', () => {
  it('leaves the next reads to others after a slow one, more of them while it stays slow, and comes back', () => {
    let now = 0;
    let takes = 0;
    const cache = guessedPageCache(() => now, ((_handle: number, target: Uint8Array) => {
      now += takes;
      return target.length;
    }) as never);
    const target = new Uint8Array(1);
    /** Reads that are refused until one is tried. */
    const refusals = (): number => {
      for (let count = 0; ; count++) if (cache.read(handle, target, 0)) return count;
    };
    expect(refusals()).toBe(0);
    takes = 5;
    expect(refusals()).toBe(0);
    expect(refusals()).toBe(16);
    expect(refusals()).toBe(32);
    takes = 0.1;
    expect(refusals()).toBe(64);
    expect(refusals()).toBe(0);
    takes = 5;
    expect(refusals()).toBe(0);
    expect(refusals()).toBe(16);
  });
});

describe('a gate', () => {
  it('lets no more through at once than it has room for, in order, whatever becomes of them', async () => {
    const gate = new Gate(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const passing = [0, 1, 2, 3, 4].map((index) =>
      gate.pass(async () => {
        begun.push(index);
        await new Promise<void>((resolve) => ends.push(resolve));
        if (index === 1) throw new Error('one of them fails');
      }),
    );
    const settled = Promise.allSettled(passing);
    for (let ended = 0; ended < 5; ended++) {
      expect(begun.length).toBe(Math.min(5, ended + 2));
      ends[ended]!();
      await passing[ended]?.catch(() => undefined);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    expect((await settled).map(({ status }) => status === 'fulfilled')).toEqual([true, false, true, true, true]);
  });
});
