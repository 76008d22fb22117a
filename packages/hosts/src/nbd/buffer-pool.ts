import { assert } from '@antipode/base';

const SMALLEST_BYTES = 4096;

/**
 * Buffers by powers of two, kept for reuse up to a bound: a fresh buffer of a megabyte costs hundreds of page faults.
 * Contents are whatever was there before; whoever takes one fills it before it goes anywhere.
 */
export class BufferPool {
  readonly #retained_bytes_max: number;
  #retained_bytes = 0;
  readonly #free: Buffer[][] = [];

  constructor(retained_bytes_max: number) {
    this.#retained_bytes_max = retained_bytes_max;
  }

  /** A buffer of at least `length` bytes. */
  take(length: number): Buffer {
    const capacity = capacityFor(length);
    const found = this.#free[slotOf(capacity)]?.pop();
    if (found === undefined) return Buffer.allocUnsafeSlow(capacity);
    this.#retained_bytes -= capacity;
    return found;
  }

  /** Gives back a buffer as {@link take} returned it, once nobody reads or writes it any more. */
  give(buffer: Buffer): void {
    assert(capacityFor(buffer.length) === buffer.length, 'only whole buffers of the pool come back');
    if (this.#retained_bytes + buffer.length > this.#retained_bytes_max) return;
    const slot = slotOf(buffer.length);
    const list = this.#free[slot] ?? [];
    list.push(buffer);
    this.#free[slot] = list;
    this.#retained_bytes += buffer.length;
  }

  get retained_bytes(): number {
    return this.#retained_bytes;
  }
}

/** The power of two that a capacity is. */
const slotOf = (capacity: number): number => 31 - Math.clz32(capacity);

/** Size of the buffer that serves `length` bytes. */
export function capacityFor(length: number): number {
  if (length <= SMALLEST_BYTES) return SMALLEST_BYTES;
  return 2 ** (32 - Math.clz32(length - 1));
}
