import { assert } from '@antipode/base';
import type { BlockDevice } from '@antipode/blocks';
import {
  NBD_CACHE_PIECE_BYTES,
  NBD_DIRECT_RECEIVE_BYTES,
  NBD_MAX_BYTES_IN_FLIGHT,
  NBD_MAX_REQUESTS_IN_FLIGHT,
  NBD_MAX_UNTAKEN_BATCH_BYTES,
} from '../limits.ts';
import { type BufferPool, capacityFor } from './buffer-pool.ts';
import type { BudgetWaiter, ByteBudget } from './byte-budget.ts';
import { type Failure, failureOf } from './errno.ts';
import type { Inlet } from './inlet.ts';
import { Operations } from './operations.ts';
import type { Outlet } from './outlet.ts';
import { Command, REQUEST_BYTES } from './protocol.ts';
import { type Agreed, type Request, readRequest, refuse } from './request-codec.ts';

/** Bounds of one connection; the named limits unless a test narrows them. */
export interface TransmissionLimits {
  readonly requestsInFlight: number;
  readonly bytesInFlight: number;
}

export const transmissionLimits: TransmissionLimits = {
  requestsInFlight: NBD_MAX_REQUESTS_IN_FLIGHT,
  bytesInFlight: NBD_MAX_BYTES_IN_FLIGHT,
};

export interface TransmissionParts {
  readonly device: BlockDevice;
  readonly agreed: Agreed;
  readonly inlet: Inlet;
  readonly outlet: Outlet;
  /** Bytes in the inlet are overwritten after each turn: payload must be copied out of it. */
  readonly volatileInlet: boolean;
  readonly pool: BufferPool;
  readonly budget: ByteBudget;
  readonly limits: TransmissionLimits;
  /** A narrower bound than that of `limits`, where the export has one at the moment, bytes. */
  readonly inFlight_bytes?: (() => number | undefined) | undefined;
  /** Reading from the socket should pause (true) or go on (false). */
  readonly hold: (paused: boolean) => void;
  /** The client said goodbye and is owed nothing more, or the stream is out of step. */
  readonly end: (reason: 'disconnect' | 'garbage', detail: string) => void;
}

/** Payload of a write on its way in. */
interface Gathering {
  readonly request: Request;
  readonly buffer: Buffer;
  readonly payload: Buffer;
  received: number;
}

/** A write whose payload is thrown away, because it was refused already. */
interface Skipping {
  readonly request: Request;
  readonly failure: Failure;
  left: number;
}

/**
 * The transmission phase of one connection: requests in, replies out, in any order.
 *
 * Invariants:
 * 1. A request is admitted only while the connection has room for it and the server has memory for it; until then the
 *    socket is paused. Memory is therefore bounded whatever a client sends or fails to read.
 * 2. Requests reach the device in the order in which they came, within the turn in which they were complete.
 * 3. Every admitted request gives its room back exactly once; only when the last one is through may the device be closed.
 * 4. A stream that is out of step is never interpreted further.
 */
export class Transmission implements BudgetWaiter {
  readonly #parts: TransmissionParts;
  readonly #operations: Operations;
  #waiting: Request | undefined;
  #gathering: Gathering | undefined;
  #skipping: Skipping | undefined;
  #requests = 0;
  #room_bytes = 0;
  #pumping = false;
  #paused = false;
  #ending: { reason: 'disconnect' | 'garbage'; detail: string } | undefined;
  #stopped = false;
  #whenIdle: (() => void) | undefined;

  constructor(parts: TransmissionParts) {
    this.#parts = parts;
    this.#operations = new Operations(parts, (request, buffer) => this.#release(request, buffer));
  }

  /** Uses what has come, as far as there is room. Called when bytes arrive and when room becomes free. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    let more = true;
    while (more) more = !this.#over() && this.#step();
    this.#pumping = false;
  }

  budgetFreed(): void {
    if (this.#over()) this.#parts.budget.forget(this);
    else this.pump();
  }

  /** Takes no further request; `idle` is called once every one under way is answered. */
  stop(idle: () => void): void {
    this.#stopped = true;
    this.#whenIdle = idle;
    this.#parts.budget.forget(this);
    this.#waiting = undefined;
    this.#skipping = undefined;
    const gathering = this.#gathering;
    this.#gathering = undefined;
    // The socket may still hold the buffer to receive into: that one is not used again.
    if (gathering !== undefined) this.#release(gathering.request, undefined);
    this.#settle();
  }

  /** Memory into which the next bytes can be received without a copy; nothing while there is none. */
  receiveTarget(): Buffer | undefined {
    const gathering = this.#gathering;
    if (gathering === undefined) return undefined;
    const left = gathering.payload.length - gathering.received;
    return left < NBD_DIRECT_RECEIVE_BYTES ? undefined : gathering.payload.subarray(gathering.received);
  }

  /** `length` bytes came into what {@link receiveTarget} gave. */
  receivedDirectly(length: number): void {
    const gathering = this.#gathering;
    if (gathering === undefined) return;
    gathering.received += length;
    assert(gathering.received <= gathering.payload.length, 'a payload ends where its request says');
    this.pump();
  }

  /** The socket is gone: like {@link stop}, and nothing is sent any more. */
  lose(idle: () => void): void {
    this.#operations.lost = true;
    this.stop(idle);
  }

