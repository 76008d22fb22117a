import type { Socket } from 'node:net';
import { assert, type Clock, systemClock, type Timer } from '@antipode/base';
import type { StatusExtent } from '@antipode/blocks';
import { NBD_LINGER_ms, NBD_MAX_PAYLOAD_BYTES, NBD_STALL_ms } from '../limits.ts';
import { type NbdConnectSetting, type Negotiated, negotiate } from './client-negotiation.ts';
import { type Pending, ReplyReader } from './client-replies.ts';
import { NbdError } from './nbd-error.ts';
import { Command, CommandFlag, REQUEST_BYTES, REQUEST_MAGIC, TransmissionFlag } from './protocol.ts';

export interface NbdClientSetting extends NbdConnectSetting {
  /** With requests under way and no byte from the server for this long, the connection counts as lost. */
  readonly stall_ms?: number;
}

/** What the export offers, as told when it was opened. */
export interface NbdExportFlags {
  readonly readOnly: boolean;
  readonly flush: boolean;
  readonly fua: boolean;
  readonly trim: boolean;
  readonly writeZeroes: boolean;
  readonly fastZero: boolean;
  readonly cache: boolean;
  readonly dontFragment: boolean;
  readonly multiConn: boolean;
}

/**
 * An open export. Any number of requests may be under way at once; each is answered on its own, in any order. Offsets
 * and lengths are bytes; one read or write is at most 32 MiB. Every function rejects with {@link NbdError}.
 */
export interface NbdClient {
  /** Bytes, as told when the export was opened. */
  readonly size: number;
  readonly flags: NbdExportFlags;
  /** Fills `target` from `offset`, whose bytes are undefined until the promise resolves. */
  read(offset: number, target: Uint8Array, options?: { dontFragment?: boolean }): Promise<void>;
  /** `data` must stay as it is until the promise resolves. With `fua` the data is then on stable storage. */
  write(offset: number, data: Uint8Array, options?: { fua?: boolean }): Promise<void>;
  trim(offset: number, length: number, options?: { fua?: boolean }): Promise<void>;
  writeZeroes(
    offset: number,
    length: number,
    options?: { fua?: boolean; noHole?: boolean; fast?: boolean },
  ): Promise<void>;
  /** Everything answered before, on any connection, is on stable storage when it resolves. */
  flush(): Promise<void>;
  cache(offset: number, length: number): Promise<void>;
  /** Allocation from `offset` on: one extent or more, not always up to the end of the range. */
  blockStatus(offset: number, length: number, options?: { one?: boolean }): Promise<readonly StatusExtent[]>;
  /** Resolves, never rejects, once the connection is over; with the error when it was lost. */
  readonly closed: Promise<NbdError | undefined>;
  /** Says goodbye and waits for the end. Requests still under way are answered first. */
  close(): Promise<void>;
}

/**
 * Opens an export.
 *
 * @example
 * const disk = await connectNbd({ host: '127.0.0.1', port: 10809, exportName: 'vol1' });
 * await disk.write(0, new Uint8Array(4096), { fua: true });
 * await disk.close();
 */
export async function connectNbd(setting: NbdClientSetting): Promise<NbdClient> {
  return new OpenClient(await negotiate(setting), setting);
}

class OpenClient implements NbdClient {
  readonly size: number;
  readonly flags: NbdExportFlags;
  readonly closed: Promise<NbdError | undefined>;
  readonly #socket: Socket;
  readonly #agreed: Negotiated;
  readonly #replies: ReplyReader;
  readonly #pending = new Map<number, Pending>();
  readonly #clock: Clock;
  readonly #stall_ms: number;
  #nextCookie = 1;
  #corked = false;
  #stall: Timer | undefined;
  #moved = false;
  #lost: NbdError | undefined;
  #closing = false;

