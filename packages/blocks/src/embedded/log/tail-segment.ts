import { assert } from '@antipode/base';
import type { DiskFile } from '../disk.ts';
import { isNoSpace } from './disk-errors.ts';
import {
  encodeBareRecord,
  encodeRecord,
  footerFields,
  payloadStart,
  RECORD_HEADER_BYTES,
  recordBytes,
  startFields,
} from './record-format.ts';
import { SEGMENT_HEADER_BYTES } from './segment-header.ts';
import type { LogRecord } from './types.ts';
import { type BufferPool, WriteBack } from './write-back.ts';

let zeros: Uint8Array = new Uint8Array(0);

/** A segment that takes records, or whose records are not all durable. Its file may not exist yet: memory stands in. */
export class TailSegment {
  readonly number: number;
  readonly salt: bigint;
  readonly memory: WriteBack;
  file: DiskFile | undefined;
  /** First sequence that may be in it. */
  first = 0;
  last = 0;
  records = 0;
  /** Offset behind the last record, behind what the kernel has, and behind what is on stable storage. */
  end = SEGMENT_HEADER_BYTES;
  writtenEnd = SEGMENT_HEADER_BYTES;
  durableEnd = SEGMENT_HEADER_BYTES;
  writtenLast = 0;
  /** The file has blocks of its own up to here. */
  private filledEnd = 0;
  /** Highest sequence on stable storage in this segment; below `first` when there is none. */
  durableLast = 0;
  /** Takes no more records. */
  full = false;

  constructor(number: number, salt: bigint, pool: BufferPool) {
    this.number = number;
    this.salt = salt;
    this.memory = new WriteBack(pool);
  }

  /** Begins to take records, the first with sequence `first`; those up to `repeats` older segments hold as well. */
  start(first: number, durable: number, repeats: number): void {
    assert(this.end === SEGMENT_HEADER_BYTES, 'a segment is started once');
    this.first = first;
    this.last = first - 1;
    this.durableLast = first - 1;
    const bytes = encodeBareRecord(startFields(first, durable, repeats), this.salt, this.end);
    const chunk = this.memory.reserve(this.end, bytes.length);
    chunk.bytes.set(bytes, chunk.used - bytes.length);
    this.end += bytes.length;
  }

  /** Whether the record fits, the footer behind it included. */
  fits(bytes: number, segment_bytes: number): boolean {
    return this.end + bytes + RECORD_HEADER_BYTES <= segment_bytes;
  }

  /** Adds the record in memory; answers the offset of its payload. */
  add(record: LogRecord, sequence: number, durable: number): number {
    const bytes = recordBytes(record);
    const chunk = this.memory.reserve(this.end, bytes);
    const place = { salt: this.salt, offset: this.end, sequence, durable };
    encodeRecord(chunk.bytes, chunk.view, chunk.used - bytes, record, place);
    const payloadAt = this.end + payloadStart(record);
    this.end += bytes;
    this.last = sequence;
    this.records++;
    return payloadAt;
  }

  /** The file that the records go to; an old one used again has blocks already. */
  attach(file: DiskFile): void {
    this.file = file;
    this.filledEnd = file.size();
  }

  /** Hands everything in memory to the kernel. */
  write(): void {
    const parts = this.memory.unwritten();
    if (parts.length === 0) return;
    assert(this.file !== undefined, 'the file exists');
    this.file.writeSync(parts, this.writtenEnd);
    this.memory.markWritten();
    this.writtenEnd = this.end;
    this.writtenLast = this.last;
  }

  /**
   * Writes zeros behind what was written, up to `bytes` and not beyond `limit`, when the records have used up those written before.
   * They are no records, so a scan ends at them as it does at the old content of a file used again. Without room there are none.
   */
  fill(bytes: number, limit: number): void {
    if (this.file === undefined || this.writtenEnd <= this.filledEnd) return;
    const length = Math.min(bytes, limit - this.writtenEnd);
    this.filledEnd = this.writtenEnd + Math.max(0, length);
    if (length <= 0) return;
    if (zeros.length < length) zeros = new Uint8Array(length);
    try {
      this.file.writeSync([zeros.subarray(0, length)], this.writtenEnd);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      this.filledEnd = limit;
    }
  }

  markDurable(end: number, last: number): void {
    this.durableEnd = end;
    this.durableLast = Math.max(this.durableLast, last);
    this.memory.dropDurable(end);
  }

  footer(): Uint8Array {
    return encodeBareRecord(footerFields(this.first, this.last, this.records, this.last), this.salt, this.end);
  }
}
