import { assert } from '@antipode/base';
import { type Access, BLOCK_BYTES, type BlockDevice, BlockError, type StatusExtent } from '@antipode/blocks';

/** What a device in memory was asked, in order; for tests that ask whether a request got through. */
export type DeviceCall =
  | { readonly kind: 'read'; readonly offset: number; readonly length: number }
  | {
      readonly kind: 'write' | 'write_zeroes' | 'trim';
      readonly offset: number;
      readonly length: number;
      readonly fua: boolean;
    }
  | { readonly kind: 'flush' };

/** A device in memory with the manners of the real one: sparse by blocks, any alignment, synchronous where it can be. */
export class MemoryDevice implements BlockDevice {
  readonly calls: DeviceCall[] = [];
  /** Keep the record of calls (off for measurements). */
  record = true;
  mode: Access = 'read_write';
  /** When set, every read, write, trim and zeroing waits for it first. */
  gate: Promise<void> | undefined;
  /** Offsets of blocks whose reads fail. */
  readonly damaged = new Set<number>();
  full = false;
  #size: number;
  #opened = 0;
  readonly #blocks = new Map<number, Uint8Array>();

  constructor(size: number) {
    this.#size = size;
  }

  size(): number {
    return this.#size;
  }

  resize(size: number): void {
    this.#size = size;
  }

  access(): Access {
    return this.mode;
  }

  /** To be called by an export source that gives it out; how many times it is open is the difference to {@link close}. */
  opened(): this {
    this.#opened += 1;
    return this;
  }

  get timesOpen(): number {
    return this.#opened;
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    this.#note({ kind: 'read', offset, length: target.length });
    return this.#gated(() => {
      this.#check(offset, target.length);
      this.#pieces(offset, target.length, (block, start, count, at) => {
        if (this.damaged.has(block * BLOCK_BYTES)) throw new BlockError('corrupt', `block ${block} is damaged`);
        const stored = this.#blocks.get(block);
        if (stored === undefined) target.fill(0, at, at + count);
        else target.set(start === 0 && count === BLOCK_BYTES ? stored : stored.subarray(start, start + count), at);
      });
    });
  }

  write(offset: number, data: Uint8Array, fua: boolean): void | Promise<void> {
    this.#note({ kind: 'write', offset, length: data.length, fua });
    return this.#gated(() => {
      this.#checkWrite(offset, data.length);
      this.#pieces(offset, data.length, (block, start, count, at) => {
        let stored = this.#blocks.get(block);
        if (stored === undefined) {
          stored = new Uint8Array(BLOCK_BYTES);
          this.#blocks.set(block, stored);
        }
        stored.set(data.subarray(at, at + count), start);
      });
    });
  }

  writeZeroes(offset: number, length: number, fua: boolean): void | Promise<void> {
    this.#note({ kind: 'write_zeroes', offset, length, fua });
    return this.#gated(() => this.#clear(offset, length));
  }

  trim(offset: number, length: number, fua: boolean): void | Promise<void> {
    this.#note({ kind: 'trim', offset, length, fua });
    return this.#gated(() => this.#clear(offset, length));
  }

  async flush(): Promise<void> {
    this.#note({ kind: 'flush' });
    await this.gate;
  }

  async status(offset: number, length: number, limit: number): Promise<readonly StatusExtent[]> {
    this.#check(offset, length);
    const extents: { length: number; kind: 'data' | 'hole' }[] = [];
    this.#pieces(offset, length, (block, _start, count) => {
      const kind = this.#blocks.has(block) ? 'data' : 'hole';
      const last = extents.at(-1);
      if (last?.kind === kind) last.length += count;
      else extents.push({ kind, length: count });
    });
    return extents.slice(0, limit);
  }

  close(): void {
    this.#opened -= 1;
  }

  #note(call: DeviceCall): void {
    if (this.record) this.calls.push(call);
  }

  #gated(operation: () => void): void | Promise<void> {
    if (this.gate === undefined) return operation();
    return this.gate.then(operation);
  }

  #clear(offset: number, length: number): void {
    this.#checkWrite(offset, length);
    this.#pieces(offset, length, (block, start, count) => {
      if (count === BLOCK_BYTES) this.#blocks.delete(block);
      else this.#blocks.get(block)?.fill(0, start, start + count);
    });
  }

  #check(offset: number, length: number): void {
    assert(Number.isSafeInteger(offset) && offset >= 0 && length >= 0, 'a device is asked for ranges');
    if (offset + length > this.#size) throw new BlockError('out_of_range', 'beyond the end');
  }

  #checkWrite(offset: number, length: number): void {
    if (this.mode === 'read_only') throw new BlockError('read_only', 'the volume may not be written now');
    if (this.full) throw new BlockError('no_space', 'no space left');
    this.#check(offset, length);
  }

  /** Cuts a range at block borders: block, first byte in it, number of bytes, place in the caller's buffer. */
  #pieces(
    offset: number,
    length: number,
    piece: (block: number, start: number, count: number, at: number) => void,
  ): void {
    for (let at = 0; at < length; ) {
      const start = (offset + at) % BLOCK_BYTES;
      const count = Math.min(BLOCK_BYTES - start, length - at);
      piece(Math.floor((offset + at) / BLOCK_BYTES), start, count, at);
      at += count;
    }
  }
}
