import { assert } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import { ancestry, type Graph } from './graph/graph.ts';
import type { Page } from './index/page.ts';
import type { LayerIndex, PageTable } from './index/page-table.ts';
import type { Storey } from './index/resolved-pages.ts';
import { engineLimits } from './limits.ts';
import type { LayerId } from './log/types.ts';

/** `limit`: the first block that must not be asked for, here or further down; `own`: what it is for the layer by itself. */
export interface Link {
  readonly index: LayerIndex;
  readonly limit: number;
  readonly own: number;
}

/** The stack of layers that an image is read through, top first, each with the first block it must not be asked for [C1.4]. */
export interface Chain {
  readonly size: number;
  readonly links: readonly Link[];
  /** The layers under the top one: frozen, whatever the top one is. */
  readonly below: readonly Storey[];
}

/** Chains by their top layer; forgotten whenever the graph changes. */
export class Chains {
  readonly #graph: Graph;
  readonly #pages: PageTable;
  readonly #known = new Map<LayerId, Chain>();
  /** Links of the chains that are known. */
  #links = 0;
  readonly #storeys = new Map<LayerId, Storey>();

  constructor(graph: Graph, pages: PageTable) {
    this.#graph = graph;
    this.#pages = pages;
  }

  invalidate(): void {
    this.#known.clear();
    this.#links = 0;
    this.#storeys.clear();
  }

  of(top: LayerId): Chain {
    const known = this.#known.get(top);
    if (known !== undefined) return known;
    const links: Link[] = [];
    let limit = Number.POSITIVE_INFINITY;
    let size = -1;
    for (const layer of ancestry(this.#graph, top)) {
      if (size < 0) size = layer.size;
      const own = Math.floor(layer.size / BLOCK_BYTES);
      limit = Math.min(limit, own);
      links.push({ index: this.#pages.layer(layer.id), limit, own });
    }
    assert(size >= 0, `layer ${top} exists`);
    const chain = { size, links, below: links.slice(1).map((link) => this.#storey(link)) };
    // Whoever goes through a history of thousands of images asks for each of them: together their chains are its square.
    if (this.#links + links.length > engineLimits.cachedLinks) {
      this.#known.clear();
      this.#links = 0;
    }
    this.#known.set(top, chain);
    this.#links += links.length;
    return chain;
  }

  #storey({ index, own }: Link): Storey {
    const known = this.#storeys.get(index.id);
    if (known !== undefined) return known;
    const page = (number: number) => this.#pages.look(index, number);
    const storey = { id: index.id, own, page };
    this.#storeys.set(index.id, storey);
    return storey;
  }
}

/** What one block of an image resolves to. */
export interface Resolved {
  readonly page: Page;
  readonly index: number;
}

/** The longest stack of frozen layers that is looked into one by one. */
const shallow = 2;

/**
 * The pages of an image that hold anything of page `number`, top first. Where many frozen layers lie below the top one, what they
 * come to together stands for all of them.
 */
export function pagesAt(
  chain: Chain,
  number: number,
  pages: PageTable,
): { readonly page: Page; readonly limit: number }[] {
  const found: { page: Page; limit: number }[] = [];
  const deep = chain.below.length > shallow;
  const one = deep ? 1 : chain.links.length;
  for (let depth = 0; depth < one; depth++) {
    const { index, limit } = chain.links[depth]!;
    if (!index.present.has(number)) continue;
    const page = pages.get(index, number);
    if (page !== undefined) found.push({ page, limit });
  }
  if (deep) {
    const page = pages.resolved.get(chain.below, number);
    if (page !== undefined) found.push({ page, limit: chain.links[1]!.limit });
  }
  return found;
}

/** The page that decides block `block` of an image, if it reads as data; undefined: zeros. */
export function resolve(
  found: readonly { readonly page: Page; readonly limit: number }[],
  block: number,
  index: number,
): Page | undefined {
  for (const { page, limit } of found) {
    if (block >= limit) return undefined;
    if (page.isAbsent(index)) continue;
    return page.isHole(index) ? undefined : page;
  }
  return undefined;
}
