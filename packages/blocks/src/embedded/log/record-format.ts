import { assert } from '@antipode/base';
import { xxh64 } from '@node-rs/xxhash';
import { BLOCK_BYTES } from '../../port/device.ts';
import { CONTROL_BYTES_MAX, FRAME_BLOCKS_MAX, RECORD_BLOCKS_MAX } from './limits.ts';
import type { RelocatedRecord } from './types.ts';

/**
 * Records as bytes; docs/formats/segment.md is the reference. Little-endian throughout. A record starts at a multiple of
 * 8 bytes. Its own checksum is seeded with the segment's salt and covers its offset, so that a header is valid in one
 * place of one life of one file only.
 */
export const RECORD_HEADER_BYTES = 64;
export const CHECKSUM_BYTES = 8;
/** Largest header: that of a data record with the most blocks. */
export const RECORD_HEADER_BYTES_MAX = RECORD_HEADER_BYTES + RECORD_BLOCKS_MAX * CHECKSUM_BYTES;

export const RECORD_MAGIC = 0x5243_4e41; // "ANCR" in file order

/** `start` and `footer` belong to the log itself; scans do not show them. */
export type RecordType = 'data' | 'zero' | 'control' | 'start' | 'footer' | 'packed';
const TYPE_CODES = { data: 1, zero: 2, control: 3, start: 4, footer: 5, packed: 6 } as const;
const TYPES_BY_CODE: readonly (RecordType | undefined)[] = [
  undefined,
  'data',
  'zero',
  'control',
  'start',
  'footer',
  'packed',
];

/** The fixed fields. For `start`: `sequence` is the first that may follow. For `footer`: see {@link footerFields}. */
export interface RecordFields {
  readonly type: RecordType;
  readonly sequence: number;
  /** Every sequence up to this one was on stable storage when the header was made [C6.3]. */
  readonly durable: number;
  readonly layer: number;
  readonly block: number;
  readonly count: number;
  readonly payload_bytes: number;
}

export interface RecordHeader extends RecordFields {
  readonly header_bytes: number;
  /** Header, payload and padding. */
  readonly total_bytes: number;
}

const align8 = (n: number): number => (n + 7) & ~7;

function checksumCount(type: RecordType, count: number): number {
  if (type === 'data' || type === 'packed') return count;
  return type === 'control' ? 1 : 0;
}

/** Bytes that a record of packed blocks takes in a segment. */
export const packedBytes = (frame_bytes: number, count: number): number =>
  RECORD_HEADER_BYTES + count * CHECKSUM_BYTES + align8(frame_bytes);

/** Bytes a record takes in a segment. */
export function recordBytes(record: RelocatedRecord): number {
  switch (record.type) {
    case 'data':
      return RECORD_HEADER_BYTES + record.count * CHECKSUM_BYTES + record.payload.length;
    case 'packed':
      return packedBytes(record.frame.length, record.count);
    case 'zero':
      return RECORD_HEADER_BYTES;
    case 'control':
      return RECORD_HEADER_BYTES + CHECKSUM_BYTES + align8(record.body.length);
  }
}

/** Offset of the payload or body within the record. */
export function payloadStart(record: RelocatedRecord): number {
  return (
    RECORD_HEADER_BYTES + checksumCount(record.type, record.type === 'control' ? 1 : record.count) * CHECKSUM_BYTES
  );
}

