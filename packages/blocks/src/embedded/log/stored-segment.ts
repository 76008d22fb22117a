import type { SegmentKind } from './segment-header.ts';

/** A segment that takes no more records. */
export interface StoredSegment {
  readonly number: number;
  readonly kind: SegmentKind;
  /** Undefined when the header is lost: nothing in it can be read. */
  readonly salt: bigint | undefined;
  /** Present file name. */
  name: string;
  /** Lowest and highest sequence; `last` is below `first` when there is no record. */
  readonly first: number;
  readonly last: number;
  /** Records lie in `[SEGMENT_HEADER_BYTES, end)`. */
  readonly end: number;
  /** Whether the disk tells where it ends (footer or cut). Until then no younger segment may be removed. */
  settled: boolean;
}
