import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { CheckReport } from '@antipode/blocks';
import type { VolumeDocument, VolumePrivate } from '../catalog/documents.ts';

/** How catalog and log agree. `findings` need somebody; `notes` settle by themselves at the next start. */
export interface CatalogReport {
  readonly state: 'readable' | 'absent' | 'unreadable';
  readonly volumes: number;
  readonly snapshots: number;
  readonly findings: readonly string[];
  readonly notes: readonly string[];
}

interface Row {
  readonly document: VolumeDocument;
  readonly hidden: VolumePrivate;
}

/** Compares a copy of the catalog with what the log holds: the log is the truth about bytes, the catalog about names [C7.1] [C7.2]. */
export function compareCatalog(
  directory: string,
  scratch: string,
  appliances: readonly Pick<CheckReport, 'volumes' | 'points' | 'sessions'>[],
): CatalogReport {
  const volumes = appliances.flatMap((appliance) => appliance.volumes);
  const without = (state: CatalogReport['state'], detail: string): CatalogReport => ({
    state,
    volumes: 0,
    snapshots: 0,
    findings: volumes.length === 0 && state === 'absent' ? [] : [detail],
    notes: [],
  });
  if (!existsSync(join(directory, 'catalog.db')))
    return without('absent', `there is no catalog, but the log holds ${volumes.length} volume(s)`);
  let rows: readonly Row[];
  let sessions: readonly string[];
  try {
    ({ rows, sessions } = readCatalog(directory, scratch));
  } catch (error) {
    return without(
      'unreadable',
      `the catalog cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const findings: string[] = [];
  const notes: string[] = [];
  const inLog = new Map(volumes.map((volume) => [volume.id as string, volume]));
  const points = appliances.flatMap((appliance) => appliance.points);
  const inPoints = new Set(points.flatMap(({ id, volumes: members }) => members.map((member) => `${id} ${member}`)));
  for (const { document, hidden } of rows) {
    const { id, name, type, state } = document;
    const isThere = type === 'Snapshot' ? inPoints.has(`${hidden.point} ${hidden.of}`) : inLog.has(id);
    if (isThere) continue;
    const what = type === 'Snapshot' ? 'snapshot' : 'volume';
    if (state === 'Ready') findings.push(`${what} ${name} (${id}) is in the catalog and not in the log`);
    else notes.push(`${what} ${name} (${id}) is ${state}: its creation or deletion goes on at the next start`);
  }
  const known = new Set(rows.map(({ document }) => document.id));
  for (const { id, name, size } of volumes)
    if (!known.has(id)) findings.push(`volume ${name} (${id}, ${size} bytes) is in the log and not in the catalog`);
  const snapshots = rows.filter(({ document }) => document.type === 'Snapshot');
  const knownPoints = new Set(snapshots.map(({ hidden }) => hidden.point));
  for (const { id, kind, name, dropped } of points)
    if (kind === 'snapshot' && !dropped && !knownPoints.has(id))
      notes.push(`point ${name} (${id}) is in the log and no snapshot of the catalog`);
  const halves = new Set(appliances.flatMap((appliance) => appliance.sessions));
  for (const id of sessions) if (!halves.has(id)) notes.push(`session ${id} is in the catalog and not in the log`);
  for (const id of halves) if (!sessions.includes(id)) notes.push(`session ${id} is in the log and not in the catalog`);
  return { state: 'readable', volumes: rows.length - snapshots.length, snapshots: snapshots.length, findings, notes };
}

function readCatalog(directory: string, scratch: string): { rows: readonly Row[]; sessions: readonly string[] } {
  // A copy: even to look at a database in this mode writes beside it.
  const copy = join(scratch, 'catalog.db');
  for (const part of ['', '-wal'])
    if (existsSync(join(directory, `catalog.db${part}`)))
      copyFileSync(join(directory, `catalog.db${part}`), `${copy}${part}`);
  const database = new DatabaseSync(copy);
  try {
    const [verdict] = database.prepare('PRAGMA integrity_check').all() as { integrity_check: string }[];
    if (verdict?.integrity_check !== 'ok') throw new Error(verdict?.integrity_check ?? 'no verdict');
    const found = database.prepare('SELECT doc, private FROM volume').all() as {
      doc: string;
      private: string | null;
    }[];
    const rows = found.map(({ doc, private: hidden }) => ({
      document: JSON.parse(doc) as VolumeDocument,
      hidden: hidden === null ? {} : (JSON.parse(hidden) as VolumePrivate),
    }));
    const sessions = (database.prepare('SELECT id FROM replication_session').all() as { id: string }[]).map(
      ({ id }) => id,
    );
    return { rows, sessions };
  } finally {
    database.close();
  }
}
