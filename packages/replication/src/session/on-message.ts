import { err, ok, type Result } from '@antipode/base';
import type { HalfView, PeerMessage, PeerReply } from '../peer/messages.ts';
import { acceptCommand, checkCommand } from './accept-command.ts';
import { type Change, type Context, unchanged, without } from './change.ts';
import { absorb } from './contact.ts';
import { startCycle } from './cycle.ts';
import type { BaseRef, Half, Remembered } from './half.ts';
import { isOutOfDate } from './hearing.ts';
import type { Rejection } from './rejection.ts';

/** The peer's verb. Whatever is out of date or out of place changes nothing but what the views teach [S8]. */
export function onMessage(
  half: Half,
  message: PeerMessage,
  common: BaseRef | undefined,
  context: Context,
): Result<Change, Rejection> {
  const absorbed = absorb(half, message.view, common, context);
  if (isOutOfDate(half, message.view)) return ok(absorbed);
  if (absorbed.half.generation.number !== message.view.generation.number || absorbed.half.operation?.kind === 'demote')
    return ok(absorbed);
  if (absorbed.half.state === 'Error') return ok(absorbed);
  const then = onVerb(absorbed.half, message, context);
  if (!then.ok) return err(then.error);
  return ok({ half: then.value.half, notices: [...absorbed.notices, ...then.value.notices] });
}

const pausable = (half: Half): half is Half & { readonly state: Remembered } =>
  half.operation === undefined &&
  (half.state === 'OK' || half.state === 'Synchronizing' || half.state === 'System_Paused');

function onVerb(half: Half, message: PeerMessage, context: Context): Result<Change, Rejection> {
  switch (message.kind) {
    case 'contact':
      return ok(unchanged(half));
    case 'pause':
      return ok(onPause(half, message.view.paused?.remembered));
    case 'resume':
      return ok(half.state === 'Paused' ? resumeHalf(half, message.view.paused?.remembered, context) : unchanged(half));
    case 'activate':
      if (half.role !== 'destination' || half.state !== 'Failed_Over' || !idle(half)) return ok(unchanged(half));
      return ok(unchanged({ ...half, operation: { kind: 'activate', ...(message.base && { base: message.base }) } }));
    case 'reprotect':
      return checkCommand(half, 'reprotect').ok
        ? acceptCommand(half, { name: 'reprotect' }, context)
        : ok(unchanged(half));
    case 'delete':
      return ok(half.operation?.kind === 'delete' ? unchanged(half) : deletedByPeer(half));
    case 'promote':
      return ok(onPromote(half, message, context));
  }
}

/** The peer has deleted the session. What was the source here is protected no more, and nobody here asked for that [C5.6]. */
export const deletedByPeer = (half: Half): Change => ({
  half: { ...half, state: 'Deleting', operation: { kind: 'delete', phase: 'remove', tell: false } },
  notices: [half.role === 'source' ? { kind: 'protection_lost' } : { kind: 'deleted', by: 'peer' }],
});

/** Nothing under way that the peer's verb would cut short. */
const idle = (half: Half): boolean => half.operation === undefined || half.operation.kind === 'reverse';

function onPause(half: Half, theirs: Remembered | undefined): Change {
  if (half.state === 'Paused' && half.paused !== undefined)
    return unchanged({ ...half, paused: { ...half.paused, scope: 'both' } });
  if (half.operation?.kind === 'pause') {
    // Both operators pause at the same moment: each acknowledges the other.
    const remembered = half.operation.remembered;
    return paused(without(half, 'operation'), remembered);
  }
  if (pausable(half)) return paused(half, half.state);
  // A destination that has not heard how far its source had come: who can be paused has begun.
  if (half.role === 'destination' && half.state === 'Initializing' && half.operation === undefined)
    return paused(half, theirs ?? 'System_Paused');
  return unchanged(half);
}

function paused(half: Half, remembered: Remembered): Change {
  return {
    half: { ...half, state: 'Paused', paused: { scope: 'both', remembered } },
    notices: [{ kind: 'paused', scope: 'both' }],
  };
}

