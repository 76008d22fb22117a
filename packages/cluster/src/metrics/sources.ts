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
  /** Bytes of volumes, measured again where something was written. */
  const used = new Map<string, Measured>();
  /** Of the whole appliance, when it was measured last. */
  let whole_bytes = { data_bytes: -1, live_bytes: -1 };
  const heads = () => catalog.list('volume').filter(({ type }) => type !== 'Snapshot');
  const measure = async (id: string, size: number, changed: boolean): Promise<Measured> => {
    const known = used.get(id);
    if (known !== undefined && known.size === size && !changed) return known;
    const usage = await dataPlane.volumeUsage(volumeId(id)).catch(() => undefined);
    const measured = {
      size,
      logical: usage?.logical_bytes ?? known?.logical ?? 0,
      unique: usage?.unique_bytes ?? known?.unique ?? 0,
      stored: usage?.stored_bytes ?? known?.stored ?? 0,
    };
    used.set(id, measured);
    return measured;
  };
  return {
    io: () => dataPlane.ioCounters(),
    volumes: () => heads().map(({ id, group_id }) => ({ id, group: group_id ?? null })),
    async space(changed) {
      const measured: (readonly [SeriesKey, Sums])[] = [];
      const groups = new Map<string, Measured[]>();
      const { total_bytes, free_bytes, log_bytes, live_bytes, data_bytes } = await dataPlane.usage();
      // The same data in another place: packed, or moved.
      const packed = data_bytes === whole_bytes.data_bytes && live_bytes !== whole_bytes.live_bytes;
      whole_bytes = { data_bytes, live_bytes };
      let provisioned = 0;
      let logical = 0;
      const known = new Set<string>();
      for (const { id, size, group_id, is_replication_destination } of heads()) {
        known.add(id);
        // A copy changes without a host's writes.
        const again = changed.has(id) || is_replication_destination || (packed && group_id != null);
        const bytes = await measure(id, size, again);
        measured.push([{ family: 'space', kind: 'volume', id }, spaceOf(size, bytes.logical)]);
        provisioned += size;
        logical += bytes.logical;
        if (group_id != null) groups.set(group_id, [...(groups.get(group_id) ?? []), bytes]);
      }
      for (const id of [...used.keys()]) if (!known.has(id)) used.delete(id);
      for (const [id, members] of groups) {
        const total = (name: keyof Measured) => members.reduce((sum, member) => sum + member[name], 0);
        const group: Sums = {
          ...spaceOf(total('size'), total('logical')),
          unique_physical_used: total('stored'),
          data_reduction: ratio(total('unique'), total('stored')),
        };
        measured.push([{ family: 'space', kind: 'vg', id }, group]);
      }
      const whole: Sums = {
        ...spaceOf(provisioned, logical),
        logical_used_volume: logical,
        logical_used_file_system: 0,
        logical_used_vvol: 0,
        physical_total: total_bytes,
        physical_used: total_bytes - free_bytes,
        data_physical_used: log_bytes,
        system_free_space: free_bytes,
        // What is stored by what it takes; space that compaction has still to give back is in the other one.
        data_reduction: ratio(data_bytes, live_bytes),
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

/** Of one volume, bytes: of what its hosts see, of what nobody else keeps, and what the latter takes in the log. */
interface Measured {
  readonly size: number;
  readonly logical: number;
  readonly unique: number;
  readonly stored: number;
}

const ratio = (value: number, of: number): number => (of > 0 ? value / of : 1);
const spaceOf = (provisioned: number, used: number): Sums => ({
  logical_provisioned: provisioned,
  logical_used: used,
  thin_savings: ratio(provisioned, used),
});
