import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '@antipode/base';
import { checkMessage } from './check-message.ts';
import { transferLimits } from './limits.ts';
import {
  type ChannelMessage,
  channelVersion,
  frameMagic,
  framePrefix_bytes,
  oldestChannelVersion,
  typeName,
  typeNumber,
} from './protocol.ts';

export interface Frame {
  readonly message: ChannelMessage;
  /** Bytes after the header; its own buffer. */
  readonly payload: Uint8Array;
}

/** The link is gone, silent or speaks something else. */
export class LinkLost extends Error {
  override name = 'LinkLost';
}

/**
 * Frames over one TLS connection, both ways. Received payloads are put together once, in a buffer of their own size; a receiver
 * that does not keep up pauses the socket; a link without a sign of life is ended.
 */
export class FrameLink {
  readonly #socket: TLSSocket;
  readonly #timer: { cancel(): void };
  readonly #clock: Clock;
  #heard: number;
  #frames: Frame[] = [];
  #held = 0;
  #waiting: { resolve: (frame: Frame) => void; reject: (error: Error) => void } | undefined;
  #ended: Error | undefined;
  #parts: Buffer[] = [];
  #have = 0;
  #head: { type: number; header: number; payload: number } | undefined;

  constructor(socket: TLSSocket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.#heard = clock.monotonic();
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.close(new LinkLost(error.message)));
    socket.on('close', () => this.close(new LinkLost('the connection was closed')));
    this.#timer = every(clock, transferLimits.ping_ms, () => this.#beat());
  }

  get closed(): boolean {
    return this.#ended !== undefined;
  }

  /** A frame has arrived that nobody has taken yet. */
  get waiting(): boolean {
    return this.#frames.length > 0;
  }

  /** Sends a frame; resolves (or returns) when there is room for more. */
  send(message: ChannelMessage, payload: readonly Uint8Array[] = []): void | Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    const header = Buffer.from(JSON.stringify(message), 'utf8');
    const prefix = Buffer.alloc(framePrefix_bytes);
    prefix.writeUInt32LE(frameMagic, 0);
    prefix.writeUInt8(channelVersion, 4);
    prefix.writeUInt8(typeNumber(message.type), 5);
    prefix.writeUInt32LE(header.length, 8);
    prefix.writeUInt32LE(
      payload.reduce((sum, part) => sum + part.length, 0),
      12,
    );
    this.#socket.cork();
    this.#socket.write(Buffer.concat([prefix, header]));
    for (const part of payload) this.#socket.write(part);
    this.#socket.uncork();
    if (this.#socket.writableLength < transferLimits.socket_bytes) return;
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        if (this.#ended === undefined) resolve();
        else reject(this.#ended);
      };
      this.#socket.once('drain', done);
      this.#socket.once('close', done);
    });
  }

  /** The next frame in order; rejects when the link ends. Pings are answered in between. */
  next(): Promise<Frame> {
    const frame = this.#frames.shift();
    if (frame !== undefined) {
      this.#held -= frame.payload.length;
      if (this.#held < transferLimits.queue_bytes / 2 && this.#socket.isPaused()) this.#socket.resume();
      return Promise.resolve(frame);
    }
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Ends the link at once; what was sent and not taken is lost. */
  close(reason: Error = new LinkLost('the link was closed')): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#timer.cancel();
    this.#socket.destroy();
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
  }

  /** Sends what is waiting and ends the link. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#ended !== undefined) return resolve();
      this.#socket.once('close', () => resolve());
      this.#socket.end();
    });
  }

  #take(chunk: Buffer): void {
    this.#heard = this.#clock.monotonic();
    this.#parts.push(chunk);
    this.#have += chunk.length;
    try {
      while (this.#ended === undefined && this.#frame());
    } catch (error) {
      this.close(error instanceof LinkLost ? error : new LinkLost('the peer sent something else than this protocol'));
    }
  }

  /** Takes one whole frame out of what has arrived; false when there is none yet. */
  #frame(): boolean {
    if (this.#head === undefined) {
      if (this.#have < framePrefix_bytes) return false;
      const prefix = this.#bytes(framePrefix_bytes);
      const version = prefix.readUInt8(4);
      if (prefix.readUInt32LE(0) !== frameMagic || version < oldestChannelVersion || version > channelVersion)
        throw new LinkLost('not a frame of this protocol');
      const head = { type: prefix.readUInt8(5), header: prefix.readUInt32LE(8), payload: prefix.readUInt32LE(12) };
      if (head.header > transferLimits.headerMost_bytes || head.payload > transferLimits.payloadMost_bytes)
        throw new LinkLost('a frame is over the limit');
      this.#head = head;
    }
    const { type, header, payload } = this.#head;
    if (this.#have < header + payload) return false;
    this.#head = undefined;
    const name = typeName(type);
    const text = this.#bytes(header).toString('utf8');
    const bytes = this.#bytes(payload);
    const message = name === undefined ? undefined : checkMessage(name, JSON.parse(text));
    if (message === undefined || message.type !== name) throw new LinkLost('a message is not of this protocol');
    this.#deliver({ message, payload: bytes });
    return true;
  }

  #bytes(count: number): Buffer {
    this.#have -= count;
    const first = this.#parts[0];
    if (first !== undefined && first.length > count) {
      this.#parts[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const whole = Buffer.allocUnsafe(count);
    let at = 0;
    while (at < count) {
      const part = this.#parts[0]!;
      const length = Math.min(part.length, count - at);
      part.copy(whole, at, 0, length);
      at += length;
      if (length === part.length) this.#parts.shift();
      else this.#parts[0] = part.subarray(length);
    }
    return whole;
  }

  #deliver(frame: Frame): void {
    const { type } = frame.message;
    if (type === 'ping') return void this.send({ type: 'pong' });
    if (type === 'pong') return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      return waiting.resolve(frame);
    }
    this.#frames.push(frame);
    this.#held += frame.payload.length;
    if (this.#held > transferLimits.queue_bytes) this.#socket.pause();
  }

  #beat(): void {
    if (this.#ended !== undefined) return;
    // A paused socket hears nothing by our own choice.
    if (this.#socket.isPaused()) this.#heard = this.#clock.monotonic();
    if (this.#clock.monotonic() - this.#heard > transferLimits.silence_ms)
      return this.close(new LinkLost('the peer is silent'));
    if (this.#socket.writableLength < transferLimits.socket_bytes) void this.send({ type: 'ping' });
  }
}

function every(clock: Clock, period_ms: number, work: () => void): { cancel(): void } {
  let timer: Timer;
  const next = () => {
    timer = clock.after(period_ms, () => {
      next();
      work();
    });
  };
  next();
  return { cancel: () => timer.cancel() };
}
