import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { places } from './data-dir.ts';
import { syncDirectory, writeDurably } from './write-durably.ts';

/** Says whose a directory is: without it an empty mount point could pass for an appliance that has lost everything. */
const markerName = 'appliance.json';
interface Marker {
  readonly cluster: string;
  readonly appliance: string;
}

/** An appliance whose directory is in the data directory itself: the one that every cluster has. */
export const firstAppliance = 'A1';
/** Named by the protocol of hosts and by files: small on purpose. */
const appliancesMost = 16;

const numberOf = (id: string): number => Number(id.slice(1));
export const nodeOf = (appliance: string): string => `N${numberOf(appliance)}`;

/** The appliances of a data directory, the first one first. */
export const appliancesOf = (dataDir: string): readonly string[] =>
  readdirSync(join(dataDir, 'appliances'))
    .filter((name) => /^A[1-9][0-9]*$/.test(name))
    .sort((a, b) => numberOf(a) - numberOf(b));

/**
 * Takes directories in as appliances, and sees that those taken in before are there. An appliance stays one: a link in the data
 * directory leads to it, and a mark in it says whose it is.
 * @throws Error that names the directory and the way out, before anything starts.
 */
export function prepareAppliances(dataDir: string, directories: readonly string[], cluster: string): readonly string[] {
  for (const id of appliancesOf(dataDir)) if (id !== firstAppliance) checkPresent(dataDir, id, cluster);
  for (const directory of directories) adopt(dataDir, directory, cluster);
  return appliancesOf(dataDir);
}

function checkPresent(dataDir: string, id: string, cluster: string): void {
  const link = places(dataDir).appliance(id);
  const marker = existsSync(link) ? markerOf(link) : undefined;
  if (marker?.cluster === cluster && marker.appliance === id) return;
  throw new Error(
    `appliance ${id} is not at ${target(link)}: mount its disk there, or let the link ${link} lead to where it is`,
  );
}

function adopt(dataDir: string, directory: string, cluster: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!statSync(directory).isDirectory()) throw new Error(`--appliances ${directory} is not a directory`);
  const path = realpathSync(directory);
  const known = appliancesOf(dataDir);
  if (known.some((id) => realpathSync(places(dataDir).appliance(id)) === path)) return;
  const marker = markerOf(path);
  if (marker !== undefined && marker.cluster !== cluster)
    throw new Error(`--appliances ${directory} belongs to the cluster with serial ${marker.cluster}`);
  if (marker === undefined && readdirSync(path).some((name) => name !== 'lost+found'))
    throw new Error(`--appliances ${directory} is not empty: an appliance begins with an empty directory`);
  const taken = new Set(known);
  const free = Array.from({ length: appliancesMost }, (_, index) => `A${index + 1}`).find((id) => !taken.has(id));
  if (marker !== undefined && taken.has(marker.appliance))
    throw new Error(
      `--appliances ${directory} is appliance ${marker.appliance}, which is at ${target(places(dataDir).appliance(marker.appliance))}`,
    );
  const id = marker?.appliance ?? free;
  if (id === undefined) throw new Error(`a cluster has at most ${appliancesMost} appliances`);
  writeDurably(join(path, markerName), JSON.stringify({ cluster, appliance: id } satisfies Marker));
  const link = places(dataDir).appliance(id);
  symlinkSync(path, link, 'dir');
  syncDirectory(dirname(link));
}

function markerOf(directory: string): Marker | undefined {
  const path = join(directory, markerName);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Marker) : undefined;
}

function target(link: string): string {
  try {
    return realpathSync(link);
  } catch {
    return `the place that ${link} leads to`;
  }
}
