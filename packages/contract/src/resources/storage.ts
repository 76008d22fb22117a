import { Type } from 'typebox';
import { Body, Flag, Name, Nullable, OneOf, Opt, Ref, Refs, Text, Timestamp, VolumeSize } from '../bodies.ts';
import {
  flag,
  has,
  hasMany,
  integer,
  listOf,
  none,
  objectOf,
  one,
  type ResourceSpec,
  text,
  time,
} from '../resource.ts';
import { LocationShape, ProtectionDataShape } from '../shapes.ts';
import { VolumeAttach, VolumeDetach } from './hosts.ts';

export const VolumeCreate = Body({
  name: Name(),
  size: VolumeSize(),
  description: Opt(Text(128)),
  appliance_id: Opt(Ref()),
  host_id: Opt(Ref()),
  host_group_id: Opt(Ref()),
  logical_unit_number: Opt(Type.Integer({ minimum: 0, maximum: 16383 })),
  volume_group_id: Opt(Ref()),
  min_size: Opt(VolumeSize()),
  sector_size: Opt(Type.Integer({ minimum: 512, maximum: 4096 })),
  protection_policy_id: Opt(Ref()),
  performance_policy_id: Opt(Ref()),
  qos_performance_policy_id: Opt(Ref()),
  app_type: Opt(OneOf('AppType')),
  app_type_other: Opt(Text(32)),
  // Outside the published interface; the CSI driver sends it.
  metadata: Opt(Type.Record(Type.String(), Type.String())),
});

export const VolumeModify = Body({
  name: Opt(Name()),
  description: Opt(Text(128)),
  size: Opt(VolumeSize()),
  expiration_timestamp: Opt(Nullable(Timestamp())),
  protection_policy_id: Opt(Nullable(Type.String({ maxLength: 256 }))),
  performance_policy_id: Opt(Nullable(Type.String({ maxLength: 256 }))),
  qos_performance_policy_id: Opt(Nullable(Type.String({ maxLength: 256 }))),
  is_replication_destination: Opt(Flag()),
  force: Opt(Flag()),
  node_affinity: Opt(OneOf('NodeAffinity')),
  app_type: Opt(OneOf('AppType')),
  app_type_other: Opt(Text(32)),
  is_secure: Opt(Flag()),
});

export const VolumeSnapshot = Body({
  name: Opt(Name()),
  description: Opt(Text(128)),
  expiration_timestamp: Opt(Nullable(Timestamp())),
  creator_type: Opt(OneOf('StorageCreatorType')),
  is_secure: Opt(Flag()),
  performance_policy_id: Opt(Ref()),
});

export const VolumeClone = Body({
  name: Opt(Name()),
  description: Opt(Text(128)),
  host_id: Opt(Ref()),
  host_group_id: Opt(Ref()),
  logical_unit_number: Opt(Type.Integer({ minimum: 0, maximum: 16383 })),
  protection_policy_id: Opt(Ref()),
  performance_policy_id: Opt(Ref()),
  qos_performance_policy_id: Opt(Ref()),
});

export const VolumeRestore = Body({
  from_snap_id: Ref(),
  create_backup_snap: Opt(Flag()),
  backup_snap_profile: Opt(VolumeSnapshot),
});
export const VolumeRefresh = Body({
  from_object_id: Ref(),
  create_backup_snap: Opt(Flag()),
  backup_snap_profile: Opt(VolumeSnapshot),
});
export const VolumeGroupCreate = Body({
  name: Name(),
  description: Opt(Text(256)),
  volume_ids: Opt(Refs()),
  is_write_order_consistent: Opt(Flag()),
  protection_policy_id: Opt(Ref()),
  qos_performance_policy_id: Opt(Ref()),
});

export const VolumeGroupModify = Body({
  name: Opt(Name()),
  description: Opt(Text(256)),
  is_write_order_consistent: Opt(Flag()),
  protection_policy_id: Opt(Nullable(Type.String({ maxLength: 256 }))),
  qos_performance_policy_id: Opt(Nullable(Type.String({ maxLength: 256 }))),
  expiration_timestamp: Opt(Nullable(Timestamp())),
  is_replication_destination: Opt(Flag()),
  force: Opt(Flag()),
  is_secure: Opt(Flag()),
});

