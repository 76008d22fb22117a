import { type Clock, type PointId, pointId, type Random, volumeId } from '@antipode/base';
import { type EnumValue, RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import {
  type ProtectionData,
  timestamp,
  type VolumeDocument,
  type VolumeGroupDocument,
  type VolumeGroupPrivate,
  type VolumePrivate,
} from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { groupDocument, membersOf } from './group-document.ts';
import { labelOf, tagOf } from './snapshot-tag.ts';
import { checkUnlocked, newVolumeDocument, protectionOf, withExpiry } from './volume-document.ts';

export interface SnapshotDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly random: Random;
}

/** What is asked of a snapshot or a set. */
export interface SnapshotWish {
  readonly name?: string;
  readonly description?: string | null;
  /** ISO 8601; null: never. */
  readonly expiration_timestamp?: string | null;
  readonly is_secure?: boolean;
  readonly creator?: EnumValue<'StorageCreatorType'>;
  /** The snapshot rule that asks for it. */
  readonly rule?: { readonly id: string; readonly name: string };
}

/** Expired snapshots that one round of {@link SnapshotService.expire} takes. */
const expiredAtOnce = 500;

/**
 * Snapshots of volumes and snapshot sets of groups: taken in constant time, deleted, and deleted by themselves when their time has come.
 * A set is one point in the engine, whose members are frozen at one instant [C9.3].
 */
export class SnapshotService {
  readonly #deps: SnapshotDeps;

  constructor(deps: SnapshotDeps) {
    this.#deps = deps;
  }

