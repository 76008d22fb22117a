import { statfsSync } from 'node:fs';
import { display } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import { formatConflicts, formats } from '../software/formats.ts';
import { type Manifest, sizeOf } from '../software/manifest.ts';
import { compareVersions, type Software } from '../software/version.ts';

/** Something that a look before an upgrade has found. */
export interface Finding {
  /** A `warning` is told and stands in nobody's way. */
  readonly weight: 'error' | 'warning';
  readonly text: string;
}

/** Beside what a release itself takes: checkpoints, and whatever else is written while it is installed. */
const spare_bytes = 64 * 1024 * 1024;

/** Whether a release can run in place of the one that does: platform, Node.js and versions. In words; empty: it can. */
export function unfit(manifest: Manifest, running: Software): readonly string[] {
  const found: string[] = [];
  if (manifest.platform !== process.platform || manifest.arch !== process.arch)
    found.push(`it is for ${manifest.platform}-${manifest.arch}, this is ${process.platform}-${process.arch}`);
  if (Number(process.versions.node.split('.')[0]) < manifest.node)
    found.push(`it needs Node.js ${manifest.node}, this cluster runs on ${process.versions.node}`);
  if (compareVersions(manifest.build_version, running.build_version) <= 0)
    found.push(`version ${manifest.build_version} is not newer than ${running.build_version}, which runs`);
  if (compareVersions(running.build_version, manifest.minimum_version) < 0)
    found.push(`it upgrades from ${manifest.minimum_version} on, and ${running.build_version} runs`);
  return found;
}

/** Bytes that a package needs at the place of the releases while it is unpacked. */
export const spaceFor = (manifest: Manifest): number => sizeOf(manifest) + spare_bytes;

export const freeSpace = (directory: string): number => {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
};

/** States of a session in which it is changing its direction, coming or going. */
const inTransition = new Set([
  'Failing_Over',
  'Failing_Over_For_DR',
  'Reprotecting',
  'Deleting',
  'Pausing',
  'Resuming',
]);

/** Looks at everything that can stand in the way of an upgrade before it begins, but for the files of the release. */
export async function checkUpgrade(deps: {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly dataDir: string;
  readonly running: Software;
  readonly manifest: Manifest;
}): Promise<readonly Finding[]> {
  const { catalog, dataPlane, dataDir, running, manifest } = deps;
  const errors = [...unfit(manifest, running), ...formatConflicts(formats, manifest.formats)];
  const warnings: string[] = [];
  if (freeSpace(dataDir) < spaceFor(manifest))
    errors.push('there is not enough space for two releases beside the data');
  for (const { id, writes } of await dataPlane.appliances()) {
    if (writes === undefined) errors.push(`the data plane of appliance ${id} does not answer`);
    else if (writes.kind === 'stopped') errors.push(`appliance ${id} takes no writes: ${writes.detail}`);
  }
  for (const alert of catalog.list('alert', 'state', 'ACTIVE')) {
    const text = `alert: ${alert.description_l10n}`;
    if (alert.severity === 'Critical') errors.push(text);
    else if (alert.severity === 'Major') warnings.push(text);
  }
  for (const session of catalog.list('replication_session')) {
    if (inTransition.has(session.state))
      errors.push(`the session of ${session.local_resource_id} is ${display(session.state)}`);
  }
  for (const remote of catalog.list('remote_system')) {
    if (remote.data_connection_state !== 'OK')
      warnings.push(
        `the remote system ${remote.name} cannot be reached: it hears of the pause of its sessions afterwards`,
      );
  }
  return [
    ...errors.map((text) => ({ weight: 'error', text }) as const),
    ...warnings.map((text) => ({ weight: 'warning', text }) as const),
  ];
}
