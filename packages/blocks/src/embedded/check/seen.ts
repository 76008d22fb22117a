import type { PointId, VolumeId } from '@antipode/base';
import { BLOCK_BYTES } from '../../port/device.ts';
import type { DamagedRange } from '../../port/types.ts';
import type { Chain } from '../chain.ts';
import type { EngineCore } from '../core.ts';
import { pageBlocks, pageOf } from '../index/page.ts';
import type { LayerId } from '../log/types.ts';

/** What somebody can look at: a head, or a volume at a point. */
interface Image {
  readonly volume: VolumeId;
  readonly name: string;
  readonly point?: { readonly id: PointId; readonly name: string };
  readonly layer: LayerId;
}

function imagesOf(core: EngineCore): readonly Image[] {
  const { graph } = core;
  const nameOf = (id: VolumeId) => graph.volumes.get(id)?.name ?? id;
  const heads = [...graph.volumes.values()].map(({ id, name, top }) => ({ volume: id, name, layer: top }));
  const points = [...graph.points.values()].flatMap(({ id, tag, members }) =>
    members.map(({ volume, layer }) => ({
      volume,
      name: nameOf(volume),
      layer,
      point: { id, name: typeof tag.name === 'string' ? tag.name : id },
    })),
  );
  return [...heads, ...points];
}

/** Whether a block of an image is decided by the entry that a layer has for it. */
function shows(core: EngineCore, chain: Chain, layer: LayerId, block: number): boolean {
  const number = pageOf(block);
  const index = block - number * pageBlocks;
  for (const link of chain.links) {
    if (block >= link.limit) return false;
    if (link.index.id === layer) return true;
    const page = link.index.present.has(number) ? core.pages.get(link.index, number) : undefined;
    if (page !== undefined && !page.isAbsent(index)) return false;
  }
  return false;
}

/** Where blocks of a layer, ascending, are seen: by volume, ranges as long as the same images show all of it. */
export function whoSees(core: EngineCore, layer: LayerId, blocks: readonly number[]): readonly DamagedRange[] {
  const images = imagesOf(core).map((image) => ({ ...image, chain: core.chains.of(image.layer) }));
  const concerned = images.filter(({ chain }) => chain.links.some((link) => link.index.id === layer));
  const found = new Map<VolumeId, (DamagedRange & { length: number })[]>();
  for (const block of blocks) {
    const now = new Map<VolumeId, { name: string; head: boolean; points: { id: PointId; name: string }[] }>();
    for (const { volume, name, point, chain } of concerned) {
      if (!shows(core, chain, layer, block)) continue;
      const seen = now.get(volume) ?? { name, head: false, points: [] };
      now.set(volume, seen);
      if (point === undefined) seen.head = true;
      else seen.points.push(point);
    }
    for (const [volume, seen] of now) {
      const ranges = found.get(volume) ?? [];
      found.set(volume, ranges);
      const last = ranges.at(-1);
      const offset = block * BLOCK_BYTES;
      const joins = last !== undefined && last.offset + last.length === offset && sameImages(last, seen);
      if (joins) last.length += BLOCK_BYTES;
      else ranges.push({ volume, offset, length: BLOCK_BYTES, ...seen });
    }
  }
  return [...found.values()].flat();
}

const sameImages = (a: Pick<DamagedRange, 'head' | 'points'>, b: Pick<DamagedRange, 'head' | 'points'>): boolean =>
  a.head === b.head &&
  a.points.length === b.points.length &&
  a.points.every(({ id }, index) => id === b.points[index]?.id);
