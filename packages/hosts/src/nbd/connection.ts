import type { Socket } from 'node:net';
import type { Clock, Timer } from '@antipode/base';
import { NBD_LINGER_ms, NBD_MAX_OPTION_BYTES, NBD_MAX_OPTIONS, NBD_MAX_UNTAKEN_BATCH_BYTES } from '../limits.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { ExportSource, NbdClientIdentity, OpenExport } from './exports.ts';
import { Inlet } from './inlet.ts';
import { Negotiation, type OptionOutcome } from './negotiation.ts';
import { greeting } from './option-codec.ts';
import { Outlet } from './outlet.ts';
import { CLIENT_FLAGS_BYTES, HandshakeFlag, IHAVEOPT, OPTION_HEADER_BYTES } from './protocol.ts';
import { type Receiver, receiveInto } from './receive.ts';
import type { TlsUpgrader } from './tls.ts';
import { Transmission, type TransmissionLimits } from './transmission.ts';

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly exports: ExportSource;
  readonly clock: Clock;
  readonly pool: BufferPool;
  readonly budget: ByteBudget;
  readonly limits: TransmissionLimits;
  readonly negotiationDeadline_ms: number;
  /** Memory to receive into, shared by all connections; absent where sockets bring their own (TLS). */
  readonly receiveBuffer: Buffer | undefined;
  readonly tls: TlsUpgrader | undefined;
  /** The connection opened an export. */
  opened(connection: Connection): void;
  /** Nothing of the connection is left; called once. */
  closed(connection: Connection, reason: string): void;
}

type Phase =
  | { readonly kind: 'client_flags' }
  | { readonly kind: 'options'; readonly negotiation: Negotiation }
  | { readonly kind: 'handshake' }
  /** What an option asks for is being looked up. */
  | { readonly kind: 'asking'; readonly negotiation: Negotiation }
  | { readonly kind: 'transmission'; readonly transmission: Transmission; readonly open: OpenExport }
  | { readonly kind: 'over' };

/** One client, from its greeting to its end: a socket, the phase it is in, and a deadline until it transmits. */
export class Connection {
  readonly id: number;
  readonly #host: ConnectionHost;
  readonly #inlet = new Inlet();
  readonly #deadline: Timer;
  readonly #volatileInlet: boolean;
  #socket: Socket;
  #outlet: Outlet;
  #identity: NbdClientIdentity;
  #phase: Phase = { kind: 'client_flags' };
  #noZeroes = false;
  #options = 0;
  #exportName: string | undefined;
  #exportId: string | undefined;
  #progress = 0;
  #reason = 'the client closed the connection';
  #gone = false;
  #draining = false;
  #bound: Timer | undefined;