export const VolumeGroupDelete = Body({ delete_members: Opt(Flag()), immediate: Opt(Flag()) });
/** `force_internal` is sent by PyPowerStore with every call; it asks for nothing here. */
export const VolumeGroupMembers = Body({
  volume_ids: Type.Array(Ref(), { minItems: 1, maxItems: 1000 }),
  force_internal: Opt(Flag()),
});

export const VolumeGroupSnapshot = Body({
  name: Name(),
  description: Opt(Text(256)),
  expiration_timestamp: Opt(Nullable(Timestamp())),
  is_secure: Opt(Flag()),
});

export const VolumeGroupClone = Body({
  name: Name(),
  description: Opt(Text(256)),
  protection_policy_id: Opt(Ref()),
  qos_performance_policy_id: Opt(Nullable(Ref())),
  is_replication_destination: Opt(Flag()),
});

export const VolumeGroupRestore = Body({
  from_snap_id: Ref(),
  create_backup_snap: Opt(Flag()),
  backup_snap_profile: Opt(VolumeGroupSnapshot),
});
export const VolumeGroupRefresh = Body({
  from_object_id: Ref(),
  create_backup_snap: Opt(Flag()),
  backup_snap_profile: Opt(VolumeGroupSnapshot),
});
export const VolumeComputeDifferences = Body({
  base_snapshot_id: Opt(Nullable(Ref())),
  offset: Opt(Type.Integer({ minimum: 0, maximum: 281_474_976_710_656 })),
  length: Type.Integer({ minimum: 512, maximum: 281_474_976_710_656 }),
  chunk_size: Type.Integer({ minimum: 512, maximum: 1_099_511_627_776 }),
});
const BackupSnapshot = Type.Object({ backup_snapshot_id: Type.String() });

export const volume: ResourceSpec = {
  name: 'volume',
  description: 'A block volume, a thin clone of one, or a snapshot.',
  byName: true,
  fields: {
    id: text('Identity of the volume on this cluster.'),
    name: text('Name, unique among volumes and clones of the cluster.'),
    description: text('Free text.'),
    type: one('VolumeType', 'What kind of volume it is.'),
    wwn: text('World-wide name that hosts see.'),
    nsid: integer('NVMe namespace number.'),
    nguid: text('NVMe namespace identity.'),
    appliance_id: text('Appliance that holds the bytes.'),
    state: one('VolumeState', 'Whether it can be used.'),
    size: integer('Bytes.'),
    logical_used: integer('Bytes that read as stored data.'),
    node_affinity: one('NodeAffinity', 'Node that serves it.'),
    creation_timestamp: time('When it was made.'),
    protection_policy_id: text('Protection policy assigned to it.'),
    performance_policy_id: text('Performance policy.'),
    qos_performance_policy_id: text('Policy that limits its I/O.'),
    is_replication_destination: flag('Hosts cannot write it: it is, or was, the copy of another volume.'),
    migration_session_id: text('Migration that moves it.'),
    metro_replication_session_id: text('Metro session that it takes part in.'),
    is_host_access_available: flag('Hosts can reach it here.'),
    protection_data: objectOf(ProtectionDataShape, 'Family, parent, source, creator and expiry.'),
    location_history: listOf(LocationShape, 'Appliances it has been on.'),
    app_type: one('AppType', 'What it is used for.'),
    app_type_other: text('Use, in own words.'),
  },
  associations: {
    appliance: has('appliance', 'appliance_id'),
    protection_policy: has('policy', 'protection_policy_id'),
    qos_performance_policy: has('policy', 'qos_performance_policy_id'),
    replication_sessions: hasMany('replication_session', 'local_resource_id'),
    migration_session: has('migration_session', 'migration_session_id'),
    mapped_volumes: hasMany('host_volume_mapping', 'volume_id'),
    volume_groups: hasMany('volume_group', 'id', 'group_id'),
    datastores: none('datastore', 'many'),
    remote_snapshots: none('remote_snapshot', 'many'),
    remote_snapshot_sessions: none('remote_snapshot_session', 'many'),
    current_remote_snapshot_sessions: none('remote_snapshot_session', 'many'),
  },
  create: { body: VolumeCreate },
  modify: { body: VolumeModify },
  remove: { body: Body({ immediate: Opt(Flag()) }) },
  actions: {
    snapshot: {
      summary: 'Take a snapshot, in constant time.',
      body: VolumeSnapshot,
      answer: Type.Object({ id: Type.String() }),
    },
    clone: {
      summary: 'Make a thin clone that shares all blocks.',
      body: VolumeClone,
      answer: Type.Object({ id: Type.String() }),
    },
    compute_differences: {
      summary: 'Which chunks of a snapshot differ from those of another; outside the published interface.',
      body: VolumeComputeDifferences,
      required: true,
      reads: true,
      answer: Type.Object({ chunk_bitmap: Type.String(), next_offset: Type.Integer() }),
    },
    restore: {
      summary: 'Put a volume back to one of its snapshots.',
      body: VolumeRestore,
      required: true,
      answer: BackupSnapshot,
    },
    attach: { summary: 'Let a host or a host group reach it.', body: VolumeAttach, required: true },
    detach: { summary: 'Let a host or a host group reach it no more.', body: VolumeDetach, required: true },
    refresh: {
      summary: 'Replace the content by that of another member of the family.',
      body: VolumeRefresh,
      required: true,
      answer: BackupSnapshot,
    },
  },
};

