import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';
import type { Base, Digest, Generation, Pair, Role } from '@antipode/blocks';
import type { ShipFailure } from '../transfer/types.ts';
import type { ScheduleRule } from './schedule.ts';
import type { State } from './states.ts';

/** A point that both sides hold, with the digest of each pair's image there [C2.3]. */
export type BaseRef = Base;

/**
 * One synchronization, fixed when it starts [C3.1]. It survives pauses, crashes and System_Paused with the same target;
 * its id changes only when its base changes, because that voids the restart address [C3.5].
 */
export interface Cycle {
  readonly id: CycleId;
  /** Target point: the next common base. */
  readonly point: PointId;
  readonly started_ms: number;
  readonly trigger: 'initial' | 'schedule' | 'user' | 'failover' | 'reprotect' | 'retry';
  /**
   * `members`: the peer is asked for volumes for members to come. `freeze`: the target is not yet durable. `ship`: it is.
   * `advance`: the destination has committed it.
   */
  readonly phase: 'members' | 'freeze' | 'ship' | 'advance';
  /** Members at the target, and the snapshots shipped on the way to it, oldest first: fixed with the freeze. */
  readonly pairs?: readonly Pair[];
  readonly points?: readonly PointId[];
  /** Moment of the target's freeze at the source. */
  readonly instant_ms?: number;
  /** Found at contact; absent before that. `point` absent: nothing in common, all is shipped. */
  readonly base?: { readonly point?: PointId };
  /** The base was confirmed at a contact since the last interruption. */
  readonly confirmed: boolean;
  /** Known when the destination has proven it. */
  readonly digests?: readonly Digest[];
}

export type Remembered = 'OK' | 'Synchronizing' | 'System_Paused';

/** A user's pause. `local`: only this side knows of it; `both`: the peer has acknowledged it. */
export interface PauseMark {
  readonly scope: 'local' | 'both';
  readonly remembered: Remembered;
}

/** Why the system itself may pause a session. */
export const suspensionReasons = ['ndu', 'migration'] as const;
export type SuspensionReason = (typeof suspensionReasons)[number];

/** A pause by this cluster itself; `by` names the upgrade or migration that it is for: who is over lifts it. */
export interface Suspension {
  readonly reason: SuspensionReason;
  readonly by: string;
}

/** States in which a suspension takes effect; in others it waits until what is under way has ended. */
export const suspendable = ['Initializing', 'OK', 'Synchronizing', 'System_Paused', 'Paused'] as const;
export type Suspendable = (typeof suspendable)[number];

/** What a verb has set in motion and a crash must not forget. */
export type Operation =
  | { readonly kind: 'pause'; readonly remembered: Remembered }
  /** Resume of a pause that only this side knew of: makes both sites Paused instead. */
  | { readonly kind: 'complete_pause' }
  | { readonly kind: 'resume' }
  | PlannedFailover
  /** Destination: asked by a source's planned failover, or by an operator without one. */
  | {
      readonly kind: 'promote';
      readonly next: Generation;
      readonly proposal?: ProposalId;
      readonly commit?: { readonly cycle: CycleId; readonly digests: readonly Digest[] };
      readonly from?: PointId;
      readonly testCopy?: true;
    }
  /** Destination: heads open on a fork, or follow again; the state shown stays what it is. */
  | { readonly kind: 'start_test'; readonly test: TestId; readonly from?: PointId }
  | { readonly kind: 'stop_test'; readonly test: TestId; readonly keep?: PointId; readonly keep_ms: number }
  | { readonly kind: 'refuse_proposal'; readonly proposal: ProposalId }
  | { readonly kind: 'reprotect'; readonly phase: 'contact' | 'reset_base' | 'activate'; readonly base?: BaseRef }
  /** New destination side of a reprotect: its engine takes over the agreed base. */
  | { readonly kind: 'activate'; readonly base?: BaseRef }
  /** A newer generation was learned: this side is no longer the source. */
  | {
      readonly kind: 'demote';
      readonly learned: Generation;
      readonly base?: PointId;
      readonly preserve: PointId;
      readonly preserve_ms: number;
      /** A planned failover that is to go on into reprotect. */
      readonly reverse?: true;
    }
  /** Old source of a failover with `reverse`: the new source is asked to reprotect. */
  | { readonly kind: 'reverse' }
  | { readonly kind: 'delete'; readonly phase: 'tell' | 'remove'; readonly tell: boolean };

