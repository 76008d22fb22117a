import type { PointId, VolumeId } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';

/** An image as a model keeps it: size and the blocks that are not zeros. */
export interface ModelImage {
  size: number;
  readonly blocks: Map<number, Uint8Array>;
}

/** The simplest thing that behaves as an engine should: every image is a map of its own. */
export class ModelEngine {
  readonly heads = new Map<VolumeId, ModelImage>();
  readonly points = new Map<PointId, Map<VolumeId, ModelImage>>();

  create(id: VolumeId, size: number): void {
    this.heads.set(id, { size, blocks: new Map() });
  }

  write(id: VolumeId, offset: number, data: Uint8Array): void {
    const image = this.head(id);
    for (let at = 0; at < data.length; ) {
      const block = Math.floor((offset + at) / BLOCK_BYTES);
      const within = offset + at - block * BLOCK_BYTES;
      const length = Math.min(BLOCK_BYTES - within, data.length - at);
      const bytes = new Uint8Array(image.blocks.get(block) ?? new Uint8Array(BLOCK_BYTES));
      bytes.set(data.subarray(at, at + length), within);
      image.blocks.set(block, bytes);
      at += length;
    }
  }

  freeze(point: PointId, volumes: readonly VolumeId[]): void {
    this.points.set(point, new Map(volumes.map((id) => [id, copyOf(this.head(id))])));
  }

  restore(id: VolumeId, point: PointId, of: VolumeId): void {
    this.heads.set(id, copyOf(this.image(point, of)));
  }

  head(id: VolumeId): ModelImage {
    const image = this.heads.get(id);
    if (image === undefined) throw new Error(`the model has no volume ${id}`);
    return image;
  }

  image(point: PointId, id: VolumeId): ModelImage {
    const image = this.points.get(point)?.get(id);
    if (image === undefined) throw new Error(`the model has no image of ${id} at ${point}`);
    return image;
  }
}

export const copyOf = (image: ModelImage): ModelImage => ({ size: image.size, blocks: new Map(image.blocks) });

/** All bytes of an image. */
export function bytesOf(image: ModelImage): Uint8Array {
  const bytes = new Uint8Array(image.size);
  for (const [block, content] of image.blocks)
    if ((block + 1) * BLOCK_BYTES <= image.size) bytes.set(content, block * BLOCK_BYTES);
  return bytes;
}