  constructor(id: number, socket: Socket, identity: NbdClientIdentity, host: ConnectionHost) {
    this.id = id;
    this.#host = host;
    this.#identity = identity;
    const direct =
      host.receiveBuffer === undefined ? undefined : receiveInto(socket, this.#receiver(host.receiveBuffer));
    this.#volatileInlet = direct !== undefined;
    this.#socket = direct ?? socket;
    this.#outlet = this.#attach(this.#socket);
    this.#socket.resume();
    this.#deadline = host.clock.after(host.negotiationDeadline_ms, () => this.abort('negotiation took too long'));
    this.#outlet.large(greeting());
  }

  get identity(): NbdClientIdentity {
    return this.#identity;
  }

  /** Name of the export that was opened; nothing while the connection negotiates. */
  get exportName(): string | undefined {
    return this.#exportName;
  }

  get exportId(): string | undefined {
    return this.#exportId;
  }

  get negotiating(): boolean {
    return this.#phase.kind !== 'transmission' && this.#phase.kind !== 'over';
  }

  /** Grows with every byte that moves; with {@link holding} it tells a stalled client from a slow engine. */
  get progress(): number {
    return this.#progress;
  }

  get holding(): { readonly bytes: number; readonly onClient: boolean } {
    return this.#phase.kind === 'transmission' ? this.#phase.transmission.holding : { bytes: 0, onClient: true };
  }

  /** Ends the connection now; requests under way still run to their end at the device. */
  abort(reason: string): void {
    if (!this.#gone) this.#reason = reason;
    this.#socket.destroy();
  }

  /** Takes no further request, answers those under way, then ends; after `bound_ms` it ends in any case. */
  drain(reason: string, bound_ms: number): void {
    if (this.#phase.kind !== 'transmission') return this.abort(reason);
    this.#bound ??= this.#host.clock.after(bound_ms, () => this.abort(reason));
    this.#draining = true;
    this.#phase.transmission.stop(() => this.#finish(reason));
  }

  #attach(socket: Socket): Outlet {
    if (!this.#volatileInlet) socket.on('data', (chunk: Buffer) => this.#received(chunk));
    // The reason of an error is the network's; what counts is that the connection is over.
    socket.on('error', (error) => {
      if (!this.#gone) this.#reason = error.message;
    });
    socket.on('close', () => {
      if (socket === this.#socket) this.#lost();
    });
    return new Outlet(socket, this.#host.pool, () => this.#taken());
  }

  /**
   * Receives into the memory all connections share: what is not used within the turn is copied out of it. A large
   * payload is received where it belongs.
   */
  #receiver(shared: Buffer): Receiver {
    return {
      target: () =>
        (this.#phase.kind === 'transmission' ? this.#phase.transmission.receiveTarget() : undefined) ?? shared,
      arrived: (buffer, length) => {
        if (buffer === shared) {
          this.#received(shared.subarray(0, length));
          this.#inlet.detach();
        } else if (this.#phase.kind === 'transmission') {
          this.#progress += 1;
          this.#phase.transmission.receivedDirectly(length);
        }
      },
    };
  }

  #received(chunk: Buffer): void {
    this.#progress += 1;
    if (this.#phase.kind === 'over' || this.#draining) return;
    this.#inlet.push(chunk);
    this.#work();
  }

  #taken(): void {
    this.#progress += 1;
    this.#work();
  }

  #work(): void {
    let more = true;
    while (more) more = this.#step();
  }

  #step(): boolean {
    switch (this.#phase.kind) {
      case 'client_flags':
        return this.#clientFlags();
      case 'options':
        return this.#option(this.#phase.negotiation);
      case 'transmission':
        this.#phase.transmission.pump();
        return false;
      case 'handshake':
      case 'asking':
      case 'over':
        return false;
    }
  }

  #clientFlags(): boolean {
    if (!this.#inlet.ensure(CLIENT_FLAGS_BYTES)) return false;
    const flags = this.#inlet.buffer.readUInt32BE(this.#inlet.position);
    this.#inlet.advance(CLIENT_FLAGS_BYTES);
    if ((flags & ~(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)) !== 0)
      return this.#reject(`handshake flags 0x${flags.toString(16)} are not known`);
    this.#noZeroes = (flags & HandshakeFlag.NO_ZEROES) !== 0;
    this.#phase = { kind: 'options', negotiation: this.#negotiation(this.#host.tls?.mode ?? 'none') };
    return true;
  }

  #negotiation(tls: 'none' | 'offered' | 'required' | 'established'): Negotiation {
    return new Negotiation({ exports: this.#host.exports, client: this.#identity, tls, noZeroes: this.#noZeroes });
  }

  #option(negotiation: Negotiation): boolean {
    const inlet = this.#inlet;
    // A client that asks and does not listen is not asked further.
    if (this.#socket.writableLength + this.#outlet.untakenBatch_bytes > NBD_MAX_UNTAKEN_BATCH_BYTES) {
      this.#socket.pause();
      return false;
    }
    if (!inlet.ensure(OPTION_HEADER_BYTES)) {
      this.#socket.resume();
      return false;
    }
    const { buffer, position } = inlet;
    if (buffer.readBigUInt64BE(position) !== IHAVEOPT) return this.#reject('an option without its magic number');
    const option = buffer.readUInt32BE(position + 8);
    const length = buffer.readUInt32BE(position + 12);
    if (length > NBD_MAX_OPTION_BYTES) return this.#reject(`an option of ${length} bytes`);
    if (!inlet.ensure(OPTION_HEADER_BYTES + length)) {
      this.#socket.resume();
      return false;
    }
    this.#options += 1;
    if (this.#options > NBD_MAX_OPTIONS) return this.#reject('too many options');
    const start = inlet.position + OPTION_HEADER_BYTES;
    const data = inlet.buffer.subarray(start, start + length);
    inlet.advance(OPTION_HEADER_BYTES + length);
    const outcome = negotiation.option(option, data);
    return outcome instanceof Promise ? this.#ask(negotiation, outcome) : this.#follow(outcome);
  }

  /** Takes nothing more until the answer is there. */
  #ask(negotiation: Negotiation, answer: Promise<OptionOutcome>): boolean {
    this.#phase = { kind: 'asking', negotiation };
    // Who goes on sending meanwhile does so into its own buffers.
    this.#socket.pause();
    answer.then(
      (outcome) => {
        if (this.#phase.kind !== 'asking') {
          // The client is gone: nobody will use what was opened for it.
          if (outcome.next === 'transmission') outcome.export.device.close();
          return;
        }
        this.#phase = { kind: 'options', negotiation };
        if (this.#follow(outcome)) this.#work();
      },
      (error: unknown) => this.abort(error instanceof Error ? error.message : String(error)),
    );
    return false;
  }

  #follow(outcome: OptionOutcome): boolean {
    for (const reply of outcome.replies) this.#outlet.large(reply);
    switch (outcome.next) {
      case 'option':
        return true;
      case 'close':
        this.#finish(outcome.reason);
        return false;
      case 'starttls':
        return this.#startTls();
      case 'transmission':
        this.#transmit(outcome);
        return true;
    }
  }

  #transmit(outcome: Extract<OptionOutcome, { next: 'transmission' }>): void {
    this.#deadline.cancel();
    const { pool, budget, limits } = this.#host;
    const transmission = new Transmission({
      device: outcome.export.device,
      agreed: outcome.agreed,
      inlet: this.#inlet,
      outlet: this.#outlet,
      volatileInlet: this.#volatileInlet,
      pool,
      budget,
      limits,
      inFlight_bytes: outcome.export.inFlight_bytes,
      hold: (paused) => (paused ? this.#socket.pause() : this.#socket.resume()),
      end: (reason, detail) => {
        if (reason === 'garbage') this.abort(detail);
        else this.#finish(detail);
      },
    });
    this.#exportName = outcome.export.name;
    this.#exportId = outcome.export.id ?? outcome.export.name;
    this.#phase = { kind: 'transmission', transmission, open: outcome.export };
    this.#socket.resume();
    this.#host.opened(this);
  }

  /** Nothing that was sent in the clear may count as said under encryption: bytes after STARTTLS end the connection. */
  #startTls(): boolean {
    const { tls } = this.#host;
    if (tls === undefined || this.#inlet.available > 0) return this.#reject('bytes in the clear after STARTTLS');
    this.#phase = { kind: 'handshake' };
    this.#outlet.flush();
    const raw = this.#socket;
    raw.removeAllListeners('data');
    raw.pause();
    tls.upgrade(raw, (result) => {
      if ('error' in result) return this.abort(`TLS: ${result.error.message}`);
      this.#socket = result.socket;
      this.#outlet = this.#attach(result.socket);
      this.#identity = { ...this.#identity, auth: tls.authOf(result.socket) };
      this.#phase = { kind: 'options', negotiation: this.#negotiation('established') };
    });
    return false;
  }

  #reject(reason: string): false {
    this.abort(reason);
    return false;
  }

  /** Sends what is owed and ends; what still comes in is thrown away, so that the client's own end is seen. */
  #finish(reason: string): void {
    if (!this.#gone) this.#reason = reason;
    if (this.#phase.kind === 'transmission') this.#draining = true;
    else this.#phase = { kind: 'over' };
    this.#bound?.cancel();
    this.#bound = this.#host.clock.after(NBD_LINGER_ms, () => this.abort(reason));
    this.#outlet.flush();
    this.#socket.resume();
    this.#socket.end();
  }

  #lost(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#deadline.cancel();
    this.#bound?.cancel();
    this.#inlet.clear();
    const phase = this.#phase;
    this.#phase = { kind: 'over' };
    if (phase.kind !== 'transmission') return this.#host.closed(this, this.#reason);
    phase.transmission.lose(() => {
      phase.open.device.close();
      this.#host.closed(this, this.#reason);
    });
  }
}
