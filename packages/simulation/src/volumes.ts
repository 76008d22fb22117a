import type { PointId, VolumeId } from '@antipode/base';
import { BLOCK_BYTES, type BlockDevice, type BlockEngine, isBlockError } from '@antipode/blocks';
import { type Image, type OpId, unreadable } from './history.ts';

/** A block's content begins with the mark of the write that it holds, and where it was meant for. */
const mark0 = 0x5a11;
export const markBytes = 12;

/** Bytes of `count` blocks at `at` that hold one write. */
export function marked(mark: OpId, at: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count * BLOCK_BYTES);
  const words = new Uint32Array(bytes.buffer);
  for (let index = 0; index < count; index++) {
    const word = (index * BLOCK_BYTES) / 4;
    words[word] = mark0;
    words[word + 1] = mark;
    words[word + 2] = at + index;
  }
  return bytes;
}

/** A mark that no write has left: these bytes are nobody's. */
const foreign = 0xffffffff;

/** The marks in `bytes`, which lie at block `at` of the volumes laid end to end. */
export function marksIn(bytes: Uint8Array, at: number, into: Image): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let index = 0; index < bytes.length / BLOCK_BYTES; index++) {
    const word = (index * BLOCK_BYTES) / 4;
    const isZero = words[word] === 0 && words[word + 1] === 0;
    into[at + index] = isZero
      ? 0
      : words[word] === mark0 && words[word + 2] === at + index
        ? words[word + 1]!
        : foreign;
  }
}

/**
 * Reads volumes laid end to end, through their heads or a frozen point; blocks that the engine refuses because they are damaged
 * are marked so.
 */
export async function imageOf(
  engine: BlockEngine,
  volumes: readonly VolumeId[],
  blocksEach: number,
  point?: PointId,
): Promise<Image> {
  const image = new Uint32Array(volumes.length * blocksEach);
  const own = new Uint8Array(blocksEach * BLOCK_BYTES);
  for (const [index, volume] of volumes.entries()) {
    const device: BlockDevice = point === undefined ? engine.open(volume) : engine.openPoint(point, volume);
    own.fill(0);
    const size = Math.min(device.size(), own.length);
    const refused = await readWhatCanBe(device, own.subarray(0, size));
    marksIn(own, index * blocksEach, image);
    for (const block of refused) image[index * blocksEach + block] = unreadable;
    device.close();
  }
  return image;
}

/** Reads all of a device; answers the blocks that are damaged. */
async function readWhatCanBe(device: BlockDevice, target: Uint8Array): Promise<readonly number[]> {
  try {
    await device.read(0, target);
    return [];
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  const refused: number[] = [];
  for (let at = 0; at < target.length; at += BLOCK_BYTES) {
    try {
      await device.read(at, target.subarray(at, at + BLOCK_BYTES));
    } catch (error) {
      if (!isDamage(error)) throw error;
      refused.push(at / BLOCK_BYTES);
    }
  }
  return refused;
}

const isDamage = (error: unknown): boolean => isBlockError(error) && error.code === 'corrupt';
