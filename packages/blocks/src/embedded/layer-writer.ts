import { assert } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import type { Chain } from './chain.ts';
import { type Page, pageBlocks, pageOf } from './index/page.ts';
import { unionWithin } from './index/page-set.ts';
import type { LayerIndex, PageTable } from './index/page-table.ts';
import type { Place } from './log/types.ts';

/** Live bytes of each segment: what the index still refers to. */
export class LiveBytes {
  readonly #bySegment = new Map<number, number>();

  add(segment: number, bytes: number): void {
    this.#bySegment.set(segment, (this.#bySegment.get(segment) ?? 0) + bytes);
  }

  of(segment: number): number {
    return this.#bySegment.get(segment) ?? 0;
  }

  total(): number {
    let total = 0;
    for (const bytes of this.#bySegment.values()) total += bytes;
    return total;
  }

  forget(segment: number): void {
    this.#bySegment.delete(segment);
  }

  encode(): [number, number][] {
    return [...this.#bySegment];
  }

  load(entries: readonly (readonly [number, number])[]): void {
    for (const [segment, bytes] of entries) this.#bySegment.set(segment, bytes);
  }
}

/** Enters records into the index of a layer, live and at replay alike. An entry with a higher sequence is kept [C6.1]. */
export class LayerWriter {
  readonly #pages: PageTable;
  readonly #live: LiveBytes;

  constructor(pages: PageTable, live: LiveBytes) {
    this.#pages = pages;
    this.#live = live;
  }

  /** `frame`: the blocks are packed in the frame at the place; without, they stand there one after the other. */
  putData(
    layer: LayerIndex,
    block: number,
    count: number,
    place: Place,
    sums: BigUint64Array,
    sequence: number,
    frame?: FramePart,
  ): void {
    for (let at = block; at < block + count; ) {
      const number = pageOf(at);
      const page = this.#pages.make(layer, number);
      const end = Math.min(block + count, (number + 1) * pageBlocks);
      const before = countsOf(page);
      let stored_bytes = 0;
      for (; at < end; at++) {
        const index = at - number * pageBlocks;
        if (page.sequence[index]! > sequence) continue;
        this.#release(page, index);
        setPlace(page, index, place, at - block, frame, sums[at - block]!, sequence);
        stored_bytes += page.bytesOf(index);
      }
      if (stored_bytes > 0) this.#live.add(place.segment, stored_bytes);
      this.#tally(layer, number, page, before);
    }
  }

  /** `chain`: the layer's own, itself first: holes are kept only where something below could show through [C1.3]. */
  putZero(layer: LayerIndex, chain: Chain, block: number, count: number, sequence: number): void {
    assert(chain.links[0]?.index === layer, 'the chain begins with the layer written to');
    const below = chain.links.slice(1);
    const sets = chain.links.map((link) => link.index.present);
    for (const number of unionWithin(sets, pageOf(block), pageOf(block + count - 1) + 1)) {
      const lower = below.some((link) => link.index.present.has(number));
      if (!lower && !layer.present.has(number)) continue;
      const page = this.#pages.make(layer, number);
      const before = countsOf(page);
      const from = Math.max(block, number * pageBlocks) - number * pageBlocks;
      const to = Math.min(block + count, (number + 1) * pageBlocks) - number * pageBlocks;
      for (let index = from; index < to; index++) {
        if (page.sequence[index]! > sequence) continue;
        this.#release(page, index);
        if (lower) page.setHole(index, sequence);
        else page.setAbsent(index);
      }
      this.#tally(layer, number, page, before);
    }
  }

  /** Moves an entry of a layer that is being folded to the one above, unless that has one of its own. */
  foldPage(from: LayerIndex, into: LayerIndex, number: number, keepHoles: boolean): void {
    const lower = this.#pages.get(from, number);
    if (lower === undefined) return this.dropPage(from, number);
    const upper = this.#pages.make(into, number);
    const before = countsOf(upper);
    for (let index = 0; index < pageBlocks; index++) {
      if (lower.isAbsent(index)) continue;
      if (!upper.isAbsent(index)) this.#release(lower, index);
      else if (lower.isData(index)) upper.take(index, lower);
      else if (keepHoles) upper.setHole(index, lower.sequence[index]!);
    }
    count(into, upper, before);
    subtract(from, lower);
    this.#pages.folded(from, into, number, upper);
  }

  /** Gives up a page of a layer that nothing refers to any more. */
  dropPage(layer: LayerIndex, number: number): void {
    const page = this.#pages.get(layer, number);
    if (page !== undefined) {
      for (let index = 0; index < pageBlocks; index++) this.#release(page, index);
      subtract(layer, page);
    }
    this.#pages.remove(layer, number);
  }

  /** A record lies elsewhere now; entries that still are of it follow. `frame`: as in {@link putData}. */
  move(layer: LayerIndex, block: number, count: number, to: Place, sequence: number, frame?: FramePart): void {
    for (let at = block; at < block + count; at++) {
      const number = pageOf(at);
      const page = this.#pages.get(layer, number);
      const index = at - number * pageBlocks;
      if (page === undefined || page.sequence[index] !== sequence || !page.isData(index)) continue;
      this.#pages.changing(page);
      const before = countsOf(page);
      this.#release(page, index);
      setPlace(page, index, to, at - block, frame, page.sum[index]!, sequence);
      this.#live.add(to.segment, page.bytesOf(index));
      this.#tally(layer, number, page, before);
    }
  }

  #release(page: Page, index: number): void {
    if (page.isData(index)) this.#live.add(page.segment[index]!, -page.bytesOf(index));
  }

  #tally(layer: LayerIndex, number: number, page: Page, before: Counts): void {
    count(layer, page, before);
    this.#pages.changed(layer, number, page);
  }
}

/** Blocks packed in a frame of `bytes` bytes and `of` blocks, from its block `part` on. */
export interface FramePart {
  readonly bytes: number;
  readonly part: number;
  readonly of: number;
}

/** All blocks of a frame. */
export const wholeFrame = (bytes: number, of: number): FramePart => ({ bytes, part: 0, of });

type Counts = Pick<LayerIndex, 'data' | 'holes' | 'stored_bytes'>;

const countsOf = ({ data, holes, stored_bytes }: Page): Counts => ({ data, holes, stored_bytes });

function count(layer: LayerIndex, page: Page, before: Counts): void {
  layer.data += page.data - before.data;
  layer.holes += page.holes - before.holes;
  layer.stored_bytes += page.stored_bytes - before.stored_bytes;
}

function subtract(layer: LayerIndex, page: Page): void {
  layer.data -= page.data;
  layer.holes -= page.holes;
  layer.stored_bytes -= page.stored_bytes;
}

/** Block `at` of a record: as it is, or in a frame. */
function setPlace(
  page: Page,
  index: number,
  { segment, offset }: Place,
  at: number,
  frame: FramePart | undefined,
  sum: bigint,
  sequence: number,
): void {
  if (frame !== undefined)
    page.setPacked(index, segment, offset, frame.bytes, frame.part + at, frame.of, sum, sequence);
  else page.setData(index, segment, offset + at * BLOCK_BYTES, sum, sequence);
}
