import type { CheckpointStore } from '../checkpoint-store.ts';
import type { EngineLimits } from '../limits.ts';
import type { LayerId } from '../log/types.ts';
import { Page } from './page.ts';
import { PageSet } from './page-set.ts';

/** The index of one layer: which pages it has, and the pages themselves as far as they are in memory. */
export interface LayerIndex {
  readonly id: LayerId;
  readonly present: PageSet;
  readonly pages: Map<number, Page>;
  /** Blocks of data and of holes in it. */
  data: number;
  holes: number;
}

const key_bytes = 17;
const pagePrefix = 0x70;

/** Key of a page in the checkpoint: "p", layer and page number, big-endian, so that a layer's pages stand together in order. */
export function pageKey(layer: number, page: number): Uint8Array {
  const key = new Uint8Array(key_bytes);
  const view = new DataView(key.buffer);
  view.setUint8(0, pagePrefix);
  view.setBigUint64(1, BigInt(layer));
  view.setBigUint64(9, BigInt(page));
  return key;
}

export const pageKeyRange = (): { readonly from: Uint8Array; readonly to: Uint8Array } => ({
  from: Uint8Array.of(pagePrefix),
  to: Uint8Array.of(pagePrefix + 1),
});

/** Pages of all layers: a bounded cache over the checkpoint, with what has changed since pinned in memory. */
export class PageTable {
  readonly #store: CheckpointStore;
  readonly #limits: EngineLimits;
  readonly #layers = new Map<LayerId, LayerIndex>();
  /** Cached pages in order of arrival, for eviction with a second chance. */
  #cached = new Map<Page, { readonly layer: LayerIndex; readonly number: number }>();
  readonly #dirty = new Map<Page, { readonly layer: LayerIndex; readonly number: number }>();
  /** Pages that are gone since the last checkpoint: their keys are to be removed. */
  #removed: { readonly layer: LayerId; readonly number: number }[] = [];

  constructor(store: CheckpointStore, limits: EngineLimits) {
    this.#store = store;
    this.#limits = limits;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** Learns which pages the checkpoint has. */
  load(): void {
    const { from, to } = pageKeyRange();
    for (const key of this.#store.keys(from, to)) {
      const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
      this.layer(Number(view.getBigUint64(1)) as LayerId).present.add(Number(view.getBigUint64(9)));
    }
  }

  /** Takes nothing from the checkpoint: its pages are removed by the next one. */
  discard(): void {
    const { from, to } = pageKeyRange();
    for (const key of this.#store.keys(from, to)) {
      const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
      this.#removed.push({ layer: Number(view.getBigUint64(1)) as LayerId, number: Number(view.getBigUint64(9)) });
    }
  }

  layer(id: LayerId): LayerIndex {
    let layer = this.#layers.get(id);
    if (layer === undefined) {
      layer = { id, present: new PageSet(), pages: new Map(), data: 0, holes: 0 };
      this.#layers.set(id, layer);
    }
    return layer;
  }

  layers(): Iterable<LayerIndex> {
    return this.#layers.values();
  }

  /** The page, if the layer has it. */
  get(layer: LayerIndex, number: number): Page | undefined {
    const cached = layer.pages.get(number);
    if (cached !== undefined) {
      cached.used = true;
      return cached;
    }
    if (!layer.present.has(number)) return undefined;
    const bytes = this.#store.get(pageKey(layer.id, number));
    if (bytes === undefined) return undefined;
    const page = Page.decode(bytes);
    this.#keep(layer, number, page);
    return page;
  }

  /** The page, made if the layer does not have it yet. The caller changes it and then calls {@link changed}. */
  make(layer: LayerIndex, number: number): Page {
    const known = this.get(layer, number);
    if (known !== undefined) return known;
    const page = new Page();
    layer.present.add(number);
    this.#keep(layer, number, page);
    return page;
  }

  /** A page was changed: it stays in memory until a checkpoint has it. An empty page goes. */
  changed(layer: LayerIndex, number: number, page: Page): void {
    if (page.empty) return this.remove(layer, number);
    page.dirty = true;
    this.#dirty.set(page, { layer, number });
  }

  remove(layer: LayerIndex, number: number): void {
    const page = layer.pages.get(number);
    if (page !== undefined) {
      this.#cached.delete(page);
      this.#dirty.delete(page);
    }
    layer.pages.delete(number);
    layer.present.delete(number);
    this.#removed.push({ layer: layer.id, number });
  }

  forget(layer: LayerId): void {
    this.#layers.delete(layer);
  }

  /** Takes everything that a checkpoint must write; on failure {@link putBack} returns it. */
  takeChanges(): {
    readonly removed: readonly { readonly layer: LayerId; readonly number: number }[];
    readonly puts: readonly { readonly key: Uint8Array; readonly value?: Uint8Array }[];
    readonly pages: readonly (readonly [Page, { readonly layer: LayerIndex; readonly number: number }])[];
  } {
    const pages = [...this.#dirty];
    this.#dirty.clear();
    const puts: { key: Uint8Array; value?: Uint8Array }[] = this.#removed.map(({ layer, number }) => ({
      key: pageKey(layer, number),
    }));
    const removed = this.#removed;
    this.#removed = [];
    // A page that was removed and made again is written after its removal: the last change of a key counts.
    // One piece of memory for all of them: thousands of small ones would leave the heap full of gaps.
    const sizes = pages.map(([page]) => page.encoded_bytes);
    const values = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    for (const [index, [page, { layer, number }]] of pages.entries()) {
      const value = values.subarray(at, at + sizes[index]!);
      page.encode(value);
      at += value.length;
      puts.push({ key: pageKey(layer.id, number), value });
    }
    return { puts, pages, removed };
  }

  /** The checkpoint failed: what it took is still to be written. */
  putBack(taken: ReturnType<PageTable['takeChanges']>): void {
    this.#removed.push(...taken.removed);
    for (const [page, where] of taken.pages)
      if (where.layer.pages.get(where.number) === page) this.#dirty.set(page, where);
  }

  /** The checkpoint has these pages now: those not changed again may leave memory. */
  settle(pages: readonly (readonly [Page, unknown])[]): void {
    for (const [page] of pages) if (!this.#dirty.has(page)) page.dirty = false;
    this.#evict();
  }

  #keep(layer: LayerIndex, number: number, page: Page): void {
    layer.pages.set(number, page);
    this.#cached.set(page, { layer, number });
    if (this.#cached.size > this.#limits.cachedPages + this.#dirty.size + 64) this.#evict();
  }

  #evict(): void {
    let excess = this.#cached.size - this.#limits.cachedPages - this.#dirty.size;
    if (excess <= 0) return;
    const kept: [Page, { readonly layer: LayerIndex; readonly number: number }][] = [];
    for (const [page, where] of this.#cached) {
      if (excess <= 0) break;
      this.#cached.delete(page);
      if (page.dirty || page.used) {
        page.used = false;
        kept.push([page, where]);
        if (kept.length > 1024) break;
        continue;
      }
      where.layer.pages.delete(where.number);
      excess -= 1;
    }
    for (const [page, where] of kept) this.#cached.set(page, where);
  }
}
