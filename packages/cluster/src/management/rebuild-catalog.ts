import type { VolumeId } from '@antipode/base';
import type { VolumeInfo } from '@antipode/blocks';
import type { VolumeDocument } from '../catalog/documents.ts';
import { enterSnapshot, freeName } from '../services/found-snapshots.ts';
import { changeMembership, groupDocument } from '../services/group-document.ts';
import type { SnapshotDeps } from '../services/snapshots.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';

/**
 * Rebuilds volumes, groups and snapshots from what the log says of them [C7.1]. Users, policies and pairings are not in the log: they
 * come from a copy of the catalog or are made anew; halves of sessions are taken up again once their peer is paired.
 */
export async function rebuildCatalog(
  deps: SnapshotDeps,
  applianceOf: (volume: VolumeId) => Promise<string | undefined>,
): Promise<{ readonly volumes: number; readonly snapshots: number }> {
  const { catalog, dataPlane } = deps;
  const infos = await dataPlane.volumes();
  const points = await dataPlane.points();
  const places = new Map<string, string | undefined>();
  for (const { id } of infos) places.set(id, await applianceOf(id));
  let snapshots = 0;
  catalog.transaction(() => {
    for (const info of infos) {
      if (catalog.get('volume', info.id) !== undefined) continue;
      const type = info.family === info.id ? 'Primary' : 'Clone';
      const appliance = places.get(info.id);
      const document = newVolumeDocument(deps, {
        id: info.id,
        // Of two that had one name for a while, because one of them was renamed here and not yet there, both are wanted.
        name: freeName(info.name, (name) =>
          catalog.list('volume', 'name', name).some((other) => other.type !== 'Snapshot'),
        ),
        size: info.size,
        type,
        ...(appliance !== undefined && { appliance }),
        protection: protectionOf(info.family, null, null, null, 'User'),
      });
      const found: VolumeDocument = { ...document, state: 'Ready', is_replication_destination: info.destination };
      catalog.put('volume', found, {});
    }
    for (const info of infos) rejoin(deps, info);
    for (const point of points) snapshots += enterSnapshot(deps, point);
  });
  return { volumes: infos.length, snapshots };
}

/** Puts a volume back into its group, which is made anew with the first of its members. */
function rejoin(deps: SnapshotDeps, info: VolumeInfo): void {
  const { catalog } = deps;
  const { group, group_name } = info.tag;
  if (typeof group !== 'string' || catalog.get('volume', info.id)?.group_id != null) return;
  if (catalog.get('volume_group', group) === undefined) {
    const given = typeof group_name === 'string' ? group_name : group;
    const groups = catalog.list('volume_group').map(({ name }) => name.toLowerCase());
    const name = freeName(given, (candidate) => groups.includes(candidate.toLowerCase()));
    const document = groupDocument(deps, {
      id: group,
      name,
      description: null,
      type: info.family === info.id ? 'Primary' : 'Clone',
      is_write_order_consistent: true,
      protection: protectionOf(group, null, null, null, 'User'),
    });
    catalog.put('volume_group', { ...document, is_replication_destination: info.destination }, {});
  }
  changeMembership(catalog, group, { add: [info.id] });
}