  constructor(agreed: Negotiated, setting: NbdClientSetting) {
    this.#agreed = agreed;
    this.size = agreed.size;
    this.flags = flagsOf(agreed.flags);
    this.#socket = agreed.socket;
    this.#clock = setting.clock ?? systemClock;
    this.#stall_ms = setting.stall_ms ?? NBD_STALL_ms;
    this.#replies = new ReplyReader(agreed.inlet, this.#pending, agreed.allocationContext);
    const socket = this.#socket;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('error', (error) => this.#fail(new NbdError('connection', error.message, { cause: error })));
    this.closed = new Promise((resolve) => {
      const ended = () => {
        if (!this.#closing || this.#pending.size > 0)
          this.#fail(new NbdError('connection', 'the server closed the connection'));
        this.#stall?.cancel();
        resolve(this.#lost);
      };
      // The server may have gone between its last word and here; then no event tells it any more.
      if (socket.destroyed) ended();
      else socket.on('close', ended);
    });
    socket.resume();
  }

  read(offset: number, target: Uint8Array, options: { dontFragment?: boolean } = {}): Promise<void> {
    checkPayload(target.length);
    const flags = options.dontFragment === true ? CommandFlag.DF : 0;
    return this.#request(Command.READ, flags, offset, target.length, { target });
  }

  write(offset: number, data: Uint8Array, options: { fua?: boolean } = {}): Promise<void> {
    checkPayload(data.length);
    return this.#request(Command.WRITE, fuaFlag(options), offset, data.length, { payload: data });
  }

  trim(offset: number, length: number, options: { fua?: boolean } = {}): Promise<void> {
    return this.#request(Command.TRIM, fuaFlag(options), offset, length, {});
  }

  writeZeroes(
    offset: number,
    length: number,
    options: { fua?: boolean; noHole?: boolean; fast?: boolean } = {},
  ): Promise<void> {
    const flags =
      fuaFlag(options) |
      (options.noHole === true ? CommandFlag.NO_HOLE : 0) |
      (options.fast === true ? CommandFlag.FAST_ZERO : 0);
    return this.#request(Command.WRITE_ZEROES, flags, offset, length, {});
  }

  flush(): Promise<void> {
    return this.#request(Command.FLUSH, 0, 0, 0, {});
  }

  cache(offset: number, length: number): Promise<void> {
    return this.#request(Command.CACHE, 0, offset, length, {});
  }

  async blockStatus(offset: number, length: number, options: { one?: boolean } = {}): Promise<readonly StatusExtent[]> {
    if (this.#agreed.allocationContext === undefined)
      throw new NbdError('request', 'the server offers no block status', { errno: 'ENOTSUP' });
    const extents: StatusExtent[] = [];
    const flags = options.one === true ? CommandFlag.REQ_ONE : 0;
    await this.#request(Command.BLOCK_STATUS, flags, offset, length, { extents });
    return extents;
  }

  async close(): Promise<void> {
    if (!this.#closing && this.#lost === undefined) {
      this.#closing = true;
      this.#send(header(Command.DISC, 0, 0, 0, 0));
      // A server that never answers the goodbye is not waited for.
      this.#stall?.cancel();
      this.#stall = this.#clock.after(this.#pending.size > 0 ? this.#stall_ms : NBD_LINGER_ms, () =>
        this.#socket.destroy(),
      );
      this.#flushSocket();
    }
    await this.closed;
  }

  #request(
    type: number,
    flags: number,
    offset: number,
    length: number,
    parts: { target?: Uint8Array; payload?: Uint8Array; extents?: StatusExtent[] },
  ): Promise<void> {
    assert(Number.isSafeInteger(offset) && offset >= 0, 'an offset is a whole number of bytes');
    assert(Number.isInteger(length) && length >= 0 && length < 2 ** 32, 'a length fits 32 bits');
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    if (this.#closing) return Promise.reject(new NbdError('connection', 'the connection is closing'));
    const cookie = this.#nextCookie;
    this.#nextCookie += 1;
    return new Promise((resolve, reject) => {
      this.#pending.set(cookie, {
        type,
        offset,
        length,
        target: parts.target,
        extents: parts.extents,
        covered: 0,
        error: undefined,
        resolve,
        reject,
      });
      this.#send(header(type, flags, cookie, offset, length));
      if (parts.payload !== undefined) this.#send(parts.payload);
      this.#stall ??= this.#watch();
    });
  }

  /** Requests of one turn leave together. */
  #send(bytes: Uint8Array): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => this.#flushSocket());
    }
    this.#socket.write(bytes);
  }

  #flushSocket(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#socket.uncork();
  }

  #received(chunk: Buffer): void {
    this.#moved = true;
    const error = this.#replies.push(chunk);
    if (error === undefined) return;
    this.#fail(error);
    this.#socket.destroy();
  }

  #fail(error: NbdError): void {
    this.#lost ??= error;
    for (const pending of this.#pending.values()) pending.reject(this.#lost);
    this.#pending.clear();
  }

  #watch(): Timer {
    this.#moved = false;
    return this.#clock.after(this.#stall_ms, () => {
      this.#stall = undefined;
      if (this.#pending.size === 0) return;
      if (this.#moved) {
        this.#stall = this.#watch();
        return;
      }
      this.#fail(new NbdError('connection', `no byte from the server in ${this.#stall_ms} ms`));
      this.#socket.destroy();
    });
  }
}

function header(type: number, flags: number, cookie: number, offset: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(REQUEST_BYTES);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(type, 6);
  bytes.writeUInt32BE(Math.floor(cookie / 2 ** 32), 8);
  bytes.writeUInt32BE(cookie % 2 ** 32, 12);
  bytes.writeUInt32BE(Math.floor(offset / 2 ** 32), 16);
  bytes.writeUInt32BE(offset % 2 ** 32, 20);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

const fuaFlag = (options: { fua?: boolean }): number => (options.fua === true ? CommandFlag.FUA : 0);

function checkPayload(length: number): void {
  assert(length <= NBD_MAX_PAYLOAD_BYTES, `one request carries at most ${NBD_MAX_PAYLOAD_BYTES} bytes`);
}

const flagsOf = (flags: number): NbdExportFlags => ({
  readOnly: (flags & TransmissionFlag.READ_ONLY) !== 0,
  flush: (flags & TransmissionFlag.SEND_FLUSH) !== 0,
  fua: (flags & TransmissionFlag.SEND_FUA) !== 0,
  trim: (flags & TransmissionFlag.SEND_TRIM) !== 0,
  writeZeroes: (flags & TransmissionFlag.SEND_WRITE_ZEROES) !== 0,
  fastZero: (flags & TransmissionFlag.SEND_FAST_ZERO) !== 0,
  cache: (flags & TransmissionFlag.SEND_CACHE) !== 0,
  dontFragment: (flags & TransmissionFlag.SEND_DF) !== 0,
  multiConn: (flags & TransmissionFlag.CAN_MULTI_CONN) !== 0,
});
