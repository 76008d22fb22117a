import { BLOCK_BYTES } from '../port/device.ts';
import type { Chain } from './chain.ts';
import { candidatesOf, eachChange } from './difference.ts';
import { nextTurn } from './end-of-turn.ts';
import { pageBlocks } from './index/page.ts';
import type { PageTable } from './index/page-table.ts';
import { zeroSum } from './zero-block.ts';

const pagesATurn = 64;
/** Pages looked at beyond the range for where to go on: further ones are named unseen. */
const aheadMost = 4_096;

/**
 * Marks the blocks of a range that two images do not have in common, and answers where to look next. The images are asked for anew in every turn: layers
 * may be folded meanwhile, and what an image holds does not change by that.
 */
export async function changedWithin(
  images: () => { readonly from?: Chain; readonly to: Chain },
  pages: PageTable,
  block: number,
  count: number,
  mark: (block: number) => void,
): Promise<number | undefined> {
  const begin = images();
  const blocks = Math.floor(begin.to.size / BLOCK_BYTES);
  const end = Math.min(block + count, blocks);
  let next: number | undefined;
  const look = (number: number): void => {
    const { from, to } = images();
    eachChange(from, to, pages, number, blocks, (changed, target) => {
      if (changed < block) return;
      // Without a base what was written as zeros counts as never written.
      if (from === undefined && (target === undefined || target.sum[changed % pageBlocks] === zeroSum)) return;
      if (changed < end) mark(changed);
      else next ??= changed;
    });
  };
  const { candidates } = candidatesOf(
    begin.from,
    begin.to,
    Math.floor(block / pageBlocks),
    Math.ceil(blocks / pageBlocks),
  );
  let seen = 0;
  let ahead = 0;
  for (const number of candidates) {
    if (number * pageBlocks >= end && next === undefined && ++ahead > aheadMost) next = number * pageBlocks;
    if (next !== undefined) break;
    look(number);
    if (++seen % pagesATurn === 0) await nextTurn();
  }
  return next;
}
