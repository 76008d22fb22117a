import type { VolumeId } from '@antipode/base';
import { expect } from 'vitest';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockEngine, BlockRun } from '../port/engine.ts';

/**
 * Everything frozen of a unit goes over, as the data planes do it; answers the bytes of its runs. Stops between two calls once it is no
 * longer `alive`, which hears how many runs are there.
 */
export async function shipImages(
  { move, volumes }: { readonly move: string; readonly volumes: readonly VolumeId[] },
  { moving: source }: BlockEngine,
  { moving: destination }: BlockEngine,
  alive: (runs: number) => boolean = () => true,
): Promise<number> {
  let bytes = 0;
  let runs = 0;
  for (const image of await source.images(volumes)) {
    if (!alive(runs)) return bytes;
    const { next, complete } = await destination.openImage(move, image);
    if (complete) continue;
    const difference = await source.imageDifference(image.parent, image.image);
    for await (const { kind, block, count } of difference.extents(next)) {
      if (!alive(runs)) return bytes;
      const payload = new Uint8Array(count * BLOCK_BYTES);
      const checksums = new Uint8Array(count * 8);
      if (kind === 'data') await source.readImage(image.image, block, count, payload, checksums);
      if (!alive(runs)) return bytes;
      const run: BlockRun = { block, count, ...(kind === 'data' && { payload, checksums }) };
      await destination.writeImage(move, image.image, [run]);
      if (!alive(runs)) return bytes;
      await destination.syncImage(move, image.image, block + count);
      bytes += payload.length;
      runs += 1;
    }
    if (!alive(runs)) return bytes;
    const digest = await destination.closeImage(move, image.image);
    expect(digest).toBe(await source.imageDigest(image.image));
    if (!alive(runs)) return bytes;
    expect(await destination.proveImage(move, image.image, digest)).toMatchObject({ complete: true });
  }
  return bytes;
}
