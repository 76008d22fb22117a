import { Type } from 'typebox';
import { Body, Flag, Name, Nullable, OneOf, Opt, Ref, Refs, Text } from '../bodies.ts';
import {
  flag,
  has,
  hasListed,
  hasListing,
  hasMany,
  integer,
  list,
  listOf,
  none,
  objectOf,
  one,
  type ResourceSpec,
  text,
  time,
} from '../resource.ts';
import { DataConnectionShape, ElementPairShape, Nothing } from '../shapes.ts';

export const RuleClone = Body({ name: Name(), force: Opt(Flag()) });
const cloning = {
  clone: {
    summary: 'Make a copy under another name.',
    body: RuleClone,
    required: true,
    answer: Type.Object({ id: Type.String() }),
  },
} as const;

export const PolicyCreate = Body({
  name: Name(),
  description: Opt(Text(256)),
  snapshot_rule_ids: Opt(Refs()),
  replication_rule_ids: Opt(Refs()),
  io_limit_rule_id: Opt(Ref()),
  file_io_limit_rule_id: Opt(Ref()),
});
export const PolicyModify = Body({
  name: Opt(Name()),
  description: Opt(Text(256)),
  snapshot_rule_ids: Opt(Refs()),
  replication_rule_ids: Opt(Refs()),
  add_snapshot_rule_ids: Opt(Refs()),
  remove_snapshot_rule_ids: Opt(Refs()),
  add_replication_rule_ids: Opt(Refs()),
  remove_replication_rule_ids: Opt(Refs()),
  io_limit_rule_id: Opt(Nullable(Ref())),
  file_io_limit_rule_id: Opt(Nullable(Ref())),
});

const managed = {
  managed_by: one('PolicyManagedBy', 'Who may change it.'),
  managed_by_id: text('The owner’s id.'),
  is_read_only: flag('It cannot be changed.'),
  is_replica: flag('It came from the source of a session and cannot be changed here.'),
};

export const policy: ResourceSpec = {
  name: 'policy',
  description: 'A set of rules that protects the volumes it is assigned to, or a rule that limits their I/O.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name, unique among policies.'),
    description: text('Free text.'),
    type: one('PolicyType', 'What the policy is for; follows from its rules.'),
    ...managed,
    file_io_limit_rule_id: text('Rule that limits file I/O.'),
  },
  associations: {
    snapshot_rules: hasListed('snapshot_rule', 'snapshot_rule_ids'),
    replication_rules: hasListed('replication_rule', 'replication_rule_ids'),
    volumes: hasMany('volume', 'protection_policy_id'),
    qos_volumes: hasMany('volume', 'qos_performance_policy_id'),
    volume_groups: hasMany('volume_group', 'protection_policy_id'),
    qos_volume_groups: hasMany('volume_group', 'qos_performance_policy_id'),
    replication_groups: none('replication_group', 'many'),
    performance_rules: none('performance_rule', 'many'),
    io_limit_rule: has('io_limit_rule', 'io_limit_rule_id'),
    file_io_limit_rule: none('file_io_limit_rule', 'one'),
    file_systems: none('file_system', 'many'),
    file_systems_with_qos: none('file_system', 'many'),
    nas_servers: none('nas_server', 'many'),
    nas_servers_with_qos: none('nas_server', 'many'),
    virtual_machines: none('virtual_machine', 'many'),
    virtual_volumes: none('virtual_volume', 'many'),
  },
  create: { body: PolicyCreate },
  modify: { body: PolicyModify },
  remove: {},
  actions: cloning,
};

const Threshold = () => Type.Integer({ minimum: 0, maximum: 1440 });
export const ReplicationRuleCreate = Body({
  name: Name(),
  rpo: OneOf('RPO'),
  remote_system_id: Ref(),
  alert_threshold: Opt(Threshold()),
  is_read_only: Opt(Flag()),
});
export const ReplicationRuleModify = Body({
  name: Opt(Name()),
  rpo: Opt(OneOf('RPO')),
  remote_system_id: Opt(Ref()),
  alert_threshold: Opt(Threshold()),
});

export const replicationRule: ResourceSpec = {
  name: 'replication_rule',
  description: 'Where to keep a copy, and how old it may be.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name, unique among replication rules.'),
    rpo: one('RPO', 'Recovery point objective.'),
    remote_system_id: text('Cluster that keeps the copy.'),
    alert_threshold: integer('Minutes beyond the objective before an alert is raised.'),
    ...managed,
  },
  associations: {
    remote_system: has('remote_system', 'remote_system_id'),
    policies: hasListing('policy', 'replication_rule_ids'),
    replication_sessions: hasMany('replication_session', 'replication_rule_id'),
  },
  create: { body: ReplicationRuleCreate },
  modify: { body: ReplicationRuleModify },
  remove: {},
  actions: cloning,
};

