import { cycleId, pointId } from '@antipode/base';
import { type Change, type Context, without } from './change.ts';
import type { Cycle, Fault, FaultCode, Half } from './half.ts';
import { sessionLimits } from './limits.ts';
import { lag_ms, nextStart_ms } from './schedule.ts';

/** Starts a cycle, or goes on with the unfinished one: its target does not change [C3.1, S3]. */
export function startCycle(half: Half, trigger: Cycle['trigger'], context: Context): Change {
  if (half.cycle !== undefined)
    return { half: { ...half, state: 'Synchronizing', cycle: { ...half.cycle, confirmed: false } }, notices: [] };
  const due_ms = trigger === 'schedule' ? nextStart_ms(half) : undefined;
  const late_ms = due_ms === undefined ? 0 : Math.max(0, context.now_ms - due_ms);
  const { outOfStep: _, ...rest } = half;
  const inStep = trigger === 'user' || (trigger === 'schedule' && late_ms <= sessionLimits.lateShare * half.rpo_ms);
  return {
    half: {
      ...rest,
      state: 'Synchronizing',
      previousStart_ms: context.now_ms,
      cycle: newCycle(half, trigger, context),
      ...(!inStep && { outOfStep: true as const }),
    },
    notices: [{ kind: 'cycle_started', trigger, late_ms }],
  };
}

/** A fresh cycle whose target is about to be frozen, once every member has a peer. Uses `fresh.a` and `fresh.b`. */
export const newCycle = (half: Half, trigger: Cycle['trigger'], context: Context): Cycle => ({
  id: cycleId(context.fresh.a),
  point: pointId(context.fresh.b),
  started_ms: context.now_ms,
  trigger,
  phase: half.newcomers === undefined ? 'freeze' : 'members',
  confirmed: false,
});

/** The destination has committed the cycle and the source's engine knows: nothing is left of it but its figures. */
export function finishCycle(half: Half, cycle: Cycle, context: Context): Change {
  const duration_ms = Math.max(0, context.now_ms - cycle.started_ms);
  const instant_ms = cycle.instant_ms ?? cycle.started_ms;
  // How old the copy was at its oldest: just before this one took its place.
  const oldest_ms = lag_ms(half, context.now_ms);
  return {
    half: {
      ...without(half, 'cycle', 'fault'),
      lastSync: { completed_ms: context.now_ms, duration_ms, instant_ms },
      // The highest recent transfer time, forgotten by and by: one slow cycle must not move the schedule for ever.
      transfer_ms: Math.max(duration_ms, Math.floor(half.transfer_ms * 0.7)),
    },
    notices: [
      {
        kind: 'synchronized',
        trigger: cycle.trigger,
        duration_ms,
        instant_ms,
        ...(oldest_ms !== undefined && { oldest_ms }),
      },
    ],
  };
}

/** Parks the session: System_Paused with the reason, and when to look again. */
export function park(half: Half, code: FaultCode, message: string, retry: boolean, context: Context): Change {
  const count = half.fault?.code === code ? half.fault.count + 1 : 1;
  const wait_ms = Math.min(sessionLimits.retryFirst_ms * 2 ** (count - 1), sessionLimits.retryMost_ms);
  const fault: Fault = { code, message, retry, retryAt_ms: context.now_ms + wait_ms, count };
  const cycle = half.cycle === undefined ? {} : { cycle: { ...half.cycle, confirmed: false } };
  return {
    half: { ...half, ...cycle, state: 'System_Paused', fault },
    notices: count === 1 ? [{ kind: 'parked', fault }] : [],
  };
}
