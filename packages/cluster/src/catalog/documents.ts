import type { CertificateMember, EnumValue } from '@antipode/contract';
import type { Static } from 'typebox';
import type { MigrationDocument } from '../migrations/migration-document.ts';

/** What the catalog keeps of each resource: the columns that REST shows, as they are shown. Timestamps: ISO 8601, UTC, `+00:00`. */
export interface ProtectionData {
  readonly family_id: string;
  readonly parent_id: string | null;
  readonly source_id: string | null;
  readonly source_timestamp: string | null;
  readonly creator_type: EnumValue<'StorageCreatorType'>;
  readonly creator_type_l10n: string;
  readonly copy_signature: string | null;
  readonly expiration_timestamp: string | null;
  readonly created_by_rule_id: string | null;
  readonly created_by_rule_name: string | null;
  readonly is_app_consistent: boolean;
  readonly is_secure: boolean;
}

export interface VolumeDocument {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly type: EnumValue<'VolumeType'>;
  readonly wwn: string | null;
  readonly nsid: number | null;
  readonly nguid: string | null;
  readonly appliance_id: string;
  readonly state: EnumValue<'VolumeState'>;
  readonly size: number;
  readonly node_affinity: EnumValue<'NodeAffinity'>;
  readonly creation_timestamp: string;
  readonly protection_policy_id: string | null;
  /** Absent in rows of older catalogs. */
  readonly qos_performance_policy_id?: string | null;
  readonly performance_policy_id: string | null;
  readonly is_replication_destination: boolean;
  readonly is_host_access_available: boolean;
  readonly protection_data: ProtectionData;
  readonly location_history: readonly unknown[];
  readonly migration_session_id?: string | null;
  readonly app_type: EnumValue<'AppType'> | null;
  readonly app_type_other: string | null;
  /** Group that it is in, a snapshot: the set. Shown as an association; absent in rows of older catalogs. */
  readonly group_id?: string | null;
}

/** What REST does not show of a volume. */
export interface VolumePrivate {
  /** A snapshot's frozen point in the engine, and the volume whose image it is. */
  readonly point?: string;
  readonly of?: string;
  /** The session for which it was set aside, until it holds its first copy. */
  readonly joined?: string;
}

export interface HostDocument {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly host_group_id: string | null;
  readonly type: EnumValue<'HostType'>;
  readonly os_type: EnumValue<'OSType'>;
  readonly host_connectivity: EnumValue<'HostConnectivity'>;
  readonly import_host_system_id: null;
  /** What the rows of `initiator` say, in the form that older clients read. Both are written together. */
  readonly host_initiators: readonly HostInitiator[];
}

export interface HostInitiator {
  readonly port_name: string;
  readonly port_type: EnumValue<'InitiatorProtocolType'>;
  readonly port_type_l10n: string;
  readonly chap_single_username: string | null;
  readonly chap_mutual_username: string | null;
  readonly active_sessions: readonly unknown[];
}

export interface InitiatorDocument {
  readonly id: string;
  readonly host_id: string;
  readonly port_name: string;
  readonly port_type: EnumValue<'InitiatorProtocolType'>;
  readonly chap_single_username: string | null;
  readonly chap_mutual_username: string | null;
  readonly active_sessions: readonly unknown[];
}

/** What REST never shows of an initiator. */
export interface InitiatorPrivate {
  readonly chap_single_password?: string;
  readonly chap_mutual_password?: string;
}

export interface HostGroupDocument {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly host_connectivity: EnumValue<'HostConnectivity'>;
}

/** The highest logical unit number that was chosen for a host or a group: the next one is higher, so that none comes back soon. */
export interface LunPrivate {
  readonly lastLun?: number;
}

export interface MappingDocument {
  readonly id: string;
  /** One of the two. */
  readonly host_id: string | null;
  readonly host_group_id: string | null;
  readonly volume_id: string;
  readonly logical_unit_number: number;
}

export interface VolumeGroupDocument {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly creation_timestamp: string;
  readonly is_protectable: boolean;
  readonly protection_policy_id: string | null;
  /** Absent in rows of older catalogs. */
  readonly qos_performance_policy_id?: string | null;
  readonly is_write_order_consistent: boolean;
  readonly placement_rule: EnumValue<'VGPlacementRule'>;
  readonly type: 'Primary' | 'Clone' | 'Snapshot';
  readonly is_replication_destination: boolean;
  readonly is_host_access_available: boolean;
  readonly is_importing: boolean;
  readonly protection_data: ProtectionData;
  readonly location_history: readonly unknown[];
  readonly migration_session_id?: string | null;
}

/** What REST does not show of a group. */
export interface VolumeGroupPrivate {
  /** A set's frozen point in the engine: one for all members. */
  readonly point?: string;
}

export interface ManagedDocument {
  readonly managed_by: EnumValue<'PolicyManagedBy'>;
  readonly managed_by_id: string | null;
  readonly is_read_only: boolean;
  readonly is_replica: boolean;
}

