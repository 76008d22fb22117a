import { type Clock, type PointId, pointId, type Random, volumeId } from '@antipode/base';
import { isBlockError } from '@antipode/blocks';
import {
  display,
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
import type { Catalog } from '../catalog/catalog.ts';
import { type ProtectionData, timestamp, type VolumeDocument, type VolumePrivate } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import type { MappingService } from './mappings.ts';
import type { ReplicationHooks } from './replication-hooks.ts';

export interface VolumeServiceDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly random: Random;
  readonly replication: ReplicationHooks;
  readonly mappings: MappingService;
}

const unit_bytes = 8192;
const imagePurpose = 'image';

/** Volumes, snapshots and clones. Ids are chosen and entered in the catalog before the engine hears of them. */
export class VolumeService {
  readonly #deps: VolumeServiceDeps;

  constructor(deps: VolumeServiceDeps) {
    this.#deps = deps;
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
    const { catalog, dataPlane } = this.#deps;
    for (const volume of catalog.list('volume')) {
      if (volume.state === 'Initializing') {
        await this.#finishCreation(volume).catch((error: unknown) => {
          // A clone that can no longer be made is gone from the catalog, and no reason not to start.
          if (catalog.get('volume', volume.id) !== undefined) throw error;
        });
      }
      if (volume.state === 'Destroying') await this.#destroy(volume);
    }
    // Images frozen for a clone or a restore that ended, one way or the other: nobody else would let them go.
    for (const point of await dataPlane.points())
      if (point.kind === 'internal' && point.tag.purpose === imagePurpose && !point.dropped)
        await dataPlane.dropPoint(point.id);
    // A copy's size and name follow its source: the engine knows first.
    const infos = new Map((await dataPlane.volumes()).map((info) => [info.id as string, info]));
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

  /** A document for a volume that is about to be made. */
  newDocument(given: {
    readonly id: string;
    readonly name: string;
    readonly size: number;
    readonly type: 'Primary' | 'Clone' | 'Snapshot';
    readonly protection: ProtectionData;
    readonly description?: string | null;
    readonly appType?: EnumValue<'AppType'> | null;
    readonly appTypeOther?: string | null;
  }): VolumeDocument {
    const { clock, random } = this.#deps;
    const now = timestamp(clock.now());
    const snapshot = given.type === 'Snapshot';
    const serial = Buffer.from(random.bytes(12)).toString('hex');
    return {
      id: given.id,
      name: given.name,
      description: given.description ?? null,
      type: given.type,
      wwn: snapshot ? null : `naa.68ccf098${serial}`,
      nsid: snapshot ? null : random.bytes(3).reduce((sum, byte) => sum * 256 + byte, 0) + 1,
      nguid: snapshot ? null : `nguid.${serial.slice(0, 16)}8ccf09${serial.slice(16, 24)}00`,
      appliance_id: 'A1',
      state: 'Initializing',
      size: given.size,
      node_affinity: 'System_Select_At_Attach',
      creation_timestamp: now,
      protection_policy_id: null,
      performance_policy_id: 'default_medium',
      is_replication_destination: false,
      is_host_access_available: !snapshot,
      protection_data: given.protection,
      location_history: [],
      app_type: given.appType ?? null,
      app_type_other: given.appTypeOther ?? null,
    };
  }

  async #create(body: Static<typeof VolumeCreate>): Promise<{ id: string }> {
    const { catalog, random, mappings } = this.#deps;
    checkSize(body.size);
    const owner = mappings.wanted(body);
    if (body.volume_group_id !== undefined) throw new RestError('not_found', 'volume_group', body.volume_group_id);
    if (body.appliance_id !== undefined && catalog.get('appliance', body.appliance_id) === undefined)
      throw new RestError('not_found', 'appliance', body.appliance_id);
    const policy = body.protection_policy_id === undefined ? undefined : this.#policy(body.protection_policy_id);
    const id = random.uuid();
    const document = this.newDocument({
      id,
      name: body.name,
      size: body.size,
      type: 'Primary',
      protection: protectionOf(id, null, null, null, 'User'),
      description: body.description ?? null,
      appType: body.app_type ?? null,
      appTypeOther: body.app_type_other ?? null,
    });
    // The name is taken here, by the database, before anything exists.
    catalog.put('volume', document, {});
    try {
      await this.#finishCreation(document);
      if (policy !== undefined) await this.#assign(id, policy.id);
      if (owner !== undefined) await mappings.attach(this.#volume(id), owner, body.logical_unit_number);
    } catch (error) {
      await this.#destroy({ ...document, state: 'Destroying' }).catch(() => undefined);
      throw error;
    }
    return { id };
  }

  async #finishCreation(volume: VolumeDocument): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    const hidden = catalog.private<VolumePrivate & { readonly fork?: { readonly point: string; readonly of: string } }>(
      'volume',
      volume.id,
    );
    const id = volumeId(volume.id);
    if (hidden?.fork !== undefined) {
      const { point, of } = hidden.fork;
      try {
        await dataPlane.fork({ id, name: volume.name, point: pointId(point), of: volumeId(of), tag: {} });
      } catch (error) {
        // Its image may have gone since: then it is whole already, or it will never be.
        if (!isBlockError(error) || error.code !== 'not_found') throw error;
        if ((await dataPlane.volume(id)) === undefined) {
          catalog.remove('volume', volume.id);
          throw error;
        }
      }
    } else if (volume.type === 'Clone') {
      // Killed before its image was frozen: an empty volume must not pass for it.
      return catalog.remove('volume', volume.id);
    } else if (volume.type !== 'Snapshot')
      await dataPlane.createVolume({ id, name: volume.name, size: volume.size, tag: {} });
    else if (hidden?.point !== undefined && (await dataPlane.point(pointId(hidden.point))) === undefined) {
      // A snapshot that was never taken: nobody was told that it was.
      return catalog.remove('volume', volume.id);
    }
    catalog.change('volume', volume.id, { state: 'Ready' });
  }

  async #modify(id: string, body: Static<typeof VolumeModify>): Promise<void> {
    const { catalog, dataPlane, replication } = this.#deps;
    const volume = this.#volume(id);
    const session = replication.sessionOf(id);
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
    if (body.expiration_timestamp !== undefined || body.is_secure !== undefined) this.#checkExpiry(volume, body);
    if (body.is_replication_destination === true)
      throw new RestError('schema_violation', '/is_replication_destination', 'only false can be given');
    if (body.is_replication_destination === false && volume.is_replication_destination && session !== undefined)
      throw new RestError('volume_in_session', volume.name);
    const policy =
      body.protection_policy_id === undefined
        ? undefined
        : body.protection_policy_id === null || body.protection_policy_id === ''
          ? null
          : this.#policy(body.protection_policy_id);
    if (policy !== undefined && volume.type === 'Snapshot')
      throw new RestError('not_for_this_type', 'Snapshot', 'a snapshot takes no policy');

    // Checked: from here on things change, those that can fail first.
    if (policy === null) await this.#unassign(volume, body.force ?? false);
    if (policy != null && policy.id !== volume.protection_policy_id) await this.#assign(id, policy.id);
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
    });
    if (body.expiration_timestamp !== undefined || body.is_secure !== undefined) {
      const present = this.#volume(id).protection_data;
      const expiration_timestamp =
        body.expiration_timestamp === undefined ? present.expiration_timestamp : expiry(body.expiration_timestamp);
      catalog.change('volume', id, {
        protection_data: { ...present, expiration_timestamp, is_secure: body.is_secure ?? present.is_secure },
      });
    }
    if (body.name !== undefined || description !== undefined) replication.volumeChanged(id);
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

  #checkExpiry(volume: VolumeDocument, body: Static<typeof VolumeModify>): void {
    if (volume.type !== 'Snapshot') throw new RestError('not_for_this_type', volume.type, 'only snapshots expire');
    if (
      typeof body.expiration_timestamp === 'string' &&
      Date.parse(body.expiration_timestamp) <= this.#deps.clock.now()
    )
      throw new RestError('bad_expiry', body.expiration_timestamp, 'it is in the past');
    const present = volume.protection_data.expiration_timestamp;
    const expires = body.expiration_timestamp === undefined ? present : expiry(body.expiration_timestamp);
    if (body.is_secure && expires === null) throw new RestError('bad_expiry', 'none', 'a secure snapshot needs one');
    if (!volume.protection_data.is_secure) return;
    const sooner =
      body.expiration_timestamp !== undefined &&
      (body.expiration_timestamp === null ||
        (present !== null && Date.parse(body.expiration_timestamp) < Date.parse(present)));
    if (body.is_secure === false || sooner) throw new RestError('secure_snapshot', volume.name);
  }

  async #assign(id: string, policyId: string): Promise<void> {
    const { catalog, replication } = this.#deps;
    const volume = this.#volume(id);
    const policy = this.#policy(policyId);
    this.#notDestination(volume, 'assigning a policy');
    if (policy.is_replica) throw new RestError('read_only_object', 'policy', policy.name, 'the source of a session');
    const session = replication.sessionOf(id);
    const rule = policy.replication_rule_ids[0];
    if (session !== undefined && session.replication_rule_id !== rule) await replication.unprotect(id);
    if (rule !== undefined && session?.replication_rule_id !== rule) await replication.protect(volume, policy);
    catalog.change('volume', id, { protection_policy_id: policyId });
  }

  async #unassign(volume: VolumeDocument, force: boolean): Promise<void> {
    const { catalog, replication } = this.#deps;
    const session = replication.sessionOf(volume.id);
    if (session !== undefined && session.role === 'Destination') {
      // At the destination only where the source cannot do it, or the session never copied anything (REPLICATION 2.12, A29).
      const local =
        session.state === 'Paused' || session.state === 'Failed_Over' || session.data_transfer_state === null;
      if (!local && !(force && session.last_sync_timestamp === null))
        throw new RestError('is_destination', volume.name, 'removing the policy');
    }
    if (session !== undefined) await replication.unprotect(volume.id);
    catalog.change('volume', volume.id, { protection_policy_id: null });
  }

  async #delete(id: string): Promise<void> {
    const { catalog, replication, mappings } = this.#deps;
    const volume = this.#volume(id);
    const host = mappings.attachedTo(id);
    if (host !== undefined) throw new RestError('volume_attached', volume.name, host);
    if (replication.sessionOf(id) !== undefined) throw new RestError('volume_in_session', volume.name);
    if (volume.protection_policy_id !== null) throw new RestError('volume_protected', volume.name);
    // Its snapshots would go with it.
    for (const gone of [volume, ...this.#snapshotsOf(id)]) {
      const { is_secure, expiration_timestamp } = gone.protection_data;
      if (is_secure && Date.parse(expiration_timestamp ?? '9999-12-31') > this.#deps.clock.now())
        throw new RestError('secure_snapshot', gone.name);
    }
    const doomed: VolumeDocument = { ...volume, state: 'Destroying' };
    catalog.put('volume', doomed);
    await this.#destroy(doomed);
  }

  async #destroy(volume: VolumeDocument): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    const hidden = catalog.private<VolumePrivate>('volume', volume.id);
    if (volume.type === 'Snapshot') {
      if (hidden?.point !== undefined) await dataPlane.dropPoint(pointId(hidden.point));
    } else {
      // Its own snapshots go with it; clones live on.
      for (const snapshot of this.#snapshotsOf(volume.id)) await this.#destroy(snapshot);
      await dataPlane.deleteVolume(volumeId(volume.id));
    }
    catalog.transaction(() => {
      const parent = volume.type === 'Primary' ? null : volume.protection_data.parent_id;
      for (const child of catalog.list('volume')) {
        if (child.protection_data.parent_id === volume.id && child.id !== volume.id)
          catalog.change('volume', child.id, { protection_data: { ...child.protection_data, parent_id: parent } });
      }
      for (const mapping of catalog.list('host_volume_mapping', 'volume_id', volume.id))
        catalog.remove('host_volume_mapping', mapping.id);
      catalog.remove('volume', volume.id);
    });
  }

  #snapshotsOf(id: string): readonly VolumeDocument[] {
    const { catalog } = this.#deps;
    return catalog
      .list('volume', 'type', 'Snapshot')
      .filter((snapshot) => catalog.private<VolumePrivate>('volume', snapshot.id)?.of === id);
  }

  /** Takes a snapshot; answers its id. */
  async snapshot(
    id: string,
    body: Static<typeof VolumeSnapshot>,
    creator: EnumValue<'StorageCreatorType'>,
  ): Promise<string> {
    const { catalog, dataPlane, clock, random } = this.#deps;
    const volume = this.#volume(id);
    if (volume.type === 'Snapshot') throw new RestError('not_for_this_type', 'Snapshot', 'take it of the volume');
    this.#notDestination(volume, 'a snapshot');
    if (typeof body.expiration_timestamp === 'string' && Date.parse(body.expiration_timestamp) <= clock.now())
      throw new RestError('bad_expiry', body.expiration_timestamp, 'it is in the past');
    if (body.is_secure && typeof body.expiration_timestamp !== 'string')
      throw new RestError('bad_expiry', 'none', 'a secure snapshot needs one');
    const snapshotId = random.uuid();
    const point = pointId(random.uuid());
    const now = clock.now();
    const name = body.name ?? `${volume.name}.${timestamp(now)}`;
    const protection = {
      ...protectionOf(volume.protection_data.family_id, id, id, timestamp(now), body.creator_type ?? creator),
      copy_signature: random.uuid(),
      expiration_timestamp: body.expiration_timestamp == null ? null : expiry(body.expiration_timestamp),
      is_secure: body.is_secure ?? false,
    };
    const document = this.newDocument({
      id: snapshotId,
      name,
      size: volume.size,
      type: 'Snapshot',
      protection,
      description: body.description ?? null,
    });
    const hidden: VolumePrivate = { point, of: id };
    catalog.put('volume', document, hidden);
    try {
      await dataPlane.freeze(
        {
          id: point,
          kind: 'snapshot',
          instant_ms: now,
          tag: { name, volume: id, snapshot: snapshotId, creator: protection.creator_type },
        },
        [volumeId(id)],
      );
    } catch (error) {
      catalog.remove('volume', snapshotId);
      throw error;
    }
    catalog.change('volume', snapshotId, { state: 'Ready' });
    return snapshotId;
  }

  async #clone(id: string, body: Static<typeof VolumeClone>): Promise<{ id: string }> {
    const { catalog, random, clock, mappings } = this.#deps;
    const origin = this.#volume(id);
    this.#notDestination(origin, 'a clone');
    const owner = mappings.wanted(body);
    const policy = body.protection_policy_id === undefined ? undefined : this.#policy(body.protection_policy_id);
    const cloneId = random.uuid();
    const moment = origin.type === 'Snapshot' ? origin.protection_data.source_timestamp : timestamp(clock.now());
    const name = body.name ?? `${origin.name}.clone.${timestamp(clock.now())}`;
    const document = this.newDocument({
      id: cloneId,
      name,
      size: origin.size,
      type: 'Clone',
      protection: protectionOf(origin.protection_data.family_id, id, id, moment, 'User'),
      description: body.description ?? null,
    });
    catalog.put('volume', document, {});
    try {
      await this.#withImage(origin, async (point, of) => {
        catalog.put('volume', document, { fork: { point, of } });
        await this.#finishCreation(document);
      });
      if (policy !== undefined) await this.#assign(cloneId, policy.id);
      if (owner !== undefined) await mappings.attach(this.#volume(cloneId), owner, body.logical_unit_number);
    } catch (error) {
      await this.#destroy({ ...document, state: 'Destroying' }).catch(() => undefined);
      throw error;
    }
    return { id: cloneId };
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
    const { catalog, dataPlane, clock } = this.#deps;
    const kept = backup ? await this.snapshot(volume.id, profile ?? {}, 'User') : undefined;
    const moment = origin.type === 'Snapshot' ? origin.protection_data.source_timestamp : timestamp(clock.now());
    await this.#withImage(origin, (point, of) => dataPlane.restore(volumeId(volume.id), point, volumeId(of)));
    catalog.change('volume', volume.id, {
      size: origin.size,
      protection_data: { ...volume.protection_data, source_id: origin.id, source_timestamp: moment },
    });
    return kept === undefined ? undefined : { backup_snapshot_id: kept };
  }

  /** Lends the frozen image of a snapshot, or one frozen for the occasion. */
  async #withImage(origin: VolumeDocument, work: (point: PointId, of: string) => Promise<void>): Promise<void> {
    const { catalog, dataPlane, random, clock } = this.#deps;
    if (origin.type === 'Snapshot') {
      const hidden = catalog.private<VolumePrivate>('volume', origin.id);
      if (hidden?.point === undefined || hidden.of === undefined) throw new RestError('volume_not_found', origin.id);
      return work(pointId(hidden.point), hidden.of);
    }
    const point = pointId(random.uuid());
    await dataPlane.freeze({ id: point, kind: 'internal', instant_ms: clock.now(), tag: { purpose: imagePurpose } }, [
      volumeId(origin.id),
    ]);
    try {
      await work(point, origin.id);
    } finally {
      await dataPlane.dropPoint(point);
    }
  }

  #volume(id: string): VolumeDocument {
    const volume = this.#deps.catalog.get('volume', id);
    if (volume === undefined) throw new RestError('volume_not_found', id);
    return volume;
  }

  #policy(id: string) {
    const policy = this.#deps.catalog.get('policy', id);
    if (policy === undefined) throw new RestError('policy_not_found', id);
    return policy;
  }

  #notDestination(volume: VolumeDocument, what: string): void {
    if (volume.is_replication_destination) throw new RestError('is_destination', volume.name, what);
  }
}

function checkSize(size: number): void {
  if (size % unit_bytes !== 0) throw new RestError('size_not_aligned', String(size));
}

/** Null and the far end of time both mean: never. */
const expiry = (text: string | null): string | null =>
  text === null || text.startsWith('9999') ? null : timestamp(Date.parse(text));

export const protectionOf = (
  family: string,
  parent: string | null,
  source: string | null,
  moment: string | null,
  creator: EnumValue<'StorageCreatorType'>,
): ProtectionData => ({
  family_id: family,
  parent_id: parent,
  source_id: source,
  source_timestamp: moment,
  creator_type: creator,
  creator_type_l10n: display(creator),
  copy_signature: null,
  expiration_timestamp: null,
  created_by_rule_id: null,
  created_by_rule_name: null,
  is_app_consistent: false,
  is_secure: false,
});
