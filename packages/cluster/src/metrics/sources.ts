import { volumeId } from '@antipode/base';
import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import { firstAppliance } from '../supervisor/appliances.ts';
import type { Sums } from './figures.ts';
import type { CopyCounters, MetricsSources } from './recorder.ts';
import type { SeriesKey } from './store.ts';

type Figures = Readonly<Record<string, unknown>>;

/** What a running cluster has to measure. */
export function metricsSources(
  catalog: Catalog,
  dataPlane: Pick<DataPlane, 'ioCounters' | 'appliances' | 'volumeUsage'>,
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
  const applianceOf = (resource: string): string => {
    const volume = catalog.get('volume', resource) ?? catalog.list('volume', 'group_id', resource)[0];
    return volume?.appliance_id ?? firstAppliance;
  };
  return {
    io: () => dataPlane.ioCounters(),
    volumes: () =>
      heads().map(({ id, group_id, appliance_id }) => ({ id, group: group_id ?? null, appliance: appliance_id })),
    appliances: () => catalog.list('appliance').map(({ id }) => id),
    async space(changed) {
      const measured: (readonly [SeriesKey, Sums])[] = [];
      const groups = new Map<string, Sums[]>();
      const onAppliance = new Map<string, { provisioned: number; logical: number }>();
      const known = new Set<string>();
      for (const { id, size, group_id, appliance_id, is_replication_destination } of heads()) {
        known.add(id);
        // A copy changes without a host's writes.
        const bytes = await measure(id, size, changed.has(id) || is_replication_destination);
        const sums = spaceOf(size, bytes);
        measured.push([{ family: 'space', kind: 'volume', id }, sums]);
        const { provisioned, logical } = onAppliance.get(appliance_id) ?? { provisioned: 0, logical: 0 };
        onAppliance.set(appliance_id, { provisioned: provisioned + size, logical: logical + bytes });
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
      const total = { provisioned: 0, logical: 0, total_bytes: 0, free_bytes: 0, log_bytes: 0 };
      for (const { id, usage } of await dataPlane.appliances()) {
        if (usage === undefined) continue;
        const held = onAppliance.get(id) ?? { provisioned: 0, logical: 0 };
        measured.push([{ family: 'space', kind: 'appliance', id }, spaceOfAll({ ...held, ...usage })]);
        for (const [name, value] of Object.entries({ ...held, ...usage }))
          if (Object.hasOwn(total, name)) total[name as keyof typeof total] += value;
      }
      measured.push([{ family: 'space', kind: 'cluster', id: '0' }, spaceOfAll(total)]);
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
          appliance: applianceOf(session.local_resource_id),
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

function spaceOfAll(of: {
  readonly provisioned: number;
  readonly logical: number;
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly log_bytes: number;
}): Sums {
  return {
    ...spaceOf(of.provisioned, of.logical),
    logical_used_volume: of.logical,
    logical_used_file_system: 0,
    logical_used_vvol: 0,
    physical_total: of.total_bytes,
    physical_used: of.total_bytes - of.free_bytes,
    data_physical_used: of.log_bytes,
    system_free_space: of.free_bytes,
    data_reduction: ratio(of.logical, of.log_bytes),
    efficiency_ratio: ratio(of.provisioned, of.log_bytes),
  };
}

const ratio = (value: number, of: number): number => (of > 0 ? value / of : 1);
const spaceOf = (provisioned: number, used: number): Sums => ({
  logical_provisioned: provisioned,
  logical_used: used,
  thin_savings: ratio(provisioned, used),
});