/** A caller that breaks these is a programmer's error: the engine splits what is longer. */
export function assertRecord(record: RelocatedRecord): void {
  if (record.type === 'control') {
    assert(record.body.length <= CONTROL_BYTES_MAX, 'control record within CONTROL_BYTES_MAX');
    return;
  }
  assert(record.count > 0 && Number.isSafeInteger(record.block + record.count), 'a record has blocks');
  if (record.type === 'zero') return;
  if (record.type === 'packed') {
    assert(record.count <= FRAME_BLOCKS_MAX, 'packed record within FRAME_BLOCKS_MAX');
    assert(record.frame.length > 0 && record.frame.length < record.count * BLOCK_BYTES, 'packing makes it smaller');
    assert(record.checksums.length === record.count * CHECKSUM_BYTES, 'one checksum a block');
    return;
  }
  assert(record.count <= RECORD_BLOCKS_MAX, 'data record within RECORD_BLOCKS_MAX');
  assert(record.payload.length === record.count * BLOCK_BYTES, 'payload is whole blocks');
  assert(record.checksums.length === record.count * CHECKSUM_BYTES, 'one checksum a block');
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** NaN for what a safe integer cannot hold. */
function getU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high < 2 ** 21 ? high * 2 ** 32 + view.getUint32(at, true) : Number.NaN;
}

export interface RecordPlacement {
  readonly salt: bigint;
  /** Of the record in its segment. */
  readonly offset: number;
  readonly sequence: number;
  readonly durable: number;
}

function finishHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  fields: RecordFields,
  place: RecordPlacement,
): void {
  view.setUint32(at + 8, RECORD_MAGIC, true);
  view.setUint32(at + 12, TYPE_CODES[fields.type], true);
  setU64(view, at + 16, fields.sequence);
  setU64(view, at + 24, fields.durable);
  setU64(view, at + 32, fields.layer);
  setU64(view, at + 40, fields.block);
  setU64(view, at + 48, fields.count);
  view.setUint32(at + 56, fields.payload_bytes, true);
  view.setUint32(at + 60, place.offset, true);
  const end = at + RECORD_HEADER_BYTES + checksumCount(fields.type, fields.count) * CHECKSUM_BYTES;
  view.setBigUint64(at, xxh64(bytes.subarray(at + 8, end), place.salt), true);
}

/** Memory that threads share is copied a word at a time by `set`, three times slower. */
function copyInto(target: Uint8Array, source: Uint8Array, at: number): void {
  const { buffer, byteOffset, length } = source;
  // Of a whole Buffer Node's copy is `set` again.
  if (byteOffset === 0 || !(buffer instanceof SharedArrayBuffer)) return target.set(source, at);
  Buffer.from(buffer).copy(target, at, byteOffset, byteOffset + length);
}

/** Writes the record at `at` of a buffer that has room for {@link recordBytes}. */
export function encodeRecord(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  record: RelocatedRecord,
  place: RecordPlacement,
): void {
  const { sequence, durable } = place;
  switch (record.type) {
    case 'data': {
      bytes.set(record.checksums, at + RECORD_HEADER_BYTES);
      copyInto(bytes, record.payload, at + RECORD_HEADER_BYTES + record.checksums.length);
      const { layer, block, count, payload } = record;
      const fields = { type: record.type, sequence, durable, layer, block, count, payload_bytes: payload.length };
      return finishHeader(bytes, view, at, fields, place);
    }
    case 'packed': {
      const { type, layer, block, count, frame, checksums } = record;
      const frameAt = at + RECORD_HEADER_BYTES + checksums.length;
      bytes.set(checksums, at + RECORD_HEADER_BYTES);
      bytes.set(frame, frameAt);
      bytes.fill(0, frameAt + frame.length, frameAt + align8(frame.length));
      const fields = { type, sequence, durable, layer, block, count, payload_bytes: frame.length };
      return finishHeader(bytes, view, at, fields, place);
    }
    case 'zero': {
      const { type, layer, block, count } = record;
      return finishHeader(bytes, view, at, { type, sequence, durable, layer, block, count, payload_bytes: 0 }, place);
    }
    case 'control': {
      const { body } = record;
      const bodyAt = at + RECORD_HEADER_BYTES + CHECKSUM_BYTES;
      bytes.set(body, bodyAt);
      bytes.fill(0, bodyAt + body.length, bodyAt + align8(body.length));
      view.setBigUint64(at + RECORD_HEADER_BYTES, xxh64(body), true);
      const fields = { type: record.type, sequence, durable, layer: 0, block: 0, count: 0, payload_bytes: body.length };
      return finishHeader(bytes, view, at, fields, place);
    }
  }
}