const Retention = () => Type.Integer({ minimum: 1, maximum: 613_200 });
const TimeOfDay = () => Type.String({ pattern: '^([01]\\d|2[0-3]):[0-5]\\d$' });
const snapshotRuleBody = {
  interval: Opt(OneOf('SnapRuleInterval')),
  time_of_day: Opt(TimeOfDay()),
  timezone: Opt(OneOf('TimeZone')),
  days_of_week: Opt(Type.Array(OneOf('DaysOfWeek'), { maxItems: 7 })),
  nas_access_type: Opt(OneOf('NASAccessType')),
  is_secure: Opt(Flag()),
  remote_system_id: Opt(Ref()),
};
export const SnapshotRuleCreate = Body({
  name: Name(),
  desired_retention: Retention(),
  is_read_only: Opt(Flag()),
  ...snapshotRuleBody,
});
export const SnapshotRuleModify = Body({ name: Opt(Name()), desired_retention: Opt(Retention()), ...snapshotRuleBody });

export const SnapshotRuleDelete = Body({ delete_snaps: Opt(Flag()) });

export const snapshotRule: ResourceSpec = {
  name: 'snapshot_rule',
  description: 'When snapshots are taken and how long they are kept.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name, unique among snapshot rules.'),
    remote_system_id: text('Target of remote snapshots.'),
    interval: one('SnapRuleInterval', 'Time between two snapshots.'),
    time_of_day: text('Time of day, hh:mm.'),
    timezone: one('TimeZone', 'Time zone of the time of day.'),
    days_of_week: list('Days on which it applies.', 'DaysOfWeek'),
    desired_retention: integer('Hours that a snapshot is kept.'),
    nas_access_type: one('NASAccessType', 'How file snapshots are reached.'),
    is_secure: flag('Snapshots cannot be deleted before they expire.'),
    ...managed,
  },
  associations: {
    policies: hasListing('policy', 'snapshot_rule_ids'),
    remote_system: has('remote_system', 'remote_system_id'),
    remote_snapshot_sessions: none('remote_snapshot_session', 'many'),
  },
  create: { body: SnapshotRuleCreate },
  modify: { body: SnapshotRuleModify },
  remove: { body: SnapshotRuleDelete },
  actions: cloning,
};

export const RemoteSystemCreate = Body({
  management_address: Type.String({ minLength: 1, maxLength: 256 }),
  type: Opt(OneOf('RemoteSystemType')),
  data_network_latency: Opt(OneOf('RemoteSystemLatency')),
  description: Opt(Text(256)),
  management_port: Opt(Type.Integer({ minimum: 1, maximum: 65_535 })),
  name: Opt(Text(256)),
  remote_username: Opt(Text(256)),
  remote_password: Opt(Text(256)),
  iscsi_addresses: Opt(Type.Array(Text(256), { maxItems: 64 })),
  discovery_chap_mode: Opt(OneOf('RemoteSystemChapMode')),
  session_chap_mode: Opt(OneOf('RemoteSystemChapMode')),
  data_connection_type: Opt(OneOf('DataConnectionType')),
});
export const RemoteSystemModify = Body({
  description: Opt(Text(256)),
  management_address: Opt(Type.String({ minLength: 1, maxLength: 256 })),
  management_port: Opt(Type.Integer({ minimum: 1, maximum: 65_535 })),
  data_network_latency: Opt(OneOf('RemoteSystemLatency')),
});

export const remoteSystem: ResourceSpec = {
  name: 'remote_system',
  description: 'A cluster that this one is paired with.',
  byName: true,
  fields: {
    id: text('Identity here; the peer’s entry has another one.'),
    name: text('The peer’s name.'),
    description: text('Free text.'),
    serial_number: text('The peer’s cluster serial.'),
    version: text('The peer’s software version.'),
    management_address: text('Where the peer is managed.'),
    management_port: integer('Port, where it is not part of the address.'),
    type: one('RemoteSystemType', 'What kind of system it is.'),
    user_name: text('User, for other kinds of systems.'),
    state: one('RemoteSystemState', 'Whether its management answers.'),
    data_connection_type: one('DataConnectionType', 'How copies travel.'),
    data_connection_state: one('DataConnectionState', 'Whether copies can travel.'),
    iscsi_addresses: listOf(Nothing(), 'Portals, for other kinds of systems.'),
    discovery_chap_mode: one('RemoteSystemChapMode', 'CHAP at discovery.'),
    session_chap_mode: one('RemoteSystemChapMode', 'CHAP in sessions.'),
    data_network_latency: one('RemoteSystemLatency', 'How far away it is.'),
    data_connections: listOf(DataConnectionShape, 'Connections, one a path.'),
    fc_target_wwns: listOf(Nothing(), 'Ports, for other kinds of systems.'),
    file_connection_address: text('Where its file services are managed.'),
    file_connection_state: one('RemoteSystemFileConnectionState', 'Whether its file services answer.'),
    vnx_file_username: text('User, for other kinds of systems.'),
    ppdd_storage_unit_details: objectOf(Type.Null(), 'Storage unit, for other kinds of systems.'),
    appliance_details: listOf(Nothing(), 'Appliances, for other kinds of systems.'),
    unity_file_details: objectOf(Type.Null(), 'File import, for other kinds of systems.'),
    powerstore_data_network_configuration: listOf(Nothing(), 'Groups of networks that copies travel over.'),
    capabilities: list('What it can do together with this cluster.', 'RemoteProtectionCapability'),
  },
  associations: {
    replication_rules: hasMany('replication_rule', 'remote_system_id'),
    replication_sessions: hasMany('replication_session', 'remote_system_id'),
    snapshot_rules: hasMany('snapshot_rule', 'remote_system_id'),
    import_sessions: none('import_session', 'many'),
    import_universal_volumes: none('import_universal_volume', 'many'),
    import_universal_consistency_group: none('import_universal_consistency_group', 'many'),
    storage_container_destinations: none('storage_container_destination', 'many'),
    remote_snapshots: none('remote_snapshot', 'many'),
    remote_snapshot_sessions: none('remote_snapshot_session', 'many'),
  },
  create: { body: RemoteSystemCreate },
  modify: { body: RemoteSystemModify },
  remove: {},
  actions: {
    verify: {
      summary: 'Look at the peer now and renew its connections.',
      body: Body({ update_transport: Opt(Flag()) }),
    },
    query_appliances: {
      reads: true,
      summary: 'The peer’s appliances.',
      body: Body({}),
      answer: Type.Array(Type.Object({ id: Type.String(), name: Type.String(), model: Type.String() })),
    },
  },
};

