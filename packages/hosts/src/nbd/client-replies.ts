import type { StatusExtent } from '@antipode/blocks';
import { NBD_MAX_STATUS_EXTENTS, NBD_MAX_STRING_BYTES } from '../limits.ts';
import { type ErrnoName, errnoName } from './errno.ts';
import type { Inlet } from './inlet.ts';
import { NbdError } from './nbd-error.ts';
import {
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  Chunk,
  Command,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  StatusFlag,
} from './protocol.ts';

/** A request that waits for its answer. */
export interface Pending {
  readonly type: number;
  readonly offset: number;
  readonly length: number;
  /** Where a read's bytes go. */
  readonly target: Uint8Array | undefined;
  /** Where the answer to a block-status request goes. */
  readonly extents: StatusExtent[] | undefined;
  /** Bytes of a read answered so far. */
  covered: number;
  error: NbdError | undefined;
  readonly resolve: () => void;
  readonly reject: (error: NbdError) => void;
}

/** Read data on its way into its target. */
interface Filling {
  readonly cookie: number;
  readonly pending: Pending;
  readonly target: Uint8Array;
  received: number;
  readonly done: boolean;
}

/** Longest payload of a chunk other than read data. */
const SMALL_CHUNK_BYTES_MAX = Math.max(4 + 8 * NBD_MAX_STATUS_EXTENTS, 14 + NBD_MAX_STRING_BYTES, 2 ** 16);

/**
 * Takes replies apart. Each is checked against the request it answers before one byte of it is used; a server that is
 * out of step is told by the error {@link push} returns, and is not listened to any more.
 */
export class ReplyReader {
  readonly #inlet: Inlet;
  readonly #pending: Map<number, Pending>;
  readonly #context: number | undefined;
  #filling: Filling | undefined;
  #broken = false;

  constructor(inlet: Inlet, pending: Map<number, Pending>, context: number | undefined) {
    this.#inlet = inlet;
    this.#pending = pending;
    this.#context = context;
  }

  push(chunk: Buffer): NbdError | undefined {
    if (this.#broken) return undefined;
    this.#inlet.push(chunk);
    try {
      while (this.#step());
      return undefined;
    } catch (error) {
      if (!(error instanceof NbdError)) throw error;
      this.#broken = true;
      return error;
    }
  }

  #step(): boolean {
    if (this.#filling !== undefined) return this.#fill(this.#filling);
    const inlet = this.#inlet;
    if (!inlet.ensure(SIMPLE_REPLY_BYTES)) return false;
    const magic = inlet.buffer.readUInt32BE(inlet.position);
    if (magic === SIMPLE_REPLY_MAGIC) return this.#simple();
    if (magic !== STRUCTURED_REPLY_MAGIC) throw outOfStep('a reply without its magic number');
    return this.#chunk();
  }

  #simple(): boolean {
    const { buffer, position } = this.#inlet;
    const errno = buffer.readUInt32BE(position + 4);
    const [cookie, pending] = this.#find(position + 8);
    this.#inlet.advance(SIMPLE_REPLY_BYTES);
    if (errno !== 0) {
      pending.error = requestError(errno, `the server answered ${errnoName(errno)}`);
      this.#finish(cookie, pending);
    } else if (pending.type === Command.READ && pending.target !== undefined) {
      this.#filling = { cookie, pending, target: pending.target, received: 0, done: true };
    } else {
      this.#finish(cookie, pending);
    }
    return true;
  }

  #chunk(): boolean {
    const inlet = this.#inlet;
    if (!inlet.ensure(CHUNK_HEADER_BYTES)) return false;
    const { buffer, position } = inlet;
    const done = (buffer.readUInt16BE(position + 4) & CHUNK_FLAG_DONE) !== 0;
    const type = buffer.readUInt16BE(position + 6);
    const [cookie, pending] = this.#find(position + 8);
    const length = buffer.readUInt32BE(position + 16);
    if (type === Chunk.OFFSET_DATA) return this.#dataChunk(cookie, pending, done, length);
    if (length > SMALL_CHUNK_BYTES_MAX) throw outOfStep(`a chunk of ${length} bytes`);
    if (!inlet.ensure(CHUNK_HEADER_BYTES + length)) return false;
    const start = inlet.position + CHUNK_HEADER_BYTES;
    this.#smallChunk(pending, type, inlet.buffer.subarray(start, start + length));
    inlet.advance(CHUNK_HEADER_BYTES + length);
    if (done) this.#finish(cookie, pending);
    return true;
  }