/** One of the log's own records: a header and nothing else. */
export function encodeBareRecord(
  fields: Omit<RecordFields, 'payload_bytes'>,
  salt: bigint,
  offset: number,
): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_BYTES);
  const { sequence, durable } = fields;
  const view = new DataView(bytes.buffer);
  finishHeader(bytes, view, 0, { ...fields, payload_bytes: 0 }, { salt, offset, sequence, durable });
  return bytes;
}

/**
 * `start`: this segment goes on at `sequence`. Up to `repeats` it says again what older segments hold; what those hold above
 * `repeats` counts for nothing.
 */
export const startFields = (sequence: number, durable: number, repeats: number) =>
  ({ type: 'start', sequence, durable, layer: 0, block: repeats, count: 0 }) as const;

/** Closes a segment: first and last sequence and how many records. Written after all of them are on stable storage. */
export const footerFields = (first: number, last: number, records: number, durable: number) =>
  ({ type: 'footer', sequence: last, durable, layer: first, block: records, count: 0 }) as const;

/** How a header can fail to be read: `more` bytes are needed to judge, or it is not one. */
export type NoHeader = 'more' | 'invalid';

/**
 * Judges the bytes at `at` as the header of a record that lies at `offset` in a segment with this salt and that must end
 * by `limit`. Nothing in it is used before the checksum has matched, except to find the checksum's range.
 */
export function decodeHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  place: { readonly salt: bigint; readonly offset: number; readonly limit: number },
): RecordHeader | NoHeader {
  const available = bytes.length - at;
  if (available < RECORD_HEADER_BYTES) return 'more';
  if (view.getUint32(at + 8, true) !== RECORD_MAGIC || view.getUint32(at + 60, true) !== place.offset) return 'invalid';
  const type = TYPES_BY_CODE[view.getUint32(at + 12, true)];
  if (type === undefined) return 'invalid';
  const count = getU64(view, at + 48);
  if (type === 'data' && !(count > 0 && count <= RECORD_BLOCKS_MAX)) return 'invalid';
  if (type === 'packed' && !(count > 0 && count <= FRAME_BLOCKS_MAX)) return 'invalid';
  const header_bytes = RECORD_HEADER_BYTES + checksumCount(type, count) * CHECKSUM_BYTES;
  const payload_bytes = view.getUint32(at + 56, true);
  const total_bytes = header_bytes + align8(payload_bytes);
  if (!payloadFits(type, count, payload_bytes) || place.offset + total_bytes > place.limit) return 'invalid';
  if (available < header_bytes) return 'more';
  if (view.getBigUint64(at, true) !== xxh64(bytes.subarray(at + 8, at + header_bytes), place.salt)) return 'invalid';
  const sequence = getU64(view, at + 16);
  const durable = getU64(view, at + 24);
  const layer = getU64(view, at + 32);
  const block = getU64(view, at + 40);
  if (Number.isNaN(sequence + durable + layer + block + count)) return 'invalid';
  return { type, sequence, durable, layer, block, count, payload_bytes, header_bytes, total_bytes };
}

function payloadFits(type: RecordType, count: number, payload_bytes: number): boolean {
  switch (type) {
    case 'data':
      return payload_bytes === count * BLOCK_BYTES;
    case 'packed':
      return payload_bytes > 0 && payload_bytes < count * BLOCK_BYTES;
    case 'control':
      return payload_bytes <= CONTROL_BYTES_MAX;
    default:
      return payload_bytes === 0;
  }
}

/** Whether a payload matches the checksums of its header. */
export function blocksMatch(payload: Uint8Array, checksums: Uint8Array): boolean {
  const view = new DataView(checksums.buffer, checksums.byteOffset, checksums.byteLength);
  for (let i = 0; i * CHECKSUM_BYTES < checksums.length; i++) {
    const block = payload.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
    if (xxh64(block) !== view.getBigUint64(i * CHECKSUM_BYTES, true)) return false;
  }
  return true;
}
