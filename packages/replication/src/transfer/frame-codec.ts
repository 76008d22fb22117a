import { assert } from '@antipode/base';
import { BLOCK_BYTES } from '@antipode/blocks';
import { BufferPool } from './buffer-pool.ts';
import { checkMessage } from './check-message.ts';
import { transferLimits } from './limits.ts';
import { LinkLost } from './link-lost.ts';
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
  /** Bytes after the header. */
  readonly payload: Uint8Array;
  /** Bytes that the frame took on the wire. */
  readonly wire_bytes: number;
  /** The payload is not looked at any more: its memory serves the next frame. */
  release(): void;
}

/** Prefix and header of a frame; the payload follows. */
export function encodeFrame(message: ChannelMessage, payload_bytes: number, version: number): Buffer {
  const text = JSON.stringify(message);
  const header_bytes = Buffer.byteLength(text, 'utf8');
  const head = Buffer.alloc(framePrefix_bytes + header_bytes);
  head.writeUInt32LE(frameMagic, 0);
  head.writeUInt8(version, 4);
  head.writeUInt8(typeNumber(message.type), 5);
  head.writeUInt32LE(header_bytes, 8);
  head.writeUInt32LE(payload_bytes, 12);
  head.write(text, framePrefix_bytes, 'utf8');
  return head;
}

/** Of prefixes and headers, which are taken out at once: as much as is decrypted at a time. */
const scratch_bytes = 16 * 1024;

/** What a buffer for the payload of a full frame takes. */
export const frameBuffer_bytes = (): number => (transferLimits.frame_bytes / BLOCK_BYTES) * (BLOCK_BYTES + 8);

/**
 * Puts frames together from the pieces in which they arrive. Every length is compared with its limit before memory is set aside
 * for it; a payload is copied once, to where it stays. Throws LinkLost for anything that is not of this protocol.
 */
export class FrameReader {
  readonly #pool = new BufferPool(frameBuffer_bytes(), transferLimits.spareBuffers);
  readonly #prefix = Buffer.alloc(framePrefix_bytes);
  #prefixHas = 0;
  #header: Buffer | undefined;
  #headerHas = 0;
  #payload: Uint8Array | undefined;
  #payload_bytes = 0;
  #payloadHas = 0;
  #message: ChannelMessage | undefined;
  readonly #scratch = Buffer.allocUnsafeSlow(scratch_bytes);

  /** Where the next bytes may be put without a copy afterwards; {@link arrived} is told how many those were. */
  target(): Uint8Array {
    return this.#message === undefined ? this.#scratch : this.#payload!.subarray(this.#payloadHas, this.#payload_bytes);
  }

  /** So many bytes are in what {@link target} answered last. */
  arrived(length: number, frame: (frame: Frame) => void): void {
    if (this.#message === undefined) return this.push(this.#scratch.subarray(0, length), frame);
    this.#payloadHas += length;
    assert(this.#payloadHas <= this.#payload_bytes, 'no more came than there was room for');
    if (this.#payloadHas === this.#payload_bytes) frame(this.#whole());
  }

  /** Takes what has arrived; `frame` hears of each frame that is whole now. */
  push(chunk: Uint8Array, frame: (frame: Frame) => void): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#header === undefined) at = this.#takePrefix(chunk, at);
      else if (this.#message === undefined) at = this.#takeHeader(chunk, at);
      else at = this.#takePayload(chunk, at);
      if (this.#message !== undefined && this.#payloadHas === this.#payload_bytes) frame(this.#whole());
    }
  }

  #takePrefix(chunk: Uint8Array, at: number): number {
    const length = Math.min(framePrefix_bytes - this.#prefixHas, chunk.length - at);
    this.#prefix.set(chunk.subarray(at, at + length), this.#prefixHas);
    this.#prefixHas += length;
    if (this.#prefixHas < framePrefix_bytes) return at + length;
    const version = this.#prefix.readUInt8(4);
    if (this.#prefix.readUInt32LE(0) !== frameMagic || version < oldestChannelVersion || version > channelVersion)
      throw new LinkLost('the peer sent something else than frames of this protocol');
    const header_bytes = this.#prefix.readUInt32LE(8);
    const payload_bytes = this.#prefix.readUInt32LE(12);
    if (header_bytes > transferLimits.headerMost_bytes || payload_bytes > transferLimits.payloadMost_bytes)
      throw new LinkLost('the peer sent a frame over the limit');
    if (header_bytes === 0 || typeName(this.#prefix.readUInt8(5)) === undefined || this.#prefix.readUInt16LE(6) !== 0)
      throw new LinkLost('the peer sent a frame of no known type');
    this.#header = Buffer.allocUnsafe(header_bytes);
    this.#headerHas = 0;
    this.#payload_bytes = payload_bytes;
    return at + length;
  }

  #takeHeader(chunk: Uint8Array, at: number): number {
    const header = this.#header!;
    const length = Math.min(header.length - this.#headerHas, chunk.length - at);
    header.set(chunk.subarray(at, at + length), this.#headerHas);
    this.#headerHas += length;
    if (this.#headerHas < header.length) return at + length;
    const name = typeName(this.#prefix.readUInt8(5))!;
    const message = checkMessage(name, parsed(header));
    if (message === undefined) throw new LinkLost(`the peer sent a ${name} message that is not of this protocol`);
    if (this.#payload_bytes > 0 && name !== 'runs') throw new LinkLost(`a ${name} message carries no payload`);
    this.#message = message;
    this.#payloadHas = 0;
    this.#payload = this.#payload_bytes === 0 ? undefined : this.#pool.take(this.#payload_bytes);
    return at + length;
  }

  #takePayload(chunk: Uint8Array, at: number): number {
    const length = Math.min(this.#payload_bytes - this.#payloadHas, chunk.length - at);
    this.#payload!.set(length === chunk.length ? chunk : chunk.subarray(at, at + length), this.#payloadHas);
    this.#payloadHas += length;
    return at + length;
  }

  #whole(): Frame {
    let held = this.#payload;
    const frame: Frame = {
      message: this.#message!,
      payload: held?.subarray(0, this.#payload_bytes) ?? new Uint8Array(0),
      wire_bytes: framePrefix_bytes + this.#header!.length + this.#payload_bytes,
      release: () => {
        if (held !== undefined) this.#pool.give(held);
        held = undefined;
      },
    };
    this.#prefixHas = 0;
    this.#header = undefined;
    this.#message = undefined;
    this.#payload = undefined;
    this.#payload_bytes = 0;
    return frame;
  }
}

function parsed(header: Buffer): unknown {
  try {
    return JSON.parse(header.toString('utf8'));
  } catch {
    return undefined;
  }
}
