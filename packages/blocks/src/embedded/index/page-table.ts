import { assert } from '@antipode/base';
import type { CheckpointStore } from '../checkpoint-store.ts';
import type { EngineLimits } from '../limits.ts';
import type { LayerId } from '../log/types.ts';
import { Capture, pageKey, pagePrefix } from './capture.ts';
import { Page } from './page.ts';
import { PageSet } from './page-set.ts';
import { ResolvedPages } from './resolved-pages.ts';

/** The index of one layer: which pages it has, and the pages themselves as far as they are in memory. */
export interface LayerIndex {
  readonly id: LayerId;
  readonly present: PageSet;
  readonly pages: Map<number, Page>;
  /** Blocks of data and of holes in it. */
  data: number;
  holes: number;
  /** Bytes that its blocks of data take in the log. */
  stored_bytes: number;
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
  /** What the checkpoint under way has taken. */
  #capture: Capture | undefined;

  /** What deep stacks of frozen layers come to. */
  readonly resolved: ResolvedPages;

  constructor(store: CheckpointStore, limits: EngineLimits) {
    this.#store = store;
    this.#limits = limits;
    this.resolved = new ResolvedPages(limits.resolvedPages);
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
      layer = { id, present: new PageSet(), pages: new Map(), data: 0, holes: 0, stored_bytes: 0 };
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

  /** The page as it is at hand: in memory, or else as the checkpoint has it. For who looks into many of them once. */
  look(layer: LayerIndex, number: number): Page | Uint8Array | undefined {
    const cached = layer.pages.get(number);
    if (cached !== undefined) return cached;
    return layer.present.has(number) ? this.#store.get(pageKey(layer.id, number)) : undefined;
  }

  /** The page is about to be changed, by whoever got it from {@link get}. */
  changing(page: Page): void {
    this.#capture?.encodeNow(page);
  }

  /** The page, made if the layer does not have it yet. The caller changes it and then calls {@link changed}. */
  make(layer: LayerIndex, number: number): Page {
    const known = this.get(layer, number);
    if (known !== undefined) {
      this.changing(known);
      return known;
    }
    const page = new Page();
    layer.present.add(number);
    this.#keep(layer, number, page);
    return page;
  }

  /** A page was changed: it stays in memory until a checkpoint has it. An empty page goes. */
  changed(layer: LayerIndex, number: number, page: Page): void {
    if (page.empty) return this.remove(layer, number);
    this.resolved.touched(layer.id, number);
    this.#change(layer, number, page);
  }

  remove(layer: LayerIndex, number: number): void {
    this.resolved.touched(layer.id, number);
    this.#remove(layer, number);
  }

  /** All that `from` has of a page is in the page of `into`, the layer above it, which was changed for that. */
  folded(from: LayerIndex, into: LayerIndex, number: number, page: Page): void {
    this.resolved.folded(from.id, into.id, number);
    if (page.empty) this.#remove(into, number);
    else this.#change(into, number, page);
    this.#remove(from, number);
  }

  #change(layer: LayerIndex, number: number, page: Page): void {
    page.dirty = true;
    if (!this.#dirty.has(page)) this.#dirty.set(page, { layer, number });
  }

  #remove(layer: LayerIndex, number: number): void {
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

  /**
   * Takes everything that a checkpoint must write, as it is now; on failure {@link putBack} returns it. Encoding comes in pieces
   * afterwards: a page that is about to change before its turn is encoded first.
   */
  takeChanges(): Capture {
    assert(this.#capture === undefined, 'one checkpoint at a time');
    const pages = [...this.#dirty];
    this.#dirty.clear();
    const removed = this.#removed;
    this.#removed = [];
    this.#capture = new Capture(pages, removed);
    return this.#capture;
  }

  /** The checkpoint failed: what it took is still to be written. */
  putBack(taken: Capture): void {
    this.#capture = undefined;
    this.#removed.push(...taken.removed);
    for (const [page, where] of taken.pages)
      if (where.layer.pages.get(where.number) === page) this.#dirty.set(page, where);
  }

  /** The checkpoint has these pages now: those not changed again may leave memory. */
  settle(taken: Capture): void {
    this.#capture = undefined;
    for (const [page] of taken.pages) if (!this.#dirty.has(page)) page.dirty = false;
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
