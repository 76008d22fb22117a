import { volumeId } from '@antipode/base';
import type { EngineUsage } from '@antipode/blocks';
import type { Catalog } from '../catalog/catalog.ts';
import type { VolumeDocument } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { certificateNames } from '../services/access-table.ts';
import { firstAppliance } from '../supervisor/appliances.ts';
import type { Sums } from './figures.ts';
import type { CopyCounters, MetricsSources } from './recorder.ts';
import type { SeriesKey } from './store.ts';

type Figures = Readonly<Record<string, unknown>>;

/** What a running cluster has to measure. */
export function metricsSources(
  catalog: Catalog,
  dataPlane: Pick<DataPlane, 'ioCounters' | 'hostCounters' | 'appliances' | 'volumeUsage'>,
  figures: (session: string) => Promise<Figures | undefined>,
): MetricsSources {
  /** Bytes of volumes, measured again where something was written. */
  const used = new Map<string, Measured>();
  const usages = new Map<string, EngineUsage>();
  /** Whether an appliance keeps the same data as before in another way: packed, or moved. */
  const isMoved = (id: string, now: EngineUsage | undefined): boolean => {
    const before = usages.get(id);
    if (now !== undefined) usages.set(id, now);
    return before?.data_bytes === now?.data_bytes && before?.live_bytes !== now?.live_bytes;
  };
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
  const applianceOf = (resource: string): string => {
    const volume = catalog.get('volume', resource) ?? catalog.list('volume', 'group_id', resource)[0];
    return volume?.appliance_id ?? firstAppliance;
  };
  return {
    io: () => dataPlane.ioCounters(),
    hostIo: () => dataPlane.hostCounters(),
    initiators: () => {
      const groups = new Map(catalog.list('host').map(({ id, host_group_id }) => [id, host_group_id]));
      return catalog.list('initiator').map(({ id, host_id, port_name }) => ({
        id,
        host: host_id,
        group: groups.get(host_id) ?? null,
        names: certificateNames(port_name),
      }));
    },
    volumes: () =>
      heads().map(({ id, group_id, appliance_id }) => ({ id, group: group_id ?? null, appliance: appliance_id })),
    appliances: () => catalog.list('appliance').map(({ id }) => id),
    async space(changed) {
      const measured: (readonly [SeriesKey, Sums])[] = [];
      const groups = new Map<string, Measured[]>();
      const families = new Map<string, Measured[]>();
      const appliances = await dataPlane.appliances();
      const moved = new Set(appliances.filter(({ id, usage }) => isMoved(id, usage)).map(({ id }) => id));
      const onAppliance = new Map<string, { provisioned: number; logical: number }>();
      const known = new Set<string>();
      const present = heads();
      const relatives = familySizes(present);
      for (const { id, size, group_id, appliance_id, is_replication_destination, protection_data } of present) {
        known.add(id);
        const { family_id } = protection_data;
        // Only of these it is told how much is stored, and how much nobody else keeps: it changes with others' writes too.
        const isShared = group_id != null || (relatives.get(family_id) ?? 0) > 1;
        // A copy changes without a host's writes.
        const again = changed.has(id) || is_replication_destination || (moved.has(appliance_id) && isShared);
        const bytes = await measure(id, size, again);
        measured.push([{ family: 'space', kind: 'volume', id }, spaceOf(size, bytes.logical)]);
        const { provisioned, logical } = onAppliance.get(appliance_id) ?? { provisioned: 0, logical: 0 };
        onAppliance.set(appliance_id, { provisioned: provisioned + size, logical: logical + bytes.logical });
        if (group_id != null) groups.set(group_id, [...(groups.get(group_id) ?? []), bytes]);
        families.set(family_id, [...(families.get(family_id) ?? []), bytes]);
      }
      for (const id of [...used.keys()]) if (!known.has(id)) used.delete(id);
      for (const [id, members] of groups) measured.push([{ family: 'space', kind: 'vg', id }, spaceOfSeveral(members)]);
      for (const [id, members] of families)
        measured.push([{ family: 'space', kind: 'volume_family', id }, spaceOfSeveral(members)]);
      const total = { provisioned: 0, logical: 0, ...nothing };
      for (const { id, usage } of appliances) {
        if (usage === undefined) continue;
        const held = onAppliance.get(id) ?? { provisioned: 0, logical: 0 };
        measured.push([{ family: 'space', kind: 'appliance', id }, spaceOfAll({ ...held, ...usage })]);
        for (const [name, value] of Object.entries({ ...held, ...usage }))
          if (Object.hasOwn(total, name)) total[name as keyof typeof total] += value;
      }
      measured.push([{ family: 'space', kind: 'cluster', id: '0' }, spaceOfAll(total)]);
      return measured;
    },
    async spaceNow(kind, id) {
      const of = heads().filter((head) => {
        if (kind === 'volume') return head.id === id;
        return (kind === 'vg' ? head.group_id : head.protection_data.family_id) === id;
      });
      if (!['volume', 'vg', 'volume_family'].includes(kind) || of.length === 0) return undefined;
      const measured = await Promise.all(of.map((head) => measure(head.id, head.size, true)));
      return kind === 'volume' ? spaceOf(measured[0]!.size, measured[0]!.logical) : spaceOfSeveral(measured);
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

/** Of one volume, bytes: of what its hosts see, of what nobody else keeps, and what the latter takes in the log. */
interface Measured {
  readonly size: number;
  readonly logical: number;
  readonly unique: number;
  readonly stored: number;
}

function spaceOfSeveral(members: readonly Measured[]): Sums {
  const total = (name: keyof Measured) => members.reduce((sum, member) => sum + member[name], 0);
  return {
    ...spaceOf(total('size'), total('logical')),
    unique_physical_used: total('stored'),
    data_reduction: ratio(total('unique'), total('stored')),
  };
}

/** How many volumes and clones a family has. */
function familySizes(heads: readonly VolumeDocument[]): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const { protection_data } of heads)
    sizes.set(protection_data.family_id, (sizes.get(protection_data.family_id) ?? 0) + 1);
  return sizes;
}

const nothing = { total_bytes: 0, free_bytes: 0, log_bytes: 0, live_bytes: 0, data_bytes: 0 };

function spaceOfAll(of: {
  readonly provisioned: number;
  readonly logical: number;
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly log_bytes: number;
  readonly live_bytes: number;
  readonly data_bytes: number;
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
    // What is kept by what it takes; space that compaction has still to give back is in the other one.
    data_reduction: ratio(of.data_bytes, of.live_bytes),
    efficiency_ratio: ratio(of.provisioned, of.log_bytes),
  };
}

const ratio = (value: number, of: number): number => (of > 0 ? value / of : 1);
const spaceOf = (provisioned: number, used: number): Sums => ({
  logical_provisioned: provisioned,
  logical_used: used,
  thin_savings: ratio(provisioned, used),
});
