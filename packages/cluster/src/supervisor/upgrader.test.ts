import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtInSoftware } from '../software/version.ts';
import type { ToChild } from './messages.ts';
import { installed, readReleaseState } from './release-state.ts';
import { installedRelease, type Release } from './releases.ts';
import { Upgrader } from './upgrader.ts';

let dataDir = '';
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'antipode-upgrader-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const next: Release = { ...installedRelease, id: 'r2', software: { ...builtInSoftware, build_version: '9.9.9.9' } };
const active = () => readReleaseState(dataDir).active;

/** A process under its supervisor as an upgrade sees it: which release it runs, and what was active on disk meanwhile. */
class Place {
  runs: Release | undefined = installedRelease;
  readonly activeMeanwhile: string[] = [];
  readonly told: ToChild[] = [];
  readonly #fails: boolean;

  constructor(fails: boolean) {
    this.#fails = fails;
  }

  async replace(release: Release): Promise<void> {
    this.activeMeanwhile.push(active());
    if (this.#fails) {
      this.runs = undefined;
      throw new Error('it does not start');
    }
    this.runs = release;
  }

  async revert(release: Release): Promise<void> {
    this.activeMeanwhile.push(active());
    this.runs = release;
  }

  tell(message: ToChild): void {
    this.told.push(message);
  }
}

async function upgrade(failing: number | undefined) {
  const places = [0, 1, 2].map((index) => new Place(index === failing));
  const [management, ...dataPlanes] = places as [Place, Place, Place];
  const upgrader = new Upgrader({
    dataDir,
    management,
    dataPlanes,
    open: async () => next,
    release: installedRelease,
    state: readReleaseState(dataDir),
    log: () => undefined,
  });
  upgrader.begin({ id: 'u1', release: next.id });
  await upgrader.settled();
  return { places, management, upgrader };
}

describe('an upgrade of a cluster of two appliances', () => {
  it('is decided once every process of the new release has shown that it works, and not before', async () => {
    const { places, upgrader, management } = await upgrade(undefined);
    expect(places.map(({ runs }) => runs?.id)).toEqual(['r2', 'r2', 'r2']);
    // Whatever was killed until then would have come back as what it was.
    expect(places.flatMap(({ activeMeanwhile }) => activeMeanwhile)).toEqual([installed, installed, installed]);
    expect(readReleaseState(dataDir)).toMatchObject({ active: 'r2', previous: installed, last: { outcome: 'done' } });
    expect(upgrader.softwareState(next).upgrade).toBeUndefined();
    expect(management.told.at(-1)).toMatchObject({ status: { kind: 'ended', outcome: 'done' } });
  });

  it.each([0, 1, 2])(
    'in which process %i does not start leaves every one of them of the release before',
    async (index) => {
      const { places, management } = await upgrade(index);
      expect(places.map(({ runs }) => runs?.id)).toEqual([installed, installed, installed]);
      expect(new Set(places.flatMap(({ activeMeanwhile }) => activeMeanwhile))).toEqual(new Set([installed]));
      const { active: runs, upgrade: under, last } = readReleaseState(dataDir);
      expect([runs, under]).toEqual([installed, undefined]);
      expect(last).toMatchObject({ id: 'u1', release: 'r2', outcome: 'rolled_back' });
      expect(last?.reason).toContain('it does not start');
      expect(management.told.at(-1)).toMatchObject({ status: { kind: 'ended', outcome: 'rolled_back' } });
    },
  );
});