  /** Takes a snapshot of a volume; answers its id. */
  async take(volume: VolumeDocument, wish: SnapshotWish): Promise<string> {
    const { catalog, random, clock } = this.#deps;
    if (volume.type === 'Snapshot') throw new RestError('not_for_this_type', 'Snapshot', 'take it of the volume');
    if (volume.is_replication_destination) throw new RestError('is_destination', volume.name, 'a snapshot');
    const now = clock.now();
    const id = random.uuid();
    const point = pointId(random.uuid());
    const name = wish.name ?? `${volume.name}.${timestamp(now)}`;
    const document = newVolumeDocument(this.#deps, {
      id,
      name,
      size: volume.size,
      appliance: volume.appliance_id,
      type: 'Snapshot',
      protection: this.#protection(name, volume.protection_data.family_id, volume.id, now, wish),
      description: wish.description ?? null,
    });
    catalog.put('volume', document, { point, of: volume.id } satisfies VolumePrivate);
    await this.#freeze(point, now, document, null, [volume.id], { snapshots: [document] });
    catalog.change('volume', id, { state: 'Ready' });
    return id;
  }

  /** Takes a snapshot of all members of a group at one instant; answers the id of the set. */
  async takeSet(group: VolumeGroupDocument, wish: SnapshotWish & { readonly name: string }): Promise<string> {
    const { catalog, random, clock } = this.#deps;
    if (group.type === 'Snapshot') throw new RestError('not_for_this_type', 'snapshot set', 'take it of the group');
    if (group.is_replication_destination) throw new RestError('group_destination', group.name, 'a snapshot');
    const members = membersOf(catalog, group.id);
    if (members.length === 0) throw new RestError('group_empty', group.name);
    const now = clock.now();
    const point = pointId(random.uuid());
    const { name } = wish;
    const set = groupDocument(this.#deps, {
      id: random.uuid(),
      name,
      description: wish.description ?? null,
      type: 'Snapshot',
      is_write_order_consistent: group.is_write_order_consistent,
      protection: this.#protection(name, group.protection_data.family_id, group.id, now, wish),
    });
    const { copy_signature } = set.protection_data;
    const snapshots = members.map((member) =>
      newVolumeDocument(this.#deps, {
        id: random.uuid(),
        name: memberName(name, member.name),
        size: member.size,
        appliance: member.appliance_id,
        type: 'Snapshot',
        protection: {
          ...this.#protection(name, member.protection_data.family_id, member.id, now, wish),
          copy_signature,
        },
        description: wish.description ?? null,
        group: set.id,
      }),
    );
    catalog.transaction(() => {
      catalog.put('volume_group', { ...set, is_protectable: true }, { point } satisfies VolumeGroupPrivate);
      snapshots.forEach((snapshot, index) => {
        catalog.put('volume', snapshot, { point, of: members[index]!.id } satisfies VolumePrivate);
      });
    });
    const ids = members.map((member) => member.id);
    await this.#freeze(point, now, set, group.name, ids, { set, snapshots });
    catalog.transaction(() => {
      for (const snapshot of snapshots) catalog.change('volume', snapshot.id, { state: 'Ready' });
    });
    return set.id;
  }

  /** Deletes a snapshot of a volume; one that a running cycle ships is hidden at once and freed afterwards [C3.1]. */
  async remove(snapshot: VolumeDocument): Promise<void> {
    checkUnlocked(snapshot, this.#deps.clock.now());
    await this.destroy(snapshot);
  }

  /** Deletes a set with its member snapshots. */
  async removeSet(set: VolumeGroupDocument): Promise<void> {
    checkUnlocked(set, this.#deps.clock.now());
    const { catalog } = this.#deps;
    const members = membersOf(catalog, set.id);
    catalog.transaction(() => {
      for (const member of members) catalog.change('volume', member.id, { state: 'Destroying' });
    });
    for (const member of members) await this.destroy(member);
    catalog.remove('volume_group', set.id);
  }

  /** Deletes a snapshot whatever its expiry says: for those that go with their volume. */
  async destroy(snapshot: VolumeDocument): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    const hidden = catalog.private<VolumePrivate>('volume', snapshot.id);
    if (snapshot.state !== 'Destroying') catalog.change('volume', snapshot.id, { state: 'Destroying' });
    if (hidden?.point !== undefined) await dataPlane.dropPoint(pointId(hidden.point));
    forgetVolume(catalog, snapshot);
  }

  /** Deletes what has expired; answers how much it was. A secure snapshot is free from that moment on. */
  async expire(): Promise<number> {
    const { catalog, clock } = this.#deps;
    const now = timestamp(clock.now());
    let gone = 0;
    for (const set of catalog.listExpired('volume_group', now, expiredAtOnce)) {
      await this.removeSet(set);
      gone += 1;
    }
    for (const snapshot of catalog.listExpired('volume', now, expiredAtOnce)) {
      // A member of a set goes with its set.
      if (snapshot.group_id != null) continue;
      await this.remove(snapshot);
      gone += 1;
    }
    return gone;
  }

  /** Name, description and expiry of a snapshot were changed: the log says the same, and so will a copy that is made from now on. */
  async relabel(id: string, kind: 'volume' | 'volume_group'): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    const document = catalog.get(kind, id);
    const point = catalog.private<VolumePrivate>(kind, id)?.point;
    if (document === undefined || point === undefined) return;
    const known = await dataPlane.point(pointId(point));
    if (known === undefined) return;
    const before = labelOf(known);
    const { name, description, protection_data: protection } = document;
    await dataPlane.changePoint(known.id, { ...known.tag, ...tagOf({ ...before, name, description, protection }) });
  }

  /** Sets that lost their members to a restart are nothing. */
  recover(): void {
    const { catalog } = this.#deps;
    for (const set of catalog.list('volume_group', 'type', 'Snapshot'))
      if (membersOf(catalog, set.id).length === 0) catalog.remove('volume_group', set.id);
  }

  #protection(name: string, family: string, of: string, now_ms: number, wish: SnapshotWish): ProtectionData {
    const data: ProtectionData = {
      ...protectionOf(family, of, of, timestamp(now_ms), wish.creator ?? 'User'),
      copy_signature: this.#deps.random.uuid(),
      created_by_rule_id: wish.rule?.id ?? null,
      created_by_rule_name: wish.rule?.name ?? null,
    };
    const { expiration_timestamp = null, is_secure = false } = wish;
    return withExpiry({ name, type: 'Snapshot', protection_data: data }, { expiration_timestamp, is_secure }, now_ms);
  }

  async #freeze(
    point: PointId,
    instant_ms: number,
    shown: VolumeDocument | VolumeGroupDocument,
    group: string | null,
    volumes: readonly string[],
    made: Made,
  ): Promise<void> {
    const { name, description, protection_data: protection } = shown;
    const tag = tagOf({ name, description, id: shown.id, group, protection });
    try {
      await this.#deps.dataPlane.freeze({ id: point, kind: 'snapshot', instant_ms, tag }, volumes.map(volumeId));
    } catch (error) {
      await this.#takeBack(point, made);
      throw error;
    }
  }

  /**
   * What was refused may be in the log all the same, and become durable with what is written after it: then it holds space, and no list has
   * it. It is given back now, or, where the data plane cannot do so now, as what has expired.
   */
  async #takeBack(point: PointId, { set, snapshots }: Made): Promise<void> {
    const { catalog, clock, dataPlane } = this.#deps;
    try {
      if ((await dataPlane.point(point)) !== undefined) await dataPlane.dropPoint(point);
      catalog.transaction(() => {
        for (const { id } of snapshots) catalog.remove('volume', id);
        if (set !== undefined) catalog.remove('volume_group', set.id);
      });
    } catch {
      const expired = ({ protection_data }: { readonly protection_data: ProtectionData }) => ({
        protection_data: { ...protection_data, expiration_timestamp: timestamp(clock.now()) },
      });
      catalog.transaction(() => {
        for (const one of snapshots) catalog.change('volume', one.id, { state: 'Destroying', ...expired(one) });
        if (set !== undefined) catalog.change('volume_group', set.id, expired(set));
      });
    }
  }
}

/** The documents of a snapshot, or of a set and its members. */
interface Made {
  readonly set?: VolumeGroupDocument;
  readonly snapshots: readonly VolumeDocument[];
}

/** How a member of a set or of a cloned group is called: `<set>.<volume>`, as Cinder expects it. */
export const memberName = (whole: string, member: string): string => `${whole}.${member}`.slice(0, 128);

/** A volume or snapshot leaves the catalog; what was made from it becomes its parent's. */
export function forgetVolume(catalog: Catalog, volume: VolumeDocument): void {
  catalog.transaction(() => {
    const parent = volume.type === 'Primary' ? null : volume.protection_data.parent_id;
    for (const child of catalog.listFamily(volume.protection_data.family_id)) {
      if (child.protection_data.parent_id === volume.id && child.id !== volume.id)
        catalog.change('volume', child.id, { protection_data: { ...child.protection_data, parent_id: parent } });
    }
    for (const mapping of catalog.list('host_volume_mapping', 'volume_id', volume.id))
      catalog.remove('host_volume_mapping', mapping.id);
    catalog.remove('volume', volume.id);
  });
}
