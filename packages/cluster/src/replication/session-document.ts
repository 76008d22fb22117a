import type { EnumValue } from '@antipode/contract';
import { type FaultCode, type Half, isInitialSync, isTested, nextStart_ms } from '@antipode/replication';
import { type SessionDocument, timestamp } from '../catalog/documents.ts';
import type { SessionRecord } from './session-store.ts';

/** `error_code` of a parked session, one for each cause (docs/errors.md). */
export const faultCodes: Readonly<Record<FaultCode, string>> = {
  link_lost: '0xE02010050021',
  peer_untrusted: '0xE02010050022',
  protocol_mismatch: '0xE02010050023',
  peer_paused: '0xE02010050024',
  peer_not_ready: '0xE02010050025',
  stale_generation: '0xE02010050026',
  base_mismatch: '0xE02010050027',
  session_unknown: '0xE02010050028',
  peer_no_space: '0xE02010050029',
  peer_io_error: '0xE0201005002A',
  source_damaged: '0xE0201005002B',
  proof_mismatch: '0xE0201005002C',
  proposal_refused: '0xE0201005002D',
  split_generation: '0xE0201005002E',
  internal: '0xE0201005002F',
  member_refused: '0xE02010050030',
};

/** What REST shows of a session. */
export function sessionDocument(record: SessionRecord): SessionDocument {
  const { half } = record;
  const next = half.state === 'OK' || half.state === 'Synchronizing' ? nextStart_ms(half) : undefined;
  return {
    id: half.id,
    state: half.state,
    role: half.role === 'source' ? 'Source' : 'Destination',
    resource_type: record.resourceKind ?? 'volume',
    data_transfer_state: transferState(half),
    type: 'Asynchronous',
    last_sync_timestamp: half.lastSync === undefined ? null : timestamp(half.lastSync.completed_ms),
    last_sync_duration: half.lastSync?.duration_ms ?? null,
    next_sync_timestamp: next === undefined ? null : timestamp(next),
    local_resource_id: record.localResourceId,
    remote_resource_id: record.remoteResourceId,
    remote_system_id: record.remoteSystemId,
    replication_rule_id: record.ruleId ?? null,
    storage_element_pairs: half.pairs.map((pair) => ({
      local_storage_element_id: pair.local,
      remote_storage_element_id: pair.remote,
      storage_element_type: 'volume',
      replication_shadow_id: null,
    })),
    failover_test_in_progress: isTested(half),
    error_code: half.fault === undefined ? null : faultCodes[half.fault.code],
    local_resource_state: 'System_Defined',
    parent_replication_session_id: null,
    witness_details: null,
  };
}

function transferState(half: Half): EnumValue<'DataTransferState'> {
  if (half.state === 'Paused' || half.state === 'Paused_For_NDU' || half.state === 'Paused_For_Migration')
    return 'Paused';
  if (half.state === 'Error') return 'Faulted';
  return isInitialSync(half) ? 'Asynchronous_Initial_Sync' : 'Asynchronous';
}
