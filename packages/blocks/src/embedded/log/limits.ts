import { assert } from '@antipode/base';

/** Every bound of the log, by name. Production uses {@link LOG_LIMITS}; tests pass smaller ones. */
export interface LogLimits {
  /** Size that a segment is not let grow beyond. Larger means fewer files and coarser compaction. */
  readonly segment_bytes: number;
  /** Size of a reused buffer in which the records of one turn gather. A larger record gets a buffer of its own. */
  readonly group_bytes: number;
  /**
   * Group buffers kept for reuse while the log is busy: as many as can be unsynced at once, because each fresh one is page faults,
   * and a collection of the whole heap before long.
   */
  readonly group_buffers_max: number;
  /** How long the log takes nothing before it gives its spare buffers up. */
  readonly idle_ms: number;
  /** Appended and not yet durable: beyond this `written()` waits, so that the write-back table stays bounded. */
  readonly unsynced_bytes_max: number;
  /** Appended and not yet durable: beyond this the log syncs though nobody asked. */
  readonly unsynced_bytes_sync: number;
  /** Longest that written bytes stay without a sync. */
  readonly unsynced_ms_max: number;
  /**
   * Zeros written behind the end of the segment while syncs are small: a sync within them changes no metadata of the file
   * system, which is most of what a small sync costs.
   */
  readonly fill_bytes: number;
  /** A sync of no more than this is small. */
  readonly small_sync_bytes: number;
  /** Records and reads since the last sync, up to which a host counts as alone. */
  readonly lone_work_max: number;
  /** Small syncs in a row of a host that is alone, after which they are done on the ordering thread. */
  readonly lone_syncs_least: number;
  /** Once one took longer than this, so many more must come first: others would have had to wait. */
  readonly lone_sync_ms_max: number;
  readonly lone_syncs_after_slow: number;
  /** Size of the file that is given up on a full disk, so that control records still find room [C6.5]. */
  readonly reserve_bytes: number;
  /** Free space of the file system below which data is refused before it is ordered. */
  readonly free_bytes_min: number;
  /** Appended bytes between two looks at the file system's free space. */
  readonly space_check_bytes: number;
  /** First wait before a stopped log tries again; doubles up to `retry_ms_max`. */
  readonly retry_ms_min: number;
  readonly retry_ms_max: number;
  /** Files kept open for reading. */
  readonly open_files_max: number;
  /** Removed segments kept as files for reuse: blocks that are there already cost a write less. Given up when space gets scarce. */
  readonly spare_files_max: number;
  /** Memory for the buffers of one scan, over all segments that it merges. */
  readonly scan_bytes: number;
  /** Reads up to this size are done on the calling thread when the system has the bytes in memory. */
  readonly sync_read_bytes_max: number;
}

/** Most blocks in one data record: 1 MiB. A longer write is several records. */
export const RECORD_BLOCKS_MAX = 256;
/** Most blocks packed into one frame: a read of any of them unpacks all. */
export const FRAME_BLOCKS_MAX = 16;
/** Longest body of a control record, bytes. */
export const CONTROL_BYTES_MAX = 1024 * 1024;
/** Smallest segment that holds its header and a record of any kind. */
export const SEGMENT_BYTES_MIN = 2 * 1024 * 1024;

const KIB = 1024;
const MIB = 1024 * KIB;

export const LOG_LIMITS: LogLimits = {
  segment_bytes: 64 * MIB,
  group_bytes: 4 * MIB,
  group_buffers_max: 17,
  idle_ms: 3000,
  unsynced_bytes_max: 64 * MIB,
  unsynced_bytes_sync: 8 * MIB,
  unsynced_ms_max: 1000,
  fill_bytes: MIB,
  small_sync_bytes: 256 * KIB,
  lone_work_max: 1,
  lone_syncs_least: 8,
  lone_sync_ms_max: 2,
  lone_syncs_after_slow: 256,
  reserve_bytes: 32 * MIB,
  free_bytes_min: 16 * MIB,
  space_check_bytes: 4 * MIB,
  retry_ms_min: 250,
  retry_ms_max: 10_000,
  open_files_max: 256,
  spare_files_max: 8,
  scan_bytes: 16 * MIB,
  sync_read_bytes_max: 128 * KIB,
};

/** Asserts the relations between limits that the code relies on. */
export function checkLimits(limits: LogLimits): LogLimits {
  assert(limits.segment_bytes >= SEGMENT_BYTES_MIN, 'segment_bytes: at least SEGMENT_BYTES_MIN');
  assert(limits.segment_bytes <= 2 ** 31, 'segment_bytes: offsets are 32 bits');
  assert(limits.segment_bytes % 4096 === 0, 'segment_bytes: whole pages');
  assert(limits.unsynced_bytes_sync <= limits.unsynced_bytes_max, 'unsynced_bytes_sync <= unsynced_bytes_max');
  assert(limits.space_check_bytes <= limits.free_bytes_min, 'space is looked at before the margin can be used up');
  assert(
    limits.group_buffers_max * limits.group_bytes >= limits.unsynced_bytes_max,
    'all that can be unsynced fits the buffers that are kept',
  );
  assert(limits.fill_bytes <= limits.free_bytes_min, 'what is filled ahead fits the margin that is kept free');
  assert(limits.retry_ms_min <= limits.retry_ms_max, 'retry_ms_min <= retry_ms_max');
  assert(limits.open_files_max >= 4, 'open_files_max >= 4');
  return limits;
}
