import { type Chain, pagesAt, resolve } from './chain.ts';
import { nextTurn } from './end-of-turn.ts';
import { pageBlocks } from './index/page.ts';
import { unionWithin } from './index/page-set.ts';
import type { PageTable } from './index/page-table.ts';

const pagesATurn = 64;

/**
 * Blocks of an image that read as stored data, each once. The lowest layer's are known from its counter; only pages that a layer
 * above it has are looked at, so the cost follows what changed since.
 */
export async function dataBlocks(chain: Chain, pages: PageTable): Promise<number> {
  const bottom = chain.links.at(-1)!;
  const whole = bottom.limit === bottom.own;
  const looked = (whole ? chain.links.slice(0, -1) : chain.links).map((link) => link.index.present);
  let blocks = whole ? bottom.index.data : 0;
  let seen = 0;
  for (const number of looked.length === 0 ? [] : unionWithin(looked, 0, Number.MAX_SAFE_INTEGER)) {
    const found = pagesAt(chain, number, pages);
    for (let index = 0; index < pageBlocks; index++)
      if (resolve(found, number * pageBlocks + index, index) !== undefined) blocks += 1;
    if (whole) blocks -= pages.get(bottom.index, number)?.data ?? 0;
    if (++seen % pagesATurn === 0) await nextTurn();
  }
  return blocks;
}
