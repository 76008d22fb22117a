import { describe, expect, it } from 'vitest';
import type { LayerId } from '../log/types.ts';
import { Page } from './page.ts';
import { ResolvedPages, type Storey } from './resolved-pages.ts';

/** Two layers: the upper one has block 1, the lower one blocks 0 and 1. Counts how often it is looked into. */
function stack() {
  const looks = { count: 0 };
  const storey = (id: number, blocks: readonly number[]): Storey => ({
    id: id as LayerId,
    own: Number.POSITIVE_INFINITY,
    page: () => {
      looks.count += 1;
      const page = new Page();
      for (const block of blocks) page.setData(block, id, block * 4096, BigInt(block), id);
      return page;
    },
  });
  return { looks, storeys: [storey(2, [1]), storey(1, [0, 1])] };
}

describe('resolved pages', () => {
  it('are made once, from the top down', () => {
    const { looks, storeys } = stack();
    const pages = new ResolvedPages(4);
    const page = pages.get(storeys, 0)!;
    expect([page.segment[0], page.segment[1], page.isData(2)]).toEqual([1, 2, false]);
    expect(pages.get(storeys, 0)).toBe(page);
    expect(looks.count).toBe(2);
  });

  it('are the same whether the layers are in memory or as a checkpoint has them', () => {
    const layer = (fill: (page: Page) => void): Page => {
      const page = new Page();
      fill(page);
      return page;
    };
    const layers = [
      layer((page) => page.setHole(3, 30)),
      layer((page) => {
        page.setData(1, 7, 4096, 11n, 20);
        page.setData(2, 7, 8192, 12n, 20);
        page.setData(3, 7, 12_288, 13n, 20);
      }),
      layer((page) => {
        for (const part of [0, 1]) page.setPacked(4 + part, 9, 64, 5000, part, 2, BigInt(part), 10);
        page.setData(1, 8, 0, 1n, 9);
        page.setData(200, 8, 4096, 2n, 9);
      }),
    ];
    const stackOf = (form: (page: Page) => Page | Uint8Array): Storey[] =>
      layers.map((page, depth) => ({ id: depth as LayerId, own: depth === 2 ? 100 : 256, page: () => form(page) }));
    const encoded = (page: Page): Uint8Array => {
      const bytes = new Uint8Array(page.encoded_bytes);
      page.encode(bytes);
      return bytes;
    };
    const [plain, packed] = [stackOf((page) => page), stackOf(encoded)].map((storeys) => {
      const page = new ResolvedPages(4).get(storeys, 0)!;
      return [page.segment, page.offset, page.frame, page.part, page.sum, page.sequence, page.data, page.stored_bytes];
    });
    expect(packed).toEqual(plain);
    // Hole, upper one, both of a frame, and what is beyond the size of its own layer.
    expect([3, 1, 5, 200].map((index) => (plain![0] as Uint32Array)[index])).toEqual([0, 7, 9, 0]);
  });

  it('outlive the folding of one of their layers into another, and not that of their newest into one above them', () => {
    const { looks, storeys } = stack();
    const pages = new ResolvedPages(4);
    const page = pages.get(storeys, 0);
    pages.folded(1 as LayerId, 2 as LayerId, 0);
    expect(pages.get(storeys, 0)).toBe(page);
    expect(looks.count).toBe(2);
    pages.folded(2 as LayerId, 3 as LayerId, 0);
    expect(pages.get(storeys, 0)).not.toBe(page);
    expect(looks.count).toBe(4);
  });

  it('go when nobody has asked for any since the last look, and not before', () => {
    const { looks, storeys } = stack();
    const pages = new ResolvedPages(4);
    let begun = 0;
    pages.onKept = () => {
      begun += 1;
    };
    pages.get(storeys, 0);
    pages.get(storeys, 1);
    expect(begun).toBe(1);
    expect(pages.rest()).toBe(true);
    pages.get(storeys, 0);
    expect(pages.rest()).toBe(true);
    expect(looks.count).toBe(4);
    expect(pages.rest()).toBe(false);
    // They are made again, and told of again.
    pages.get(storeys, 0);
    expect([looks.count, begun]).toEqual([6, 2]);
    pages.touched(1 as LayerId, 0);
    expect(pages.rest()).toBe(false);
  });
});
