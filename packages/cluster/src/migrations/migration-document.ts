import type { EnumValue } from '@antipode/contract';

export interface MigrationDocument {
  readonly id: string;
  readonly name: string;
  readonly resource_type: EnumValue<'MigrationResourceType'>;
  readonly family_id: string;
  readonly source_appliance_id: string;
  readonly destination_appliance_id: string;
  readonly state: EnumValue<'MigrationSessionState'>;
  readonly created_timestamp: string;
  readonly last_sync_timestamp: string | null;
  readonly progress_percentage: number | null;
  readonly estimated_completion_timestamp: string | null;
  readonly current_transfer_rate: number | null;
  /** Replication sessions of what moves. */
  readonly session_ids: readonly string[];
}

/** What is kept with it and never shown. */
export interface MigrationPrivate {
  /** Volumes that were named by its family; what moves with them is found when it moves. */
  readonly seeds: readonly string[];
  readonly automatic: boolean;
}

export type MigrationState = MigrationDocument['state'];

/** What an operator may do when; the refusals read it. */
export const legalStates = {
  sync: ['Initialized', 'Idle', 'System_Paused', 'Failed'],
  pause: ['Synchronizing', 'Idle'],
  resume: ['Paused', 'System_Paused'],
  cutover: ['Idle'],
} as const satisfies Readonly<Record<string, readonly MigrationState[]>>;
export type MigrationCommand = keyof typeof legalStates;
