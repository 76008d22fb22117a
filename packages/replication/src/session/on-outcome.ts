import { assertNever, type PointId, type TestId } from '@antipode/base';
import type { HalfView } from '../peer/messages.ts';
import type { ShipFailure } from '../transfer/types.ts';
import { type Change, type Context, unchanged, without } from './change.ts';
import { absorb } from './contact.ts';
import { finishCycle, newCycle, park, startCycle } from './cycle.ts';
import type { Cycle, FaultCode, Half, Operation, PlannedFailover } from './half.ts';
import { hear, isOutOfDate } from './hearing.ts';
import { sessionLimits } from './limits.ts';
import type { Notice } from './notice.ts';
import { deletedByPeer, resumeHalf } from './on-message.ts';
import type { Frozen, Outcome } from './steps.ts';

type Of<K extends Outcome['kind']> = Extract<Outcome, { kind: K }>;

/** A step has ended. An outcome of a step that is no longer wanted changes nothing [S8]. */
export function onOutcome(half: Half, outcome: Outcome, context: Context): Change {
  const view = answeredView(outcome);
  return onEnded(view === undefined ? half : hear(half, view), outcome, context);
}

/** What the peer said of itself in its answer to a verb, whatever the answer was. */
function answeredView(outcome: Outcome): HalfView | undefined {
  switch (outcome.kind) {
    case 'send_promote':
    case 'tell_pause':
    case 'tell_resume':
    case 'tell_activate':
    case 'tell_delete':
    case 'tell_reprotect':
      return 'view' in outcome.result ? outcome.result.view : undefined;
    default:
      return undefined;
  }
}

function onEnded(half: Half, outcome: Outcome, context: Context): Change {
  const operation = half.operation;
  switch (outcome.kind) {
    case 'contact':
      return onContact(half, outcome, context);
    case 'members':
      return onMembers(half, outcome, context);
    case 'freeze':
      if (half.cycle?.phase !== 'freeze') return unchanged(half);
      return {
        half: { ...half, cycle: { ...half.cycle, phase: 'ship', ...frozen(outcome) } },
        notices: leftOut(outcome),
      };
    case 'ship':
      return onShip(half, outcome, context);
    case 'target_gone':
      return onTargetGone(half, outcome.cycle, context);
    case 'advance_base':
      return onAdvanced(half, context);
    case 'reset_base':
      if (operation?.kind === 'reprotect')
        return unchanged({ ...half, operation: { ...operation, phase: 'activate' } });
      if (operation?.kind === 'activate') {
        return {
          half: { ...without(half, 'operation', 'cycle', 'fault'), state: 'OK' },
          notices: [{ kind: 'reprotected' }],
        };
      }
      return unchanged(half);
    case 'measure':
      return operation?.kind === 'planned_failover' && operation.phase === 'catch_up'
        ? onMeasured(half, operation, outcome.bytes, context)
        : unchanged(half);
    case 'seal':
      if (operation?.kind !== 'planned_failover' || operation.phase !== 'seal') return unchanged(half);
      return {
        half: {
          ...half,
          operation: { ...operation, phase: 'prove' },
          cycle: {
            ...newCycle(half, 'failover', context),
            point: operation.sealPoint,
            phase: 'ship',
            ...frozen(outcome),
          },
          previousStart_ms: context.now_ms,
        },
        notices: leftOut(outcome),
      };
    case 'unseal':
      return unchanged(operation?.kind === 'planned_failover' ? abandoned(half) : half);
    case 'send_promote':
      return onPromoteSent(half, outcome, context);
    case 'promote':
      return operation?.kind === 'promote' ? onPromoted(half, operation, outcome) : unchanged(half);
    case 'start_test':
      return operation?.kind === 'start_test' ? onTestStarted(half, operation.test) : unchanged(half);
    case 'stop_test':
      return operation?.kind === 'stop_test' ? onTestStopped(half, operation.keep) : unchanged(half);
    case 'refuse_proposal':
      return unchanged(
        operation?.kind === 'refuse_proposal' ? keepPauseOr(without(half, 'operation'), 'System_Paused') : half,
      );
    case 'demote':
      return operation?.kind === 'demote' ? onDemoted(half, operation, outcome.diverged_bytes) : unchanged(half);
    case 'tell_pause':
      return onToldPause(half, outcome);
    case 'tell_resume':
      return onToldResume(half, outcome, context);
    case 'tell_activate':
      return onToldActivate(half, outcome, context);
    case 'tell_delete':
      return operation?.kind === 'delete' ? onToldDelete(half, operation, outcome, context) : unchanged(half);
    case 'tell_reprotect':
      return onToldReprotect(half, outcome);
    case 'remove':
      return unchanged(half);
    case 'failed':
      return onFailed(half, outcome, context);
    default:
      return assertNever(outcome);
  }
}