export interface PolicyDocument extends ManagedDocument {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly type: EnumValue<'PolicyType'>;
  readonly snapshot_rule_ids: readonly string[];
  readonly replication_rule_ids: readonly string[];
  /** Of a policy of type QoS. */
  readonly io_limit_rule_id?: string | null;
}

export interface IoLimitRuleDocument {
  readonly id: string;
  readonly name: string;
  readonly type: EnumValue<'BandwidthLimitType'>;
  readonly max_iops: number | null;
  /** KiB a second. */
  readonly max_bw: number | null;
  readonly burst_percentage: number;
}

export interface ReplicationRuleDocument extends ManagedDocument {
  readonly id: string;
  readonly name: string;
  readonly rpo: EnumValue<'RPO'>;
  readonly remote_system_id: string;
  readonly alert_threshold: number;
}

export interface SnapshotRuleDocument extends ManagedDocument {
  readonly id: string;
  readonly name: string;
  readonly remote_system_id: string | null;
  readonly interval: EnumValue<'SnapRuleInterval'> | null;
  readonly time_of_day: string | null;
  readonly timezone: string | null;
  readonly days_of_week: readonly string[];
  readonly desired_retention: number;
  readonly nas_access_type: EnumValue<'NASAccessType'> | null;
  readonly is_secure: boolean;
}

export interface RemoteSystemDocument {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly serial_number: string;
  readonly version: string;
  readonly management_address: string;
  readonly type: EnumValue<'RemoteSystemType'>;
  readonly state: EnumValue<'RemoteSystemState'>;
  readonly data_connection_type: EnumValue<'DataConnectionType'>;
  readonly data_connection_state: EnumValue<'DataConnectionState'>;
  readonly data_network_latency: EnumValue<'RemoteSystemLatency'>;
  readonly iscsi_addresses: readonly string[];
  readonly discovery_chap_mode: 'Disabled';
  readonly session_chap_mode: 'Disabled';
  readonly data_connections: readonly unknown[];
  readonly capabilities: readonly EnumValue<'RemoteProtectionCapability'>[];
  readonly user_name: string;
}

export interface CertificateDocument {
  readonly id: string;
  readonly type: EnumValue<'X509CertificateUsageType'>;
  readonly service: EnumValue<'X509CertificateService'>;
  readonly scope: string;
  readonly is_current: boolean;
  readonly is_valid: boolean;
  readonly members: readonly CertificateMemberDocument[];
}
export type CertificateMemberDocument = Static<typeof CertificateMember>;

export interface SessionDocument {
  readonly id: string;
  readonly state: string;
  readonly role: EnumValue<'ReplicationRole'>;
  readonly resource_type: EnumValue<'ReplicatedResourceType'>;
  readonly data_transfer_state: EnumValue<'DataTransferState'> | null;
  readonly type: EnumValue<'ReplicationSessionType'>;
  readonly last_sync_timestamp: string | null;
  readonly local_resource_id: string;
  readonly remote_resource_id: string;
  readonly remote_system_id: string;
  readonly replication_rule_id: string | null;
  readonly last_sync_duration: number | null;
  readonly next_sync_timestamp: string | null;
  readonly storage_element_pairs: readonly unknown[];
  readonly failover_test_in_progress: boolean;
  readonly error_code: string | null;
  readonly local_resource_state: 'System_Defined';
  readonly parent_replication_session_id: null;
  readonly witness_details: null;
}

export interface JobDocument {
  readonly id: string;
  readonly resource_action: string;
  readonly resource_type: string;
  readonly resource_id: string | null;
  readonly resource_name: string | null;
  readonly description_l10n: string;
  readonly state: EnumValue<'JobState'>;
  readonly phase: EnumValue<'JobPhase'>;
  readonly start_time: string;
  readonly end_time: string | null;
  readonly estimated_completion_time: string | null;
  readonly progress_percentage: number;
  readonly parent_id: string | null;
  readonly root_id: string;
  /** The root, of a part that has no parts itself. */
  readonly leaf_of?: string;
  readonly user: string;
  readonly response_body: unknown;
  readonly response_status: EnumValue<'HttpStatus'> | null;
  readonly step_order: number;
}

export interface SoftwarePackageDocument {
  readonly id: string;
  readonly name: string;
  readonly description_l10n: string;
  readonly software_package_type: EnumValue<'SoftwarePackageType'>;
  readonly software_package_state: EnumValue<'SoftwarePackageState'>;
  readonly release_version: string;
  readonly build_version: string;
  readonly build_id: string;
  readonly build_flavor: EnumValue<'SoftwarePackageBuildFlavor'>;
  readonly build_type: EnumValue<'SoftwarePackageBuildType'>;
  readonly release_timestamp: string;
  readonly installed_date: string | null;
  readonly dependent_version: string;
  readonly size: number;
  readonly is_reboot_required: boolean;
  readonly is_urgent: boolean;
  readonly is_autodownloaded: boolean;
  readonly kb_article_link: string | null;
  readonly justification_l10n: string | null;
}

