import type { CycleId, PointId, ProposalId, SessionId } from '@antipode/base';
import type { Digest, Generation, Pair, Role } from '@antipode/blocks';
import type { BaseRef, LastSync, Remembered, SuspensionReason } from '../session/half.ts';
import type { State } from '../session/states.ts';

/** Version of the management channel's messages; a cluster speaks this and the one before [C9.4]. */
export const peerProtocolVersion = 1;
export const oldestPeerProtocolVersion = 1;

/** `pairs` are said as the cluster that reads them sees them. */
export interface HeldPoint extends BaseRef {
  readonly instant_ms: number;
}

/** What one half tells the other at every contact [C5.1]. What follows is a pure function of the two views. */
export interface HalfView {
  readonly generation: Generation;
  readonly role: Role;
  readonly state: State;
  /** Of two views of one half the one with the higher number is the newer one. Absent: an older version. */
  readonly revision?: number;
  /** The newest revision of the reader's half that the speaker has heard of. */
  readonly seen?: number;
  readonly paused?: { readonly scope: 'local' | 'both'; readonly remembered: Remembered };
  readonly proposal?: ProposalId;
  readonly refused: readonly ProposalId[];
  readonly base?: BaseRef;
  /** Points of all members that this side holds for the session, with the digest of each pair's image, newest first, bounded. */
  readonly points: readonly HeldPoint[];
  readonly staged?: CycleId;
  /** Members, those set aside included, as the cluster that reads this sees them. Absent: an older version, one pair. */
  readonly pairs?: readonly Pair[];
  /** Snapshots of members that are here, newest last, bounded: said where the common base does not tell what need not be shipped again. */
  readonly snapshots?: readonly PointId[];
  /** A failover test is running here. Absent from clusters that do not know of tests. */
  readonly testing?: boolean;
  /** Why the system here keeps the session paused; absent: it does not. */
  readonly suspended?: readonly SuspensionReason[];
  readonly lastSync?: LastSync;
}

/** The verbs between two halves of a session. Each is idempotent and carries the sender's view. */
export type PeerMessage =
  | { readonly kind: 'contact'; readonly session: SessionId; readonly view: HalfView }
  | { readonly kind: 'pause'; readonly session: SessionId; readonly view: HalfView }
  | { readonly kind: 'resume'; readonly session: SessionId; readonly view: HalfView }
  | { readonly kind: 'activate'; readonly session: SessionId; readonly view: HalfView; readonly base?: BaseRef }
  | { readonly kind: 'reprotect'; readonly session: SessionId; readonly view: HalfView }
  | { readonly kind: 'delete'; readonly session: SessionId; readonly view: HalfView }
  | {
      readonly kind: 'promote';
      readonly session: SessionId;
      readonly view: HalfView;
      readonly proposal: ProposalId;
      readonly cycle: CycleId;
      readonly digests: readonly Digest[];
    };

export type PeerReply =
  | { readonly kind: 'view'; readonly view: HalfView }
  | { readonly kind: 'busy'; readonly message: string; readonly view: HalfView }
  | { readonly kind: 'refused'; readonly message: string; readonly view: HalfView }
  | { readonly kind: 'tombstone'; readonly generation: Generation }
  | { readonly kind: 'unknown_session' };
