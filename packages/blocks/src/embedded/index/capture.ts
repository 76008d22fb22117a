import type { LayerId } from '../log/types.ts';
import type { Page } from './page.ts';
import type { LayerIndex } from './page-table.ts';

const key_bytes = 17;
export const pagePrefix = 0x70;
/** Encoded pages lie together in pieces of this size: thousands of small ones would leave the heap full of gaps. */
const slab_bytes = 1024 * 1024;

/** Key of a page in the checkpoint: "p", layer and page number, big-endian, so that a layer's pages stand together in order. */
export function pageKey(layer: number, page: number): Uint8Array {
  const key = new Uint8Array(key_bytes);
  const view = new DataView(key.buffer);
  view.setUint8(0, pagePrefix);
  view.setBigUint64(1, BigInt(layer));
  view.setBigUint64(9, BigInt(page));
  return key;
}

type Where = { readonly layer: LayerIndex; readonly number: number };

/** What a checkpoint writes of the index: pages as they were at one moment, though they are encoded by and by. */
export class Capture {
  readonly pages: readonly (readonly [Page, Where])[];
  readonly removed: readonly { readonly layer: LayerId; readonly number: number }[];
  readonly #waiting: Map<Page, Where>;
  readonly #puts: { key: Uint8Array; value?: Uint8Array }[];
  #slab = new Uint8Array(0);
  #used = 0;

  constructor(
    pages: readonly (readonly [Page, Where])[],
    removed: readonly { readonly layer: LayerId; readonly number: number }[],
  ) {
    this.pages = pages;
    this.removed = removed;
    this.#waiting = new Map(pages);
    // A page that was removed and made again is written after its removal: the last change of a key counts.
    this.#puts = removed.map(({ layer, number }) => ({ key: pageKey(layer, number) }));
  }

  /** Encodes up to `most` further pages; false when none is left. */
  encodeSome(most: number): boolean {
    let left = most;
    for (const page of this.#waiting.keys()) {
      if (left-- === 0) return true;
      this.encodeNow(page);
    }
    return false;
  }

  /** Encodes a page if that has not been done: its content is still that of the moment. */
  encodeNow(page: Page): void {
    const where = this.#waiting.get(page);
    if (where === undefined) return;
    this.#waiting.delete(page);
    const value = this.#room(page.encoded_bytes);
    page.encode(value);
    this.#puts.push({ key: pageKey(where.layer.id, where.number), value });
  }

  /** All that is to be stored; complete once {@link encodeSome} has said so. */
  get puts(): readonly { readonly key: Uint8Array; readonly value?: Uint8Array }[] {
    return this.#puts;
  }

  #room(bytes: number): Uint8Array {
    if (this.#used + bytes > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(slab_bytes, bytes));
      this.#used = 0;
    }
    this.#used += bytes;
    return this.#slab.subarray(this.#used - bytes, this.#used);
  }
}
