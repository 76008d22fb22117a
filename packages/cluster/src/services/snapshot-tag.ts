import type { PointInfo, Tag } from '@antipode/blocks';
import { display, type EnumValue, enums } from '@antipode/contract';
import type { ProtectionData } from '../catalog/documents.ts';

/**
 * What the log keeps of a snapshot beside its bytes: enough to make its entry in a catalog again, here after a loss [C7.1], and at
 * the destination that it is copied to. It travels with the point, so both sides say the same of it.
 */
export interface SnapshotLabel {
  /** Name of the snapshot, or of the whole set. */
  readonly name: string;
  readonly description: string | null;
  /** Id in the catalog where it was taken: of the snapshot, or of the set. */
  readonly id: string;
  /** Name of the group whose members are in it: then it is a set. */
  readonly group: string | null;
  readonly protection: Pick<
    ProtectionData,
    | 'creator_type'
    | 'copy_signature'
    | 'expiration_timestamp'
    | 'created_by_rule_id'
    | 'created_by_rule_name'
    | 'is_secure'
    | 'is_app_consistent'
  >;
}

export function tagOf(label: SnapshotLabel): Tag {
  const { protection } = label;
  return {
    name: label.name,
    ...(label.description !== null && { description: label.description }),
    snapshot: label.id,
    ...(label.group !== null && { group: label.group }),
    creator: protection.creator_type,
    signature: protection.copy_signature,
    ...(protection.expiration_timestamp !== null && { expires: protection.expiration_timestamp }),
    ...(protection.created_by_rule_id !== null && { rule: protection.created_by_rule_id }),
    ...(protection.created_by_rule_name !== null && { rule_name: protection.created_by_rule_name }),
    ...(protection.is_secure && { secure: true }),
    ...(protection.is_app_consistent && { app_consistent: true }),
  };
}

/** Reads a tag that may have come from another cluster: what is not as it should be counts as not said. */
export function labelOf(point: Pick<PointInfo, 'id' | 'kind' | 'tag'>): SnapshotLabel {
  const { tag } = point;
  const text = (value: Tag[string] | undefined, most: number): string | null =>
    typeof value === 'string' && value !== '' ? value.slice(0, most) : null;
  const creator = enums.StorageCreatorType.find((known) => known === tag.creator);
  const expires = text(tag.expires, 40);
  return {
    name: text(tag.name, 128) ?? point.id,
    description: text(tag.description, 256),
    id: text(tag.snapshot, 64) ?? point.id,
    group: text(tag.group, 128),
    protection: {
      creator_type: point.kind === 'diverged' ? 'System' : (creator ?? 'User'),
      copy_signature: text(tag.signature, 64),
      expiration_timestamp: expires === null || Number.isNaN(Date.parse(expires)) ? null : expires,
      created_by_rule_id: text(tag.rule, 64),
      created_by_rule_name: text(tag.rule_name, 128),
      is_secure: tag.secure === true && expires !== null,
      is_app_consistent: tag.app_consistent === true,
    },
  };
}

/** The label's part of a snapshot's protection data. */
export const withLabel = (data: ProtectionData, { protection }: SnapshotLabel): ProtectionData => ({
  ...data,
  ...protection,
  creator_type_l10n: display(protection.creator_type satisfies EnumValue<'StorageCreatorType'>),
});
