import type { Clock, Random } from '@antipode/base';
import { display, type EnumValue, RestError } from '@antipode/contract';
import { type ProtectionData, timestamp, type VolumeDocument } from '../catalog/documents.ts';
import { firstAppliance } from '../supervisor/appliances.ts';
import { onlyPriority } from './io-limits.ts';

const unit_bytes = 8192;

export interface NewVolume {
  readonly id: string;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly type: 'Primary' | 'Clone' | 'Snapshot';
  readonly protection: ProtectionData;
  readonly description?: string | null;
  readonly appType?: EnumValue<'AppType'> | null;
  readonly appTypeOther?: string | null;
  /** Where it is, or is to be; default: the first. */
  readonly appliance?: string;
  /** Group that it belongs to; a snapshot: the set. */
  readonly group?: string | null;
  readonly qosPolicy?: string | null;
}

/** A document for a volume, clone or snapshot that is about to be made. */
export function newVolumeDocument(
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  given: NewVolume,
): VolumeDocument {
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
    appliance_id: given.appliance ?? firstAppliance,
    state: 'Initializing',
    size: given.size,
    node_affinity: 'System_Select_At_Attach',
    creation_timestamp: now,
    protection_policy_id: null,
    qos_performance_policy_id: given.qosPolicy ?? null,
    performance_policy_id: onlyPriority,
    is_replication_destination: false,
    is_host_access_available: !snapshot,
    protection_data: given.protection,
    location_history: [],
    app_type: given.appType ?? null,
    app_type_other: given.appTypeOther ?? null,
    group_id: given.group ?? null,
  };
}

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

export function checkSize(size: number): void {
  if (size % unit_bytes !== 0) throw new RestError('size_not_aligned', String(size));
}

/** Null and the far end of time both mean: never. */
export const expiry = (text: string | null): string | null =>
  text === null || text.startsWith('9999') ? null : timestamp(Date.parse(text));

/**
 * The protection data of a snapshot, or of a set, with another expiry or secured. Refused: a time that has passed, a secure snapshot
 * without an expiry, and whatever would let a secure one go sooner.
 */
export function withExpiry(
  present: { readonly name: string; readonly type: string; readonly protection_data: ProtectionData },
  change: { readonly expiration_timestamp?: string | null; readonly is_secure?: boolean },
  now_ms: number,
): ProtectionData {
  const data = present.protection_data;
  if (present.type !== 'Snapshot') throw new RestError('not_for_this_type', present.type, 'only snapshots expire');
  if (typeof change.expiration_timestamp === 'string' && Date.parse(change.expiration_timestamp) <= now_ms)
    throw new RestError('bad_expiry', change.expiration_timestamp, 'it is in the past');
  const before = data.expiration_timestamp;
  const after = change.expiration_timestamp === undefined ? before : expiry(change.expiration_timestamp);
  if (change.is_secure && after === null) throw new RestError('bad_expiry', 'none', 'a secure snapshot needs one');
  const sooner =
    change.expiration_timestamp !== undefined &&
    (change.expiration_timestamp === null ||
      (before !== null && Date.parse(change.expiration_timestamp) < Date.parse(before)));
  if (data.is_secure && (change.is_secure === false || sooner)) throw new RestError('secure_snapshot', present.name);
  return { ...data, expiration_timestamp: after, is_secure: change.is_secure ?? data.is_secure };
}

/** A secure snapshot stays until its time has come, whoever asks. */
export function checkUnlocked(
  snapshot: { readonly name: string; readonly protection_data: ProtectionData },
  now_ms: number,
): void {
  const { is_secure, expiration_timestamp } = snapshot.protection_data;
  if (is_secure && Date.parse(expiration_timestamp ?? '9999-12-31') > now_ms)
    throw new RestError('secure_snapshot', snapshot.name);
}
