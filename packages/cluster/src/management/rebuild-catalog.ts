import type { VolumeDocument } from '../catalog/documents.ts';
import { enterSnapshot } from '../services/found-snapshots.ts';
import type { SnapshotDeps } from '../services/snapshots.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';

/**
 * Rebuilds volumes and snapshots from what the log says of them [C7.1]. Users, policies, groups and pairings are not in the log: they
 * come from a copy of the catalog or are made anew; halves of sessions are taken up again once their peer is paired.
 */
export async function rebuildCatalog(
  deps: SnapshotDeps,
): Promise<{ readonly volumes: number; readonly snapshots: number }> {
  const { catalog, dataPlane } = deps;
  const infos = await dataPlane.volumes();
  const points = await dataPlane.points();
  let snapshots = 0;
  catalog.transaction(() => {
    for (const info of infos) {
      if (catalog.get('volume', info.id) !== undefined) continue;
      const type = info.family === info.id ? 'Primary' : 'Clone';
      const document = newVolumeDocument(deps, {
        id: info.id,
        name: info.name,
        size: info.size,
        type,
        protection: protectionOf(info.family, null, null, null, 'User'),
      });
      const found: VolumeDocument = { ...document, state: 'Ready', is_replication_destination: info.destination };
      catalog.put('volume', found, {});
    }
    for (const point of points) snapshots += enterSnapshot(deps, point);
  });
  return { volumes: infos.length, snapshots };
}
