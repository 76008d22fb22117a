import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from './write-durably.ts';

/** The installation that the supervisor itself was started from. Other releases are folders below `software`. */
export const installed = 'installed';

/** How an upgrade ended: kept until the next one, so that management hears of it whenever it starts. */
export interface UpgradeEnd {
  readonly id: string;
  readonly release: string;
  readonly outcome: 'done' | 'rolled_back';
  /** Why it was rolled back. */
  readonly reason?: string;
}

/** Which release runs. Only the supervisor writes it; `active` changes in one step, when the new release has proven itself. */
export interface ReleaseState {
  readonly version: 1;
  readonly active: string;
  /** The one before: it stays where it is until it is deleted. */
  readonly previous?: string;
  /** An upgrade that is under way. Found at a start: it did not get to its end. */
  readonly upgrade?: { readonly id: string; readonly release: string };
  readonly last?: UpgradeEnd;
}

const fresh: ReleaseState = { version: 1, active: installed };

export const softwarePlace = (dataDir: string): string => join(dataDir, 'software');
export const releasePlace = (dataDir: string, id: string): string => join(softwarePlace(dataDir), id);
const fileOf = (dataDir: string): string => join(dataDir, 'release.json');

/** The state as it is on disk. @throws Error where the file is not one of this program's */
export function readReleaseState(dataDir: string): ReleaseState {
  const path = fileOf(dataDir);
  if (!existsSync(path)) return fresh;
  const state = JSON.parse(readFileSync(path, 'utf8')) as ReleaseState;
  if (state.version !== 1 || typeof state.active !== 'string')
    throw new Error(`${path} is not of a version that this program knows`);
  return state;
}

export const writeReleaseState = (dataDir: string, state: ReleaseState): void =>
  writeDurably(fileOf(dataDir), JSON.stringify(state));

export const began = (state: ReleaseState, upgrade: { id: string; release: string }): ReleaseState => ({
  ...state,
  upgrade: { id: upgrade.id, release: upgrade.release },
});

/** The new release has proven itself: from here on it is what runs, also after a crash. */
export function committed(state: ReleaseState): ReleaseState {
  const { upgrade, ...rest } = state;
  if (upgrade === undefined) return state;
  const last: UpgradeEnd = { ...upgrade, outcome: 'done' };
  return { ...rest, active: upgrade.release, previous: state.active, last };
}

/** The upgrade is over without its release, whether it failed, was stopped, or found unfinished at a start. */
export function rolledBack(state: ReleaseState, reason: string): ReleaseState {
  const { upgrade, ...rest } = state;
  if (upgrade === undefined) return state;
  return { ...rest, last: { ...upgrade, outcome: 'rolled_back', reason } };
}
