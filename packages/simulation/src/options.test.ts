import { describe, expect, it } from 'vitest';
import { help, readSettings, UsageError } from './options.ts';

const day_ms = 86_400_000;

describe('the options of npm run simulate', () => {
  it('have values of their own where nothing is said', () => {
    expect(readSettings([], 0)).toEqual({
      ...{ first: 1, seeds: 1, hours: 48, calm: 1, minutes: 0, trace: 0, without: [], minimise: false },
    });
  });

  it('a night has seeds that no night before has had', () => {
    const nights = [1000, 1001].map((day) => readSettings(['--night'], day * day_ms));
    expect(nights).toMatchObject([{ first: 1_000_000 }, { first: 1_001_000, minutes: 480 }]);
  });

  it.each([
    ['--seed', 'x'],
    ['--seed', ''],
    ['--seed', '1.5'],
    ['--hours', '-1'],
    ['--calm', '0'],
    ['--minutes', 'Infinity'],
  ])('%s %j is refused with what is allowed', (name, value) => {
    expect(() => readSettings([`${name}=${value}`], 0)).toThrow(UsageError);
    expect(() => readSettings([`${name}=${value}`], 0)).toThrow(/^--\w+ is a/);
  });

  it('one that there is not is refused, and --help names those that there are', () => {
    expect(() => readSettings(['--frob'], 0)).toThrow(/--frob.*--help/);
    expect(readSettings(['--help'], 0)).toBe('help');
    for (const name of ['seed', 'seeds', 'hours', 'calm', 'minutes', 'night', 'trace', 'minimise', 'without'])
      expect(help).toContain(`--${name} `);
  });
});
