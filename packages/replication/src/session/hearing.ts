import type { HalfView } from '../peer/messages.ts';
import type { Half } from './half.ts';
import type { State } from './states.ts';
import { announcedReasons } from './suspend.ts';

/** States that a destination shows because its source does. */
const mirrored: readonly State[] = ['Initializing', 'OK', 'Synchronizing', 'System_Paused', 'Failing_Over'];

export const isMirrorable = (state: State): boolean => mirrored.includes(state);

export const isMirrored = (half: Half): boolean => half.role === 'destination' && isMirrorable(half.state);

/** Whether the peer has shown that it knows something newer of itself than `theirs` says: then it changes nothing [C5.1, S8]. */
export const isOutOfDate = ({ peer }: Half, theirs: HalfView): boolean =>
  theirs.generation.number < peer.generation || (theirs.revision ?? peer.revision ?? 0) < (peer.revision ?? 0);

/** What `theirs` says of the peer is known from here on, unless it is out of date. */
export function hear(half: Half, theirs: HalfView): Half {
  // A catalog from before has forgotten what this half had said: what it says next must not pass for old.
  const heard: Half =
    theirs.seen !== undefined && theirs.seen > half.revision ? { ...half, revision: theirs.seen + 1 } : half;
  if (isOutOfDate(half, theirs)) return heard;
  const { suspended = [] } = theirs;
  const { suspended: _, ...known } = half.peer;
  return {
    ...heard,
    peer: {
      ...known,
      generation: theirs.generation.number,
      paused: theirs.paused !== undefined,
      testing: theirs.testing === true,
      ...(theirs.revision !== undefined && { revision: theirs.revision }),
      ...(theirs.seen !== undefined && { seen: theirs.seen }),
      ...(suspended.length > 0 && { suspended }),
    },
  };
}

/** All that the peer has to be told of, and what tells two verbs apart. A state that only mirrors the peer's is no news to it. */
const saying = (half: Half): string =>
  JSON.stringify([
    half.generation,
    half.role,
    isMirrored(half) ? null : half.state,
    half.operation?.kind,
    half.paused,
    half.test !== undefined,
    announcedReasons(half),
  ]);

/** `next` with a revision of its own where it says something else than `before` did. */
export const numbered = (before: Half, next: Half): Half =>
  next === before || saying(before) === saying(next)
    ? next
    : { ...next, revision: Math.max(before.revision, next.revision) + 1 };

/** Whether the peer has shown that it knows all that this half has to say. */
export const isToldAll = ({ revision, generation, peer }: Half): boolean =>
  peer.seen !== undefined && peer.seen >= revision && peer.generation >= generation.number;
