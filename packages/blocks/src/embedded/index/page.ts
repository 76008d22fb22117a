/** Blocks a page: 1 MiB of a volume. */
export const pageBlocks = 256;
const entry_bytes = 24;
const absent = 0;
const hole = 0xffffffff;

export const pageOf = (block: number): number => Math.floor(block / pageBlocks);

/**
 * Where the blocks of one page of one layer are: place, checksum and sequence per block, in typed arrays. Absent: look in the
 * layer below. Hole: stop, it reads as zeros [C1.3].
 */
export class Page {
  readonly segment: Uint32Array;
  readonly offset: Uint32Array;
  /** XXH64 of each block. */
  readonly sum: BigUint64Array;
  readonly sequence: Float64Array;
  /** Differs from the checkpoint. */
  dirty = false;
  /** Used since the cache looked last. */
  used = true;
  data = 0;
  holes = 0;

  constructor() {
    const bytes = new ArrayBuffer(pageBlocks * entry_bytes);
    this.sum = new BigUint64Array(bytes, 0, pageBlocks);
    this.sequence = new Float64Array(bytes, pageBlocks * 8, pageBlocks);
    this.segment = new Uint32Array(bytes, pageBlocks * 16, pageBlocks);
    this.offset = new Uint32Array(bytes, pageBlocks * 20, pageBlocks);
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

  setData(index: number, segment: number, offset: number, sum: bigint, sequence: number): void {
    this.#count(index, -1);
    this.segment[index] = segment;
    this.offset[index] = offset;
    this.sum[index] = sum;
    this.sequence[index] = sequence;
    this.data += 1;
    this.dirty = true;
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
    else if (this.isData(index)) this.data += by;
  }

  /** Bytes for the checkpoint: a count and the entries that are there (docs/formats/checkpoint.md). */
  encode(): Uint8Array {
    const count = this.data + this.holes;
    const bytes = new Uint8Array(2 + count * (entry_bytes + 1));
    const view = new DataView(bytes.buffer);
    view.setUint16(0, count, true);
    let at = 2;
    for (let index = 0; index < pageBlocks; index++) {
      if (this.isAbsent(index)) continue;
      view.setUint8(at, index);
      view.setUint32(at + 1, this.segment[index]!, true);
      view.setUint32(at + 5, this.offset[index]!, true);
      view.setBigUint64(at + 9, this.sum[index]!, true);
      view.setFloat64(at + 17, this.sequence[index]!, true);
      at += entry_bytes + 1;
    }
    return bytes;
  }

  static decode(bytes: Uint8Array): Page {
    const page = new Page();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = view.getUint16(0, true);
    for (let entry = 0, at = 2; entry < count; entry++, at += entry_bytes + 1) {
      const index = view.getUint8(at);
      const segment = view.getUint32(at + 1, true);
      const sequence = view.getFloat64(at + 17, true);
      if (segment === hole) page.setHole(index, sequence);
      else page.setData(index, segment, view.getUint32(at + 5, true), view.getBigUint64(at + 9, true), sequence);
    }
    page.dirty = false;
    return page;
  }
}
