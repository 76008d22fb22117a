import { assert } from '@antipode/base';
import { type BlockDevice, BlockError, type StatusExtent } from '@antipode/blocks';
import { NBD_CACHE_PIECE_BYTES, NBD_MAX_PAYLOAD_BYTES, NBD_MAX_STATUS_EXTENTS } from '../limits.ts';
import type { BufferPool } from './buffer-pool.ts';
import { Errno, type Failure, failureOf } from './errno.ts';
import { locateFailure } from './locate-failure.ts';
import type { Outlet } from './outlet.ts';
import { Command, CommandFlag, SIMPLE_REPLY_BYTES } from './protocol.ts';
import { sendRead } from './read-reply.ts';
import { blockStatusChunk, errorChunk, writeSimpleReply } from './reply-codec.ts';
import type { Agreed, Request } from './request-codec.ts';

export interface OperationParts {
  readonly device: BlockDevice;
  readonly agreed: Agreed;
  readonly outlet: Outlet;
  readonly pool: BufferPool;
}

/**
 * Does at the device what admitted requests ask for, and answers them. A request is given back through `release`
 * exactly once, with its buffer when that may be used again: after the device is done, and after the socket has taken
 * what was read.
 */
export class Operations {
  /** Operations the device has not finished. */
  running = 0;
  /** Nobody is there any more to be answered. */
  lost = false;
  readonly #parts: OperationParts;
  readonly #release: (request: Request, buffer: Buffer | undefined) => void;

  constructor(parts: OperationParts, release: (request: Request, buffer: Buffer | undefined) => void) {
    this.#parts = parts;
    this.#release = release;
  }

  /** Starts any request but a write, whose payload comes first. */
  begin(request: Request): void {
    const fua = (request.flags & CommandFlag.FUA) !== 0;
    const { device } = this.#parts;
    switch (request.type) {
      case Command.READ:
        return this.#read(request);
      case Command.FLUSH:
        return this.#change(request, () => device.flush());
      case Command.TRIM:
        return this.#change(request, () => device.trim(request.offset, request.length, fua));
      case Command.WRITE_ZEROES:
        // One range record whatever the length: every zeroing is a fast one, and thin space has nothing to provision.
        return this.#change(request, () => device.writeZeroes(request.offset, request.length, fua));
      case Command.CACHE:
        return this.#change(request, () => this.#warm(request));
      case Command.BLOCK_STATUS:
        return this.#status(request);
      default:
        assert(false, `command ${request.type} was checked before`);
    }
  }

  /** `buffer` is what `payload` lies in, when it is the pool's. */
  write(request: Request, payload: Buffer, buffer: Buffer | undefined): void {
    const fua = (request.flags & CommandFlag.FUA) !== 0;
    this.#change(request, () => this.#parts.device.write(request.offset, payload, fua), buffer);
  }

  /** Runs an operation that is answered with success or an error and nothing else. */
  #change(request: Request, operation: () => void | Promise<void>, buffer?: Buffer): void {
    this.#run(
      operation,
      () => this.#succeed(request, buffer),
      (error) => {
        this.fail(request, failureOf(error));
        this.#release(request, buffer);
      },
    );
  }

  #succeed(request: Request, buffer: Buffer | undefined): void {
    if (!this.lost) this.#parts.outlet.small(SIMPLE_REPLY_BYTES, (into, at) => writeSimpleReply(into, at, request, 0));
    this.#release(request, buffer);
  }

  #read(request: Request): void {
    const { device, pool, outlet, agreed } = this.#parts;
    const buffer = pool.take(request.length);
    const target = buffer.subarray(0, request.length);
    this.#run(
      () => (request.length === 0 ? undefined : device.read(request.offset, target)),
      () => {
        if (this.lost) return this.#release(request, buffer);
        const fragment = (request.flags & CommandFlag.DF) === 0;
        sendRead(outlet, request, buffer, { structured: agreed.structured, fragment }, (whole) =>
          this.#release(request, whole ? buffer : undefined),
        );
      },
      (error) => this.#readFailed(request, target, buffer, error),
    );
  }

  /** A read that failed is told with the place of the first block that cannot be read, so that the rest can be saved. */
  #readFailed(request: Request, target: Buffer, buffer: Buffer, error: unknown): void {
    const failure = failureOf(error);
    const damaged = error instanceof BlockError && (error.code === 'corrupt' || error.code === 'io_error');
    const done = (offset?: number) => {
      this.fail(request, failure, offset);
      this.#release(request, buffer);
    };
    if (!damaged || !this.#parts.agreed.structured) return done();
    let found: number | undefined;
    this.#run(
      async () => {
        found = await locateFailure(this.#parts.device, request.offset, target);
      },
      () => done(found),
      () => done(),
    );
  }

  #status(request: Request): void {
    const { device, outlet } = this.#parts;
    const limit = (request.flags & CommandFlag.REQ_ONE) !== 0 ? 1 : NBD_MAX_STATUS_EXTENTS;
    let extents: readonly StatusExtent[] = [];
    this.#run(
      async () => {
        extents = await device.status(request.offset, request.length, limit);
        assertCovers(extents, request.length, limit);
      },
      () => {
        if (this.lost) return this.#release(request, undefined);
        outlet.large(blockStatusChunk(request, extents), () => this.#release(request, undefined));
      },
      (error) => {
        this.fail(request, failureOf(error));
        this.#release(request, undefined);
      },
    );
  }

  /** CACHE: reads the range once, so that what the engine and the system keep of it is warm; changes nothing. */
  async #warm(request: Request): Promise<void> {
    const { device, pool } = this.#parts;
    const end = request.offset + Math.min(request.length, NBD_MAX_PAYLOAD_BYTES);
    const buffer = pool.take(NBD_CACHE_PIECE_BYTES);
    for (let offset = request.offset; offset < end && !this.lost; offset += NBD_CACHE_PIECE_BYTES)
      await device.read(offset, buffer.subarray(0, Math.min(NBD_CACHE_PIECE_BYTES, end - offset)));
    pool.give(buffer);
  }

  /** Calls `operation`; what it finishes within the call is answered within the call. */
  #run(operation: () => void | Promise<void>, done: () => void, failed: (error: unknown) => void): void {
    let pending: void | Promise<void>;
    try {
      pending = operation();
    } catch (error) {
      return failed(error);
    }
    if (pending === undefined) return done();
    this.running += 1;
    void pending.then(
      () => {
        this.running -= 1;
        done();
      },
      (error: unknown) => {
        this.running -= 1;
        failed(error);
      },
    );
  }

  fail(request: Request, failure: Failure, offset?: number): void {
    const { outlet, agreed } = this.#parts;
    if (this.lost) return;
    if (agreed.structured) {
      const chunk = errorChunk(request, failure, offset);
      outlet.small(chunk.length, (into, at) => at + chunk.copy(into, at));
    } else {
      outlet.small(SIMPLE_REPLY_BYTES, (into, at) => writeSimpleReply(into, at, request, Errno[failure.errno]));
    }
  }
}

/** What an engine says about allocation must be an answer to the question, else clients walk off the end. */
function assertCovers(extents: readonly StatusExtent[], length: number, limit: number): void {
  assert(extents.length > 0 && extents.length <= limit, 'block status has from one to the wanted number of extents');
  const sum = extents.reduce((total, extent) => {
    assert(extent.length > 0, 'an extent is not empty');
    return total + extent.length;
  }, 0);
  assert(sum <= length, 'extents end where the request ends');
}
