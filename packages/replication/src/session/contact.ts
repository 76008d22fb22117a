import { cycleId, pointId } from '@antipode/base';
import { sameGeneration } from '@antipode/blocks';
import { keyOf } from '../peer/common-base.ts';
import type { HalfView } from '../peer/messages.ts';
import { type Change, type Context, unchanged, withMembers, without } from './change.ts';
import { park, startCycle } from './cycle.ts';
import type { BaseRef, Half } from './half.ts';
import { hear, isMirrorable, isMirrored, isOutOfDate } from './hearing.ts';
import type { State } from './states.ts';
import { followSuspensions } from './suspend.ts';

/**
 * What follows from the two halves' views: a pure function of both, the same whoever called [C5.1]. Never touches a pause
 * mark [C5.2, S5].
 */
export function absorb(half: Half, theirs: HalfView, common: BaseRef | undefined, context: Context): Change {
  const mine = half.generation;
  const seen = hear(half, theirs);
  if (isOutOfDate(half, theirs)) return unchanged(seen);
  if (theirs.generation.number < mine.number) return unchanged(seen);
  if (theirs.generation.number > mine.number) return learn(seen, theirs, common, context);
  if (!sameGeneration(theirs.generation, mine) || theirs.role === half.role) return split(seen, context);
  // Before what the states say is compared: a suspension is no state to be mirrored.
  const followed = followSuspensions(seen);
  const then = agreed(followed.half, theirs, common, context);
  return { half: then.half, notices: [...followed.notices, ...then.notices] };
}

/** Both are of one generation, and of one session: each follows from where it is. */
function agreed(seen: Half, theirs: HalfView, common: BaseRef | undefined, context: Context): Change {
  return seen.role === 'source'
    ? asSource(strangers(seen, theirs), theirs, common, context)
    : asDestination(seen, theirs, common);
}

/** The peer was promoted: this side stops being the source, whatever it was doing [C4.1]. */
function learn(half: Half, theirs: HalfView, common: BaseRef | undefined, context: Context): Change {
  if (half.operation?.kind === 'demote' || half.operation?.kind === 'delete') return unchanged(half);
  // Only a source can be overtaken: a destination that sees a newer generation has been rolled back or lied to.
  if (half.role !== 'source') return split(half, context);
  const { cycle: _, ...rest } = without(half, 'fault', 'paused');
  const reverse = half.operation?.kind === 'planned_failover' && half.operation.reverse;
  return unchanged({
    ...rest,
    operation: {
      kind: 'demote',
      learned: theirs.generation,
      ...(common === undefined ? {} : { base: common.point }),
      preserve: pointId(context.fresh.c),
      preserve_ms: context.now_ms,
      ...(reverse && { reverse: true as const }),
    },
  });
}

function split(half: Half, context: Context): Change {
  const message =
    'the two clusters hold contradicting generations of this session; replication is stopped until one side is deleted';
  if (half.state === 'Error') return unchanged(half);
  const stopped = without(half, 'operation', 'suspended');
  return {
    half: {
      ...stopped,
      state: 'Error',
      fault: { code: 'split_generation', message, retry: false, retryAt_ms: context.now_ms, count: 1 },
    },
    notices: [{ kind: 'split', message }],
  };
}

/** Members for which the peer has no volume, or another one than it had: they are asked for anew before the next target. */
function strangers(half: Half, theirs: HalfView): Half {
  if (theirs.pairs === undefined || half.cycle?.phase === 'ship' || half.cycle?.phase === 'advance') return half;
  const known = new Set(theirs.pairs.map(keyOf));
  const unknown = half.pairs.filter((pair) => !known.has(keyOf(pair))).map(({ local }) => local);
  if (unknown.length === 0) return half;
  return withMembers(half, half.pairs, [...new Set([...(half.newcomers ?? []), ...unknown])]);
}

