import { assertNever } from '@antipode/base';
import type { Change, Context } from './change.ts';
import { startCycle } from './cycle.ts';
import type { Cycle, Half, PlannedFailover } from './half.ts';
import { isToldAll, numbered } from './hearing.ts';
import { nextStart_ms } from './schedule.ts';
import type { Step } from './steps.ts';
import { followSuspensions } from './suspend.ts';

/** Derives from the half, which was `before`, what happens by itself now, and the one step that the world should be doing for it. */
export function evaluate(
  before: Half,
  change: Change,
  context: Context,
): { readonly change: Change; readonly step: Step | undefined } {
  const moved = moveByItself(change.half, context);
  const half = numbered(before, moved.half);
  return { change: { half, notices: [...change.notices, ...moved.notices] }, step: nextStep(half, context) };
}

/**
 * Whether the half needs a place among the cycles that may run on its link at once: it has one to run, or would start one now.
 * What operators wait for, a failover above all, never stands in line.
 */
export function wantsSlot(half: Half, context: Context): boolean {
  if (half.role !== 'source' || half.operation !== undefined) return false;
  if (half.state === 'Synchronizing') return half.cycle !== undefined && half.cycle.phase !== 'advance';
  return startsNow(half, context) !== undefined;
}

/** What time and circumstances set in motion without anybody's command: first cycle, retries, the schedule. */
function moveByItself(half: Half, context: Context): Change {
  const followed = followSuspensions(half);
  const trigger = context.slot ? startsNow(followed.half, context) : undefined;
  if (trigger === undefined) return followed;
  const started = startCycle(followed.half, trigger, context);
  return { half: started.half, notices: [...followed.notices, ...started.notices] };
}

function startsNow(half: Half, context: Context): Cycle['trigger'] | undefined {
  if (half.operation !== undefined || half.role !== 'source') return undefined;
  switch (half.state) {
    case 'Initializing':
      return 'initial';
    case 'System_Paused':
      return mayRetry(half, context) ? 'retry' : undefined;
    case 'OK': {
      const due_ms = nextStart_ms(half);
      return due_ms !== undefined && context.now_ms >= due_ms ? 'schedule' : undefined;
    }
    default:
      return undefined;
  }
}

function mayRetry(half: Half, context: Context): boolean {
  const fault = half.fault;
  if (!context.linkUp || half.peer.paused) return false;
  if (fault === undefined) return true;
  // A pause mark that is gone and a link that is back are known from contact: no wait is owed [C5.3].
  if (fault.code === 'peer_paused') return true;
  return fault.retry && (context.now_ms >= fault.retryAt_ms || (fault.code === 'link_lost' && fault.count === 1));
}

function nextStep(half: Half, context: Context): Step | undefined {
  const operation = half.operation;
  if (operation === undefined) return idleStep(half, context);
  switch (operation.kind) {
    case 'pause':
    case 'complete_pause':
      return { kind: 'tell_pause' };
    case 'resume':
      return { kind: 'tell_resume' };
    case 'planned_failover':
      return plannedFailoverStep(half, operation, context);
    case 'promote': {
      const { next, proposal, commit, from, testCopy } = operation;
      return {
        kind: 'promote',
        next,
        ...(proposal && { proposal }),
        ...(commit && { commit }),
        ...(from && { from }),
        ...(testCopy && { testCopy }),
      };
    }
    case 'start_test':
    case 'stop_test':
      return operation;
    case 'refuse_proposal':
      return { kind: 'refuse_proposal', proposal: operation.proposal };
    case 'reprotect': {
      const base = operation.base && { base: operation.base };
      if (operation.phase === 'contact') return { kind: 'contact' };
      if (operation.phase === 'reset_base') return { kind: 'reset_base', ...base };
      return { kind: 'tell_activate', ...base };
    }
    case 'activate':
      return { kind: 'reset_base', ...(operation.base && { base: operation.base }) };
    case 'demote': {
      const { learned, base, preserve, preserve_ms } = operation;
      return { kind: 'demote', learned, preserve, preserve_ms, ...(base && { base }) };
    }
    case 'reverse':
      return { kind: 'tell_reprotect' };
    case 'delete':
      return operation.phase === 'tell' ? { kind: 'tell_delete' } : { kind: 'remove' };
    default:
      return assertNever(operation);
  }
}

function plannedFailoverStep(half: Half, operation: PlannedFailover, context: Context): Step | undefined {
  switch (operation.phase) {
    case 'catch_up':
      return half.cycle === undefined ? { kind: 'measure' } : cycleStep(half, half.cycle, 'commit');
    case 'seal':
      return { kind: 'seal', proposal: operation.proposal, point: operation.sealPoint };
    case 'prove':
      return half.cycle === undefined ? undefined : cycleStep(half, half.cycle, 'prove');
    case 'promoting':
      // In doubt while the link is down: sealed, waiting for contact [C4.2].
      if (!context.linkUp || half.cycle?.digests === undefined) return undefined;
      return { kind: 'send_promote', proposal: operation.proposal, cycle: half.cycle.id, digests: half.cycle.digests };
    case 'abort':
      return { kind: 'unseal', proposal: operation.proposal };
    default:
      return assertNever(operation.phase);
  }
}

function cycleStep(half: Half, cycle: Cycle, end: 'commit' | 'prove'): Step {
  if (cycle.phase === 'members') return { kind: 'members', newcomers: half.newcomers ?? [] };
  if (cycle.phase === 'freeze') return { kind: 'freeze', cycle };
  if (cycle.phase === 'advance')
    // Of the members that the cycle had: who is one now may be somebody else.
    return {
      kind: 'advance_base',
      base: { point: cycle.point, digests: cycle.digests ?? [], ...(cycle.pairs && { pairs: cycle.pairs }) },
    };
  // Every start and every continuation compares the halves first: base, generation, pause mark [C5.1].
  return cycle.confirmed ? { kind: 'ship', cycle, end } : { kind: 'contact' };
}

function idleStep(half: Half, context: Context): Step | undefined {
  // A commit that became known while the session was stopped is finished in any state: it is local and harmless.
  if (half.role === 'source' && half.cycle?.phase === 'advance') return cycleStep(half, half.cycle, 'commit');
  if (half.role === 'source' && half.state === 'Synchronizing' && half.cycle !== undefined && context.slot)
    return cycleStep(half, half.cycle, 'commit');
  if (!context.linkUp || half.state === 'Deleting') return undefined;
  return isToldAll(half) ? undefined : { kind: 'contact' };
}