/** Ends a pause of both sites. A cycle starts if either half was copying or parked, or one is unfinished [C5.4]. */
export function resumeHalf(half: Half, peerRemembered: Remembered | undefined, context: Context): Change {
  const mine = half.paused?.remembered ?? 'OK';
  const awake = { ...without(half, 'paused', 'fault', 'operation'), peer: { ...half.peer, paused: false } };
  const copy = mine !== 'OK' || (peerRemembered !== undefined && peerRemembered !== 'OK') || half.cycle !== undefined;
  const notices = [{ kind: 'resumed' }] as const;
  if (half.role === 'destination')
    return { half: { ...awake, state: mine === 'System_Paused' ? 'System_Paused' : mine }, notices };
  if (!copy) return { half: { ...awake, state: 'OK' }, notices };
  const started = startCycle(awake, 'user', context);
  return { half: started.half, notices: [...notices, ...started.notices] };
}

function onPromote(half: Half, message: Extract<PeerMessage, { kind: 'promote' }>, context: Context): Change {
  // Something else is under way: not now. The source keeps its seal and asks again.
  if (half.role !== 'destination' || half.operation !== undefined) return unchanged(half);
  const reason =
    half.state === 'Paused'
      ? (['peer_paused', 'the session is paused at the destination'] as const)
      : half.test !== undefined
        ? (['peer_not_ready', 'a failover test is running at the destination'] as const)
        : half.suspended !== undefined
          ? (['peer_not_ready', 'the session is paused by the system at the destination'] as const)
          : undefined;
  if (reason !== undefined) {
    // Begun here while the promote was on its way: refused durably, so that the source may open again [C4.2].
    const lastFailure = { command: 'planned_failover', code: reason[0], message: reason[1] };
    return unchanged({ ...half, lastFailure, operation: { kind: 'refuse_proposal', proposal: message.proposal } });
  }
  return {
    half: {
      ...half,
      state: 'Failing_Over',
      operation: {
        kind: 'promote',
        next: { number: half.generation.number + 1, site: context.site, nonce: context.fresh.nonce },
        proposal: message.proposal,
        commit: { cycle: message.cycle, digests: message.digests },
      },
    },
    notices: [{ kind: 'failover_started', planned: true }],
  };
}

/** Whether the answer to a verb of the peer has to wait for an operation that it set in motion. */
export const awaitsOperation = (half: Half, message: PeerMessage): boolean =>
  (message.kind === 'promote' && (half.operation?.kind === 'promote' || half.operation?.kind === 'refuse_proposal')) ||
  (message.kind === 'activate' && half.operation?.kind === 'activate') ||
  half.operation?.kind === 'demote';

/** The answer to a verb, from the half as it stands once nothing is awaited. */
export function replyTo(message: PeerMessage, half: Half, view: HalfView): PeerReply {
  const sameEra = view.generation.number === message.view.generation.number;
  switch (message.kind) {
    case 'contact':
    case 'delete':
      return { kind: 'view', view };
    case 'pause':
      return half.state === 'Paused' || !sameEra ? { kind: 'view', view } : busy(half, view);
    case 'resume':
      return half.state === 'Paused' || half.suspended !== undefined || half.operation !== undefined
        ? busy(half, view)
        : { kind: 'view', view };
    case 'activate':
      return sameEra && half.state !== 'Failed_Over' && half.role === 'destination' && half.operation === undefined
        ? { kind: 'view', view }
        : busy(half, view);
    case 'reprotect':
      return half.state === 'Failed_Over' ? busy(half, view) : { kind: 'view', view };
    case 'promote':
      if (view.refused.includes(message.proposal))
        return { kind: 'refused', message: half.lastFailure?.message ?? 'the proposal was refused', view };
      return view.generation.number > message.view.generation.number ? { kind: 'view', view } : busy(half, view);
  }
}

const busy = (half: Half, view: HalfView): PeerReply => ({
  kind: 'busy',
  message: `the session is ${half.state} at the peer`,
  view,
});