const frozen = ({ instant_ms, pairs, points }: Frozen): Frozen => ({
  instant_ms,
  ...(pairs && { pairs }),
  ...(points && { points }),
});

const leftOut = ({ leftOut: count = 0 }: Frozen): readonly Notice[] =>
  count === 0 ? [] : [{ kind: 'snapshots_left_out', count }];

/** Every member has a peer now, or the peer has none for one of them: then the target is not frozen yet. */
function onMembers(half: Half, outcome: Of<'members'>, context: Context): Change {
  if (half.cycle?.phase !== 'members') return unchanged(half);
  if (!outcome.result.ok) return interrupted(half, outcome.result.code, outcome.result.message, true, context);
  const { pairs } = outcome.result;
  const still = half.newcomers?.filter((volume) => pairs.every((pair) => pair.local !== volume)) ?? [];
  const phase = still.length === 0 ? 'freeze' : 'members';
  const next = { ...without(half, 'newcomers'), pairs, cycle: { ...half.cycle, phase } as const };
  return unchanged(still.length === 0 ? next : { ...next, newcomers: still });
}

/** Back to a pause, of whoever, that what has ended did not end. */
function keepPauseOr(half: Half, state: Half['state']): Half {
  // Which of the two is found anew once nothing is under way.
  if (half.suspended !== undefined) return { ...half, state: 'Paused_For_NDU' };
  return { ...half, state: half.paused === undefined ? state : 'Paused' };
}

function onContact(half: Half, outcome: Of<'contact'>, context: Context): Change {
  const result = outcome.result;
  if (result.ok) {
    // An older version does not say what it has seen: what it was told. What an answer does not say of snapshots it need not say.
    const view = { ...result.view, seen: result.view.seen ?? result.said, snapshots: result.view.snapshots ?? [] };
    const absorbed = absorb(half, view, result.common, context);
    // The peer has said something newer while this answer was under way: it is asked once more.
    if (isOutOfDate(half, view)) return absorbed;
    const operation = absorbed.half.operation;
    if (operation?.kind !== 'reprotect' || operation.phase !== 'contact') return absorbed;
    const ready = view.generation.number === half.generation.number && view.role === 'destination';
    // The peer is still learning that it is no longer the source: asked again until it has.
    if (!ready) return absorbed;
    const base = result.common === undefined ? {} : { base: result.common };
    return { ...absorbed, half: { ...absorbed.half, operation: { kind: 'reprotect', phase: 'reset_base', ...base } } };
  }
  if (result.reason === 'tombstone') return half.operation?.kind === 'delete' ? unchanged(half) : deletedByPeer(half);
  const [code, message] =
    result.reason === 'unreachable'
      ? (['link_lost', 'the peer cannot be reached'] as const)
      : (['session_unknown', 'the peer does not know this session'] as const);
  if (half.operation?.kind === 'reprotect') {
    return unchanged({
      ...without(half, 'operation'),
      state: 'Failed_Over',
      lastFailure: { command: 'reprotect', code: 'peer_unreachable', message },
    });
  }
  return interrupted(half, code, message, true, context);
}

/**
 * Who cannot be told hears of it at the next contact, which comes when a lost link is back. Where nobody has noticed that the link is lost,
 * none would come: the peer is told again, until it knows or the link counts as lost.
 */
function onToldDelete(
  half: Half,
  operation: Extract<Operation, { kind: 'delete' }>,
  { result }: Of<'tell_delete'>,
  { linkUp }: Context,
): Change {
  if (!result.ok && result.reason === 'unreachable' && linkUp) return unchanged(half);
  return unchanged({ ...half, operation: { ...operation, phase: 'remove' } });
}