/** One completed cycle of a session, at its source. Ours: not shown by the REST interface. */
export interface CycleDocument {
  readonly id: string;
  readonly session_id: string;
  readonly trigger: string;
  /** Moment at the source that the copy shows, and when it was complete. */
  readonly instant_timestamp: string;
  readonly completed_timestamp: string;
  readonly duration_ms: number;
  /** Age that the copy before it had reached; null for the first. */
  readonly achieved_rpo_ms: number | null;
  readonly rpo_ms: number;
  readonly shipped_bytes: number;
}

export interface EventDocument {
  readonly id: string;
  readonly event_code: string;
  readonly severity: EnumValue<'Severity'>;
  readonly resource_type: string | null;
  readonly resource_id: string | null;
  readonly resource_name: string | null;
  readonly generated_timestamp: string;
  readonly description_l10n: string;
  readonly system_impact_l10n: string;
  readonly repair_flow_l10n: string;
}

export interface AlertDocument extends EventDocument {
  readonly state: EnumValue<'AlertState'>;
  readonly is_acknowledged: boolean;
  readonly acknowledged_timestamp: string | null;
  readonly raised_timestamp: string;
  readonly cleared_timestamp: string | null;
  /** Absent in rows of older catalogs. */
  readonly events?: readonly object[];
}

/** Tables of the catalog and what is in each. */
export interface Documents {
  volume: VolumeDocument;
  migration_session: MigrationDocument;
  host: HostDocument;
  host_group: HostGroupDocument;
  initiator: InitiatorDocument;
  host_volume_mapping: MappingDocument;
  volume_group: VolumeGroupDocument;
  policy: PolicyDocument;
  replication_rule: ReplicationRuleDocument;
  snapshot_rule: SnapshotRuleDocument;
  io_limit_rule: IoLimitRuleDocument;
  remote_system: RemoteSystemDocument;
  replication_session: SessionDocument;
  x509_certificate: CertificateDocument;
  job: JobDocument;
  cycle_record: CycleDocument;
  event: EventDocument;
  alert: AlertDocument;
  audit_event: { readonly id: string } & Readonly<Record<string, unknown>>;
  cluster: { readonly id: string } & Readonly<Record<string, unknown>>;
  appliance: { readonly id: string } & Readonly<Record<string, unknown>>;
  node: { readonly id: string } & Readonly<Record<string, unknown>>;
  software_installed: { readonly id: string } & Readonly<Record<string, unknown>>;
  software_package: SoftwarePackageDocument;
  role: Stated;
  network: Stated;
  ip_pool_address: Stated;
  ip_port: Stated;
  eth_port: Stated;
  hardware: Stated;
  chap_config: Stated;
  dns: Stated;
  ntp: Stated;
  system_limit: Stated;
  local_user: LocalUserDocument;
  security_config: SecurityConfigDocument;
  /** Ours, not shown: settings, intents. */
  setting: { readonly id: string; readonly value: unknown };
  intent: IntentDocument;
}

export interface LocalUserDocument {
  readonly id: string;
  readonly name: string;
  readonly role_id: string;
  readonly is_built_in: boolean;
  readonly is_default_password: boolean;
  readonly is_locked: boolean;
  readonly is_mfa_bypass: boolean;
  readonly mfa_alias: null;
  readonly password_expiration_timestamp: null;
}

/** What REST never shows of a user. */
export interface LocalUserPrivate {
  /** argon2id, with its parameters. */
  readonly hash: string;
  /** Somebody else chose the password: it has to be changed before anything else. */
  readonly changeRequired: boolean;
}

export interface SecurityConfigDocument {
  readonly id: string;
  readonly idle_timeout: number;
  readonly protocol_mode: 'TLSv1_2';
  readonly is_http_redirect_enabled: false;
  readonly is_stig_enabled: false;
  readonly is_fips_enabled: false;
  readonly vasa_retain_certificate: false;
  readonly cert_user_name_policy: null;
}

/** Rows that are made of what the machine and the program are, anew at every start. */
type Stated = { readonly id: string } & Readonly<Record<string, unknown>>;

/** What is about to be done, recorded before its first effect and removed after its last [C7.3]. */
export interface IntentDocument {
  readonly id: string;
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export type Table = keyof Documents;
export const tables: readonly Table[] = [
  'volume',
  'migration_session',
  'host',
  'host_group',
  'initiator',
  'host_volume_mapping',
  'volume_group',
  'policy',
  'replication_rule',
  'snapshot_rule',
  'io_limit_rule',
  'remote_system',
  'replication_session',
  'x509_certificate',
  'job',
  'cycle_record',
  'event',
  'alert',
  'audit_event',
  'cluster',
  'appliance',
  'node',
  'software_installed',
  'software_package',
  'role',
  'network',
  'ip_pool_address',
  'ip_port',
  'eth_port',
  'hardware',
  'chap_config',
  'dns',
  'ntp',
  'system_limit',
  'local_user',
  'security_config',
  'setting',
  'intent',
];

/** A moment as the interface writes it. */
export const timestamp = (epoch_ms: number): string => new Date(epoch_ms).toISOString().replace('Z', '+00:00');
