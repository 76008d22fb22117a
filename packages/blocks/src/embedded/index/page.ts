import { BLOCK_BYTES } from '../../port/device.ts';
import { shareOf } from '../log/frame.ts';
import { packedBytes } from '../log/record-format.ts';
import { frame_bytes, hole, isFrame, run_bytes, runsIn, sum_bytes } from './encoded-page.ts';
import type { OpenBlocks } from './open-blocks.ts';

/** Blocks a page: 1 MiB of a volume. */
export const pageBlocks = 256;
/** Memory for one block. */
const entry_bytes = 27;
const absent = 0;

const page_bytes = pageBlocks * entry_bytes;
/**
 * Pages are cut from slabs, which are large enough that the allocator gives them back to the system: pages of their own,
 * strewn over the heap by a busy time, would keep all of it.
 */
const slabPages = 64;
let slab = new ArrayBuffer(0);
let used_bytes = 0;

function room(): { readonly slab: ArrayBuffer; readonly at: number } {
  if (used_bytes === slab.byteLength) {
    slab = new ArrayBuffer(slabPages * page_bytes);
    used_bytes = 0;
  }
  used_bytes += page_bytes;
  return { slab, at: used_bytes - page_bytes };
}

export const pageOf = (block: number): number => Math.floor(block / pageBlocks);

/**
 * Where the blocks of one page of one layer are: place, checksum and sequence per block, in typed arrays. Absent: look in the
 * layer below. Hole: stop, it reads as zeros [C1.3]. A block that is packed together with others has the place of their frame.
 */
export class Page {
  readonly segment: Uint32Array;
  readonly offset: Uint32Array;
  /** Bytes of the frame that the block is packed in; 0: it stands at its place as it is. */
  readonly frame: Uint16Array;
  /** Which block of its frame it is, times 16, and how many blocks the frame has, less one. */
  readonly part: Uint8Array;
  /** XXH64 of each block. */
  readonly sum: BigUint64Array;
  readonly sequence: Float64Array;
  /** Differs from the checkpoint. */
  dirty = false;
  /** Used since the cache looked last. */
  used = true;
  data = 0;
  holes = 0;
  /** Bytes that its blocks of data take in the log. */
  stored_bytes = 0;

  constructor() {
    const { slab, at } = room();
    this.sum = new BigUint64Array(slab, at, pageBlocks);
    this.sequence = new Float64Array(slab, at + pageBlocks * 8, pageBlocks);
    this.segment = new Uint32Array(slab, at + pageBlocks * 16, pageBlocks);
    this.offset = new Uint32Array(slab, at + pageBlocks * 20, pageBlocks);
    this.frame = new Uint16Array(slab, at + pageBlocks * 24, pageBlocks);
    this.part = new Uint8Array(slab, at + pageBlocks * 26, pageBlocks);
  }

  isAbsent(index: number): boolean {
    return this.segment[index] === absent;
  }

  isHole(index: number): boolean {
    return this.segment[index] === hole;
  }

  isData(index: number): boolean {
    const segment = this.segment[index]!;
    return segment !== absent && segment !== hole;
  }

  get empty(): boolean {
    return this.data === 0 && this.holes === 0;
  }

  /** Which of the blocks of its frame a packed block is, and how many those are. */
  partOf(index: number): { readonly part: number; readonly of: number } {
    return { part: this.part[index]! >> 4, of: (this.part[index]! & 15) + 1 };
  }

  /** Bytes that a block of data takes in the log: its share, if it is packed. */
  bytesOf(index: number): number {
    const frame = this.frame[index]!;
    if (frame === 0) return BLOCK_BYTES;
    const { part, of } = this.partOf(index);
    return shareOf(packedBytes(frame, of), part, of);
  }

  setData(index: number, segment: number, offset: number, sum: bigint, sequence: number): void {
    this.#count(index, -1);
    this.segment[index] = segment;
    this.offset[index] = offset;
    this.frame[index] = 0;
    this.sum[index] = sum;
    this.sequence[index] = sequence;
    this.#count(index, 1);
    this.dirty = true;
  }

  /** Block `part` of `of` in the frame at this place. */
  setPacked(
    index: number,
    segment: number,
    offset: number,
    frame_bytes: number,
    part: number,
    of: number,
    sum: bigint,
    sequence: number,
  ): void {
    this.#count(index, -1);
    this.segment[index] = segment;
    this.offset[index] = offset;
    this.frame[index] = frame_bytes;
    this.part[index] = (part << 4) | (of - 1);
    this.sum[index] = sum;
    this.sequence[index] = sequence;
    this.#count(index, 1);
    this.dirty = true;
  }

  /** Takes over what another page says of a block of data. */
  take(index: number, from: Page): void {
    this.#count(index, -1);
    this.segment[index] = from.segment[index]!;
    this.offset[index] = from.offset[index]!;
    this.frame[index] = from.frame[index]!;
    this.part[index] = from.part[index]!;
    this.sum[index] = from.sum[index]!;
    this.sequence[index] = from.sequence[index]!;
    this.#count(index, 1);
    this.dirty = true;
  }

