import type { LogLimits } from './limits.ts';
import { SEGMENT_BYTES_MIN } from './limits.ts';

const KIB = 1024;

/** Limits for tests: small segments that fill up soon, and next to nothing written ahead. */
export const smallLogLimits: Partial<LogLimits> = {
  segment_bytes: SEGMENT_BYTES_MIN,
  group_bytes: 64 * KIB,
  unsynced_bytes_max: 4 * 1024 * KIB,
  unsynced_bytes_sync: 1024 * KIB,
  group_buffers_max: 64,
  fill_bytes: 16 * KIB,
  small_sync_bytes: 32 * KIB,
  lone_work_max: 64,
  lone_syncs_least: 0,
  reserve_bytes: 256 * KIB,
  free_bytes_min: 128 * KIB,
  space_check_bytes: 64 * KIB,
  scan_bytes: 1024 * KIB,
  open_files_max: 8,
};
