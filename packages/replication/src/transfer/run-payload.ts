import { BLOCK_BYTES, type BlockRun } from '@antipode/blocks';
import type { WireRun } from './protocol.ts';

/** Splits a frame's payload into the runs it announces, or says what does not fit. Sizes are compared before anything is cut. */
export function runsOf(wire: readonly WireRun[], payload: Uint8Array): readonly BlockRun[] | undefined {
  let blocks = 0;
  for (const [, count, zero] of wire) if (zero === 0) blocks += count;
  if (!Number.isSafeInteger(blocks) || payload.length !== blocks * (BLOCK_BYTES + 8)) return undefined;
  let sumAt = 0;
  let at = blocks * 8;
  return wire.map(([block, count, zero]) => {
    if (zero === 1) return { block, count };
    const checksums = payload.subarray(sumAt, sumAt + count * 8);
    const bytes = payload.subarray(at, at + count * BLOCK_BYTES);
    sumAt += count * 8;
    at += count * BLOCK_BYTES;
    return { block, count, payload: bytes, checksums };
  });
}
