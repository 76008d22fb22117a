import { xxh64 } from '@node-rs/xxhash';
import { BlockError } from '../../port/errors.ts';

/**
 * The first 4 KiB of a segment; see docs/formats/segment.md. Two equal copies, in sectors of their own, so that one lost
 * sector does not take the salt with it, without which no record of the segment can be checked.
 */
export const SEGMENT_HEADER_BYTES = 4096;
/** Version that is written, and the oldest that is still read [C9.4]. Raised together with a page on the upgrade. */
export const SEGMENT_VERSION = 1;
export const SEGMENT_VERSION_OLDEST = 1;

const MAGIC = 0x4745_5350_4954_4e41n; // "ANTIPSEG" in file order
const COPY_BYTES = 64;
const COPIES_AT = [0, 2048];

/**
 * `log`: records in the one order. `relocated`: copies of older records, written by compaction. `packed`: the same, with what
 * can be packed in frames.
 */
export type SegmentKind = 'log' | 'relocated' | 'packed';
const KINDS: readonly SegmentKind[] = ['log', 'relocated', 'packed'];

export interface SegmentHeader {
  readonly number: number;
  readonly kind: SegmentKind;
  /** Seed of all record checksums of this life of the file: what a reused file held before cannot pass for a record. */
  readonly salt: bigint;
  readonly version: number;
}

export function encodeSegmentHeader(
  header: Omit<SegmentHeader, 'version'>,
  version: number = SEGMENT_VERSION,
): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  for (const at of COPIES_AT) {
    view.setBigUint64(at + 8, MAGIC, true);
    view.setUint16(at + 16, version, true);
    view.setUint16(at + 18, KINDS.indexOf(header.kind), true);
    view.setUint32(at + 20, SEGMENT_HEADER_BYTES, true);
    view.setUint32(at + 24, header.number, true);
    view.setBigUint64(at + 32, header.salt, true);
    view.setBigUint64(at, xxh64(bytes.subarray(at + 8, at + COPY_BYTES)), true);
  }
  return bytes;
}

/** Answers undefined when neither copy is whole. Throws `io_error` for a version that this build does not read. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const at of COPIES_AT) {
    if (bytes.length < at + COPY_BYTES) continue;
    if (view.getBigUint64(at + 8, true) !== MAGIC) continue;
    if (view.getBigUint64(at, true) !== xxh64(bytes.subarray(at + 8, at + COPY_BYTES))) continue;
    const version = view.getUint16(at + 16, true);
    if (version > SEGMENT_VERSION || version < SEGMENT_VERSION_OLDEST) {
      throw new BlockError(
        'io_error',
        `segment ${view.getUint32(at + 24, true)} has format version ${version}; ` +
          `this build reads ${SEGMENT_VERSION_OLDEST} to ${SEGMENT_VERSION}`,
      );
    }
    const kind = KINDS[view.getUint16(at + 18, true)];
    if (kind === undefined) continue;
    return { number: view.getUint32(at + 24, true), kind, salt: view.getBigUint64(at + 32, true), version };
  }
  return undefined;
}
