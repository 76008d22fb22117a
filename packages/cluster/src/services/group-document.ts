import { type Clock, volumeId } from '@antipode/base';
import type { Tag } from '@antipode/blocks';
import type { Catalog } from '../catalog/catalog.ts';
import { type ProtectionData, timestamp, type VolumeDocument, type VolumeGroupDocument } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';

/** Members of a group, or member snapshots of a set, in the order in which they came. */
export const membersOf = (catalog: Catalog, group: string): readonly VolumeDocument[] =>
  catalog.list('volume', 'group_id', group);

/** A document for a group, a clone of one, or a set that is about to be made. */
export const groupDocument = (
  { clock }: { readonly clock: Clock },
  given: Pick<VolumeGroupDocument, 'id' | 'name' | 'description' | 'type' | 'is_write_order_consistent'> & {
    readonly protection: ProtectionData;
    readonly qosPolicy?: string | null;
  },
): VolumeGroupDocument => ({
  id: given.id,
  name: given.name,
  description: given.description,
  creation_timestamp: timestamp(clock.now()),
  is_protectable: false,
  protection_policy_id: null,
  qos_performance_policy_id: given.qosPolicy ?? null,
  is_write_order_consistent: given.is_write_order_consistent,
  placement_rule: 'Same_Appliance',
  type: given.type,
  is_replication_destination: false,
  is_host_access_available: true,
  is_importing: false,
  protection_data: given.protection,
  location_history: [],
});

/** Says in the log which group its members are in, and that others are in none: a catalog can be rebuilt from it [C7.1]. */
export async function labelMembers(
  { catalog, dataPlane }: { readonly catalog: Catalog; readonly dataPlane: Pick<DataPlane, 'changeVolume'> },
  group: string,
  gone: readonly string[] = [],
): Promise<void> {
  const name = catalog.get('volume_group', group)?.name ?? group;
  const label = (id: string, tag: Tag) => dataPlane.changeVolume(volumeId(id), { tag });
  // A volume that has gone meanwhile needs no label.
  await Promise.allSettled([
    ...membersOf(catalog, group).map(({ id }) => label(id, { group, group_name: name })),
    ...gone.map((id) => label(id, {})),
  ]);
}

/** Puts volumes into a group and takes others out, in one transaction; what follows from the membership follows. */
export function changeMembership(
  catalog: Catalog,
  group: string,
  change: { readonly add?: readonly string[]; readonly remove?: readonly string[] },
): void {
  catalog.transaction(() => {
    for (const id of change.remove ?? []) catalog.change('volume', id, { group_id: null });
    for (const id of change.add ?? []) catalog.change('volume', id, { group_id: group });
    catalog.change('volume_group', group, { is_protectable: membersOf(catalog, group).length > 0 });
  });
}
