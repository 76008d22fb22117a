import type { CycleId, PointId, ProposalId, TestId, VolumeId } from '@antipode/base';
import type { Digest, Generation, Pair } from '@antipode/blocks';
import type { HalfView } from '../peer/messages.ts';
import type { ShipFailure } from '../transfer/types.ts';
import type { BaseRef, Cycle, FaultCode } from './half.ts';

/**
 * The next thing a half needs done by the world outside: at most one at a time, derived from the half alone, so that after a
 * crash the same step is derived again. Every step is idempotent.
 */
export type Step =
  /** Exchange views with the peer; also tells it our state. */
  | { readonly kind: 'contact' }
  /** Ask the peer for volumes for these, and make them members of the engine's half. */
  | { readonly kind: 'members'; readonly newcomers: readonly VolumeId[] }
  | { readonly kind: 'freeze'; readonly cycle: Cycle }
  | { readonly kind: 'ship'; readonly cycle: Cycle; readonly end: 'commit' | 'prove' }
  | { readonly kind: 'advance_base'; readonly base: BaseRef }
  | { readonly kind: 'reset_base'; readonly base?: BaseRef }
  /** How many bytes a final cycle would have to ship. */
  | { readonly kind: 'measure' }
  | { readonly kind: 'seal'; readonly proposal: ProposalId; readonly point: PointId }
  | { readonly kind: 'unseal'; readonly proposal: ProposalId }
  | {
      readonly kind: 'send_promote';
      readonly proposal: ProposalId;
      readonly cycle: CycleId;
      readonly digests: readonly Digest[];
    }
  | {
      readonly kind: 'promote';
      readonly next: Generation;
      readonly proposal?: ProposalId;
      readonly commit?: { readonly cycle: CycleId; readonly digests: readonly Digest[] };
      readonly from?: PointId;
      readonly testCopy?: true;
    }
  | { readonly kind: 'start_test'; readonly test: TestId; readonly from?: PointId }
  | { readonly kind: 'stop_test'; readonly test: TestId; readonly keep?: PointId; readonly keep_ms: number }
  | { readonly kind: 'refuse_proposal'; readonly proposal: ProposalId }
  | {
      readonly kind: 'demote';
      readonly learned: Generation;
      readonly base?: PointId;
      readonly preserve: PointId;
      readonly preserve_ms: number;
    }
  | { readonly kind: 'tell_pause' }
  | { readonly kind: 'tell_resume' }
  | { readonly kind: 'tell_activate'; readonly base?: BaseRef }
  | { readonly kind: 'tell_delete' }
  | { readonly kind: 'tell_reprotect' }
  | { readonly kind: 'remove' };

export type StepKind = Step['kind'];

/** Two steps with equal keys are the same piece of work: a running one need not be started again. */
export function stepKey(step: Step): string {
  switch (step.kind) {
    case 'ship':
      return `ship:${step.cycle.id}:${step.end}`;
    case 'freeze':
      return `freeze:${step.cycle.point}`;
    case 'advance_base':
      return `advance_base:${step.base.point}`;
    default:
      return step.kind;
  }
}

/** What the peer answered to a verb of ours, or why there is no answer. */
export type Told =
  | { readonly ok: true; readonly view: HalfView }
  | { readonly ok: false; readonly reason: 'busy'; readonly message: string; readonly view: HalfView }
  | { readonly ok: false; readonly reason: 'unreachable' | 'unknown_session'; readonly message: string };

/** A target that is durable: its moment, its members, and the snapshots on the way to it. */
export interface Frozen {
  readonly instant_ms: number;
  readonly pairs?: readonly Pair[];
  readonly points?: readonly PointId[];
  /** Snapshots, the oldest, that one cycle has no room for: they are not copied. */
  readonly leftOut?: number;
}

/** How a step ended. `failed` is for the local engine; the network's failures are part of each outcome. */
export type Outcome =
  | {
      readonly kind: 'contact';
      readonly result:
        | {
            readonly ok: true;
            readonly view: HalfView;
            /** The revision that it was told of, which may not be the newest any more. */
            readonly said: number;
            /** Newest point both hold with equal digest. */
            readonly common?: BaseRef;
          }
        | { readonly ok: false; readonly reason: 'unreachable' }
        | { readonly ok: false; readonly reason: 'tombstone'; readonly generation: Generation }
        | { readonly ok: false; readonly reason: 'unknown_session' };
    }
  | {
      readonly kind: 'members';
      readonly result:
        | { readonly ok: true; readonly pairs: readonly Pair[] }
        | { readonly ok: false; readonly code: FaultCode; readonly message: string };
    }
  | ({ readonly kind: 'freeze' } & Frozen)
  | {
      readonly kind: 'ship';
      readonly cycle: CycleId;
      readonly result:
        | { readonly ok: true; readonly digests: readonly Digest[] }
        | { readonly ok: false; readonly failure: ShipFailure };
    }
  | { readonly kind: 'advance_base' }
  | { readonly kind: 'reset_base' }
  | { readonly kind: 'measure'; readonly bytes: number }
  | ({ readonly kind: 'seal' } & Frozen)
  | { readonly kind: 'unseal' }
  | {
      readonly kind: 'send_promote';
      readonly result:
        | { readonly ok: true; readonly view: HalfView }
        | { readonly ok: false; readonly reason: 'unreachable' }
        | { readonly ok: false; readonly reason: 'busy'; readonly view: HalfView }
        /** Durably refused at the destination: it cannot happen any more. */
        | { readonly ok: false; readonly reason: 'refused'; readonly message: string; readonly view?: HalfView };
    }
  | {
      readonly kind: 'promote';
      readonly result: { readonly ok: true } | { readonly ok: false; readonly message: string };
    }
  /** The point that a cycle was to ship is not there any more: the catalog that named it is an older copy. */
  | { readonly kind: 'target_gone'; readonly cycle: CycleId }
  | { readonly kind: 'start_test' }
  | { readonly kind: 'stop_test' }
  | { readonly kind: 'refuse_proposal' }
  | { readonly kind: 'demote'; readonly diverged_bytes: number }
  | { readonly kind: 'tell_pause'; readonly result: Told }
  | { readonly kind: 'tell_resume'; readonly result: Told }
  | { readonly kind: 'tell_activate'; readonly result: Told }
  | { readonly kind: 'tell_delete'; readonly result: Told }
  | { readonly kind: 'tell_reprotect'; readonly result: Told }
  | { readonly kind: 'remove' }
  /** The local engine or data plane could not do the step: it is tried again after a while. */
  | { readonly kind: 'failed'; readonly step: StepKind; readonly message: string; readonly fatal: boolean };