function onShip(half: Half, outcome: Of<'ship'>, context: Context): Change {
  const cycle = half.cycle;
  if (cycle === undefined || cycle.id !== outcome.cycle || cycle.phase !== 'ship') return unchanged(half);
  const operation = half.operation;
  const proving = operation?.kind === 'planned_failover' && operation.phase === 'prove';
  if (!outcome.result.ok) return onShipFailed(half, outcome.result.failure, context);
  const digests = outcome.result.digests;
  if (proving)
    return unchanged({ ...half, cycle: { ...cycle, digests }, operation: { ...operation, phase: 'promoting' } });
  return unchanged({ ...half, cycle: { ...cycle, digests, phase: 'advance' } });
}

/** A cycle without its target is no cycle: another one begins, with a target of its own [C3.7]. */
function onTargetGone(half: Half, cycle: Cycle['id'], context: Context): Change {
  const operation = half.operation;
  if (half.cycle?.id !== cycle || half.cycle.phase !== 'ship') return unchanged(half);
  const rest = without(half, 'cycle');
  if (operation?.kind === 'planned_failover' && operation.phase === 'catch_up') return unchanged(rest);
  if (operation !== undefined)
    return interrupted(half, 'source_damaged', 'the point being shipped is gone', false, context);
  return half.state === 'Synchronizing' ? startCycle(rest, 'retry', context) : unchanged(rest);
}

function onShipFailed(half: Half, failure: ShipFailure, context: Context): Change {
  if (failure.code === 'cancelled') return unchanged(half);
  if (failure.code === 'peer_suspended') {
    if (half.operation !== undefined) return interrupted(half, 'peer_not_ready', failure.message, true, context);
    // No fault: the next contact says why, and for how long nothing is to be shipped.
    return unchanged(half.cycle === undefined ? half : { ...half, cycle: { ...half.cycle, confirmed: false } });
  }
  // What the peer says of generation and base is settled by the next contact, not by trying again blindly.
  const retry =
    failure.retry ||
    failure.code === 'stale_generation' ||
    failure.code === 'base_mismatch' ||
    failure.code === 'session_unknown';
  return interrupted(half, failure.code, failure.message, retry, context);
}

/** Copying stopped for a reason outside: the session is parked; a planned failover gives up as long as it may [C4.2]. */
function interrupted(half: Half, code: FaultCode, message: string, retry: boolean, context: Context): Change {
  const operation = half.operation;
  if (operation?.kind === 'planned_failover') {
    if (operation.phase === 'promoting' || operation.phase === 'abort') return unchanged(half);
    const lastFailure = { command: 'planned_failover', code, message };
    const sealed = operation.phase === 'prove' || operation.phase === 'seal';
    const notices = [{ kind: 'failover_aborted', message }] as const;
    if (sealed) return { half: { ...half, lastFailure, operation: { ...operation, phase: 'abort' } }, notices };
    const parked = park(withoutUnreadable(without(half, 'operation'), code, retry), code, message, retry, context);
    return { half: { ...parked.half, lastFailure }, notices: [...notices, ...parked.notices] };
  }
  if (operation !== undefined || half.state !== 'Synchronizing') return unchanged(half);
  return park(withoutUnreadable(half, code, retry), code, message, retry, context);
}

/** A target that cannot be read will never be shipped, whatever is written over its blocks: the next cycle takes a fresh one [C3.1]. */
const withoutUnreadable = (half: Half, code: FaultCode, retry: boolean): Half =>
  code === 'source_damaged' && !retry && half.cycle?.phase === 'ship' ? without(half, 'cycle') : half;

/** The seal is lifted: an ordinary session again, its cycle unfinished, unless it could not be read. */
function abandoned(half: Half): Half {
  const failure = half.lastFailure;
  const fault = failure && {
    code: failure.code === 'peer_unreachable' || failure.code === 'peer_busy' ? ('link_lost' as const) : failure.code,
    message: failure.message,
  };
  const kept = failure?.code === 'source_damaged' ? without(half, 'cycle') : half;
  const cycle = kept.cycle && { cycle: { ...kept.cycle, confirmed: false } };
  return {
    ...without(kept, 'operation'),
    ...cycle,
    state: 'System_Paused',
    ...(fault && { fault: { ...fault, retry: true, retryAt_ms: 0, count: 1 } }),
  };
}

