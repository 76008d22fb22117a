import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { IoLimit } from '../local/api.ts';
import { KeptLimits } from './kept-limits.ts';

let directory: string;
const path = () => join(directory, 'limits.json');
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'limits-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const limits: readonly IoLimit[] = [
  { id: 'volume v', volumes: ['v'], rate: { operations_per_s: 12.5, burst_percentage: 0 } },
  { id: 'group g', volumes: ['a', 'b'], rate: { bytes_per_s: 2_048_000, burst_percentage: 40 } },
];

it('what was told last is there after a start, for its owner alone', () => {
  expect(new KeptLimits(path()).load()).toEqual([]);
  new KeptLimits(path()).keep(limits);
  expect(new KeptLimits(path()).load()).toEqual(limits);
  expect(statSync(path()).mode & 0o077).toBe(0);
  new KeptLimits(path()).keep([]);
  expect(new KeptLimits(path()).load()).toEqual([]);
});

it.each([
  '',
  '{',
  '{}',
  '[1]',
  '[null]',
  '[{"id":"v","volumes":[1],"rate":{"burst_percentage":0}}]',
  '[{"id":"v","volumes":[]}]',
  '[{"id":"v","volumes":["v"],"rate":{"operations_per_s":-1,"burst_percentage":0}}]',
])('what is no list of limits is none: %s', (text) => {
  writeFileSync(path(), text);
  expect(new KeptLimits(path()).load()).toEqual([]);
});

it('a medium that takes nothing does not stop limits from being taken', () => {
  const kept = new KeptLimits(join(directory, 'missing', 'limits.json'));
  expect(() => kept.keep(limits)).not.toThrow();
});
