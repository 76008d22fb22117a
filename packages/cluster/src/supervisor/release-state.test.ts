import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  began,
  committed,
  installed,
  readReleaseState,
  releasePlace,
  rolledBack,
  writeReleaseState,
} from './release-state.ts';
import { chooseRelease } from './releases.ts';

let dataDir = '';
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'antipode-release-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));
const request = { id: 'u1', release: 'r2' };

describe('the release that runs', () => {
  it('changes in one step, when an upgrade is committed, and remembers how the last one ended', () => {
    const before = readReleaseState(dataDir);
    expect(before.active).toBe(installed);
    const under = began(before, request);
    expect(under.active).toBe(installed);
    expect(committed(under)).toEqual({
      version: 1,
      active: 'r2',
      previous: installed,
      last: { ...request, outcome: 'done' },
    });
    expect(rolledBack(under, 'why')).toEqual({
      version: 1,
      active: installed,
      last: { ...request, outcome: 'rolled_back', reason: 'why' },
    });
    // Without an upgrade under way there is nothing to decide.
    expect(committed(before)).toEqual(before);
    expect(rolledBack(before, 'why')).toEqual(before);
  });

  it('is the one of before when a start finds an upgrade unfinished, durably and with an end that can be told', async () => {
    writeReleaseState(dataDir, began(readReleaseState(dataDir), request));
    const { release, state } = await chooseRelease(dataDir, () => undefined);
    expect(release.id).toBe(installed);
    expect(state.last).toMatchObject({ id: 'u1', outcome: 'rolled_back' });
    expect(readReleaseState(dataDir)).toEqual(state);
  });

  it.each([
    ['is gone', () => undefined],
    [
      'is damaged',
      () => {
        mkdirSync(releasePlace(dataDir, 'r2'), { recursive: true });
        writeFileSync(join(releasePlace(dataDir, 'r2'), 'package.head'), 'something else');
      },
    ],
  ])('is the installed one when the active one %s, and the log says so', async (_, prepare) => {
    prepare();
    writeReleaseState(dataDir, committed(began(readReleaseState(dataDir), request)));
    const said: string[] = [];
    const { release, state } = await chooseRelease(dataDir, (line) => said.push(line));
    expect(release.id).toBe(installed);
    expect(state.active).toBe(installed);
    expect(said).toHaveLength(1);
  });
});
