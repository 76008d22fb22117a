import type { PointInfo, VolumeInfo } from '@antipode/blocks';
import type { Catalog } from '../catalog/catalog.ts';
import { timestamp, type VolumeDocument, type VolumeGroupDocument, type VolumePrivate } from '../catalog/documents.ts';
import { groupDocument } from './group-document.ts';
import { labelOf, type SnapshotLabel, withLabel } from './snapshot-tag.ts';
import { forgetVolume, memberName, type SnapshotDeps } from './snapshots.ts';
import { newVolumeDocument, protectionOf } from './volume-document.ts';

/**
 * Enters a snapshot that the engine holds and the catalog does not know: one that came from the source of a session, or, after a loss
 * of the catalog, one of this cluster's own. Answers how many member snapshots were entered; what is known already stays as it is.
 */
export function enterSnapshot(deps: Omit<SnapshotDeps, 'dataPlane'>, point: PointInfo): number {
  const { catalog, random } = deps;
  if (point.kind === 'internal' || point.dropped) return 0;
  const known = new Set(
    catalog.listByPrivate('volume', 'point', point.id).map((snapshot) => snapshot.protection_data.parent_id),
  );
  const label = labelHere(catalog, point);
  const moment = timestamp(point.instant_ms);
  const members = point.members.flatMap((member) => {
    const of = catalog.get('volume', member.volume);
    return of === undefined || known.has(of.id) ? [] : [{ of, size: member.size }];
  });
  if (members.length === 0) return 0;
  const set = label.group === null ? undefined : enterSet(deps, point, label.group, members[0]!.of);
  for (const [index, { of, size }] of members.entries()) {
    const wanted = set === undefined ? label.name : memberName(label.name, of.name);
    // The id that it had where it was taken, if this is that place.
    const own = set === undefined && index === 0 && catalog.get('volume', label.id) === undefined;
    const document = newVolumeDocument(deps, {
      id: own ? label.id : random.uuid(),
      name: freeSnapshotName(catalog, of.id, wanted),
      size,
      appliance: of.appliance_id,
      type: 'Snapshot',
      protection: withLabel(protectionOf(of.protection_data.family_id, of.id, of.id, moment, 'User'), label),
      description: label.description,
      group: set?.id ?? null,
    });
    catalog.put('volume', { ...document, state: 'Ready' }, { point: point.id, of: of.id });
  }
  return members.length;
}

/**
 * Snapshots of volumes that are `here`, as the engine has them, where the catalog is an older copy: those that it has no more are forgotten,
 * those that were taken since are entered [C7.2]. A session enters its own.
 */
export async function agreeWithEngine(deps: SnapshotDeps, here: ReadonlyMap<string, VolumeInfo>): Promise<void> {
  const { catalog, dataPlane } = deps;
  // Listed before the engine is asked: what comes in between is not taken for gone.
  const snapshots = catalog.list('volume', 'type', 'Snapshot');
  const points = (await dataPlane.points()).filter(({ dropped }) => !dropped);
  const held = new Set<string>(points.map(({ id }) => id));
  for (const snapshot of snapshots) {
    const hidden = catalog.private<VolumePrivate>('volume', snapshot.id);
    // What is not here may be on its way between appliances, with its snapshots.
    if (snapshot.state !== 'Ready' || hidden?.point === undefined || !here.has(hidden.of ?? '')) continue;
    if (!held.has(hidden.point)) forgetVolume(catalog, snapshot);
  }
  for (const point of points) {
    if (point.kind !== 'snapshot' || catalog.listByPrivate('volume', 'point', point.id).length > 0) continue;
    if (point.members.some(({ volume }) => here.get(volume)?.session !== undefined)) continue;
    enterSnapshot(deps, point);
  }
}

/** The label as this cluster says it: the rule is its own, or its copy of the one that took the snapshot elsewhere; of others there is only the name. */
function labelHere(catalog: Catalog, point: PointInfo): SnapshotLabel {
  const label = labelOf(point);
  const taken = label.protection.created_by_rule_id;
  if (taken === null || catalog.get('snapshot_rule', taken) !== undefined) return label;
  const here = catalog.listByPrivate('snapshot_rule', 'of', taken)[0]?.id ?? null;
  return { ...label, protection: { ...label.protection, created_by_rule_id: here } };
}

function enterSet(
  deps: Omit<SnapshotDeps, 'dataPlane'>,
  point: PointInfo,
  group: string,
  member: VolumeDocument,
): VolumeGroupDocument {
  const { catalog, random } = deps;
  const known = catalog.listByPrivate('volume_group', 'point', point.id)[0];
  if (known !== undefined) return known;
  const label = labelHere(catalog, point);
  const of =
    (member.group_id == null ? undefined : catalog.get('volume_group', member.group_id)) ??
    catalog.list('volume_group', 'name', group).find(({ type }) => type !== 'Snapshot');
  const parent = of?.id ?? null;
  const set = groupDocument(deps, {
    id: random.uuid(),
    name: freeSetName(catalog, parent, label.name),
    description: label.description,
    type: 'Snapshot',
    is_write_order_consistent: true,
    protection: withLabel(
      protectionOf(of?.protection_data.family_id ?? '', parent, parent, timestamp(point.instant_ms), 'User'),
      label,
    ),
  });
  catalog.put('volume_group', { ...set, is_protectable: true }, { point: point.id });
  return set;
}

function freeSnapshotName(catalog: Catalog, parent: string, name: string): string {
  return freeName(name, (candidate) =>
    catalog
      .list('volume', 'name', candidate)
      .some(({ type, protection_data }) => type === 'Snapshot' && protection_data.parent_id === parent),
  );
}

function freeSetName(catalog: Catalog, parent: string | null, name: string): string {
  const sets = catalog.listSets(parent);
  return freeName(name, (candidate) => sets.some((set) => set.name.toLowerCase() === candidate.toLowerCase()));
}

/** The same name where it is free here, else with a number. */
export function freeName(name: string, taken: (candidate: string) => boolean): string {
  if (!taken(name)) return name;
  for (let number = 2; ; number++) {
    const candidate = `${name.slice(0, 120)} (${number})`;
    if (!taken(candidate)) return candidate;
  }
}