function onAdvanced(half: Half, context: Context): Change {
  const cycle = half.cycle;
  if (cycle?.phase !== 'advance') return unchanged(half);
  const finished = finishCycle(half, cycle, context);
  const operation = half.operation;
  if (operation?.kind === 'planned_failover') {
    const { measured_bytes: _, ...rest } = operation;
    return { ...finished, half: { ...finished.half, operation: { ...rest, rounds: operation.rounds + 1 } } };
  }
  return half.state === 'Synchronizing' ? { ...finished, half: { ...finished.half, state: 'OK' } } : finished;
}

/** Decides between one more cycle while hosts write, and the seal [C4.2a]. */
function onMeasured(half: Half, operation: PlannedFailover, bytes: number, context: Context): Change {
  const synced = half.lastSync !== undefined;
  const little = synced && bytes <= sessionLimits.sealBelow_bytes;
  // Who became a member meanwhile is copied before the seal, however long it takes: the seal is of all members.
  const seal = half.newcomers === undefined && (operation.rounds >= sessionLimits.catchUpRounds || little);
  if (seal) return unchanged({ ...half, operation: { ...operation, phase: 'seal', measured_bytes: bytes } });
  const started = startCycle(half, 'failover', context);
  return {
    half: { ...started.half, state: 'Failing_Over', operation: { ...operation, measured_bytes: bytes } },
    notices: started.notices,
  };
}

function onPromoteSent(half: Half, outcome: Of<'send_promote'>, context: Context): Change {
  const operation = half.operation;
  if (operation?.kind !== 'planned_failover' || operation.phase !== 'promoting') return unchanged(half);
  const result = outcome.result;
  if (result.ok) {
    return unchanged({
      ...half,
      operation: {
        kind: 'demote',
        learned: result.view.generation,
        preserve: operation.sealPoint,
        preserve_ms: context.now_ms,
        ...(half.cycle && { base: half.cycle.point }),
        ...(operation.reverse && { reverse: true as const }),
      },
    });
  }
  if (result.reason === 'refused') {
    const lastFailure = { command: 'planned_failover', code: 'proposal_refused', message: result.message } as const;
    return {
      half: { ...half, lastFailure, operation: { ...operation, phase: 'abort' } },
      notices: [{ kind: 'failover_aborted', message: result.message }],
    };
  }
  return { half, notices: result.reason === 'unreachable' ? [{ kind: 'in_doubt' }] : [] };
}

function onPromoted(
  half: Half,
  operation: Extract<Half['operation'], { kind: 'promote' }>,
  outcome: Of<'promote'>,
): Change {
  if (outcome.result.ok) {
    return {
      half: {
        ...without(half, 'operation', 'cycle', 'paused', 'suspended', 'fault', 'test'),
        role: 'source',
        generation: operation.next,
        state: 'Failed_Over',
        peer: { ...half.peer, paused: false },
      },
      notices: [{ kind: 'failed_over', generation: operation.next.number }],
    };
  }
  // The engine refused: nothing has changed there. A proposal must be refused durably, or its source stays sealed in doubt.
  const message = outcome.result.message;
  if (operation.proposal !== undefined) {
    const lastFailure = { command: 'planned_failover', code: 'proposal_refused', message } as const;
    return {
      half: { ...half, lastFailure, operation: { kind: 'refuse_proposal', proposal: operation.proposal } },
      notices: [],
    };
  }
  const lastFailure = { command: 'unplanned_failover', code: 'internal', message } as const;
  return unchanged({ ...keepPauseOr(without(half, 'operation'), 'System_Paused'), lastFailure });
}

function onTestStarted(half: Half, test: TestId): Change {
  return {
    half: { ...without(half, 'operation'), test: { id: test } },
    notices: [{ kind: 'test_started' }],
  };
}

function onTestStopped(half: Half, kept: PointId | undefined): Change {
  return {
    half: without(half, 'operation', 'test'),
    notices: [{ kind: 'test_stopped', ...(kept && { kept }) }],
  };
}

function onDemoted(
  half: Half,
  operation: Extract<Half['operation'], { kind: 'demote' }>,
  diverged_bytes: number,
): Change {
  return {
    half: {
      ...without(half, 'operation', 'cycle', 'paused', 'suspended', 'fault', 'newcomers'),
      role: 'destination',
      generation: operation.learned,
      state: 'Failed_Over',
      ...(operation.reverse && { operation: { kind: 'reverse' as const } }),
      peer: { ...half.peer, generation: operation.learned.number, paused: false },
    },
    notices: [{ kind: 'fenced', diverged_bytes }],
  };
}

