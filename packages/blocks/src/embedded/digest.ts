import { createHash, hash } from 'node:crypto';
import { BLOCK_BYTES } from '../port/device.ts';
import type { Digest } from '../port/types.ts';
import { type Chain, pagesAt, resolve } from './chain.ts';
import { nextTurn } from './end-of-turn.ts';
import { pageBlocks } from './index/page.ts';
import { unionWithin } from './index/page-set.ts';
import type { PageTable } from './index/page-table.ts';
import type { LayerId } from './log/types.ts';
import { zeroSum } from './zero-block.ts';

/** Pages a group: the middle storey of the tree. */
const groupPages = 256;
const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');

const zeroSums = new BigUint64Array(pageBlocks).fill(zeroSum);
const zeroPage = sha256(new Uint8Array(zeroSums.buffer));

/**
 * Root digests of images [C8.2]: SHA-256 of a page's 256 block checksums, of a group's 256 pages, of size and groups. Zeros are
 * zeros however they came to be. Groups are remembered per frozen layer, and a layer without pages in a group has its parent's,
 * so the cost follows the change.
 */
export class Digests {
  readonly #pages: PageTable;
  readonly #groups = new Map<LayerId, Map<number, Buffer>>();

  constructor(pages: PageTable) {
    this.#pages = pages;
  }

  forget(layer: LayerId): void {
    this.#groups.delete(layer);
  }

  /** Digest of a frozen image. `looked` hears of each group: a large image takes minutes. */
  async root(chain: Chain, looked: () => void = () => undefined): Promise<Digest> {
    const last = Math.ceil(chain.size / BLOCK_BYTES / pageBlocks);
    const sets = chain.links.map((link) => link.index.present);
    const groups = [...new Set(unionWithin(sets, 0, last).map((page) => Math.floor(page / groupPages)))].sort(
      (a, b) => a - b,
    );
    const root = createHash('sha256');
    const head = Buffer.alloc(16);
    head.writeBigUInt64LE(BigInt(chain.size), 0);
    root.update(head.subarray(0, 8));
    for (const group of groups) {
      const digest = this.#group(chain, group, last);
      looked();
      // A group that reads as zeros counts as one that was never written.
      if (digest.equals(zeroGroup)) continue;
      head.writeBigUInt64LE(BigInt(group), 8);
      root.update(head.subarray(8));
      root.update(digest);
      await nextTurn();
    }
    // Whoever asks for thousands of images, with nothing in most of them, holds nobody up.
    if (groups.length === 0) await nextTurn();
    return root.digest('hex');
  }

  /** Digests of `count` pages from `page`, hex. */
  pages(chain: Chain, page: number, count: number): readonly Digest[] {
    return Array.from({ length: count }, (_, index) => this.#page(chain, page + index).toString('hex'));
  }

  #group(chain: Chain, group: number, last: number): Buffer {
    const from = group * groupPages;
    const to = Math.min(from + groupPages, last);
    // The topmost layer with anything here decides, unless a size on the way cuts through the group.
    const owner = chain.links.find(
      ({ index: { present } }) => present.size > 0 && !present.within(from, to).next().done,
    );
    if (owner === undefined) return zeroGroup;
    // Remembered is what the group is when seen from the owner: a size above it that cuts the group further makes another one.
    const bound = (group + 1) * groupPages * pageBlocks;
    const cut = owner.limit < Math.min(owner.own, bound);
    const known = cut ? undefined : this.#groups.get(owner.index.id)?.get(group);
    if (known !== undefined) return known;
    const digests = Buffer.alloc(groupPages * 32);
    for (let page = 0; page < groupPages; page++) {
      const number = from + page;
      (number < to ? this.#page(chain, number) : zeroPage).copy(digests, page * 32);
    }
    const digest = sha256(digests);
    if (!cut) {
      let groups = this.#groups.get(owner.index.id);
      if (groups === undefined) {
        groups = new Map();
        this.#groups.set(owner.index.id, groups);
      }
      groups.set(group, digest);
    }
    return digest;
  }

  #page(chain: Chain, number: number): Buffer {
    const found = pagesAt(chain, number, this.#pages);
    if (found.length === 0) return zeroPage;
    const sums = new BigUint64Array(pageBlocks).fill(zeroSum);
    const first = number * pageBlocks;
    const end = Math.min(pageBlocks, Math.floor(chain.size / BLOCK_BYTES) - first);
    for (let index = 0; index < end; index++) {
      const page = resolve(found, first + index, index);
      if (page !== undefined) sums[index] = page.sum[index]!;
    }
    return sha256(new Uint8Array(sums.buffer));
  }
}

const zeroGroup = sha256(Buffer.concat(Array.from({ length: groupPages }, () => zeroPage)));