  /** Takes over what a page says of open blocks, and closes them; a hole stays absent here. */
  takeOpen(from: Page, open: OpenBlocks): void {
    for (let index = 0; index < pageBlocks; index++) {
      if (!open.has(index) || from.isAbsent(index)) continue;
      open.close(index);
      if (from.isData(index)) this.take(index, from);
    }
  }

  /** The same of a page as {@link encode} made it. */
  takeOpenEncoded(bytes: Uint8Array, open: OpenBlocks): void {
    for (const run of runsIn(bytes)) {
      for (let index = run.index; index < run.end; index++) {
        if (!open.has(index)) continue;
        open.close(index);
        if (run.segment === hole) continue;
        const at = index - run.index;
        const sum = run.sumOf(at);
        if (run.frame === 0) this.setData(index, run.segment, run.offset + at * BLOCK_BYTES, sum, run.sequence);
        else {
          const of = (run.part & 15) + 1;
          this.setPacked(index, run.segment, run.offset, run.frame, (run.part >> 4) + at, of, sum, run.sequence);
        }
      }
    }
  }

  setHole(index: number, sequence: number): void {
    this.#count(index, -1);
    this.segment[index] = hole;
    this.sequence[index] = sequence;
    this.holes += 1;
    this.dirty = true;
  }

  setAbsent(index: number): void {
    this.#count(index, -1);
    this.segment[index] = absent;
    this.sequence[index] = 0;
    this.dirty = true;
  }

  #count(index: number, by: number): void {
    if (this.isHole(index)) this.holes += by;
    else if (this.isData(index)) {
      this.data += by;
      this.stored_bytes += by * this.bytesOf(index);
    }
  }

  /** Bytes that {@link encode} needs. */
  get encoded_bytes(): number {
    let bytes = 2 + this.data * sum_bytes;
    for (let index = 0; index < pageBlocks; index = this.#runEnd(index)) {
      if (this.isAbsent(index)) continue;
      bytes += this.#isPacked(index) ? run_bytes + frame_bytes : run_bytes;
    }
    return bytes;
  }

  /** For the checkpoint: what lies together in the log is one run (docs/formats/checkpoint.md). */
  encode(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let runs = 0;
    let at = 2;
    for (let index = 0, end = 0; index < pageBlocks; index = end) {
      end = this.#runEnd(index);
      if (this.isAbsent(index)) continue;
      runs += 1;
      view.setUint8(at, index);
      view.setUint8(at + 1, end - index - 1);
      const packed = this.#isPacked(index);
      view.setUint32(at + 2, packed ? (this.segment[index]! | isFrame) >>> 0 : this.segment[index]!, true);
      view.setUint32(at + 6, this.offset[index]!, true);
      view.setFloat64(at + 10, this.sequence[index]!, true);
      at += run_bytes;
      if (packed) {
        view.setUint16(at, this.frame[index]!, true);
        view.setUint8(at + 2, this.part[index]!);
        at += frame_bytes;
      }
      if (this.isHole(index)) continue;
      for (let block = index; block < end; block++, at += sum_bytes) view.setBigUint64(at, this.sum[block]!, true);
    }
    view.setUint16(0, runs, true);
  }

  static decode(bytes: Uint8Array): Page {
    const page = new Page();
    for (const { index, end, segment, offset, sequence, frame, part, sumOf } of runsIn(bytes)) {
      page.segment.fill(segment, index, end);
      page.sequence.fill(sequence, index, end);
      if (segment === hole) {
        page.holes += end - index;
        continue;
      }
      page.data += end - index;
      for (let block = index; block < end; block++) {
        const at = block - index;
        page.offset[block] = frame === 0 ? offset + at * BLOCK_BYTES : offset;
        page.frame[block] = frame;
        page.part[block] = frame === 0 ? 0 : part + (at << 4);
        page.sum[block] = sumOf(at);
        page.stored_bytes += page.bytesOf(block);
      }
    }
    return page;
  }

  #isPacked(index: number): boolean {
    return this.isData(index) && this.frame[index] !== 0;
  }

  /** Where the run that begins at a block ends: blocks of one record next to each other, or holes of one, or absent ones. */
  #runEnd(start: number): number {
    const segment = this.segment[start];
    const sequence = this.sequence[start];
    if (this.#isPacked(start)) return this.#frameEnd(start);
    const step = this.isData(start) ? BLOCK_BYTES : 0;
    let end = start + 1;
    while (
      end < pageBlocks &&
      this.segment[end] === segment &&
      this.sequence[end] === sequence &&
      (step === 0 || (this.frame[end] === 0 && this.offset[end] === this.offset[start]! + (end - start) * step))
    )
      end += 1;
    return end;
  }

  #frameEnd(start: number): number {
    let end = start + 1;
    while (
      end < pageBlocks &&
      this.segment[end] === this.segment[start] &&
      this.offset[end] === this.offset[start] &&
      this.sequence[end] === this.sequence[start] &&
      this.frame[end] === this.frame[start] &&
      this.part[end] === this.part[start]! + ((end - start) << 4)
    )
      end += 1;
    return end;
  }
}
