import type { EnumValue } from '@antipode/contract';

/**
 * What the client knows of each resource's fields. A field is optional because an answer holds only what was selected,
 * `id` alone when nothing was.
 */
export interface Cluster {
  readonly id: string;
  readonly name?: string;
  readonly global_id?: string;
  readonly management_address?: string;
  readonly state?: string;
}

export interface Volume {
  readonly id: string;
  readonly name?: string;
  readonly description?: string | null;
  readonly type?: EnumValue<'VolumeType'>;
  readonly state?: EnumValue<'VolumeState'>;
  /** Bytes. */
  readonly size?: number;
  readonly logical_used?: number | null;
  readonly wwn?: string | null;
  readonly creation_timestamp?: string;
  readonly protection_policy_id?: string | null;
  readonly is_replication_destination?: boolean;
  readonly protection_data?: {
    readonly family_id?: string;
    readonly source_id?: string | null;
    readonly source_timestamp?: string | null;
    readonly creator_type?: string;
    readonly expiration_timestamp?: string | null;
  } | null;
}

export interface VolumeGroup {
  readonly id: string;
  readonly name?: string;
  readonly description?: string | null;
  readonly type?: EnumValue<'VolumeType'>;
  readonly creation_timestamp?: string;
  readonly is_protectable?: boolean;
  readonly is_write_order_consistent?: boolean;
  readonly is_replication_destination?: boolean;
  readonly protection_policy_id?: string | null;
  readonly protection_data?: Volume['protection_data'];
  readonly volumes?: readonly Volume[];
}

export interface Policy {
  readonly id: string;
  readonly name?: string;
  readonly type?: string;
  readonly is_replica?: boolean;
  readonly managed_by?: string;
  readonly replication_rules?: readonly ReplicationRule[];
  readonly volumes?: readonly Volume[];
}

export type Rpo = EnumValue<'RPO'>;

export interface ReplicationRule {
  readonly id: string;
  readonly name?: string;
  readonly rpo?: Rpo;
  readonly remote_system_id?: string;
  readonly is_replica?: boolean;
}

export interface RemoteSystem {
  readonly id: string;
  readonly name?: string;
  readonly serial_number?: string;
  readonly management_address?: string;
  readonly state?: EnumValue<'RemoteSystemState'>;
  readonly data_connection_state?: EnumValue<'DataConnectionState'>;
}

export interface ReplicationSession {
  readonly id: string;
  readonly state?: EnumValue<'ReplicationState'>;
  readonly role?: EnumValue<'ReplicationRole'>;
  readonly resource_type?: EnumValue<'ReplicatedResourceType'>;
  readonly data_transfer_state?: EnumValue<'DataTransferState'> | null;
  readonly local_resource_id?: string;
  readonly remote_resource_id?: string | null;
  readonly remote_system_id?: string;
  readonly progress_percentage?: number | null;
  readonly last_sync_timestamp?: string | null;
  readonly last_sync_duration?: number | null;
  readonly next_sync_timestamp?: string | null;
  readonly error_code?: string | null;
  readonly data_connection_state?: EnumValue<'DataConnectionState'> | null;
}

export interface Job {
  readonly id: string;
  readonly state?: EnumValue<'JobState'>;
  readonly phase?: EnumValue<'JobPhase'>;
  readonly progress_percentage?: number | null;
  readonly resource_type?: string;
  readonly resource_action?: string;
  readonly resource_id?: string | null;
  readonly response_body?: unknown;
}

export interface LoginSession {
  readonly id: string;
  readonly user?: string;
  readonly role_ids?: readonly string[];
}

/** Resources by the name in their path. */
export interface Resources {
  readonly cluster: Cluster;
  readonly volume: Volume;
  readonly volume_group: VolumeGroup;
  readonly policy: Policy;
  readonly replication_rule: ReplicationRule;
  readonly remote_system: RemoteSystem;
  readonly replication_session: ReplicationSession;
  readonly job: Job;
  readonly login_session: LoginSession;
}

/** Resources without a type of their own here are records. */
export type ResourceName = keyof Resources | (string & {});
export type Resource<N extends ResourceName> = N extends keyof Resources
  ? Resources[N]
  : { readonly id: string } & Readonly<Record<string, unknown>>;

/** Figures of one session that are not part of the published interface: `/api/antipode`. */
export interface SessionFigures {
  readonly shipped_bytes_total: number;
  readonly copied_bytes: number;
  readonly remaining_bytes: number;
  readonly accumulated_bytes: number;
  readonly lag_ms: number | null;
}
