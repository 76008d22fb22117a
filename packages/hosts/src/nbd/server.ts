import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { assert, type Clock, systemClock, type Timer } from '@antipode/base';
import {
  NBD_DRAIN_ms,
  NBD_KEEPALIVE_ms,
  NBD_MAX_BYTES_IN_FLIGHT_TOTAL,
  NBD_MAX_CONNECTIONS,
  NBD_MAX_NEGOTIATING,
  NBD_NEGOTIATION_DEADLINE_ms,
  NBD_POOL_RETAINED_BYTES,
  NBD_RECEIVE_BYTES,
  NBD_STALL_ms,
} from '../limits.ts';
import { BufferPool } from './buffer-pool.ts';
import { ByteBudget } from './byte-budget.ts';
import { Connection, type ConnectionHost } from './connection.ts';
import type { ExportSource, NbdClientIdentity } from './exports.ts';
import { type NbdTlsSetting, TlsUpgrader } from './tls.ts';
import { type TransmissionLimits, transmissionLimits } from './transmission.ts';

/** Bounds of a server; what is left out is the named limit of this package. */
export interface NbdServerLimits extends Partial<TransmissionLimits> {
  readonly connections?: number;
  readonly negotiating?: number;
  readonly negotiationDeadline_ms?: number;
  /** Payload memory of all connections together, bytes. */
  readonly bytesInFlightTotal?: number;
  readonly stall_ms?: number;
}

/** What happened to a connection. */
export type NbdConnectionEvent =
  | { readonly kind: 'opened'; readonly connection: NbdConnectionInfo }
  | { readonly kind: 'closed'; readonly connection: NbdConnectionInfo; readonly reason: string }
  /** The server was full; nothing was said to the client. */
  | { readonly kind: 'refused'; readonly remoteAddress: string };

export interface NbdConnectionInfo {
  readonly id: number;
  readonly client: NbdClientIdentity;
  /** Absent while the connection negotiates. */
  readonly exportName?: string;
  /** What the export's owner knows it by. */
  readonly exportId?: string;
}

export interface NbdServerSetting {
  /** Port 0: any free one. A path: a Unix socket, whose directory says who gets there. */
  readonly listen: { readonly host: string; readonly port: number } | { readonly path: string };
  readonly exports: ExportSource;
  readonly tls?: NbdTlsSetting;
  readonly limits?: NbdServerLimits;
  readonly clock?: Clock;
  readonly onConnection?: (event: NbdConnectionEvent) => void;
}

export interface NbdServer {
  address(): { readonly host: string; readonly port: number };
  /** Connections that have an export open or negotiate for one. */
  connections(): readonly NbdConnectionInfo[];
  /** Ends those connections that `which` names (a host was detached, a volume deleted); requests under way are answered first. */
  disconnect(which: (connection: NbdConnectionInfo) => boolean, reason: string): void;
  /** Accepts no more, answers what is under way within `drain_ms`, ends every connection. The server's devices are closed afterwards. */
  close(drain_ms?: number): Promise<void>;
}

/** Listens and serves; rejects with the system's error when the address cannot be had. */
export async function startNbdServer(setting: NbdServerSetting): Promise<NbdServer> {
  const server = new RunningServer(setting);
  await server.listen();
  return server;
}

class RunningServer implements NbdServer, ConnectionHost {
  readonly exports: ExportSource;
  readonly clock: Clock;
  readonly pool = new BufferPool(NBD_POOL_RETAINED_BYTES);
  readonly budget: ByteBudget;
  readonly limits: TransmissionLimits;
  readonly negotiationDeadline_ms: number;
  readonly tls: TlsUpgrader | undefined;
  readonly receiveBuffer: Buffer | undefined;
  readonly #setting: NbdServerSetting;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #negotiating_max: number;
  readonly #connections_max: number;
  readonly #seen = new Map<Connection, number>();
  #nextId = 1;
  #stallTimer: Timer | undefined;
  #closing: Promise<void> | undefined;
  #whenEmpty: (() => void) | undefined;

