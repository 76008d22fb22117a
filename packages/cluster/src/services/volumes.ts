import { volumeId } from '@antipode/base';
import type { VolumeInfo } from '@antipode/blocks';
import {
  type EnumValue,
  RestError,
  VolumeClone,
  VolumeCreate,
  VolumeModify,
  VolumeRefresh,
  VolumeRestore,
  VolumeSnapshot,
} from '@antipode/contract';
import { type Static, Type } from 'typebox';
import { freestAppliance } from '../appliances/placement.ts';
import { timestamp, type VolumeDocument, type VolumePrivate } from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import { type Assignee, Assignments } from './assignments.ts';
import { agreeWithEngine } from './found-snapshots.ts';
import { membersOf } from './group-document.ts';
import type { VolumeGroupService } from './groups.ts';
import { checkPriority, wantedQosPolicy } from './io-limits.ts';
import type { MappingService } from './mappings.ts';
import type { ReplicationHooks } from './replication-hooks.ts';
import type { SnapshotDeps, SnapshotService } from './snapshots.ts';
import type { UnfinishedAssignments } from './unfinished-assignments.ts';
import { checkSize, newVolumeDocument, protectionOf, withExpiry } from './volume-document.ts';
import { checkRemovable, type VolumeLife } from './volume-life.ts';

export interface VolumeServiceDeps extends SnapshotDeps {
  readonly replication: ReplicationHooks;
  readonly unfinished: UnfinishedAssignments;
  readonly snapshots: SnapshotService;
  readonly life: VolumeLife;
  readonly mappings: MappingService;
  readonly groups: () => Pick<VolumeGroupService, 'admit' | 'added'>;
}

/** Volumes, snapshots and clones. Ids are chosen and entered in the catalog before the engine hears of them. */
export class VolumeService {
  readonly #deps: VolumeServiceDeps;
  readonly #assignments: Assignments;

  constructor(deps: VolumeServiceDeps) {
    this.#deps = deps;
    this.#assignments = new Assignments(deps.catalog, deps.replication, deps.unfinished);
  }