  /** Bytes of payload memory this connection holds, and whether it is the client (not the engine) that it waits for. */
  get holding(): { readonly bytes: number; readonly onClient: boolean } {
    return { bytes: this.#room_bytes, onClient: this.#operations.running === 0 };
  }

  /** Requests of a client that is gone are not begun: the answer to the first would only make room for the next. */
  #over(): boolean {
    return this.#stopped || this.#parts.outlet.broken;
  }

  /** One step of the parser; false when it needs more bytes or more room. */
  #step(): boolean {
    if (this.#gathering !== undefined) return this.#gather(this.#gathering);
    if (this.#skipping !== undefined) return this.#skip(this.#skipping);
    if (this.#waiting === undefined && !this.#readHeader()) return false;
    const request = this.#waiting;
    if (request === undefined) return true;
    if (!this.#admit(request)) {
      this.#hold(true);
      return false;
    }
    this.#hold(false);
    this.#waiting = undefined;
    if (request.type === Command.WRITE) this.#receive(request);
    else this.#operations.begin(request);
    return true;
  }

  /** Reads the next request into `#waiting`, or deals with one that needs no admission. */
  #readHeader(): boolean {
    const { inlet, device, agreed } = this.#parts;
    if (!inlet.ensure(REQUEST_BYTES)) {
      this.#hold(false);
      return false;
    }
    const request = readRequest(inlet.buffer, inlet.position);
    if (request === undefined) {
      this.#end('garbage', 'a request without its magic number');
      return false;
    }
    inlet.advance(REQUEST_BYTES);
    if (request.type === Command.DISC) {
      this.#end('disconnect', 'the client ended the connection');
      return false;
    }
    let size: number;
    try {
      size = device.size();
    } catch (error) {
      this.#refuse(request, failureOf(error));
      return true;
    }
    const failure = refuse(request, agreed, size);
    if (failure === undefined) this.#waiting = request;
    else this.#refuse(request, failure);
    return true;
  }

  #refuse(request: Request, failure: Failure): void {
    if (request.type === Command.WRITE && request.length > 0)
      this.#skipping = { request, failure, left: request.length };
    else this.#operations.fail(request, failure);
  }

  /** Room for the request, the reply included [invariant 1]. */
  #admit(request: Request): boolean {
    const { limits, budget, outlet } = this.#parts;
    const room = roomFor(request);
    const own =
      this.#requests < limits.requestsInFlight &&
      (this.#room_bytes === 0 || this.#room_bytes + room <= this.#bytesMost()) &&
      outlet.untakenBatch_bytes < NBD_MAX_UNTAKEN_BATCH_BYTES;
    if (!own) {
      budget.forget(this);
      return false;
    }
    if (room > 0 && !budget.take(room, this)) return false;
    this.#requests += 1;
    this.#room_bytes += room;
    return true;
  }

  #bytesMost(): number {
    const { limits, inFlight_bytes } = this.#parts;
    return Math.min(limits.bytesInFlight, inFlight_bytes?.() ?? limits.bytesInFlight);
  }

  #receive(request: Request): void {
    const { inlet, pool } = this.#parts;
    if (!this.#parts.volatileInlet && inlet.buffer.length - inlet.position >= request.length) {
      const payload = inlet.buffer.subarray(inlet.position, inlet.position + request.length);
      if (request.length > 0) inlet.advance(request.length);
      this.#operations.write(request, payload, undefined);
      return;
    }
    const buffer = pool.take(request.length);
    this.#gathering = { request, buffer, payload: buffer.subarray(0, request.length), received: 0 };
  }

  #gather(gathering: Gathering): boolean {
    gathering.received += this.#parts.inlet.takeInto(gathering.payload, gathering.received);
    if (gathering.received < gathering.payload.length) return false;
    this.#gathering = undefined;
    this.#operations.write(gathering.request, gathering.payload, gathering.buffer);
    return true;
  }

  #skip(skipping: Skipping): boolean {
    skipping.left -= this.#parts.inlet.skip(skipping.left);
    if (skipping.left > 0) return false;
    this.#skipping = undefined;
    this.#operations.fail(skipping.request, skipping.failure);
    return true;
  }

  /** Gives back the room of one request and the buffer it used [invariant 3]. */
  #release(request: Request, buffer: Buffer | undefined): void {
    const { pool, budget } = this.#parts;
    const room = roomFor(request);
    this.#requests -= 1;
    this.#room_bytes -= room;
    assert(this.#requests >= 0 && this.#room_bytes >= 0, 'room is given back once');
    if (buffer !== undefined) pool.give(buffer);
    if (room > 0) budget.give(room);
    this.#settle();
    if (this.#paused) this.pump();
  }

  #end(reason: 'disconnect' | 'garbage', detail: string): void {
    this.#ending = { reason, detail };
    this.#stopped = true;
    this.#hold(true);
    this.#settle();
  }

  #settle(): void {
    if (!this.#stopped || this.#requests > 0) return;
    const { end } = this.#parts;
    const ending = this.#ending;
    this.#ending = undefined;
    if (ending !== undefined) end(ending.reason, ending.detail);
    const idle = this.#whenIdle;
    this.#whenIdle = undefined;
    idle?.();
  }

  #hold(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#parts.hold(paused);
  }
}

/** Memory a request needs: for a read or write its buffer; a CACHE borrows one piece. */
function roomFor(request: Request): number {
  switch (request.type) {
    case Command.READ:
    case Command.WRITE:
      return capacityFor(request.length);
    case Command.CACHE:
      return NBD_CACHE_PIECE_BYTES;
    default:
      return 0;
  }
}