export const SessionFailover = Body({
  is_planned: Opt(Flag()),
  reverse: Opt(Flag()),
  force: Opt(Flag()),
  use_test_copy: Opt(Flag()),
  failover_snapshot_id: Opt(Ref()),
});

export const StartFailoverTest = Body({ snapshot_id: Opt(Ref()) });
export const StopFailoverTest = Body({ create_end_of_test_snapshot: Opt(Flag()), force: Opt(Flag()) });

export const replicationSession: ResourceSpec = {
  name: 'replication_session',
  description: 'A volume kept as a recoverable copy at another cluster, seen from this one.',
  byName: false,
  fields: {
    id: text('Identity, the same on both clusters.'),
    state: one('ReplicationState', 'What it is doing.'),
    role: one('ReplicationRole', 'Which side this cluster is.'),
    resource_type: one('ReplicatedResourceType', 'What is copied.'),
    data_transfer_state: one('DataTransferState', 'Phase of the copy.'),
    type: one('ReplicationSessionType', 'Kind of replication.'),
    last_sync_timestamp: time('End of the newest complete copy.'),
    local_resource_id: text('The volume or group here.'),
    remote_resource_id: text('The volume or group there.'),
    remote_system_id: text('The peer.'),
    progress_percentage: integer('Of the cycle under way, at the source.'),
    estimated_completion_timestamp: time('When the cycle under way should be done.'),
    replication_rule_id: text('Rule that it follows.'),
    last_sync_duration: integer('Milliseconds that the newest complete copy took.'),
    next_sync_timestamp: time('When the next cycle starts by itself.'),
    storage_element_pairs: listOf(ElementPairShape, 'Members here and there.'),
    failover_test_in_progress: flag('A rehearsal is running at the destination.'),
    error_code: text('Why the system paused it.'),
    data_connection_state: one('DataConnectionState', 'Whether copies can travel.'),
    parent_replication_session_id: text('Session that this one belongs to.'),
    local_resource_state: one('ReplicationResourceState', 'Override of a metro session.'),
    witness_details: objectOf(Type.Null(), 'Witness of a metro session.'),
  },
  associations: {
    remote_system: has('remote_system', 'remote_system_id'),
    replication_rule: has('replication_rule', 'replication_rule_id'),
    migration_session: none('migration_session', 'one'),
    volume_groups: hasMany('volume_group', 'id', 'local_resource_id'),
    volumes: hasMany('volume', 'id', 'local_resource_id'),
  },
  actions: {
    sync: { summary: 'Bring the copy up to date now.', body: Body({}) },
    pause: { summary: 'Stop copying; what changes accumulates.', body: Body({}) },
    resume: { summary: 'Go on after a pause.', body: Body({}) },
    failover: { summary: 'Make the destination the source.', body: SessionFailover },
    reprotect: { summary: 'Copy in the new direction.', body: Body({ discard_changes_after_failover: Opt(Flag()) }) },
    start_failover_test: {
      summary: 'Let hosts write to a fork of the copy; copying goes on beneath it.',
      body: StartFailoverTest,
    },
    stop_failover_test: {
      summary: 'Give up what the test has written, or keep it as a snapshot.',
      body: StopFailoverTest,
      answer: Type.Object({ snapshot_id: Type.String() }),
    },
  },
};
export const protectionResources = [policy, replicationRule, snapshotRule, remoteSystem, replicationSession] as const;
