import type { Socket } from 'node:net';
import { NBD_REPLY_BATCH_BYTES } from '../limits.ts';
import type { BufferPool } from './buffer-pool.ts';

/**
 * The way out of one connection. Small replies of one turn are gathered into one buffer and leave in one write at the
 * end of the turn; large ones go out from where they are, in order. A buffer is used again only after the socket has
 * taken its bytes.
 */
export class Outlet {
  readonly #socket: Socket;
  readonly #pool: BufferPool;
  readonly #onTaken: () => void;
  #batch: Buffer | undefined;
  #used = 0;
  #untakenBatch_bytes = 0;
  #corked = false;
  #failed = false;
  #scheduled = false;

  /** `onTaken` is called each time the socket has taken bytes. */
  constructor(socket: Socket, pool: BufferPool, onTaken: () => void) {
    this.#socket = socket;
    this.#pool = pool;
    this.#onTaken = onTaken;
  }

  /**
   * Calls `fill(buffer, at)` to write up to `length` bytes of a reply at `at`; it returns the position after them.
   * `length` must fit a batch.
   */
  small(length: number, fill: (buffer: Buffer, at: number) => number): void {
    if (this.#batch !== undefined && this.#used + length > this.#batch.length) this.#pushBatch();
    this.#batch ??= this.#pool.take(NBD_REPLY_BATCH_BYTES);
    this.#used = fill(this.#batch, this.#used);
    this.#schedule();
  }

  /** Sends bytes of any length that stay as they are until `taken` is called, with false when the connection was lost first. */
  large(data: Uint8Array, taken?: (whole: boolean) => void): void {
    this.#pushBatch();
    this.#cork();
    this.#socket.write(data, (error) => {
      if (error) this.#fail();
      taken?.(!error);
      this.#onTaken();
    });
    this.#schedule();
  }

  /** Lets everything gathered so far go now. */
  flush(): void {
    this.#pushBatch();
    if (this.#corked) {
      this.#corked = false;
      this.#socket.uncork();
    }
  }

  /** Bytes of batches that are gathered or on their way. */
  get untakenBatch_bytes(): number {
    return this.#untakenBatch_bytes + this.#used;
  }

  /** The socket is lost, though its end may not have been told yet: what is sent now reaches nobody. */
  get broken(): boolean {
    return this.#failed || this.#socket.destroyed;
  }

  /** A socket tells its writes that they failed before it counts itself as destroyed. */
  #fail(): void {
    this.#failed = true;
    this.#socket.destroy();
  }

  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
  }

  #pushBatch(): void {
    const batch = this.#batch;
    const used = this.#used;
    if (batch === undefined || used === 0) return;
    this.#batch = undefined;
    this.#used = 0;
    this.#untakenBatch_bytes += used;
    this.#socket.write(batch.subarray(0, used), (error) => {
      this.#untakenBatch_bytes -= used;
      // After an error the bytes may still be looked at by a write that was cut short: that buffer is not used again.
      if (error) this.#fail();
      else this.#pool.give(batch);
      this.#onTaken();
    });
  }

  /** Completions of one turn come as microtasks; the end of the turn is after all of them. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      this.flush();
    });
  }
}
