import { xxh64 } from '@node-rs/xxhash';
import { BLOCK_BYTES } from '../port/device.ts';

export const zeroBlock: Uint8Array = new Uint8Array(BLOCK_BYTES);
/** Checksum of a block of zeros: what holes and absent blocks count as in a digest [C8.2]. */
export const zeroSum: bigint = xxh64(zeroBlock);
export const sumOf = (block: Uint8Array): bigint => xxh64(block);
