import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { labPlaces } from './layout.ts';
import { readPace, setPace } from './pace.ts';

let dir = '';
afterEach(() => rmSync(dir, { recursive: true, force: true }));
const fresh = () => {
  dir = mkdtempSync(join(tmpdir(), 'antipode-pace-'));
  return labPlaces(dir).clock;
};

describe('the pace of a lab', () => {
  test('is the machine’s unless asked for, and starts where the machine is', () => {
    const path = fresh();
    expect(setPace(dir, 1, 1_000)).toBe(false);
    expect(readPace(path)).toBeUndefined();
    expect(setPace(dir, 60, 1_000)).toBe(true);
    expect(readPace(path)).toEqual({ rate: 60, real_ms: 1_000, shown_ms: 1_000 });
  });

  test('never goes back: what has run ahead keeps its lead', () => {
    const path = fresh();
    setPace(dir, 60, 1_000);
    expect(setPace(dir, 1, 2_000)).toBe(true);
    expect(readPace(path)).toEqual({ rate: 1, real_ms: 2_000, shown_ms: 61_000 });
    setPace(dir, 10, 3_000);
    expect(readPace(path)).toEqual({ rate: 10, real_ms: 3_000, shown_ms: 62_000 });
  });

  test('is not read from a file that holds something else', () => {
    const path = fresh();
    for (const text of [
      '',
      '[]',
      'null',
      '{"rate":0,"real_ms":1,"shown_ms":1}',
      '{"rate":2,"real_ms":"1","shown_ms":1}',
    ]) {
      writeFileSync(path, text);
      expect(readPace(path)).toBeUndefined();
    }
  });
});
