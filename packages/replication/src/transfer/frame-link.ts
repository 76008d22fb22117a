import type { Clock, Timer } from '@antipode/base';
import type { PeerSocket } from './data-network.ts';
import { encodeFrame, type Frame, FrameReader } from './frame-codec.ts';
import { transferLimits } from './limits.ts';
import type { Link } from './link.ts';
import { LinkLost } from './link-lost.ts';
import { type ChannelMessage, channelVersion } from './protocol.ts';
import { receiveInto } from './receive-into.ts';

/**
 * Frames over one connection, both ways. Received payloads are put together once, in a buffer of their own size; a receiver
 * that does not keep up pauses the socket; a link without a sign of life is ended.
 */
export class FrameLink implements Link {
  readonly #socket: PeerSocket;
  readonly #timer: { cancel(): void };
  readonly #clock: Clock;
  #heard: number;
  #frames: Frame[] = [];
  #held = 0;
  #waiting: { resolve: (frame: Frame) => void; reject: (error: Error) => void } | undefined;
  #ended: Error | undefined;
  readonly #reader = new FrameReader();
  /** Not yet given to the socket, which has one piece at a time: of several it would make one, copying a megabyte for a few bytes before it. */
  readonly #unwritten: { readonly bytes: Uint8Array; readonly taken: (() => void) | undefined }[] = [];
  #writing = false;
  /** Bytes that the socket has not taken. */
  #unsent_bytes = 0;
  #room: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #ending = false;

  constructor(socket: PeerSocket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.#heard = clock.monotonic();
    this.#timer = every(clock, transferLimits.ping_ms, () => this.#beat());
    socket.setNoDelay(true);
    socket.on('error', (error) => this.close(new LinkLost(error.message)));
    socket.on('close', () => this.close(new LinkLost('the connection was closed')));
    const receiver = {
      target: () => this.#reader.target(),
      arrived: (length: number) => this.#hear(() => this.#reader.arrived(length, (frame) => this.#deliver(frame))),
    };
    if (!receiveInto(socket, receiver))
      socket.on('data', (chunk: Buffer) => this.#hear(() => this.#reader.push(chunk, (frame) => this.#deliver(frame))));
  }

  get closed(): boolean {
    return this.#ended !== undefined;
  }

  get waiting(): boolean {
    return this.#frames.length > 0;
  }

  send(message: ChannelMessage, payload?: Uint8Array, taken?: () => void): void | Promise<void> {
    this.write(encodeFrame(message, payload?.length ?? 0, channelVersion), payload, taken);
    return this.#hasRoom();
  }

  /** Sends a frame whose prefix and header are encoded already, whether or not there is room. */
  write(head: Uint8Array, payload?: Uint8Array, taken?: () => void): void {
    if (this.#ended !== undefined) throw this.#ended;
    const alone = payload === undefined || payload.length === 0;
    this.#unwritten.push({ bytes: head, taken: alone ? taken : undefined });
    if (!alone) this.#unwritten.push({ bytes: payload, taken });
    this.#unsent_bytes += head.length + (payload?.length ?? 0);
    this.#writeNext();
  }

  #writeNext(): void {
    if (this.#writing || this.#ended !== undefined) return;
    const next = this.#unwritten.shift();
    if (next === undefined) {
      if (this.#ending) this.#socket.end();
      return;
    }
    this.#writing = true;
    this.#socket.write(next.bytes, () => {
      this.#writing = false;
      this.#unsent_bytes -= next.bytes.length;
      next.taken?.();
      if (this.#unsent_bytes < transferLimits.socket_bytes) for (const { resolve } of this.#room.splice(0)) resolve();
      this.#writeNext();
    });
  }

  #hasRoom(): void | Promise<void> {
    if (this.#unsent_bytes < transferLimits.socket_bytes) return;
    return new Promise((resolve, reject) => {
      this.#room.push({ resolve, reject });
    });
  }

  post(message: ChannelMessage): void {
    if (this.#ended !== undefined) return;
    if (this.#unsent_bytes > transferLimits.unread_bytes)
      return this.close(new LinkLost('the peer does not read what it is answered'));
    Promise.resolve(this.send(message)).catch(() => {
      // The link has ended meanwhile; whoever waits for a frame hears of it.
    });
  }

  /** Pings are answered in between. */
  next(): Promise<Frame> {
    const frame = this.#frames.shift();
    if (frame !== undefined) {
      this.#held -= frame.wire_bytes;
      if (this.#held < transferLimits.queue_bytes / 2 && this.#socket.isPaused()) this.#socket.resume();
      return Promise.resolve(frame);
    }
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  close(reason: Error = new LinkLost('the link was closed')): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#timer.cancel();
    this.#socket.destroy();
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
    for (const { reject } of this.#room.splice(0)) reject(reason);
    for (const { taken } of this.#unwritten.splice(0)) taken?.();
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#ended !== undefined) return resolve();
      this.#socket.once('close', () => resolve());
      this.#ending = true;
      this.#writeNext();
    });
  }

  #hear(read: () => void): void {
    this.#heard = this.#clock.monotonic();
    if (this.#ended !== undefined) return;
    try {
      read();
    } catch (error) {
      this.close(error instanceof LinkLost ? error : new LinkLost('the peer sent something else than this protocol'));
    }
  }

  #deliver(frame: Frame): void {
    const { type } = frame.message;
    if (type === 'ping') return this.post({ type: 'pong' });
    if (type === 'pong') return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      return waiting.resolve(frame);
    }
    this.#frames.push(frame);
    this.#held += frame.wire_bytes;
    if (this.#held > transferLimits.queue_bytes) this.#socket.pause();
  }

  #beat(): void {
    if (this.#ended !== undefined) return;
    // A paused socket hears nothing by our own choice.
    if (this.#socket.isPaused()) this.#heard = this.#clock.monotonic();
    if (this.#clock.monotonic() - this.#heard > transferLimits.silence_ms)
      return this.close(new LinkLost('the peer is silent'));
    if (this.#unsent_bytes < transferLimits.socket_bytes) this.post({ type: 'ping' });
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