function asSource(half: Half, theirs: HalfView, common: BaseRef | undefined, context: Context): Change {
  const operation = half.operation;
  if (
    operation?.kind === 'planned_failover' &&
    theirs.refused.includes(operation.proposal) &&
    operation.phase === 'promoting'
  ) {
    return unchanged({ ...half, operation: { ...operation, phase: 'abort' } });
  }
  if (half.state === 'Failed_Over' && operation === undefined && isCopy(theirs)) {
    // The peer was told to reprotect, and its answer was lost: there it has happened.
    const started = startCycle(without(half, 'cycle', 'fault', 'lastFailure'), 'reprotect', context);
    return { half: started.half, notices: [{ kind: 'reprotected' }, ...started.notices] };
  }
  const copying = half.state === 'Synchronizing' || operation?.kind === 'planned_failover';
  if (copying && theirs.paused !== undefined && operation === undefined) {
    return park(half, 'peer_paused', 'the session is paused at the peer: resume or pause it there', true, context);
  }
  if (copying && half.cycle?.phase === 'ship') return confirmBase(half, half.cycle, theirs, common, context);
  if (half.fault?.code === 'peer_paused' && half.state === 'System_Paused' && theirs.paused === undefined) {
    return startCycle(half, 'retry', context);
  }
  return unchanged(half);
}

/** The peer takes cycles of this generation: it was activated in it. */
const isCopy = ({ role, state }: HalfView): boolean =>
  role === 'destination' && isMirrorable(state) && state !== 'Failing_Over';

/** Settles what the cycle builds on; a base other than the one before voids the restart address, so the cycle gets a new id [C3.5]. */
function confirmBase(
  half: Half,
  cycle: NonNullable<Half['cycle']>,
  theirs: HalfView,
  common: BaseRef | undefined,
  context: Context,
): Change {
  if (common !== undefined && common.point === cycle.point && theirs.base?.point === cycle.point) {
    // Committed already, and the acknowledgement was lost.
    const { digests, pairs = cycle.pairs } = common;
    const known = { ...cycle, digests, ...(pairs && { pairs }) };
    return unchanged({ ...half, cycle: { ...known, phase: 'advance', confirmed: true } });
  }
  // Which snapshots it has a destination says only when it is asked: without that the plan could name some that are there already.
  if (theirs.snapshots === undefined && (common === undefined || common.point !== theirs.base?.point))
    return unchanged(half);
  const base = common === undefined ? {} : { point: common.point };
  const first = cycle.base === undefined;
  const same = !first && cycle.base?.point === base.point;
  // What is there already is not shipped again; the plan of a cycle that has begun does not change.
  const there = new Set(theirs.snapshots);
  const points = first || !same ? cycle.points?.filter((point) => !there.has(point)) : cycle.points;
  const next = {
    ...cycle,
    base,
    confirmed: true,
    id: first || same ? cycle.id : cycleId(context.fresh.a),
    ...(points && { points }),
  };
  const lost = half.lastSync !== undefined && common === undefined && !same;
  return { half: { ...half, cycle: next }, notices: lost ? [{ kind: 'base_lost', using: 'whole' }] : [] };
}

/** States in which a source ships, or would if it could: since a failover it has had this side activated. */
const shipping: readonly State[] = ['OK', 'Synchronizing', 'System_Paused'];

function asDestination(half: Half, theirs: HalfView, common: BaseRef | undefined): Change {
  const sync = theirs.lastSync === undefined ? {} : { lastSync: theirs.lastSync };
  const known = { ...half, ...sync };
  // Activated already, and forgotten with an older catalog.
  if (half.state === 'Failed_Over' && half.operation === undefined && shipping.includes(theirs.state))
    return unchanged({ ...known, operation: { kind: 'activate', ...(common && { base: common }) } });
  if (half.operation !== undefined || !isMirrored(half)) return unchanged(known);
  if (isMirrorable(theirs.state)) {
    const cleared = theirs.state === 'System_Paused' ? known : without(known, 'fault');
    return unchanged({ ...cleared, state: theirs.state });
  }
  return unchanged(
    half.state === 'Synchronizing' || half.state === 'Failing_Over' ? { ...known, state: 'System_Paused' } : known,
  );
}
