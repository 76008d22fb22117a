import { type Change, unchanged, without } from './change.ts';
import { type Half, type Suspendable, type Suspension, type SuspensionReason, suspendable } from './half.ts';
import type { State } from './states.ts';

/** The system of this cluster asks for a pause; in effect at once, or as soon as what is under way has ended. */
export function suspend(half: Half, suspension: Suspension): Change {
  const known = half.suspensions ?? [];
  if (known.some(({ by }) => by === suspension.by)) return unchanged(half);
  return unchanged({ ...half, suspensions: [...known, suspension] });
}

/** The upgrade or migration is over, or was given up. */
export function lift(half: Half, by: string): Change {
  const left = (half.suspensions ?? []).filter((one) => one.by !== by);
  if (left.length === (half.suspensions?.length ?? 0)) return unchanged(half);
  const rest = without(half, 'suspensions');
  return unchanged(left.length === 0 ? rest : { ...rest, suspensions: left });
}

const ownReasons = (half: Half): readonly SuspensionReason[] => [
  ...new Set((half.suspensions ?? []).map(({ reason }) => reason)),
];

/** Reasons of this side as the peer is told of them: once they are in effect, or it would hold up what has to end here first. */
export const announcedReasons = (half: Half): readonly SuspensionReason[] =>
  half.suspended === undefined ? [] : ownReasons(half);

/**
 * Brings the state in line with what either side's system asks for. Derived anew after every input, so that it does not matter in
 * which order suspensions, operations and contacts come: with none left the half is what it was, a user's pause included.
 */
export function followSuspensions(half: Half): Change {
  // What is under way ends first, also where it began from a suspended state.
  if (half.operation !== undefined) return unchanged(half);
  const reasons = new Set([...ownReasons(half), ...(half.peer.suspended ?? [])]);
  if (reasons.size === 0) return half.suspended === undefined ? unchanged(half) : goOn(half, half.suspended.from);
  const state: State = reasons.has('ndu') ? 'Paused_For_NDU' : 'Paused_For_Migration';
  if (half.suspended !== undefined) return unchanged(half.state === state ? half : { ...half, state });
  if (!isSuspendable(half.state)) return unchanged(half);
  return {
    half: { ...half, state, suspended: { from: half.state } },
    notices: [{ kind: 'suspended', reason: reasons.has('ndu') ? 'ndu' : 'migration' }],
  };
}

const isSuspendable = (state: State): state is Suspendable => (suspendable as readonly State[]).includes(state);

function goOn(half: Half, from: Suspendable): Change {
  // Its cycle turned out to be complete meanwhile.
  const done = from === 'Synchronizing' && half.role === 'source' && half.cycle === undefined;
  const cycle = half.cycle && { cycle: { ...half.cycle, confirmed: false } };
  return {
    half: { ...without(half, 'suspended'), ...cycle, state: done ? 'OK' : from },
    notices: [{ kind: 'suspension_lifted' }],
  };
}

/** Whether a suspension is in effect, or there is nothing for one to stop: neither copying, nor about to, nor changing direction. */
export const isAtRest = (half: Half): boolean =>
  half.operation === undefined &&
  (half.suspended !== undefined || half.state === 'Failed_Over' || half.state === 'Error');
