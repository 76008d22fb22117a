import { volumeId } from '@antipode/base';
import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import type { Sums } from './figures.ts';
import type { CopyCounters, MetricsSources } from './recorder.ts';
import type { SeriesKey } from './store.ts';

type Figures = Readonly<Record<string, unknown>>;

/** What a running cluster has to measure. */
export function metricsSources(
  catalog: Catalog,
  dataPlane: Pick<DataPlane, 'ioCounters' | 'usage' | 'volumeUsage'>,
  figures: (session: string) => Promise<Figures | undefined>,
): MetricsSources {
  /** Logical bytes of volumes, measured again where something was written. */
  const used = new Map<string, { readonly size: number; readonly logical: number }>();
  const heads = () => catalog.list('volume').filter(({ type }) => type !== 'Snapshot');
  const measure = async (id: string, size: number, changed: boolean): Promise<number> => {
    const known = used.get(id);
    if (known !== undefined && known.size === size && !changed) return known.logical;
    const usage = await dataPlane.volumeUsage(volumeId(id)).catch(() => undefined);
    const logical = usage?.logical_bytes ?? known?.logical ?? 0;
    used.set(id, { size, logical });
    return logical;
  };
  return {
    io: () => dataPlane.ioCounters(),
    volumes: () => heads().map(({ id, group_id }) => ({ id, group: group_id ?? null })),
    async space(changed) {
      const measured: (readonly [SeriesKey, Sums])[] = [];
      const groups = new Map<string, Sums[]>();
      let provisioned = 0;
      let logical = 0;
      const known = new Set<string>();
      for (const { id, size, group_id, is_replication_destination } of heads()) {
        known.add(id);
        // A copy changes without a host's writes.
        const bytes = await measure(id, size, changed.has(id) || is_replication_destination);
        const sums = spaceOf(size, bytes);
        measured.push([{ family: 'space', kind: 'volume', id }, sums]);
        provisioned += size;
        logical += bytes;
        if (group_id != null) groups.set(group_id, [...(groups.get(group_id) ?? []), sums]);
      }
      for (const id of [...used.keys()]) if (!known.has(id)) used.delete(id);
      for (const [id, members] of groups) {
        const total = (name: string) => members.reduce((sum, member) => sum + (member[name] ?? 0), 0);
        measured.push([
          { family: 'space', kind: 'vg', id },
          spaceOf(total('logical_provisioned'), total('logical_used')),
        ]);
      }
      const { total_bytes, free_bytes, log_bytes } = await dataPlane.usage();
      const whole: Sums = {
        ...spaceOf(provisioned, logical),
        logical_used_volume: logical,
        logical_used_file_system: 0,
        logical_used_vvol: 0,
        physical_total: total_bytes,
        physical_used: total_bytes - free_bytes,
        data_physical_used: log_bytes,
        system_free_space: free_bytes,
        data_reduction: ratio(logical, log_bytes),
        efficiency_ratio: ratio(provisioned, log_bytes),
      };
      measured.push([{ family: 'space', kind: 'appliance', id: 'A1' }, whole]);
      measured.push([{ family: 'space', kind: 'cluster', id: '0' }, whole]);
      return measured;
    },
    async copies() {
      const copies: CopyCounters[] = [];
      for (const session of catalog.list('replication_session')) {
        const now = await figures(session.id);
        if (now === undefined) continue;
        copies.push({
          session: session.id,
          remote: session.remote_system_id,
          resource: {
            kind: session.resource_type === 'volume_group' ? 'vg' : 'volume',
            id: session.local_resource_id,
          },
          shipped_bytes: Number(now.shipped_bytes_total ?? 0),
          remaining_bytes: Number(now.remaining_bytes ?? 0),
        });
      }
      return copies;
    },
  };
}

const ratio = (value: number, of: number): number => (of > 0 ? value / of : 1);
const spaceOf = (provisioned: number, used: number): Sums => ({
  logical_provisioned: provisioned,
  logical_used: used,
  thin_savings: ratio(provisioned, used),
});
