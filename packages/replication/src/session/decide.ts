import { err, ok, type Result, type VolumeId } from '@antipode/base';
import type { Pair } from '@antipode/blocks';
import type { PeerMessage } from '../peer/messages.ts';
import { acceptCommand, type Command } from './accept-command.ts';
import { type Change, type Context, untold, withMembers } from './change.ts';
import { evaluate, wantsSlot } from './evaluate.ts';
import type { BaseRef, Half, Suspension } from './half.ts';
import type { Notice } from './notice.ts';
import { onMessage } from './on-message.ts';
import { onOutcome } from './on-outcome.ts';
import type { Rejection } from './rejection.ts';
import type { Outcome, Step } from './steps.ts';
import { lift, suspend } from './suspend.ts';

/** Everything that can happen to a half. */
export type Input =
  | { readonly kind: 'command'; readonly command: Command }
  | { readonly kind: 'outcome'; readonly outcome: Outcome }
  /** A verb of the peer; `common`: the newest point both hold with equal digest, looked up by the driver. */
  | { readonly kind: 'message'; readonly message: PeerMessage; readonly common?: BaseRef }
  | { readonly kind: 'link'; readonly up: boolean }
  /** This cluster itself pauses the session for an upgrade or a migration, or has done with it. */
  | { readonly kind: 'suspend'; readonly suspension: Suspension }
  | { readonly kind: 'lift'; readonly by: string }
  /** The members changed: at a source on request, at a destination with a commit. What a running cycle ships stays what it is. */
  | { readonly kind: 'members'; readonly pairs: readonly Pair[]; readonly newcomers: readonly VolumeId[] }
  /** Time has passed, or something else should be looked at again. */
  | { readonly kind: 'tick' };

export interface Decision {
  readonly half: Half;
  /** What the world should be doing for this half now; anything else that runs is to be stopped. */
  readonly step: Step | undefined;
  /** A cycle runs or would: a place on the link is to be held, or asked for. */
  readonly wantsSlot: boolean;
  /** What operators should hear of. */
  readonly notices: readonly Notice[];
}

/**
 * The session's state machine: pure, total and deterministic. Every input only changes the half; what is to be done next is
 * then derived from the half alone by {@link evaluate}, so that a restart derives the same.
 *
 * Invariants (each has a test of its number):
 *  S1 At most one operation, and an operation's state is the one shown.
 *  S2 Generations never fall, and only a destination's promotion mints one [C4.1].
 *  S3 A destination never has a cycle; a cycle's target never changes [C3.1].
 *  S4 Nothing is shipped or received while either side is paused [C5.3].
 *  S5 A contact never sets or clears a pause mark [C5.2].
 *  S6 Once a promote may have been sent, only its answer or a newer generation ends the seal [C4.2].
 *  S7 A refused command changes nothing.
 *  S8 An input that was seen before (duplicate, late, replayed) changes nothing that matters: generations and ids tell.
 *  S9 While the system of either side asks for a pause nothing is shipped or received, whoever asks and in whatever order; with none
 *     left the half is in the state that it was in, a user's pause included.
 */
export function decide(half: Half, input: Input, context: Context): Result<Decision, Rejection> {
  const change = apply(half, input, context);
  if (!change.ok) return change;
  const settled = evaluate(half, change.value, context);
  const { half: next, notices } = settled.change;
  return ok({ half: next, step: settled.step, wantsSlot: wantsSlot(next, context), notices });
}

function apply(half: Half, input: Input, context: Context): Result<Change, Rejection> {
  switch (input.kind) {
    case 'command':
      return acceptCommand(half, input.command, context);
    case 'outcome':
      return ok(onOutcome(half, input.outcome, context));
    case 'message': {
      const answered = onMessage(half, input.message, input.common, context);
      return answered.ok ? ok(answered.value) : err(answered.error);
    }
    case 'link':
      return ok(onLink(half, input.up));
    case 'suspend':
      return ok(suspend(half, input.suspension));
    case 'lift':
      return ok(lift(half, input.by));
    case 'members':
      return ok({ half: withMembers(half, input.pairs, input.newcomers), notices: [] });
    case 'tick':
      return ok({ half, notices: [] });
  }
}

/** The link came or went. Coming: both halves compare themselves. Going: a destination in mid-cycle says so. */
function onLink(half: Half, up: boolean): Change {
  if (up) return { half: untold(half), notices: [] };
  if (half.role === 'destination' && half.state === 'Synchronizing')
    return { half: { ...half, state: 'System_Paused' }, notices: [] };
  return { half, notices: [] };
}
