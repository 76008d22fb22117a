import { assert } from '@antipode/base';

/** Bytes of one segment that are in memory: those not durable, and what shares a buffer with them. */
export interface Chunk {
  /** Where its first byte lies in the segment. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  used: number;
  /** How many of them the kernel has. */
  written: number;
}

/** Reused buffers in which records gather. */
export class BufferPool {
  private readonly group_bytes: number;
  private readonly kept_max: number;
  private readonly free: Uint8Array[] = [];

  constructor(group_bytes: number, kept_max: number) {
    this.group_bytes = group_bytes;
    this.kept_max = kept_max;
  }

  chunk(offset: number, needed: number): Chunk {
    const bytes =
      needed > this.group_bytes ? new Uint8Array(needed) : (this.free.pop() ?? new Uint8Array(this.group_bytes));
    return { offset, bytes, view: new DataView(bytes.buffer), used: 0, written: 0 };
  }

  release(chunk: Chunk): void {
    if (chunk.bytes.length === this.group_bytes && this.free.length < this.kept_max) this.free.push(chunk.bytes);
  }

  /** Nothing is being written: gives up all spare buffers but one. */
  shrink(): void {
    if (this.free.length > 1) this.free.length = 1;
  }
}

/** The chunks of one segment, by offset, without gaps between them. */
export class WriteBack {
  private readonly pool: BufferPool;
  private chunks: Chunk[] = [];

  constructor(pool: BufferPool) {
    this.pool = pool;
  }

  /** Room for a record at the end of what is there; the caller fills `[used - length, used)`. */
  reserve(offset: number, length: number): Chunk {
    let chunk = this.chunks.at(-1);
    if (chunk === undefined || chunk.used + length > chunk.bytes.length) {
      chunk = this.pool.chunk(offset, length);
      this.chunks.push(chunk);
    }
    assert(chunk.offset + chunk.used === offset, 'records follow each other without a gap');
    chunk.used += length;
    return chunk;
  }

  /** What the kernel does not have yet, in order. */
  unwritten(): readonly Uint8Array[] {
    const parts: Uint8Array[] = [];
    for (const { bytes, used, written } of this.chunks) if (written < used) parts.push(bytes.subarray(written, used));
    return parts;
  }

  markWritten(): void {
    for (const chunk of this.chunks) chunk.written = chunk.used;
  }

  /** Lets go of chunks that are durable as a whole; the last one stays while it has room. */
  dropDurable(durableEnd: number): void {
    while (this.chunks.length > 1 && this.chunks[0]!.offset + this.chunks[0]!.used <= durableEnd) {
      this.pool.release(this.chunks.shift()!);
    }
  }

  dropAll(): void {
    for (const chunk of this.chunks) this.pool.release(chunk);
    this.chunks = [];
  }

  all(): readonly Chunk[] {
    return this.chunks;
  }

  /** Copies `[offset, offset + target.length)` if it is in memory. */
  read(offset: number, target: Uint8Array): boolean {
    let low = 0;
    let high = this.chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.chunks[middle]!.offset <= offset) low = middle;
      else high = middle - 1;
    }
    const chunk = this.chunks[low];
    if (chunk === undefined || offset < chunk.offset) return false;
    const from = offset - chunk.offset;
    if (from + target.length > chunk.used) return false;
    target.set(chunk.bytes.subarray(from, from + target.length));
    return true;
  }
}
