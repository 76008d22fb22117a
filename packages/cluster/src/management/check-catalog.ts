import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import type { Reporter } from '../services/occurrences.ts';

/**
 * A catalog that is empty although the log holds volumes is a lost one: starting on it would hide them, and a second set would
 * grow beside the first. The start stops with both ways out [C7.2].
 */
export async function checkCatalog(catalog: Catalog, dataPlane: DataPlane, rebuild: boolean): Promise<void> {
  if (catalog.count('local_user') > 0 || rebuild) return;
  const volumes = await dataPlane.volumes();
  if (volumes.length === 0) return;
  throw new Error(
    `the catalog is empty, but the log holds ${volumes.length} volume(s): put a copy of the catalog back (catalog/backup-*.db as catalog/catalog.db), or rebuild it from the log with "antipode recover --data DIR"`,
  );
}

/** What the engine holds and the catalog does not explain is kept and told of, never removed [C7.2]. */
export async function reportUnexplained(catalog: Catalog, dataPlane: DataPlane, reporter: Reporter): Promise<void> {
  for (const volume of await dataPlane.volumes()) {
    if (catalog.get('volume', volume.id) !== undefined) continue;
    reporter.tell(
      'unexplained',
      { type: 'volume', id: volume.id, name: volume.name },
      `a volume of ${volume.size} bytes; the catalog may be an older copy`,
    );
  }
}
