import { BLOCK_BYTES } from '../port/device.ts';
import type { Difference } from '../port/engine.ts';
import type { DiffExtent, DifferenceSummary } from '../port/types.ts';
import { type Chain, pagesAt, resolve } from './chain.ts';
import { nextTurn } from './end-of-turn.ts';
import { type Page, pageBlocks } from './index/page.ts';
import { unionWithin } from './index/page-set.ts';
import type { PageTable } from './index/page-table.ts';
import { engineLimits } from './limits.ts';

const pagesATurn = 64;

/**
 * What turns image `from` into image `to` [C1.2]: candidates are the pages of any layer on one of the two chains and not on the
 * other; each of their blocks is compared by what it resolves to. Without a common ancestor that is every page of `to`.
 */
export async function differenceOf(from: Chain | undefined, to: Chain, pages: PageTable): Promise<Difference> {
  const blocks = Math.floor(to.size / BLOCK_BYTES);
  const { candidates, whole } = candidatesOf(from, to, 0, Math.ceil(blocks / pageBlocks));
  let data_blocks = 0;
  let zero_blocks = 0;
  let seen = 0;
  for (const number of candidates) {
    for (const extent of extentsOfPage(from, to, pages, number, blocks)) {
      if (extent.kind === 'data') data_blocks += extent.count;
      else zero_blocks += extent.count;
    }
    if (++seen % pagesATurn === 0) await nextTurn();
  }
  // A cycle asks for one after the other, thousands of them perhaps, with nothing in most.
  if (seen < pagesATurn) await nextTurn();
  const summary: DifferenceSummary = {
    to_size: to.size,
    whole,
    data_blocks,
    zero_blocks,
    ...(from && { from_size: from.size }),
  };
  return {
    summary,
    async *extents(fromBlock) {
      let held: DiffExtent | undefined;
      let turn = 0;
      for (const number of candidates) {
        if ((number + 1) * pageBlocks <= fromBlock) continue;
        if (++turn % pagesATurn === 0) await nextTurn();
        for (const extent of extentsOfPage(from, to, pages, number, blocks)) {
          const clipped = clip(extent, fromBlock);
          if (clipped === undefined) continue;
          // Merged only within bounds that do not depend on where anything lies [C3.5].
          const joins =
            held !== undefined &&
            held.kind === clipped.kind &&
            held.block + held.count === clipped.block &&
            clipped.block % engineLimits.extentBlocks !== 0;
          if (joins) held = { ...held!, count: held!.count + clipped.count };
          else {
            if (held !== undefined) yield held;
            held = clipped;
          }
        }
      }
      if (held !== undefined) yield held;
    },
  };
}

function clip(extent: DiffExtent, fromBlock: number): DiffExtent | undefined {
  if (extent.block >= fromBlock) return extent;
  const cut = fromBlock - extent.block;
  return cut >= extent.count ? undefined : { ...extent, block: fromBlock, count: extent.count - cut };
}

/** Pages that may differ within `[firstPage, endPage)`: those that a layer on one of the two chains and not on the other has. */
export function candidatesOf(
  from: Chain | undefined,
  to: Chain,
  firstPage: number,
  endPage: number,
): { readonly candidates: readonly number[]; readonly whole: boolean } {
  const above = from === undefined ? -1 : descent(from, to);
  if (above >= 0) {
    const sets = to.links.slice(0, above).map((link) => link.index.present);
    return { candidates: unionWithin(sets, firstPage, endPage), whole: false };
  }
  const ofFrom = new Set(from?.links.map((link) => link.index));
  const ofTo = new Set(to.links.map((link) => link.index));
  const common = to.links.some((link) => ofFrom.has(link.index));
  const differing = [
    ...to.links.filter((link) => !ofFrom.has(link.index)),
    ...(from?.links.filter((link) => !ofTo.has(link.index)) ?? []),
  ];
  // A size that shrank and grew again on one way hides what lies below on that way only [C1.4].
  const shared =
    common && from !== undefined && limitsDiffer(from, to) ? to.links.filter((link) => ofFrom.has(link.index)) : [];
  const sets = [...differing, ...shared].map((link) => link.index.present);
  return { candidates: unionWithin(sets, firstPage, endPage), whole: !common };
}

/**
 * How many layers of `to` stand on `from`, -1 if they do not or with another limit: below the same layer and the same limit the two
 * stacks are one. The usual case, and its cost does not grow with the length of the history.
 */
function descent(from: Chain, to: Chain): number {
  const [top] = from.links;
  const above = to.links.findIndex(({ index }) => index === top!.index);
  return above >= 0 && to.links[above]!.limit === top!.limit ? above : -1;
}

function limitsDiffer(from: Chain, to: Chain): boolean {
  const limits = new Map(from.links.map((link) => [link.index, link.limit]));
  return to.links.some((link) => limits.has(link.index) && limits.get(link.index) !== link.limit);
}

/** Calls for every block of a page that the two images do not have in common; `target`: the page that decides it, if it is data. */
export function eachChange(
  from: Chain | undefined,
  to: Chain,
  pages: PageTable,
  number: number,
  blocks: number,
  visit: (block: number, target: Page | undefined) => void,
): void {
  const before = from === undefined ? [] : pagesAt(from, number, pages);
  const after = pagesAt(to, number, pages);
  const fromBlocks = from === undefined ? 0 : Math.floor(from.size / BLOCK_BYTES);
  const first = number * pageBlocks;
  const end = Math.min(first + pageBlocks, blocks);
  for (let block = first; block < end; block++) {
    const index = block - first;
    const target = resolve(after, block, index);
    const source = block < fromBlocks ? resolve(before, block, index) : undefined;
    // The same record, or zeros on both sides: equal. Sequences name records.
    if (
      target === source ||
      (target !== undefined && source !== undefined && target.sequence[index] === source.sequence[index])
    )
      continue;
    visit(block, target);
  }
}

/** Extents of one page by ascending block. */
function extentsOfPage(
  from: Chain | undefined,
  to: Chain,
  pages: PageTable,
  number: number,
  blocks: number,
): DiffExtent[] {
  const extents: { kind: 'data' | 'zero'; block: number; count: number }[] = [];
  eachChange(from, to, pages, number, blocks, (block, target) => {
    const kind = target === undefined ? 'zero' : 'data';
    const last = extents.at(-1);
    if (last !== undefined && last.kind === kind && last.block + last.count === block) last.count += 1;
    else extents.push({ kind, block, count: 1 });
  });
  return extents;
}
