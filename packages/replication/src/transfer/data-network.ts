import type { Clock } from '@antipode/base';
import type { LinkIdentity, PeerEndpoint } from './types.ts';

/** Bytes both ways, in order, to an end that is known: what frames need of a TLS connection. */
export interface PeerSocket {
  setNoDelay(on: boolean): unknown;
  /** `taken`: the bytes may be written over. */
  write(bytes: Uint8Array, taken?: () => void): boolean;
  isPaused(): boolean;
  pause(): unknown;
  resume(): unknown;
  /** Sends what is waiting and ends the connection. */
  end(): unknown;
  destroy(reason?: Error): unknown;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  once(event: 'close', listener: () => void): unknown;
}

export interface PeerConnection {
  readonly socket: PeerSocket;
  /** SHA-256 of the certificate that the other end shows, lower-case hex; empty when it shows none. */
  readonly fingerprint: string;
}

export interface DataListener {
  listen(address: {
    readonly host: string;
    readonly port: number;
  }): Promise<{ readonly host: string; readonly port: number }>;
  /** Ends all connections; resolves when none is left. */
  close(): Promise<void>;
}

/** The port through which data connections are made and taken. Production's is TLS 1.3; the simulator has its own. */
export interface DataNetwork {
  /** Rejects with LinkLost when there is no connection in time, or `signal` gives up. */
  connect(peer: PeerEndpoint, identity: LinkIdentity, clock: Clock, signal?: AbortSignal): Promise<PeerConnection>;
  /** Nothing of a connection is read before `taken` has looked at who it is. */
  listener(identity: LinkIdentity, taken: (connection: PeerConnection) => void): DataListener;
}
