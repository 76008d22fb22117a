import { volumeId } from '@antipode/base';
import {
  RestError,
  VolumeGroupClone,
  VolumeGroupCreate,
  VolumeGroupDelete,
  VolumeGroupMembers,
  VolumeGroupModify,
  VolumeGroupRefresh,
  VolumeGroupRestore,
  VolumeGroupSnapshot,
} from '@antipode/contract';
import type { Static } from 'typebox';
import { timestamp, type VolumeDocument, type VolumeGroupDocument } from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import { type Assignee, Assignments } from './assignments.ts';
import { changeMembership, groupDocument, labelMembers, membersOf } from './group-document.ts';
import { wantedQosPolicy } from './io-limits.ts';
import type { ReplicationHooks } from './replication-hooks.ts';
import { memberName, type SnapshotDeps, type SnapshotService } from './snapshots.ts';
import type { UnfinishedAssignments } from './unfinished-assignments.ts';
import { checkUnlocked, protectionOf, withExpiry } from './volume-document.ts';
import { checkRemovable, momentOf, type VolumeLife } from './volume-life.ts';

export interface VolumeGroupServiceDeps extends SnapshotDeps {
  readonly replication: ReplicationHooks;
  readonly unfinished: UnfinishedAssignments;
  readonly snapshots: SnapshotService;
  readonly life: VolumeLife;
}

/** As many as one cycle of a session takes. */
const membersMost = 1000;

/** Groups of volumes that are kept consistent with each other, their clones and snapshot sets (REPLICATION 5.2). */
export class VolumeGroupService {
  readonly #deps: VolumeGroupServiceDeps;
  readonly #assignments: Assignments;

  constructor(deps: VolumeGroupServiceDeps) {
    this.#deps = deps;
    this.#assignments = new Assignments(deps.catalog, deps.replication, deps.unfinished);
  }

