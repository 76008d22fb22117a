import type { HostPort } from '../config.ts';
import type { PeerAnswer, PeerRequest } from './peer-wire.ts';

/** A cluster whose certificate was exchanged. */
export interface TrustedPeer {
  readonly serial: string;
  /** PEM. */
  readonly certificate: string;
  /** SHA-256 of its DER, upper-case hex with colons or lower-case without: compared without regard to either. */
  readonly fingerprint: string;
}

/** The management channel's calling end to one peer. */
export interface PeerCaller {
  /** The peer's answer; rejects with PeerUnreachable when there is none within `timeout_ms` or it is not who it should be. */
  ask(request: PeerRequest, timeout_ms?: number): Promise<PeerAnswer>;
  close(): void;
}

/** The port through which peers are asked. Production's is HTTPS with pinned certificates; the simulator has its own. */
export type CallPeer = (peer: TrustedPeer, address: () => HostPort) => PeerCaller;
