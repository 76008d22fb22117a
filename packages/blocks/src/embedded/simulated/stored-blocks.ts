import { BLOCK_BYTES } from '../../port/device.ts';
import { parseSegmentName } from '../log/file-names.ts';
import { decodeHeader, type RecordHeader } from '../log/record-format.ts';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../log/segment-header.ts';
import type { SimulatedDisk } from './simulated-disk.ts';

/** Where a block's bytes lie on a disk. */
export interface StoredPlace {
  readonly name: string;
  readonly offset: number;
}

/** A segment's file, read record by record from its beginning, as nobody but a checker does. */
export interface SegmentOnDisk {
  readonly name: string;
  readonly number: number;
  readonly records: readonly { readonly offset: number; readonly header: RecordHeader }[];
  /** Where the last record that counts ends. */
  readonly end: number;
}

export function segmentsOn(disk: SimulatedDisk): readonly SegmentOnDisk[] {
  return disk.fileNames().flatMap((name) => {
    const parsed = parseSegmentName(name);
    return parsed === undefined ? [] : [readSegment(disk.contents(name), name, parsed.number, parsed.cut?.end)];
  });
}

function readSegment(bytes: Uint8Array, name: string, number: number, cut = bytes.length): SegmentOnDisk {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const salt = decodeSegmentHeader(bytes.subarray(0, SEGMENT_HEADER_BYTES))?.salt;
  const records: { readonly offset: number; readonly header: RecordHeader }[] = [];
  let offset = SEGMENT_HEADER_BYTES;
  while (salt !== undefined && offset < cut) {
    const header = decodeHeader(bytes, view, offset, { salt, offset, limit: cut });
    if (typeof header === 'string' || header.type === 'footer') break;
    records.push({ offset, header });
    offset += header.total_bytes;
  }
  return { name, number, records, end: offset };
}

/** Where the first of the two copies of each segment's header lies: either of them is enough. */
export const headerCopies = (disk: SimulatedDisk): readonly StoredPlace[] =>
  disk.fileNames().flatMap((name) => (parseSegmentName(name) === undefined ? [] : [{ name, offset: 0 }]));

/** All blocks in the segments of a log, needed or not, that the log itself says are on stable storage: what has no part in them may still go. */
export function durableBlocks(disk: SimulatedDisk): readonly StoredPlace[] {
  const segments = segmentsOn(disk);
  const claims = segments.flatMap(({ records }) => records.map(({ header }) => header.durable));
  const durable = claims.reduce((most, claim) => Math.max(most, claim), 0);
  return segments.flatMap(({ name, records }) =>
    records
      .filter(({ header }) => header.type === 'data' && header.sequence <= durable)
      .flatMap(({ offset, header }) =>
        Array.from({ length: header.count }, (_, index) => ({
          name,
          offset: offset + header.header_bytes + index * BLOCK_BYTES,
        })),
      ),
  );
}
