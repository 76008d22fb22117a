import { RestError, VolumeComputeDifferences } from '@antipode/contract';
import type { Static } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { VolumeDocument, VolumePrivate } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { type Handlers, handler } from '../rest/handlers.ts';

/** One bitmap has 4 KiB at most. */
const chunksMost = 32 * 1024;

/** What changed between two snapshots of a volume, straight from the layers: what backup programs ask for. */
export const changedBlocksHandlers = (catalog: Catalog, dataPlane: Pick<DataPlane, 'changedChunks'>): Handlers => ({
  'volume.compute_differences': handler(VolumeComputeDifferences, async (_, id, body) => {
    const snapshot = imageOf(catalog, id);
    const base = body.base_snapshot_id == null ? undefined : imageOf(catalog, body.base_snapshot_id);
    if (base !== undefined && base.of !== snapshot.of)
      throw new RestError('not_in_family', base.name, `a snapshot of the same volume as ${snapshot.name}`);
    const range = rangeOf(body, snapshot.size);
    const { bitmap, next } = await dataPlane.changedChunks({
      volume: snapshot.of,
      ...(base !== undefined && { from: base.point }),
      to: snapshot.point,
      ...range,
    });
    return { chunk_bitmap: bitmap, next_offset: next === undefined || next >= snapshot.size ? -1 : next };
  }),
});

function imageOf(
  catalog: Catalog,
  id: string,
): { readonly name: string; readonly size: number; readonly point: string; readonly of: string } {
  const volume: VolumeDocument | undefined = catalog.get('volume', id);
  if (volume === undefined) throw new RestError('volume_not_found', id);
  const { point, of } = catalog.private<VolumePrivate>('volume', id) ?? {};
  if (volume.type !== 'Snapshot' || point === undefined || of === undefined)
    throw new RestError('not_for_this_type', volume.type, 'differences are between snapshots');
  return { name: volume.name, size: volume.size, point, of };
}

/** The range that is asked for; a wrong one is refused, and what is wrong with it is said. */
function rangeOf(
  body: Static<typeof VolumeComputeDifferences>,
  size: number,
): { readonly offset: number; readonly length: number; readonly chunk: number } {
  const { offset = 0, chunk_size: chunk, length } = body;
  const wrong = (property: string, why: string) => new RestError('schema_violation', `/${property}`, why);
  if (!Number.isInteger(Math.log2(chunk))) throw wrong('chunk_size', 'it is a power of two');
  if (offset % chunk !== 0) throw wrong('offset', `it is a multiple of chunk_size, ${chunk}`);
  if (length % chunk !== 0) throw wrong('length', `it is a multiple of chunk_size, ${chunk}`);
  if (offset + length > size) throw wrong('length', `the range ends beyond the snapshot, which has ${size} bytes`);
  const chunks = length / chunk;
  if (chunks > chunksMost) throw wrong('length', `it is at most ${chunksMost} chunks, not ${chunks}`);
  // The last piece of a volume may be shorter.
  if (chunks % 8 !== 0 && offset + length !== size) throw wrong('length', `it is a multiple of eight chunks`);
  return { offset, length, chunk };
}