  constructor(setting: NbdServerSetting) {
    const limits = setting.limits ?? {};
    this.#setting = setting;
    this.exports = setting.exports;
    this.clock = setting.clock ?? systemClock;
    this.tls = setting.tls === undefined ? undefined : new TlsUpgrader(setting.tls);
    // A handshake in the middle needs Node's own way of receiving.
    this.receiveBuffer = this.tls === undefined ? Buffer.allocUnsafeSlow(NBD_RECEIVE_BYTES) : undefined;
    this.limits = {
      requestsInFlight: limits.requestsInFlight ?? transmissionLimits.requestsInFlight,
      bytesInFlight: limits.bytesInFlight ?? transmissionLimits.bytesInFlight,
    };
    this.budget = new ByteBudget(limits.bytesInFlightTotal ?? NBD_MAX_BYTES_IN_FLIGHT_TOTAL);
    this.negotiationDeadline_ms = limits.negotiationDeadline_ms ?? NBD_NEGOTIATION_DEADLINE_ms;
    this.#negotiating_max = limits.negotiating ?? NBD_MAX_NEGOTIATING;
    this.#server = createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: NBD_KEEPALIVE_ms,
      pauseOnConnect: true,
    });
    this.#connections_max = limits.connections ?? NBD_MAX_CONNECTIONS;
    this.#server.on('connection', (socket) => this.#accept(socket));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#setting.listen, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#watchForStalls();
  }

  address(): { readonly host: string; readonly port: number } {
    const address = this.#server.address();
    assert(address !== null && typeof address === 'object', 'the address is asked of a server that listens');
    return { host: (address satisfies AddressInfo).address, port: address.port };
  }

  connections(): readonly NbdConnectionInfo[] {
    return [...this.#connections].map(infoOf);
  }

  disconnect(which: (connection: NbdConnectionInfo) => boolean, reason: string): void {
    for (const connection of [...this.#connections])
      if (which(infoOf(connection))) connection.drain(reason, NBD_DRAIN_ms);
  }

  close(drain_ms: number = NBD_DRAIN_ms): Promise<void> {
    this.#closing ??= this.#close(drain_ms);
    return this.#closing;
  }

  opened(connection: Connection): void {
    this.#setting.onConnection?.({ kind: 'opened', connection: infoOf(connection) });
  }

  closed(connection: Connection, reason: string): void {
    this.#connections.delete(connection);
    this.#seen.delete(connection);
    this.#setting.onConnection?.({ kind: 'closed', connection: infoOf(connection), reason });
    if (this.#connections.size === 0) this.#whenEmpty?.();
  }

  async #close(drain_ms: number): Promise<void> {
    this.#stallTimer?.cancel();
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of [...this.#connections]) connection.drain('the server is closing', drain_ms);
    if (this.#connections.size > 0) await new Promise<void>((resolve) => (this.#whenEmpty = resolve));
    await stopped;
  }

  #accept(socket: Socket): void {
    // Nobody has an address behind a Unix socket.
    const nowhere = 'path' in this.#setting.listen ? { address: 'local', port: 0 } : undefined;
    const remoteAddress = nowhere?.address ?? socket.remoteAddress;
    const remotePort = nowhere?.port ?? socket.remotePort;
    // A client that is gone already has no address.
    if (remoteAddress === undefined || remotePort === undefined) return void socket.destroy();
    if (this.#connections.size >= this.#connections_max) {
      socket.destroy();
      this.#setting.onConnection?.({ kind: 'refused', remoteAddress });
      return;
    }
    const negotiating = [...this.#connections].filter((connection) => connection.negotiating);
    if (negotiating.length >= this.#negotiating_max) negotiating[0]?.abort('too many clients negotiate at once');
    const identity: NbdClientIdentity = {
      remoteAddress,
      remotePort,
      auth: { kind: 'open', loopback: nowhere !== undefined || isLoopback(remoteAddress) },
    };
    this.#connections.add(new Connection(this.#nextId, socket, identity, this));
    this.#nextId += 1;
  }

  /** Closes clients that hold memory, move nothing and keep others waiting for it. */
  #watchForStalls(): void {
    this.#stallTimer = this.clock.after(this.#setting.limits?.stall_ms ?? NBD_STALL_ms, () => {
      for (const connection of [...this.#connections]) {
        const { bytes, onClient } = connection.holding;
        const stuck = bytes > 0 && onClient && this.#seen.get(connection) === connection.progress;
        if (stuck && this.budget.contended) connection.abort('stalled while others waited for memory');
        this.#seen.set(connection, connection.progress);
      }
      this.#watchForStalls();
    });
  }
}

function infoOf(connection: Connection): NbdConnectionInfo {
  const { id, identity: client, exportName, exportId } = connection;
  return exportName === undefined
    ? { id, client }
    : { id, client, exportName, ...(exportId !== undefined && { exportId }) };
}

const isLoopback = (address: string): boolean =>
  address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
