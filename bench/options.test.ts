import { describe, expect, it } from 'vitest';
import { quick_ms, quickTime_ms } from './groups/names.ts';
import { type Asked, readSettings, UsageError } from './options.ts';

const settings = (...args: readonly string[]): Extract<Asked, { kind: 'run' }>['settings'] => {
  const asked = readSettings(args);
  if (asked.kind !== 'run') throw new Error(`it is ${asked.kind}`);
  return asked.settings;
};

describe('options of the bench', () => {
  it('a quick run is smaller, and what is said aloud wins', () => {
    expect(settings('--quick').rounds).toBeLessThan(settings().rounds);
    expect(settings('--quick', '--rounds', '7', '--size', '1GiB')).toMatchObject({ rounds: 7, size: 2 ** 30 });
  });

  it('groups keep the order of the report', () => {
    expect(settings('--only', 'rest', '--only', 'block').groups).toEqual(['block', 'rest']);
    expect(settings('--only', 'rest,block').groups).toEqual(['block', 'rest']);
  });

  it.each([
    [['--only', 'bloc'], '--only must be one of block'],
    [['--rounds', '0'], '--rounds must be a number from 1 to 99'],
    [['--rounds', '1.5'], '--rounds must be a whole number'],
    [['--seconds', ''], '--seconds must be a number'],
    [['--size', '1GB'], '--size must be a size'],
    [['--size', '999999TiB'], '--size must be a size'],
    [['--dir', '/nowhere/at/all'], '--dir must be a directory'],
    [['--json', '/nowhere/at/all.json'], '--json must be a file'],
    [['--fast'], "Unknown option '--fast'"],
    [['block'], 'block'],
  ])('%j is refused, naming what is wrong', (args, message) => {
    expect(() => readSettings(args)).toThrow(UsageError);
    expect(() => readSettings(args)).toThrow(message);
  });

  it('all groups of a quick run together take less than three minutes, also when one of them takes longer than its part', () => {
    expect(quick_ms).toBeLessThan(180_000);
    const { groups } = settings('--quick');
    const late_ms = 20_000;
    let now_ms = 0;
    for (const [index] of groups.entries()) {
      now_ms += quickTime_ms(groups.slice(index), quick_ms - now_ms);
      if (index === 0) now_ms += late_ms;
    }
    expect(now_ms).toBeCloseTo(quick_ms);
  });
});
