import type { Catalog } from '../catalog/catalog.ts';
import { timestamp, type VolumeDocument } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { protectionOf, type VolumeService } from '../services/volumes.ts';

/**
 * Rebuilds volumes and snapshots from what the log says of them [C7.1]. Users, policies and pairings are not in the log: they come
 * from a copy of the catalog or are made anew; halves of sessions are taken up again once their peer is paired.
 */
export async function rebuildCatalog(
  catalog: Catalog,
  dataPlane: DataPlane,
  volumes: VolumeService,
): Promise<{ readonly volumes: number; readonly snapshots: number }> {
  const infos = await dataPlane.volumes();
  const points = await dataPlane.points();
  let snapshots = 0;
  catalog.transaction(() => {
    for (const info of infos) {
      if (catalog.get('volume', info.id) !== undefined) continue;
      const type = info.family === info.id ? 'Primary' : 'Clone';
      const document = volumes.newDocument({
        id: info.id,
        name: info.name,
        size: info.size,
        type,
        protection: protectionOf(info.family, null, null, null, 'User'),
      });
      const found: VolumeDocument = { ...document, state: 'Ready', is_replication_destination: info.destination };
      catalog.put('volume', found, {});
    }
    for (const point of points) {
      if (point.kind === 'internal' || point.dropped) continue;
      for (const member of point.members) {
        const of = catalog.get('volume', member.volume);
        const id = typeof point.tag.snapshot === 'string' ? point.tag.snapshot : point.id;
        if (of === undefined || catalog.get('volume', id) !== undefined) continue;
        const creator = point.kind === 'diverged' ? 'System' : 'User';
        const protection = protectionOf(
          of.protection_data.family_id,
          of.id,
          of.id,
          timestamp(point.instant_ms),
          creator,
        );
        const document = volumes.newDocument({
          id,
          name: String(point.tag.name ?? point.id),
          size: member.size,
          type: 'Snapshot',
          protection,
        });
        catalog.put('volume', { ...document, state: 'Ready' }, { point: point.id, of: of.id });
        snapshots += 1;
      }
    }
  });
  return { volumes: infos.length, snapshots };
}
