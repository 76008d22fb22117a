import type { CyclePlan, Digest, RestartAddress } from '@antipode/blocks';

/** Where the peer's data plane listens and who it must be. */
export interface PeerEndpoint {
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the peer's certificate (DER), hex: pinned at pairing. */
  readonly fingerprint: string;
}

/** This cluster's identity on the replication link, PEM. */
export interface LinkIdentity {
  readonly certificate: string;
  readonly privateKey: string;
}

/** What one cycle's shipping is to do. `plan.pairs` as seen from the source: local is the source's volume. */
export interface ShipOrder {
  readonly plan: CyclePlan;
  readonly peer: PeerEndpoint;
  /** `commit`: the destination commits when the proof holds. `prove`: it keeps the proven stage for a promote [C4.2c]. */
  readonly end: 'commit' | 'prove';
  /** Upper bound of payload bytes a second; absent: none. */
  readonly rate_bytes_s?: number;
}

export interface ShipProgress {
  /** Bytes of the whole plan's difference, data blocks only. Exact: copied + remaining = total. */
  readonly total_bytes: number;
  /** Of these: durable at the destination (from the restart address). */
  readonly copied_bytes: number;
  /** Payload bytes put on the link by this order, repeats included. */
  readonly shipped_bytes: number;
  readonly address: RestartAddress;
  readonly phase: 'planning' | 'copying' | 'proving' | 'committing';
}

/** Why a ship order did not come to its end. `retry`: the cause may pass by itself (link, space at the peer). */
export interface ShipFailure {
  readonly code:
    | 'link_lost'
    | 'peer_untrusted'
    | 'protocol_mismatch'
    | 'peer_paused'
    | 'peer_suspended'
    | 'peer_not_ready'
    | 'stale_generation'
    | 'base_mismatch'
    | 'session_unknown'
    | 'peer_no_space'
    | 'peer_io_error'
    | 'source_damaged'
    | 'proof_mismatch'
    | 'cancelled'
    | 'internal';
  readonly message: string;
  readonly retry: boolean;
}

export type ShipOutcome =
  | { readonly kind: 'done'; readonly digests: readonly Digest[]; readonly progress: ShipProgress }
  | { readonly kind: 'failed'; readonly failure: ShipFailure; readonly progress: ShipProgress };

/** Whether the destination takes a session's cycle now: typed refusals travel to the source [C5.3]. */
export type Admission =
  /** `peer`: fingerprint of the only cluster that may ship into this session. */
  | { readonly admit: true; readonly peer?: string }
  | { readonly admit: false; readonly code: 'peer_paused' | 'peer_suspended' | 'peer_not_ready' | 'session_unknown' };
