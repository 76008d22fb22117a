import { assert } from '@antipode/base';
import { decodeHeader, RECORD_HEADER_BYTES } from './record-format.ts';
import type { TailSegment } from './tail-segment.ts';
import type { LayerId, LogRecord, Place } from './types.ts';

export interface UnsyncedRecord {
  readonly record: LogRecord;
  readonly sequence: number;
  readonly from: Place;
}

/** What the write-back table holds of records above `durable`, in order. Payloads are views of the table's memory. */
export function* unsyncedRecords(segments: readonly TailSegment[], durable: number): Generator<UnsyncedRecord> {
  for (const segment of segments) {
    for (const chunk of segment.memory.all()) {
      const bytes = chunk.bytes.subarray(0, chunk.used);
      for (let at = 0; at < chunk.used; ) {
        const offset = chunk.offset + at;
        const place = { salt: segment.salt, offset, limit: chunk.offset + chunk.used };
        const header = decodeHeader(bytes, chunk.view, at, place);
        assert(header !== 'more' && header !== 'invalid', 'memory holds whole records');
        const record = asRecord(header.type, header, bytes.subarray(at, at + header.total_bytes));
        const from = { segment: segment.number, offset: offset + header.header_bytes };
        if (record && header.sequence > durable) yield { record, sequence: header.sequence, from };
        at += header.total_bytes;
      }
    }
  }
}

function asRecord(
  type: string,
  header: { layer: number; block: number; count: number; header_bytes: number; payload_bytes: number },
  bytes: Uint8Array,
): LogRecord | undefined {
  const { block, count, header_bytes } = header;
  const layer = header.layer as LayerId;
  const payload = bytes.subarray(header_bytes, header_bytes + header.payload_bytes);
  if (type === 'data') {
    return { type, layer, block, count, payload, checksums: bytes.subarray(RECORD_HEADER_BYTES, header_bytes) };
  }
  if (type === 'zero') return { type, layer, block, count };
  return type === 'control' ? { type, body: payload } : undefined;
}