  #dataChunk(cookie: number, pending: Pending, done: boolean, length: number): boolean {
    const inlet = this.#inlet;
    if (!inlet.ensure(CHUNK_HEADER_BYTES + 8)) return false;
    const offset = readOffset(inlet.buffer, inlet.position + CHUNK_HEADER_BYTES);
    const target = this.#part(pending, offset, length - 8);
    inlet.advance(CHUNK_HEADER_BYTES + 8);
    this.#filling = { cookie, pending, target, received: 0, done };
    return true;
  }

  #fill(filling: Filling): boolean {
    filling.received += this.#inlet.takeInto(filling.target, filling.received);
    if (filling.received < filling.target.length) return false;
    this.#filling = undefined;
    filling.pending.covered += filling.target.length;
    if (filling.done) this.#finish(filling.cookie, filling.pending);
    return true;
  }

  #smallChunk(pending: Pending, type: number, data: Buffer): void {
    if (type === Chunk.NONE && data.length === 0) return;
    if (type === Chunk.OFFSET_HOLE && data.length === 12) {
      const part = this.#part(pending, readOffset(data, 0), data.readUInt32BE(8));
      part.fill(0);
      pending.covered += part.length;
    } else if (type === Chunk.BLOCK_STATUS && data.length >= 12 && data.length % 8 === 4) {
      this.#status(pending, data);
    } else if ((type & 0x8000) !== 0 && data.length >= 6) {
      pending.error ??= errorOf(type, data);
    } else {
      throw outOfStep(`a chunk of type ${type} and ${data.length} bytes`);
    }
  }

  #status(pending: Pending, data: Buffer): void {
    if (pending.extents === undefined || data.readUInt32BE(0) !== this.#context)
      throw outOfStep('a block status that nobody asked for');
    let covered = 0;
    for (let at = 4; at < data.length; at += 8) {
      const length = data.readUInt32BE(at);
      const kind = (data.readUInt32BE(at + 4) & StatusFlag.ZERO) !== 0 ? 'hole' : 'data';
      // The last extent may reach beyond the question; what was not asked is not told on.
      const inside = Math.min(length, pending.length - covered);
      if (inside <= 0) throw outOfStep('a block status beyond its range');
      pending.extents.push({ length: inside, kind });
      covered += inside;
    }
  }

  /** The part of a read's target that a chunk describes. */
  #part(pending: Pending, offset: number, length: number): Uint8Array {
    const start = offset - pending.offset;
    const fits = start >= 0 && length > 0 && start + length <= pending.length;
    if (pending.target === undefined || !fits) throw outOfStep('data outside the range that was asked for');
    return pending.target.subarray(start, start + length);
  }

  #find(at: number): [number, Pending] {
    const cookie = readOffset(this.#inlet.buffer, at);
    const pending = this.#pending.get(cookie);
    if (pending === undefined) throw outOfStep('an answer that nobody waits for');
    return [cookie, pending];
  }

  #finish(cookie: number, pending: Pending): void {
    const complete = pending.type !== Command.READ || pending.covered === pending.length;
    if (pending.error === undefined && !complete) throw outOfStep('a read was answered in part');
    this.#pending.delete(cookie);
    if (pending.error === undefined) pending.resolve();
    else pending.reject(pending.error);
  }
}

const outOfStep = (text: string): NbdError => new NbdError('connection', `the server is out of step: ${text}`);

const requestError = (errno: number, text: string, offset?: number): NbdError => {
  const name: ErrnoName = errnoName(errno);
  return new NbdError('request', text, offset === undefined ? { errno: name } : { errno: name, offset });
};

function errorOf(type: number, data: Buffer): NbdError {
  const errno = data.readUInt32BE(0);
  const length = data.readUInt16BE(4);
  if (6 + length > data.length) throw outOfStep('an error text longer than its chunk');
  const text = data.toString('utf8', 6, 6 + length) || `the server answered ${errnoName(errno)}`;
  const place = type === Chunk.ERROR_OFFSET && data.length >= 14 + length ? readOffset(data, 6 + length) : undefined;
  return requestError(errno, text, place);
}

const readOffset = (buffer: Buffer, at: number): number =>
  buffer.readUInt32BE(at) * 2 ** 32 + buffer.readUInt32BE(at + 4);
