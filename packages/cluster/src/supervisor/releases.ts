import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Manifest } from '../software/manifest.ts';
import { verifyRelease } from '../software/unpack.ts';
import { builtInSoftware, compareVersions, releaseOf, type Software } from '../software/version.ts';
import {
  installed,
  type ReleaseState,
  readReleaseState,
  releasePlace,
  rolledBack,
  writeReleaseState,
} from './release-state.ts';

export type ProcessName = 'dataplane' | 'management';

/** Code that processes can be started from. */
export interface Release {
  readonly id: string;
  readonly software: Software;
  readonly entryOf: (name: ProcessName) => URL;
}

/** What the supervisor itself is from. */
export const installedRelease: Release = {
  id: installed,
  software: builtInSoftware,
  entryOf: (name) => new URL(`../${name}/main.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
};

export const softwareOf = (manifest: Manifest): Software => ({
  release_version: releaseOf(manifest.build_version),
  build_version: manifest.build_version,
  build_id: manifest.build_id,
  build_type: manifest.build_type,
  release_timestamp: manifest.release_timestamp,
});

/** An unpacked release, compared with what was signed. @throws PackageRefused */
export async function openRelease(dataDir: string, id: string): Promise<Release> {
  const directory = releasePlace(dataDir, id);
  const manifest = await verifyRelease(directory);
  const main = (name: ProcessName) => join(directory, 'node_modules/@antipode/cluster/dist', name, 'main.js');
  return { id, software: softwareOf(manifest), entryOf: (name) => pathToFileURL(main(name)) };
}

/**
 * Which release a start begins with, and the state that goes with it, durable when it resolves. An upgrade that did not get to its end is
 * over; what was installed since and is newer takes over from an active release, as does the installation when that release is damaged.
 */
export async function chooseRelease(
  dataDir: string,
  log: (line: string) => void,
): Promise<{ readonly release: Release; readonly state: ReleaseState }> {
  const found = readReleaseState(dataDir);
  const state = rolledBack(found, 'the cluster ended in the middle of it');
  const release = await active(dataDir, state, log);
  const { previous: before, ...rest } = state;
  const previous = release.id === state.active ? before : state.active;
  const next: ReleaseState = { ...rest, active: release.id, ...(previous !== undefined && { previous }) };
  if (JSON.stringify(next) !== JSON.stringify(found)) writeReleaseState(dataDir, next);
  return { release, state: next };
}

async function active(dataDir: string, state: ReleaseState, log: (line: string) => void): Promise<Release> {
  if (state.active === installed) return installedRelease;
  if (!existsSync(releasePlace(dataDir, state.active))) {
    log(`release ${state.active} is not there any more; the installed one runs`);
    return installedRelease;
  }
  try {
    const release = await openRelease(dataDir, state.active);
    if (compareVersions(release.software.build_version, builtInSoftware.build_version) >= 0) return release;
    log(
      `what is installed (${builtInSoftware.build_version}) is newer than release ${release.software.build_version}, and runs`,
    );
  } catch (error) {
    log(`release ${state.active} is damaged (${(error as Error).message}); the installed one runs`);
  }
  return installedRelease;
}