  handlers(): Handlers {
    return {
      'volume.create': handler(VolumeCreate, (_, __, body) => this.#create(body)),
      'volume.modify': handler(VolumeModify, (_, id, body) => this.#modify(id, body)),
      'volume.delete': handler(Type.Object({}), (_, id) => this.#delete(id)),
      'volume.snapshot': handler(VolumeSnapshot, async (_, id, body) => ({
        id: await this.snapshot(id, body, 'User'),
      })),
      'volume.clone': handler(VolumeClone, (_, id, body) => this.#clone(id, body)),
      'volume.restore': handler(VolumeRestore, (_, id, body) => this.#restore(id, body)),
      'volume.refresh': handler(VolumeRefresh, (_, id, body) => this.#refresh(id, body)),
    };
  }

  /** Ends what a restart found half-way [C7.3]. */
  async recover(): Promise<void> {
    const { catalog, dataPlane, life } = this.#deps;
    for (const volume of catalog.list('volume')) {
      if (volume.state === 'Initializing') {
        await life.finish(volume).catch((error: unknown) => {
          // A clone that can no longer be made is gone from the catalog, and no reason not to start.
          if (catalog.get('volume', volume.id) !== undefined) throw error;
        });
      }
      if (volume.state === 'Destroying') await life.destroy(volume);
    }
    await life.recover();
    const infos = new Map<string, VolumeInfo>((await dataPlane.volumes()).map((info) => [info.id, info]));
    await agreeWithEngine(this.#deps, infos);
    // A copy's size and name follow its source: the engine knows first.
    for (const volume of catalog.list('volume')) {
      const info = infos.get(volume.id);
      if (info === undefined || volume.type === 'Snapshot') continue;
      // A kill between the catalog's rename and the engine's: hosts find the export by the name that was given last.
      if (info.name !== volume.name) await dataPlane.changeVolume(volumeId(volume.id), { name: volume.name });
      if (info.size !== volume.size || info.destination !== volume.is_replication_destination) {
        catalog.change('volume', volume.id, { size: info.size, is_replication_destination: info.destination });
      }
    }
  }

  async #create(body: Static<typeof VolumeCreate>): Promise<{ id: string }> {
    const { catalog, random, life, groups, mappings } = this.#deps;
    checkSize(body.size);
    const owner = mappings.wanted(body);
    const appliance = await this.#place(body);
    const id = random.uuid();
    const target = { kind: 'volume', id, name: body.name, type: 'Primary' } as const;
    const group = body.volume_group_id;
    checkPriority(body.performance_policy_id);
    const document = newVolumeDocument(this.#deps, {
      id,
      name: body.name,
      size: body.size,
      appliance,
      type: 'Primary',
      protection: protectionOf(id, null, null, null, 'User'),
      description: body.description ?? null,
      appType: body.app_type ?? null,
      appTypeOther: body.app_type_other ?? null,
      group: group ?? null,
      qosPolicy: wantedQosPolicy(catalog, target, body.qos_performance_policy_id) ?? null,
    });
    // The name is taken here, by the database, before anything exists; a refusal below gives it back.
    catalog.put('volume', document, {});
    try {
      const policy = this.#assignments.wanted(target, body.protection_policy_id);
      if (group !== undefined) await groups().admit(group, [{ ...document, protection_policy_id: policy?.id ?? null }]);
      await life.finish(document);
      if (group !== undefined) await groups().added(group);
      if (policy != null) await this.#assignments.assign(target, policy);
      if (owner !== undefined) await mappings.attach(this.#volume(id), owner, body.logical_unit_number);
    } catch (error) {
      await life.destroy({ ...document, state: 'Destroying' }).catch(() => undefined);
      if (group !== undefined)
        await groups()
          .added(group)
          .catch(() => undefined);
      throw error;
    }
    return { id };
  }

  /** Beside the members of its group; else where the caller wants it; else where most space is left. */
  async #place(body: Static<typeof VolumeCreate>): Promise<string> {
    const { catalog, dataPlane } = this.#deps;
    const { appliance_id: wanted, volume_group_id: group } = body;
    if (wanted !== undefined && catalog.get('appliance', wanted) === undefined)
      throw new RestError('not_found', 'appliance', wanted);
    const [member] = group === undefined ? [] : membersOf(catalog, group);
    // Another wish is refused where the group is asked.
    return wanted ?? member?.appliance_id ?? freestAppliance(dataPlane);
  }

  async #modify(id: string, body: Static<typeof VolumeModify>): Promise<void> {
    const { catalog, dataPlane, replication, snapshots } = this.#deps;
    if (body.size !== undefined) await replication.directionDecided(id);
    const volume = this.#volume(id);
    if (body.size !== undefined) {
      checkSize(body.size);
      if (volume.type === 'Snapshot') throw new RestError('not_for_this_type', 'Snapshot', 'a snapshot keeps its size');
      if (body.size <= volume.size)
        throw new RestError('size_not_larger', volume.name, id, String(body.size), String(volume.size));
      this.#notDestination(volume, 'resizing');
    }
    if (body.name !== undefined) {
      this.#notDestination(volume, 'renaming');
      this.#checkName(volume, body.name);
    }
    const expires = body.expiration_timestamp !== undefined || body.is_secure !== undefined;
    const protection = expires ? withExpiry(volume, body, this.#deps.clock.now()) : undefined;
    if (body.is_replication_destination === true)
      throw new RestError('schema_violation', '/is_replication_destination', 'only false can be given');
    if (body.is_replication_destination === false && volume.is_replication_destination && (await this.#inSession(id)))
      throw new RestError('volume_in_session', volume.name);
    const target: Assignee & { readonly type: string } = { kind: 'volume', id, name: volume.name, type: volume.type };
    const policy = this.#assignments.wanted(target, body.protection_policy_id);
    const qos = wantedQosPolicy(catalog, target, body.qos_performance_policy_id);
    checkPriority(body.performance_policy_id);

    // Checked: from here on things change, those that can fail first.
    if (policy === null) await this.#assignments.unassign(target, body.force ?? false);
    if (policy != null) await this.#assignments.assign(target, policy);
    if (body.size !== undefined) {
      await dataPlane.resizeVolume(volumeId(id), body.size);
      catalog.change('volume', id, { size: body.size });
    }
    if (body.is_replication_destination === false && volume.is_replication_destination) {
      await dataPlane.changeVolume(volumeId(id), { destination: false });
      catalog.change('volume', id, { is_replication_destination: false });
    }
    if (body.name !== undefined && body.name !== volume.name) {
      catalog.change('volume', id, { name: body.name });
      if (volume.type !== 'Snapshot') await dataPlane.changeVolume(volumeId(id), { name: body.name });
    }
    const { description, node_affinity, app_type, app_type_other } = body;
    catalog.change('volume', id, {
      ...(description !== undefined && { description }),
      ...(node_affinity !== undefined && { node_affinity }),
      ...(app_type !== undefined && { app_type }),
      ...(app_type_other !== undefined && { app_type_other }),
      ...(qos !== undefined && { qos_performance_policy_id: qos }),
      ...(protection !== undefined && { protection_data: protection }),
    });
    if (volume.type === 'Snapshot') return volume.group_id == null ? snapshots.relabel(id, 'volume') : undefined;
    if (body.name !== undefined || description !== undefined) replication.resourceChanged('volume', id);
  }

  /** The database decides; this is asked first where other changes come before the name's. */
  #checkName(volume: VolumeDocument, name: string): void {
    const snapshot = volume.type === 'Snapshot';
    const parent = volume.protection_data.parent_id;
    for (const other of this.#deps.catalog.list('volume', 'name', name)) {
      if (other.id === volume.id || (other.type === 'Snapshot') !== snapshot) continue;
      if (!snapshot) throw new RestError('name_in_use', name);
      if (other.protection_data.parent_id === parent) throw new RestError('snapshot_name_in_use', name);
    }
  }

  /** Whether it takes part in a session, its own or its group's: the engine knows. */
  async #inSession(id: string): Promise<boolean> {
    const { replication, dataPlane } = this.#deps;
    return replication.sessionOf(id) !== undefined || (await dataPlane.volume(volumeId(id)))?.session !== undefined;
  }

  async #delete(id: string): Promise<void> {
    const { catalog, life, snapshots } = this.#deps;
    const volume = this.#volume(id);
    const group = volume.group_id == null ? undefined : catalog.get('volume_group', volume.group_id);
    if (group !== undefined) throw new RestError('in_group', volume.name, group.name);
    if (volume.type === 'Snapshot') return snapshots.remove(volume);
    if (await this.#inSession(id)) throw new RestError('volume_in_session', volume.name);
    if (volume.protection_policy_id !== null) throw new RestError('volume_protected', volume.name);
    // Its snapshots would go with it.
    checkRemovable(this.#deps, volume);
    const doomed: VolumeDocument = { ...volume, state: 'Destroying' };
    catalog.put('volume', doomed);
    await life.destroy(doomed);
  }

  /** Takes a snapshot; answers its id. */
  snapshot(id: string, body: Static<typeof VolumeSnapshot>, creator: EnumValue<'StorageCreatorType'>): Promise<string> {
    const { creator_type, performance_policy_id: _, ...wish } = body;
    return this.#deps.snapshots.take(this.#volume(id), { ...wish, creator: creator_type ?? creator });
  }

  async #clone(id: string, body: Static<typeof VolumeClone>): Promise<{ id: string }> {
    const { catalog, clock, life, mappings } = this.#deps;
    const origin = this.#volume(id);
    this.#notDestination(origin, 'a clone');
    const owner = mappings.wanted(body);
    checkPriority(body.performance_policy_id);
    const document = life.cloneDocument(origin, {
      name: body.name ?? `${origin.name}.clone.${timestamp(clock.now())}`,
      description: body.description ?? null,
      qosPolicy: wantedQosPolicy(catalog, { type: 'Clone' }, body.qos_performance_policy_id) ?? null,
    });
    const target = { kind: 'volume', id: document.id, name: document.name, type: 'Clone' } as const;
    catalog.put('volume', document, {});
    try {
      const policy = this.#assignments.wanted(target, body.protection_policy_id);
      await life.clone([origin], [document]);
      if (policy != null) await this.#assignments.assign(target, policy);
      if (owner !== undefined) await mappings.attach(this.#volume(document.id), owner, body.logical_unit_number);
    } catch (error) {
      await life.destroy({ ...document, state: 'Destroying' }).catch(() => undefined);
      throw error;
    }
    return { id: document.id };
  }

  async #restore(id: string, body: Static<typeof VolumeRestore>): Promise<unknown> {
    const volume = this.#volume(id);
    const snapshot = this.#volume(body.from_snap_id);
    this.#notDestination(volume, 'restoring');
    const of = this.#deps.catalog.private<VolumePrivate>('volume', snapshot.id)?.of;
    if (snapshot.type !== 'Snapshot' || of !== id)
      throw new RestError('not_in_family', snapshot.name, `a snapshot of ${volume.name}`);
    return this.#replace(volume, snapshot, body.create_backup_snap ?? true, body.backup_snap_profile);
  }

  async #refresh(id: string, body: Static<typeof VolumeRefresh>): Promise<unknown> {
    const volume = this.#volume(id);
    const origin = this.#volume(body.from_object_id);
    if (volume.type === 'Snapshot') throw new RestError('not_for_this_type', 'Snapshot', 'a snapshot never changes');
    this.#notDestination(volume, 'refreshing');
    if (origin.protection_data.family_id !== volume.protection_data.family_id)
      throw new RestError('not_in_family', origin.name, `in the family of ${volume.name}`);
    return this.#replace(volume, origin, body.create_backup_snap ?? true, body.backup_snap_profile);
  }

  /** The volume's content becomes the origin's; what it was may be kept as a snapshot. */
  async #replace(
    volume: VolumeDocument,
    origin: VolumeDocument,
    backup: boolean,
    profile: Static<typeof VolumeSnapshot> | undefined,
  ): Promise<unknown> {
    const kept = backup ? await this.snapshot(volume.id, profile ?? {}, 'User') : undefined;
    await this.#deps.life.replace([{ volume, origin }]);
    return kept === undefined ? undefined : { backup_snapshot_id: kept };
  }

  #volume(id: string): VolumeDocument {
    const volume = this.#deps.catalog.get('volume', id);
    if (volume === undefined) throw new RestError('volume_not_found', id);
    return volume;
  }

  #notDestination(volume: VolumeDocument, what: string): void {
    if (volume.is_replication_destination) throw new RestError('is_destination', volume.name, what);
  }
}
