import { xxh64 } from '@node-rs/xxhash';
import { compress, compressSync, uncompressSync } from 'lz4-napi';
import { BLOCK_BYTES } from '../../port/device.ts';

/**
 * Frames: the stored form of packed blocks; docs/formats/segment.md. A frame carries a checksum of its own, so that damaged bytes
 * never reach the decompressor, and every block that comes out of it is compared with the checksum that it came with.
 */
const CHECKSUM_BYTES = 8;
/** Checksum, kind of packing, three zeros, length of the content. */
export const FRAME_HEADER_BYTES = 16;
const LZ4 = 1;

/** Packs content. What a frame is does not depend on who packs. */
export interface Packer {
  /** The content as a frame, however large that is. */
  pack(content: Uint8Array): Promise<Uint8Array>;
}

/** On the calling thread: for simulations, where everything happens in one order. */
export const inlinePacker: Packer = {
  pack: async (content) => frameOf(compressSync(Buffer.from(content.buffer, content.byteOffset, content.length))),
};

/** Up to here the way to another thread and back takes as long as the work itself. */
const INLINE_BYTES_MAX = 2 * BLOCK_BYTES;

/** Off the thread that orders. */
export const threadPacker: Packer = {
  pack: async (content) =>
    content.length <= INLINE_BYTES_MAX ? inlinePacker.pack(content) : frameOf(await compress(content)),
};

/** `packed`: the length of the content, and then a block of LZ4. */
function frameOf(packed: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_HEADER_BYTES - 4 + packed.length);
  const view = new DataView(frame.buffer);
  frame[CHECKSUM_BYTES] = LZ4;
  frame.set(packed, FRAME_HEADER_BYTES - 4);
  view.setBigUint64(0, xxh64(frame.subarray(CHECKSUM_BYTES)), true);
  return frame;
}

const wrongLength = 'is packed data of another length';

/** The content of a frame of `count` blocks, or in words why there is none. Its blocks are not compared with their checksums yet. */
export function unpack(frame: Uint8Array, count: number): Uint8Array | string {
  const wrong = wrongFrame(frame, count);
  if (wrong !== undefined) return wrong;
  try {
    const content = uncompressSync(frame.subarray(FRAME_HEADER_BYTES - 4));
    return content.length === count * BLOCK_BYTES ? content : wrongLength;
  } catch (error) {
    return `is packed data that cannot be unpacked: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function wrongFrame(frame: Uint8Array, count: number): string | undefined {
  if (frame.length <= FRAME_HEADER_BYTES) return 'is too short to be packed data';
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getBigUint64(0, true) !== xxh64(frame.subarray(CHECKSUM_BYTES)))
    return 'is packed data that does not match its checksum';
  if (frame[CHECKSUM_BYTES] !== LZ4) return `is packed in a way that is not known here (${frame[CHECKSUM_BYTES]})`;
  // Before the decompressor makes room for it.
  return view.getUint32(FRAME_HEADER_BYTES - 4, true) === count * BLOCK_BYTES ? undefined : wrongLength;
}

/**
 * Bytes of a record that one of the blocks packed in it stands for, so that all of them together are the record: when a block is
 * written anew, so much of it is dead.
 */
export const shareOf = (bytes: number, part: number, of: number): number =>
  Math.floor(((part + 1) * bytes) / of) - Math.floor((part * bytes) / of);
