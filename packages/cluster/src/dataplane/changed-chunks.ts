import { pointId, volumeId } from '@antipode/base';
import { BLOCK_BYTES, type BlockEngine } from '@antipode/blocks';
import type { ChunkBitmap, ChunkRange } from '../local/api.ts';

/** Chunk n of the range is bit n % 8 of byte n / 8, the lowest bit first: set where the chunk differs. */
export async function changedChunks(engine: BlockEngine, range: ChunkRange): Promise<ChunkBitmap> {
  const { volume, from, to, offset, length, chunk } = range;
  const bitmap = new Uint8Array(Math.ceil(length / chunk / 8));
  const mark = (byte: number): void => {
    const index = Math.floor((byte - offset) / chunk);
    if (index >= 0 && index * chunk < length) bitmap[index >> 3]! |= 1 << (index & 7);
  };
  const first = Math.floor(offset / BLOCK_BYTES);
  const end = Math.ceil((offset + length) / BLOCK_BYTES);
  const next = await engine.changedWithin(
    volumeId(volume),
    from === undefined ? undefined : pointId(from),
    pointId(to),
    first,
    end - first,
    (block) => {
      // Chunks smaller than a block change with their block.
      for (let at = block * BLOCK_BYTES; at < (block + 1) * BLOCK_BYTES; at += chunk) mark(at);
    },
  );
  const here =
    next === undefined ? undefined : Math.max(offset + length, Math.floor((next * BLOCK_BYTES) / chunk) * chunk);
  return { bitmap: Buffer.from(bitmap).toString('base64'), ...(here !== undefined && { next: here }) };
}