function onToldPause(half: Half, outcome: Of<'tell_pause'>): Change {
  const operation = half.operation;
  const result = outcome.result;
  if (operation?.kind === 'complete_pause') {
    const rest = without(half, 'operation');
    if (!result.ok) {
      return unchanged({
        ...rest,
        lastFailure: {
          command: 'pause',
          code: result.reason === 'busy' ? 'peer_busy' : 'peer_unreachable',
          message: result.message,
        },
      });
    }
    return {
      half: { ...rest, ...(half.paused && { paused: { ...half.paused, scope: 'both' } }) },
      notices: [{ kind: 'paused', scope: 'both' }],
    };
  }
  if (operation?.kind !== 'pause') return unchanged(half);
  const rest = without(half, 'operation');
  if (!result.ok && result.reason === 'busy') {
    return unchanged({
      ...rest,
      state: operation.remembered,
      lastFailure: { command: 'pause', code: 'peer_busy', message: result.message },
    });
  }
  const scope = result.ok ? 'both' : 'local';
  return {
    half: {
      ...rest,
      state: 'Paused',
      paused: { scope, remembered: operation.remembered },
    },
    notices: [{ kind: 'paused', scope }],
  };
}

function onToldResume(half: Half, outcome: Of<'tell_resume'>, context: Context): Change {
  if (half.operation?.kind !== 'resume') return unchanged(half);
  const result = outcome.result;
  if (!result.ok) {
    const code = result.reason === 'busy' ? 'peer_busy' : 'peer_unreachable';
    return unchanged({
      ...without(half, 'operation'),
      state: 'Paused',
      lastFailure: { command: 'resume', code, message: result.message },
    });
  }
  const peerState = result.view.state;
  const remembered = peerState === 'Synchronizing' || peerState === 'System_Paused' ? peerState : 'OK';
  const resumed = resumeHalf(half, remembered, context);
  // A destination shows what its source does now.
  return half.role === 'destination'
    ? { ...resumed, half: { ...resumed.half, state: peerState === 'OK' ? 'OK' : remembered } }
    : resumed;
}

function onToldActivate(half: Half, outcome: Of<'tell_activate'>, context: Context): Change {
  if (half.operation?.kind !== 'reprotect') return unchanged(half);
  const result = outcome.result;
  if (!result.ok) {
    if (result.reason === 'busy') return unchanged(half);
    return unchanged({
      ...without(half, 'operation'),
      state: 'Failed_Over',
      lastFailure: { command: 'reprotect', code: 'peer_unreachable', message: result.message },
    });
  }
  const started = startCycle(without(half, 'operation', 'cycle', 'fault'), 'reprotect', context);
  return { half: started.half, notices: [{ kind: 'reprotected' }, ...started.notices] };
}

/** The new source was asked to reprotect; from here on its own `activate` says how it went. */
function onToldReprotect(half: Half, outcome: Of<'tell_reprotect'>): Change {
  if (half.operation?.kind !== 'reverse') return unchanged(half);
  const result = outcome.result;
  if (result.ok) return unchanged(without(half, 'operation'));
  if (result.reason === 'busy') return unchanged(half);
  return unchanged({
    ...without(half, 'operation'),
    lastFailure: { command: 'planned_failover', code: 'peer_unreachable', message: result.message },
  });
}

/** The local engine could not do a step. What may be tried again is; a cycle is parked with the reason. */
function onFailed(half: Half, outcome: Of<'failed'>, context: Context): Change {
  const operation = half.operation;
  if (operation?.kind === 'promote' && outcome.fatal)
    return onPromoted(half, operation, { kind: 'promote', result: { ok: false, message: outcome.message } });
  if (operation?.kind === 'reprotect') {
    return unchanged({
      ...without(half, 'operation'),
      state: 'Failed_Over',
      lastFailure: { command: 'reprotect', code: 'internal', message: outcome.message },
    });
  }
  if ((operation?.kind === 'start_test' || operation?.kind === 'stop_test') && outcome.fatal) {
    const lastFailure = { command: operation.kind, code: 'internal', message: outcome.message } as const;
    return unchanged({ ...without(half, 'operation'), lastFailure });
  }
  return interrupted(half, 'internal', outcome.message, true, context);
}
