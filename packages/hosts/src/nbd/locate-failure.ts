import { BLOCK_BYTES, type BlockDevice } from '@antipode/blocks';

/**
 * Finds the first byte of a range that cannot be read: a read of several blocks failed, and the client is better served
 * by the place than by the fact. Reads block by block into `scratch`, whose length is the range's. Returns nothing when
 * every block can be read now.
 */
export async function locateFailure(
  device: BlockDevice,
  offset: number,
  scratch: Uint8Array,
): Promise<number | undefined> {
  const end = offset + scratch.length;
  for (let at = offset; at < end; ) {
    const next = Math.min(end, (Math.floor(at / BLOCK_BYTES) + 1) * BLOCK_BYTES);
    try {
      await device.read(at, scratch.subarray(at - offset, next - offset));
    } catch {
      return at;
    }
    at = next;
  }
  return undefined;
}
