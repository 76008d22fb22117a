import { checkpointVersion, oldestCheckpointVersion } from './checkpoint.ts';
import { SEGMENT_VERSION, SEGMENT_VERSION_OLDEST } from './log/segment-header.ts';

/** Formats that the embedded engine keeps on disk: the newest is written, the oldest still read [C9.4]. */
export const embeddedFormats = {
  segment: { oldest: SEGMENT_VERSION_OLDEST, newest: SEGMENT_VERSION },
  checkpoint: { oldest: oldestCheckpointVersion, newest: checkpointVersion },
} as const;
