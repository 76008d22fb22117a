import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { labPlaces, type SiteName } from './layout.ts';

/** One site as the lab's users see it. */
export interface LabSite {
  readonly name: SiteName;
  /** Origin of the REST interface. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** `nbd://HOST:PORT`; an export's name is appended as a path. */
  readonly nbd: string;
}

/** What the lab remembers between its runs. */
export interface LabRecord {
  readonly basePort: number;
  /** SHA-256 fingerprints of the sites' certificates, by name. */
  readonly fingerprints: Readonly<Partial<Record<SiteName, string>>>;
  readonly sites: readonly LabSite[];
}

/** Makes the lab's directory, readable by its owner only. */
export function prepareLabDir(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  chmodSync(dir, 0o700);
}

export function readLabRecord(dir: string): LabRecord | undefined {
  const path = labPlaces(dir).record;
  if (!existsSync(path)) return undefined;
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
  return isRecord(value) ? value : undefined;
}

export function writeLabRecord(dir: string, record: LabRecord): void {
  writePrivate(labPlaces(dir).record, `${JSON.stringify(record, null, 2)}\n`);
}

/** The administrator's password of a site: made once, then read again. */
export function sitePassword(dir: string, site: SiteName): string {
  const path = labPlaces(dir).password(site);
  if (!existsSync(path)) writePrivate(path, `${randomBytes(15).toString('base64url')}\n`);
  chmodSync(path, 0o600);
  return readFileSync(path, 'utf8').trim();
}

/** Whole or not at all, and never readable by others, not even for a moment. */
export function writePrivate(path: string, text: string): void {
  const next = `${path}.${process.pid}.new`;
  writeFileSync(next, text, { mode: 0o600, flag: 'w' });
  renameSync(next, path);
}

function isRecord(value: unknown): value is LabRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { basePort, fingerprints, sites } = value as Partial<LabRecord>;
  return typeof basePort === 'number' && typeof fingerprints === 'object' && Array.isArray(sites);
}
