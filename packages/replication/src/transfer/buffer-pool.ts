/**
 * Buffers of one size that are used again: a fresh megabyte for every frame costs more in page faults than its encryption. Threads see
 * them alike, so that nothing is copied between the one that encrypts and the one that orders.
 */
export class BufferPool {
  readonly #size: number;
  readonly #most: number;
  readonly #free: Uint8Array[] = [];

  constructor(size: number, most: number) {
    this.#size = size;
    this.#most = most;
  }

  /** A buffer of at least `length` bytes, with anything in it. */
  take(length: number): Uint8Array {
    if (length > this.#size) return shared(length);
    return this.#free.pop() ?? shared(this.#size);
  }

  /** Gives a buffer back that nobody reads or writes any more. */
  give(buffer: Uint8Array): void {
    if (buffer.length === this.#size && this.#free.length < this.#most) this.#free.push(buffer);
  }
}

const shared = (length: number): Uint8Array => Buffer.from(new SharedArrayBuffer(length));
