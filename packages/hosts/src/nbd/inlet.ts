import { assert } from '@antipode/base';

/**
 * Bytes that came from a socket and have not been used yet. Chunks are kept as they came: a field that lies whole in one
 * chunk is read in place, one that is split is put together, and payload is copied once, to where it belongs.
 */
export class Inlet {
  /** The chunk that fields are read from, and the place of the next byte in it; valid after {@link ensure}. */
  buffer: Buffer = EMPTY;
  position = 0;
  #later: Buffer[] = [];
  #laterBytes = 0;

  push(chunk: Buffer): void {
    if (this.position === this.buffer.length && this.#later.length === 0) {
      this.buffer = chunk;
      this.position = 0;
    } else {
      this.#later.push(chunk);
      this.#laterBytes += chunk.length;
    }
  }

  get available(): number {
    return this.buffer.length - this.position + this.#laterBytes;
  }

  /** Makes the next `length` bytes lie at `position` of `buffer`; false when they have not all come. */
  ensure(length: number): boolean {
    if (this.buffer.length - this.position >= length) return true;
    if (this.available < length) return false;
    const whole = Buffer.allocUnsafe(length);
    const taken = this.takeInto(whole, 0);
    assert(taken === length, 'what is available can be taken');
    // What is left of the present chunk goes behind the bytes just put together.
    if (this.position < this.buffer.length) {
      const rest = this.buffer.subarray(this.position);
      this.#later.unshift(rest);
      this.#laterBytes += rest.length;
    }
    this.buffer = whole;
    this.position = 0;
    return true;
  }

  advance(length: number): void {
    this.position += length;
    assert(this.position <= this.buffer.length, 'only bytes made contiguous are used');
    if (this.position === this.buffer.length) this.#next();
  }

  /** Copies what is there, up to the end of `target`, to `target` from `at` on; returns the number of bytes copied. */
  takeInto(target: Uint8Array, at: number): number {
    let done = 0;
    while (at + done < target.length && this.position < this.buffer.length) {
      const count = Math.min(target.length - at - done, this.buffer.length - this.position);
      this.buffer.copy(target, at + done, this.position, this.position + count);
      done += count;
      this.advance(count);
    }
    return done;
  }

  /** Throws up to `length` bytes away; returns how many there were. */
  skip(length: number): number {
    let done = 0;
    while (done < length && this.position < this.buffer.length) {
      const count = Math.min(length - done, this.buffer.length - this.position);
      done += count;
      this.advance(count);
    }
    return done;
  }

  /** What was pushed so far is about to change under us: keeps a copy of what is left of it. */
  detach(): void {
    const left = this.available;
    if (left === 0) return this.clear();
    const own = Buffer.allocUnsafe(left);
    this.takeInto(own, 0);
    this.clear();
    this.buffer = own;
  }

  clear(): void {
    this.buffer = EMPTY;
    this.position = 0;
    this.#later = [];
    this.#laterBytes = 0;
  }

  #next(): void {
    this.buffer = this.#later.shift() ?? EMPTY;
    this.#laterBytes -= this.buffer.length;
    this.position = 0;
  }
}

const EMPTY = Buffer.alloc(0);
