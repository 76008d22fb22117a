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
