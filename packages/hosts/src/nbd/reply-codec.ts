import type { StatusExtent } from '@antipode/blocks';
import { NBD_MAX_ERROR_TEXT_BYTES } from '../limits.ts';
import { Errno, type Failure } from './errno.ts';
import {
  BASE_ALLOCATION_ID,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  Chunk,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  StatusFlag,
} from './protocol.ts';
import type { Request } from './request-codec.ts';

/** Bytes in front of the data of an OFFSET_DATA chunk, and of a whole OFFSET_HOLE chunk. */
export const DATA_CHUNK_PREFIX_BYTES = CHUNK_HEADER_BYTES + 8;
export const HOLE_CHUNK_BYTES = CHUNK_HEADER_BYTES + 12;

type Cookie = Pick<Request, 'cookieHigh' | 'cookieLow'>;

function writeOffset(into: Buffer, at: number, offset: number): void {
  into.writeUInt32BE(Math.floor(offset / 2 ** 32), at);
  into.writeUInt32BE(offset % 2 ** 32, at + 4);
}

/** Each function below writes at `at` and returns the position after what it wrote. `errno` 0: success. */
export function writeSimpleReply(into: Buffer, at: number, cookie: Cookie, errno: number): number {
  into.writeUInt32BE(SIMPLE_REPLY_MAGIC, at);
  into.writeUInt32BE(errno, at + 4);
  into.writeUInt32BE(cookie.cookieHigh, at + 8);
  into.writeUInt32BE(cookie.cookieLow, at + 12);
  return at + SIMPLE_REPLY_BYTES;
}

function writeChunkHeader(into: Buffer, at: number, cookie: Cookie, type: number, done: boolean, length: number) {
  into.writeUInt32BE(STRUCTURED_REPLY_MAGIC, at);
  into.writeUInt16BE(done ? CHUNK_FLAG_DONE : 0, at + 4);
  into.writeUInt16BE(type, at + 6);
  into.writeUInt32BE(cookie.cookieHigh, at + 8);
  into.writeUInt32BE(cookie.cookieLow, at + 12);
  into.writeUInt32BE(length, at + 16);
  return at + CHUNK_HEADER_BYTES;
}

/** Ends a structured reply that has nothing more to say. */
export const writeNoneChunk = (into: Buffer, at: number, cookie: Cookie): number =>
  writeChunkHeader(into, at, cookie, Chunk.NONE, true, 0);

/** Everything of an OFFSET_DATA chunk but the `length` bytes of data that must follow. */
export function writeDataChunkPrefix(
  into: Buffer,
  at: number,
  cookie: Cookie,
  done: boolean,
  offset: number,
  length: number,
): number {
  const payload = writeChunkHeader(into, at, cookie, Chunk.OFFSET_DATA, done, 8 + length);
  writeOffset(into, payload, offset);
  return payload + 8;
}

export function writeHoleChunk(
  into: Buffer,
  at: number,
  cookie: Cookie,
  done: boolean,
  offset: number,
  length: number,
): number {
  const payload = writeChunkHeader(into, at, cookie, Chunk.OFFSET_HOLE, done, 12);
  writeOffset(into, payload, offset);
  into.writeUInt32BE(length, payload + 8);
  return payload + 12;
}

/** A failed request, told with its text; with `offset`, the place at which a read failed. */
export function errorChunk(cookie: Cookie, failure: Failure, offset?: number): Buffer {
  const text = Buffer.from(failure.text, 'utf8').subarray(0, NBD_MAX_ERROR_TEXT_BYTES);
  const length = 6 + text.length + (offset === undefined ? 0 : 8);
  const chunk = Buffer.alloc(CHUNK_HEADER_BYTES + length);
  const type = offset === undefined ? Chunk.ERROR : Chunk.ERROR_OFFSET;
  let at = writeChunkHeader(chunk, 0, cookie, type, true, length);
  at = chunk.writeUInt32BE(Errno[failure.errno], at);
  at = chunk.writeUInt16BE(text.length, at);
  at += text.copy(chunk, at);
  if (offset !== undefined) writeOffset(chunk, at, offset);
  return chunk;
}

/** The whole answer to a block-status request: one chunk, one descriptor per extent. */
export function blockStatusChunk(cookie: Cookie, extents: readonly StatusExtent[]): Buffer {
  const length = 4 + 8 * extents.length;
  const chunk = Buffer.alloc(CHUNK_HEADER_BYTES + length);
  let at = writeChunkHeader(chunk, 0, cookie, Chunk.BLOCK_STATUS, true, length);
  at = chunk.writeUInt32BE(BASE_ALLOCATION_ID, at);
  for (const extent of extents) {
    at = chunk.writeUInt32BE(extent.length, at);
    at = chunk.writeUInt32BE(extent.kind === 'hole' ? StatusFlag.HOLE | StatusFlag.ZERO : 0, at);
  }
  return chunk;
}
