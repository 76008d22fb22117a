import { BLOCK_BYTES } from '../../port/device.ts';
import { parseSegmentName } from '../log/file-names.ts';
import { decodeHeader } from '../log/record-format.ts';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../log/segment-header.ts';
import type { SimulatedDisk } from './simulated-disk.ts';

/** Where a block's bytes lie on a disk. */
export interface StoredPlace {
  readonly name: string;
  readonly offset: number;
}

/** All blocks in the segments of a log, needed or not, that the log itself says are on stable storage: what has no part in them may still go. */
export function durableBlocks(disk: SimulatedDisk): readonly StoredPlace[] {
  const found: (StoredPlace & { readonly sequence: number })[] = [];
  let durable = 0;
  for (const name of disk.fileNames()) {
    if (parseSegmentName(name) === undefined) continue;
    const bytes = disk.contents(name);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const segment = decodeSegmentHeader(bytes.subarray(0, SEGMENT_HEADER_BYTES));
    if (segment === undefined) continue;
    for (let offset = SEGMENT_HEADER_BYTES; offset < bytes.length; ) {
      const header = decodeHeader(bytes, view, offset, { salt: segment.salt, offset, limit: bytes.length });
      if (typeof header === 'string') break;
      durable = Math.max(durable, header.durable);
      if (header.type === 'data')
        for (let index = 0; index < header.count; index++)
          found.push({
            name,
            offset: offset + header.header_bytes + index * BLOCK_BYTES,
            sequence: header.sequence,
          });
      offset += header.total_bytes;
    }
  }
  return found.filter(({ sequence }) => sequence <= durable);
}