  handlers(): Handlers {
    return {
      'volume_group.create': handler(VolumeGroupCreate, (_, __, body) => this.#create(body)),
      'volume_group.modify': handler(VolumeGroupModify, (_, id, body) => this.#modify(id, body)),
      'volume_group.delete': handler(VolumeGroupDelete, (_, id, body) =>
        this.#delete(id, body.delete_members ?? false),
      ),
      'volume_group.add_members': handler(VolumeGroupMembers, (_, id, body) => this.#add(id, body.volume_ids)),
      'volume_group.remove_members': handler(VolumeGroupMembers, (_, id, body) => this.#remove(id, body.volume_ids)),
      'volume_group.snapshot': handler(VolumeGroupSnapshot, async (_, id, body) => ({
        id: await this.#deps.snapshots.takeSet(this.#group(id), body),
      })),
      'volume_group.clone': handler(VolumeGroupClone, (_, id, body) => this.#clone(id, body)),
      'volume_group.restore': handler(VolumeGroupRestore, (_, id, body) => this.#restore(id, body)),
      'volume_group.refresh': handler(VolumeGroupRefresh, (_, id, body) => this.#refresh(id, body)),
    };
  }

  /** Ends what a restart found half-way [C7.3]. */
  recover(): void {
    const { catalog, snapshots } = this.#deps;
    snapshots.recover();
    for (const group of catalog.list('volume_group')) {
      const members = membersOf(catalog, group.id);
      // A clone whose members could not be made.
      if (group.type === 'Clone' && members.length === 0 && catalog.private<Hidden>('volume_group', group.id)?.making)
        catalog.remove('volume_group', group.id);
      else if (group.is_protectable !== members.length > 0) changeMembership(catalog, group.id, {});
    }
  }

  /** Refuses volumes that cannot become members; nothing has changed by then. A volume that is in it already is fine. */
  async admit(id: string, volumes: readonly VolumeDocument[]): Promise<void> {
    const { catalog, replication } = this.#deps;
    if (volumes.length > 0) await replication.directionDecided(id);
    const group = this.#group(id);
    if (group.type === 'Snapshot') throw new RestError('not_for_this_type', 'snapshot set', 'its members never change');
    if (group.is_replication_destination) throw new RestError('group_destination', group.name, 'adding members');
    const appliance = (membersOf(catalog, id)[0] ?? volumes[0])?.appliance_id;
    for (const volume of volumes) {
      if (volume.type === 'Snapshot') throw new RestError('not_for_this_type', 'Snapshot', 'groups are of volumes');
      if (appliance !== undefined && volume.appliance_id !== appliance)
        throw new RestError('other_appliance', volume.name, volume.appliance_id, appliance);
      if (volume.is_replication_destination) throw new RestError('is_destination', volume.name, 'joining a group');
      const other = volume.group_id == null ? undefined : catalog.get('volume_group', volume.group_id);
      if (other !== undefined && other.id !== id) throw new RestError('in_group', volume.name, other.name);
      if (volume.protection_policy_id !== null && group.protection_policy_id !== null)
        throw new RestError('policy_on_both', group.name, volume.name);
    }
    const ids = new Set([...membersOf(catalog, id).map((member) => member.id), ...volumes.map((volume) => volume.id)]);
    if (ids.size > membersMost) throw new RestError('too_many_members', group.name, String(membersMost));
    await replication.membersChange(id, volumes, []);
  }

  /** Members have come: what follows from it follows, also a session that waited for the first. */
  async added(id: string): Promise<void> {
    const { catalog } = this.#deps;
    changeMembership(catalog, id, {});
    await labelMembers(this.#deps, id);
    await this.#sessionFollows(id);
  }

  /** Not while its policy is being assigned or taken away: who came meanwhile would be no member of the session that is begun. */
  #sessionFollows(id: string): Promise<void> {
    const { replication, unfinished } = this.#deps;
    return unfinished.inTurn({ id }, () => replication.membersChanged(id));
  }

  async #create(body: Static<typeof VolumeGroupCreate>): Promise<{ id: string }> {
    const { catalog, random } = this.#deps;
    const id = random.uuid();
    const document = groupDocument(this.#deps, {
      id,
      name: body.name,
      description: body.description ?? null,
      type: 'Primary',
      is_write_order_consistent: body.is_write_order_consistent ?? true,
      protection: protectionOf(id, null, null, null, 'User'),
      qosPolicy: wantedQosPolicy(catalog, { type: 'Primary' }, body.qos_performance_policy_id) ?? null,
    });
    const members = unique(body.volume_ids ?? []).map((volume) => this.#volume(volume));
    const target = this.#target(document);
    // The name is taken here, by the database; a refusal below gives it back.
    catalog.put('volume_group', document, {});
    try {
      const policy = this.#assignments.wanted(target, body.protection_policy_id);
      const other = policy == null ? undefined : members.find((member) => member.protection_policy_id !== null);
      if (other !== undefined) throw new RestError('policy_on_both', document.name, other.name);
      await this.admit(id, members);
      changeMembership(catalog, id, { add: members.map((member) => member.id) });
      await labelMembers(this.#deps, id);
      if (policy != null) await this.#assignments.assign(target, policy);
    } catch (error) {
      changeMembership(catalog, id, { remove: membersOf(catalog, id).map((member) => member.id) });
      catalog.remove('volume_group', id);
      throw error;
    }
    return { id };
  }

  async #modify(id: string, body: Static<typeof VolumeGroupModify>): Promise<void> {
    const { catalog, replication, snapshots, clock } = this.#deps;
    const group = this.#group(id);
    if (body.name !== undefined && body.name !== group.name) {
      if (group.is_replication_destination) throw new RestError('group_destination', group.name, 'renaming');
      if (!this.#isFree(group, body.name)) throw new RestError('group_name_in_use', body.name);
    }
    const expires = body.expiration_timestamp !== undefined || body.is_secure !== undefined;
    const protection = expires ? withExpiry(group, body, clock.now()) : undefined;
    if (body.is_replication_destination === true)
      throw new RestError('schema_violation', '/is_replication_destination', 'only false can be given');
    const opens = body.is_replication_destination === false && group.is_replication_destination;
    if (opens && replication.sessionOf(id) !== undefined) throw new RestError('group_in_session', group.name);
    const target = this.#target(group);
    const policy = this.#assignments.wanted(target, body.protection_policy_id);
    const qos = wantedQosPolicy(catalog, group, body.qos_performance_policy_id);

    // Checked: from here on things change, those that can fail first.
    if (policy === null) await this.#assignments.unassign(target, body.force ?? false);
    if (policy != null) await this.#assignments.assign(target, policy);
    if (opens) await this.#open(group);
    const { name, description, is_write_order_consistent } = body;
    catalog.transaction(() => {
      catalog.change('volume_group', id, {
        ...(name !== undefined && { name }),
        ...(description !== undefined && { description }),
        ...(is_write_order_consistent !== undefined && { is_write_order_consistent }),
        ...(protection !== undefined && { protection_data: protection }),
        ...(qos !== undefined && { qos_performance_policy_id: qos }),
      });
      if (group.type === 'Snapshot') this.#followSet(id, group.name);
    });
    if (group.type === 'Snapshot') return snapshots.relabel(id, 'volume_group');
    if (name !== undefined) await labelMembers(this.#deps, id);
    if (name !== undefined || description !== undefined) replication.resourceChanged('volume_group', id);
  }

  /** Name and expiry of a set are those of its member snapshots. */
  #followSet(id: string, before: string): void {
    const { catalog } = this.#deps;
    const { name, protection_data } = this.#group(id);
    const { expiration_timestamp, is_secure } = protection_data;
    for (const member of membersOf(catalog, id)) {
      const own = member.name.startsWith(`${before}.`) ? member.name.slice(before.length + 1) : member.name;
      catalog.change('volume', member.id, {
        name: memberName(name, own),
        protection_data: { ...member.protection_data, expiration_timestamp, is_secure },
      });
    }
  }

  /** A destination that no session uses any more becomes an ordinary group, member by member; the call can be repeated (2.12). */
  async #open(group: VolumeGroupDocument): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    for (const member of membersOf(catalog, group.id)) {
      if (!member.is_replication_destination) continue;
      await dataPlane.changeVolume(volumeId(member.id), { destination: false });
      catalog.change('volume', member.id, { is_replication_destination: false });
    }
    catalog.change('volume_group', group.id, { is_replication_destination: false });
  }

  async #delete(id: string, withMembers: boolean): Promise<void> {
    const { catalog, replication, snapshots, life, clock } = this.#deps;
    const group = this.#group(id);
    if (group.type === 'Snapshot') return snapshots.removeSet(group);
    if (replication.sessionOf(id) !== undefined) throw new RestError('group_in_session', group.name);
    if (group.protection_policy_id !== null) throw new RestError('group_protected', group.name);
    const members = membersOf(catalog, id);
    const sets = catalog.listSets(id);
    for (const set of sets) checkUnlocked(set, clock.now());
    if (withMembers)
      for (const member of members) {
        if (member.protection_policy_id !== null) throw new RestError('volume_protected', member.name);
        checkRemovable(this.#deps, member, id);
      }
    // Its sets go with it, whoever was a member when they were taken.
    for (const set of sets) await snapshots.removeSet(set);
    catalog.transaction(() => {
      for (const member of members)
        catalog.change('volume', member.id, { group_id: null, ...(withMembers && { state: 'Destroying' }) });
      for (const clone of catalog.list('volume_group'))
        if (clone.protection_data.parent_id === id && clone.id !== id)
          catalog.change('volume_group', clone.id, {
            protection_data: {
              ...clone.protection_data,
              parent_id: group.type === 'Primary' ? null : group.protection_data.parent_id,
            },
          });
      catalog.remove('volume_group', id);
    });
    if (withMembers) for (const member of members) await life.destroy({ ...member, state: 'Destroying' });
    else
      await labelMembers(
        this.#deps,
        id,
        members.map((member) => member.id),
      );
  }

  async #add(id: string, ids: readonly string[]): Promise<void> {
    const { catalog } = this.#deps;
    const volumes = unique(ids).map((volume) => this.#volume(volume));
    await this.admit(id, volumes);
    const fresh = volumes.filter((volume) => volume.group_id !== id).map((volume) => volume.id);
    changeMembership(catalog, id, { add: fresh });
    try {
      await this.added(id);
    } catch (error) {
      changeMembership(catalog, id, { remove: fresh });
      throw error;
    }
  }

  async #remove(id: string, ids: readonly string[]): Promise<void> {
    const { catalog, replication } = this.#deps;
    await replication.directionDecided(id);
    const group = this.#group(id);
    if (group.type === 'Snapshot') throw new RestError('not_for_this_type', 'snapshot set', 'its members never change');
    if (group.is_replication_destination) throw new RestError('group_destination', group.name, 'removing members');
    const volumes = unique(ids).map((volume) => this.#volume(volume));
    const stranger = volumes.find((volume) => volume.group_id !== id);
    if (stranger !== undefined) throw new RestError('not_a_member', stranger.name, group.name);
    await replication.membersChange(id, [], volumes);
    const gone = volumes.map((volume) => volume.id);
    changeMembership(catalog, id, { remove: gone });
    await labelMembers(this.#deps, id, gone);
    await this.#sessionFollows(id);
  }

  async #clone(id: string, body: Static<typeof VolumeGroupClone>): Promise<{ id: string }> {
    const { catalog, random, clock, life } = this.#deps;
    const origin = this.#group(id);
    if (origin.is_replication_destination) throw new RestError('group_destination', origin.name, 'a clone');
    const members = membersOf(catalog, id);
    if (members.length === 0) throw new RestError('group_empty', origin.name);
    // The clone of a set stands for what the set was taken of.
    const { family_id, source_id } = origin.protection_data;
    const source = origin.type === 'Snapshot' ? source_id : origin.id;
    const document = groupDocument(this.#deps, {
      id: random.uuid(),
      name: body.name,
      description: body.description ?? null,
      type: 'Clone',
      is_write_order_consistent: origin.is_write_order_consistent,
      protection: protectionOf(family_id, origin.id, source, momentOf(origin, clock.now()), 'User'),
      qosPolicy: wantedQosPolicy(catalog, { type: 'Clone' }, body.qos_performance_policy_id) ?? null,
    });
    const clones = members.map((member) =>
      life.cloneDocument(member, {
        name: memberName(body.name, member.name),
        description: body.description ?? null,
        group: document.id,
      }),
    );
    const target = this.#target(document);
    catalog.transaction(() => {
      catalog.put('volume_group', document, { making: true } satisfies Hidden);
      for (const clone of clones) catalog.put('volume', clone, {});
    });
    try {
      const policy = this.#assignments.wanted(target, body.protection_policy_id);
      await life.clone(members, clones);
      changeMembership(catalog, document.id, {});
      await labelMembers(this.#deps, document.id);
      catalog.put('volume_group', this.#group(document.id), {});
      if (policy != null) await this.#assignments.assign(target, policy);
    } catch (error) {
      for (const clone of clones) await life.destroy({ ...clone, state: 'Destroying' }).catch(() => undefined);
      catalog.remove('volume_group', document.id);
      throw error;
    }
    return { id: document.id };
  }

  async #restore(id: string, body: Static<typeof VolumeGroupRestore>): Promise<unknown> {
    const group = this.#group(id);
    const set = this.#group(body.from_snap_id);
    if (set.type !== 'Snapshot' || set.protection_data.parent_id !== id)
      throw new RestError('not_in_family', set.name, `a snapshot of ${group.name}`);
    return this.#replace(group, set, body.create_backup_snap ?? true, body.backup_snap_profile, 'restoring');
  }

  async #refresh(id: string, body: Static<typeof VolumeGroupRefresh>): Promise<unknown> {
    const group = this.#group(id);
    const origin = this.#group(body.from_object_id);
    if (group.type === 'Snapshot') throw new RestError('not_for_this_type', 'snapshot set', 'it never changes');
    if (origin.protection_data.family_id !== group.protection_data.family_id)
      throw new RestError('not_in_family', origin.name, `in the family of ${group.name}`);
    return this.#replace(group, origin, body.create_backup_snap ?? true, body.backup_snap_profile, 'refreshing');
  }

  /** All members' content becomes that of the origin's; what it was may be kept as a set. */
  async #replace(
    group: VolumeGroupDocument,
    origin: VolumeGroupDocument,
    backup: boolean,
    profile: Static<typeof VolumeGroupSnapshot> | undefined,
    what: string,
  ): Promise<unknown> {
    const { catalog, clock, life, snapshots } = this.#deps;
    if (group.is_replication_destination) throw new RestError('group_destination', group.name, what);
    const pairs = this.#matched(group, origin);
    const now = timestamp(clock.now());
    const kept = backup
      ? await snapshots.takeSet(group, { ...profile, name: profile?.name ?? `${group.name}.${now}` })
      : undefined;
    await life.replace(pairs);
    // From a set: what the set was taken of and when it was; else the other group, now.
    const { protection_data } = this.#group(group.id);
    catalog.change('volume_group', group.id, {
      protection_data: { ...protection_data, source_id: origin.id, source_timestamp: momentOf(origin, clock.now()) },
    });
    return kept === undefined ? undefined : { backup_snapshot_id: kept };
  }

  /** Which member of the origin each member is filled from: the same volumes, or those made of them; no more and no fewer. */
  #matched(group: VolumeGroupDocument, origin: VolumeGroupDocument) {
    const { catalog } = this.#deps;
    const left = [...membersOf(catalog, origin.id)];
    const refuse = () => new RestError('members_differ', origin.name, group.name);
    const pairs = membersOf(catalog, group.id).map((volume) => {
      const near = left.findIndex(({ protection_data: { parent_id } }) => parent_id === volume.id);
      const kin = left.findIndex(
        ({ protection_data: { family_id } }) => family_id === volume.protection_data.family_id,
      );
      const found = near >= 0 ? near : kin;
      if (found < 0) throw refuse();
      return { volume, origin: left.splice(found, 1)[0]! };
    });
    if (left.length > 0 || pairs.length === 0) throw refuse();
    return pairs;
  }

  #isFree(group: VolumeGroupDocument, name: string): boolean {
    return !this.#deps.catalog
      .list('volume_group')
      .some(
        (other) =>
          other.id !== group.id &&
          other.name.toLowerCase() === name.toLowerCase() &&
          (other.type === 'Snapshot') === (group.type === 'Snapshot') &&
          (group.type !== 'Snapshot' || other.protection_data.parent_id === group.protection_data.parent_id),
      );
  }

  #target({ id, name, type }: VolumeGroupDocument): Assignee & { readonly type: string } {
    return { kind: 'volume_group', id, name, type };
  }

  #group(id: string): VolumeGroupDocument {
    const group = this.#deps.catalog.get('volume_group', id);
    if (group === undefined) throw new RestError('group_not_found', id);
    return group;
  }

  #volume(id: string): VolumeDocument {
    const volume = this.#deps.catalog.get('volume', id);
    if (volume === undefined) throw new RestError('volume_not_found', id);
    return volume;
  }
}

interface Hidden {
  /** Its members are being made. */
  readonly making?: true;
}

const unique = (ids: readonly string[]): readonly string[] => [...new Set(ids)];