export interface PlannedFailover {
  readonly kind: 'planned_failover';
  readonly proposal: ProposalId;
  /**
   * `catch_up`: cycles while hosts write. `seal`: writes stop. `prove`: the sealed point is shipped and proven.
   * `promoting`: the promote may have been sent: from here on only the peer can say no [C4.2].
   * `abort`: the seal is being lifted.
   */
  readonly phase: 'catch_up' | 'seal' | 'prove' | 'promoting' | 'abort';
  /** Cycles done in `catch_up`; undefined `measured` means what is left must be looked up. */
  readonly rounds: number;
  readonly measured_bytes?: number;
  /** The point that the seal freezes. */
  readonly sealPoint: PointId;
  readonly reverse: boolean;
}

/** What can stop a session: whatever can stop a shipment, and what only the machine itself finds. */
export type FaultCode =
  | Exclude<ShipFailure['code'], 'cancelled' | 'peer_suspended'>
  | 'proposal_refused'
  | 'split_generation'
  | 'member_refused';

/** Why a session is parked; `retry`: it goes on by itself when the cause has passed. */
export interface Fault {
  readonly code: FaultCode;
  readonly message: string;
  readonly retry: boolean;
  /** Not before this moment. */
  readonly retryAt_ms: number;
  /** Failures in a row: the back-off grows with them. */
  readonly count: number;
}

export interface LastSync {
  readonly completed_ms: number;
  readonly duration_ms: number;
  /** Moment at the source that the copy shows. */
  readonly instant_ms: number;
}

/** What this side knows of the other from their last contact. */
export interface PeerView {
  readonly generation: number;
  readonly paused: boolean;
  /** A failover test is running there. */
  readonly testing?: boolean;
  /** Why the system holds the session there; it holds it here as well. */
  readonly suspended?: readonly SuspensionReason[];
  /** The newest revision of it that was heard of. */
  readonly revision?: number;
  /** The newest revision of ours that it has shown to know; absent: to be told anew, whatever it knew. */
  readonly seen?: number;
}

/**
 * One cluster's half of a session: plain data, kept in the catalog. Base, seal, refused proposals and the staged cycle have
 * one owner, the engine, and are not repeated here; its role and generation win over these [C7.2].
 */
export interface Half {
  readonly id: SessionId;
  readonly role: Role;
  readonly generation: Generation;
  readonly state: State;
  /** Grows with everything that this half has to say, over generations and restarts: the peer tells old from new by it. */
  readonly revision: number;
  readonly pairs: readonly Pair[];
  /** Source: volumes that are members here and have no peer yet. The next cycle brings them. */
  readonly newcomers?: readonly VolumeId[];
  /** Recovery point objective, ms. */
  readonly rpo_ms: number;
  readonly paused?: PauseMark;
  /** This cluster's own, whether or not they can take effect now. */
  readonly suspensions?: readonly Suspension[];
  /** While one of either side is in effect: the state that it comes back to. */
  readonly suspended?: { readonly from: Suspendable };
  readonly operation?: Operation;
  readonly cycle?: Cycle;
  readonly fault?: Fault;
  readonly lastSync?: LastSync;
  /** Destination: hosts may write to a fork of the copy while cycles go on landing beneath [C2.2]. */
  readonly test?: { readonly id: TestId };
  /** Start of the newest cycle, and how long the recent ones took at most: the schedule's two inputs (A30). */
  readonly previousStart_ms?: number;
  /**
   * The newest cycle was not started in time by its schedule: perhaps with many others, after an outage or when their policy was
   * assigned. The next one starts at a moment of the session's own, so that they do not stay in step.
   */
  readonly outOfStep?: true;
  /** Absent: `share_of_rpo`. */
  readonly schedule?: ScheduleRule;
  readonly transfer_ms: number;
  readonly peer: PeerView;
  /** Why the last operation did not reach its end, until the next command: the answer to whoever waits. */
  readonly lastFailure?: {
    readonly command: string;
    readonly code: FaultCode | 'peer_unreachable' | 'peer_busy';
    readonly message: string;
  };
}

/** REST and the catalog read a session's finer copy phase from here. */
export const isInitialSync = (half: Half): boolean => half.lastSync === undefined;

/**
 * Which side is the source from now on is being decided: writes are sealed, or the answer of a newer generation is taken over. Members
 * and sizes stay what they are until it is known.
 */
export const isDecidingDirection = ({ operation }: Half): boolean =>
  operation?.kind === 'demote' || (operation?.kind === 'planned_failover' && operation.phase !== 'catch_up');
