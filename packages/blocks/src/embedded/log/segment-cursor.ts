import { assert } from '@antipode/base';
import { xxh64 } from '@node-rs/xxhash';
import type { DiskFile } from '../disk.ts';
import {
  decodeHeader,
  RECORD_HEADER_BYTES,
  RECORD_HEADER_BYTES_MAX,
  RECORD_MAGIC,
  type RecordHeader,
} from './record-format.ts';

/** What stands at a place of a segment: a record (its header, and the body of a control record), or a range that is none. */
export type Found =
  | {
      readonly kind: 'record';
      readonly offset: number;
      readonly header: RecordHeader;
      readonly checksums?: Uint8Array;
      readonly body?: Uint8Array;
    }
  | { readonly kind: 'bad'; readonly offset: number; readonly end: number };

/** After a skip longer than this, only a small read is made: the payloads in between are not wanted. */
const LONG_SKIP_BYTES = 64 * 1024;
const SHORT_READ_BYTES = 16 * 1024;

/**
 * Goes through one segment's records in place order, headers only, in large reads. Where there is no valid header it
 * looks for the next one and reports the range between as bad [C6.3]; the caller judges whether that is a torn tail.
 */
export class SegmentCursor {
  private readonly file: Pick<DiskFile, 'read'>;
  private readonly salt: bigint;
  private readonly end: number;
  private readonly buffer: Uint8Array;
  private window: Uint8Array;
  private view: DataView;
  private windowAt: number;
  private offset: number;

  /** `[from, end)` are byte offsets; `buffer` is the memory used. */
  constructor(file: Pick<DiskFile, 'read'>, salt: bigint, from: number, end: number, buffer: Uint8Array) {
    assert(buffer.length >= RECORD_HEADER_BYTES_MAX, 'the buffer holds the largest header');
    this.file = file;
    this.salt = salt;
    this.end = end;
    this.buffer = buffer;
    this.window = this.buffer.subarray(0, 0);
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.windowAt = from;
    this.offset = from;
  }

  async next(): Promise<Found | undefined> {
    if (this.offset >= this.end) return undefined;
    let found = await this.at(this.offset);
    if (found === undefined) {
      // A read may have failed to give what is stored: look once more before calling it damage.
      this.window = this.buffer.subarray(0, 0);
      found = await this.at(this.offset);
    }
    if (found === undefined) return this.resynchronise();
    this.offset += found.header.total_bytes;
    return found;
  }

  private async resynchronise(): Promise<Found> {
    const offset = this.offset;
    for (let probe = offset + 8; probe + RECORD_HEADER_BYTES <= this.end; probe += 8) {
      if (!this.holds(probe, RECORD_HEADER_BYTES)) await this.fill(probe, this.buffer.length);
      if (!this.holds(probe, RECORD_HEADER_BYTES)) break;
      if (this.view.getUint32(probe - this.windowAt + 8, true) !== RECORD_MAGIC) continue;
      if ((await this.at(probe)) === undefined) continue;
      this.offset = probe;
      return { kind: 'bad', offset, end: probe };
    }
    this.offset = this.end;
    return { kind: 'bad', offset, end: this.end };
  }

  private async at(offset: number): Promise<(Found & { kind: 'record' }) | undefined> {
    if (!this.holds(offset, RECORD_HEADER_BYTES)) await this.fill(offset, this.skipRead(offset));
    const place = { salt: this.salt, offset, limit: this.end };
    let header = decodeHeader(this.window, this.view, offset - this.windowAt, place);
    if (header === 'more') {
      await this.fill(offset, this.buffer.length);
      header = decodeHeader(this.window, this.view, 0, place);
    }
    if (header === 'more' || header === 'invalid') return undefined;
    const at = offset - this.windowAt;
    const checksums = this.window.slice(at + RECORD_HEADER_BYTES, at + header.header_bytes);
    if (header.type === 'data' || header.type === 'packed') return { kind: 'record', offset, header, checksums };
    if (header.type !== 'control') return { kind: 'record', offset, header };
    const body = await this.body(offset + header.header_bytes, header.payload_bytes);
    const wanted = new DataView(checksums.buffer).getBigUint64(0, true);
    if (body === undefined || xxh64(body) !== wanted) return undefined;
    return { kind: 'record', offset, header, body };
  }

  private async body(offset: number, length: number): Promise<Uint8Array | undefined> {
    const at = offset - this.windowAt;
    if (this.holds(offset, length)) return this.window.slice(at, at + length);
    const body = new Uint8Array(length);
    return (await this.file.read(body, offset)) === length ? body : undefined;
  }

  private skipRead(offset: number): number {
    const skipped = offset - this.windowAt - this.window.length;
    return skipped > LONG_SKIP_BYTES ? SHORT_READ_BYTES : this.buffer.length;
  }

  private holds(offset: number, length: number): boolean {
    return offset >= this.windowAt && offset + length <= this.windowAt + this.window.length;
  }

  private async fill(offset: number, length: number): Promise<void> {
    const target = this.buffer.subarray(0, Math.min(length, this.buffer.length, this.end - offset));
    this.windowAt = offset;
    this.window = this.buffer.subarray(0, 0);
    const got = await this.file.read(target, offset);
    this.window = this.buffer.subarray(0, got);
    this.view = new DataView(this.buffer.buffer, 0, got);
  }
}