export const volumeGroup: ResourceSpec = {
  name: 'volume_group',
  description:
    'Volumes that are kept consistent with each other, a clone of such a group, or a set of snapshots of its members.',
  byName: true,
  fields: {
    id: text('Identity of the group on this cluster.'),
    name: text('Name, unique among groups and their clones without regard to case.'),
    description: text('Free text.'),
    creation_timestamp: time('When it was made.'),
    is_protectable: flag('It has members that snapshots, clones and policies can be about.'),
    protection_policy_id: text('Protection policy assigned to the group as a whole.'),
    qos_performance_policy_id: text('Policy that limits its I/O.'),
    migration_session_id: text('Migration that moves it.'),
    is_write_order_consistent: flag('Its snapshots hold all members at one instant.'),
    placement_rule: one('VGPlacementRule', 'Where its members are put.'),
    type: one('VolumeType', 'What kind of group it is.'),
    is_replication_destination: flag('Hosts cannot write its members: it is, or was, the copy of another group.'),
    metro_replication_session_id: text('Metro session that it takes part in.'),
    is_host_access_available: flag('Hosts can reach its members here.'),
    protection_data: objectOf(ProtectionDataShape, 'Family, parent, source, creator and expiry.'),
    is_importing: flag('It is being imported.'),
    location_history: listOf(LocationShape, 'Appliances it has been on.'),
  },
  associations: {
    protection_policy: has('policy', 'protection_policy_id'),
    qos_performance_policy: has('policy', 'qos_performance_policy_id'),
    volumes: hasMany('volume', 'group_id'),
    // The same under the name that gopowerstore selects beside it.
    volume: hasMany('volume', 'group_id'),
    replication_sessions: hasMany('replication_session', 'local_resource_id'),
    migration_session: has('migration_session', 'migration_session_id'),
    remote_snapshots: none('remote_snapshot', 'many'),
    remote_snapshot_sessions: none('remote_snapshot_session', 'many'),
    current_remote_snapshot_sessions: none('remote_snapshot_session', 'many'),
  },
  create: { body: VolumeGroupCreate },
  modify: { body: VolumeGroupModify },
  remove: { body: VolumeGroupDelete },
  actions: {
    add_members: { summary: 'Add volumes to the group.', body: VolumeGroupMembers, required: true },
    remove_members: { summary: 'Take volumes out of the group.', body: VolumeGroupMembers, required: true },
    snapshot: {
      summary: 'Take a snapshot of all members at one instant.',
      body: VolumeGroupSnapshot,
      required: true,
      answer: Type.Object({ id: Type.String() }),
    },
    clone: {
      summary: 'Make thin clones of all members, in a group of their own.',
      body: VolumeGroupClone,
      required: true,
      answer: Type.Object({ id: Type.String() }),
    },
    restore: {
      summary: 'Put all members back to a snapshot of the group.',
      body: VolumeGroupRestore,
      required: true,
      answer: BackupSnapshot,
    },
    refresh: {
      summary: 'Replace the members’ content by that of another group of the family.',
      body: VolumeGroupRefresh,
      required: true,
      answer: BackupSnapshot,
    },
  },
};
export const storageResources = [volume, volumeGroup] as const;
