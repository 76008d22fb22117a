import type { VolumeId } from '@antipode/base';
import type { Pair } from '@antipode/blocks';
import type { Half } from './half.ts';
import type { Notice } from './notice.ts';

/** A half after an input, and what operators should hear of it. */
export interface Change {
  readonly half: Half;
  readonly notices: readonly Notice[];
}

/** What the pure core is told of the world with every input: time, chance and reachability are never asked for. */
export interface Context {
  readonly now_ms: number;
  /** The management link to the peer answers. */
  readonly linkUp: boolean;
  /** A place among the cycles that may run on this link at once is held. */
  readonly slot: boolean;
  /** Serial of this cluster: names the generations minted here. */
  readonly site: string;
  /** Uuids never used before; each field is used for at most one thing a decision. */
  readonly fresh: { readonly a: string; readonly b: string; readonly c: string; readonly nonce: string };
  readonly localPauseResume: 'pause_both' | 'refuse';
}

export const unchanged = (half: Half): Change => ({ half, notices: [] });

/** A copy of `half` without the named optional fields (exactOptionalPropertyTypes forbids setting them to undefined). */
export function without<
  K extends
    | 'operation'
    | 'cycle'
    | 'paused'
    | 'suspensions'
    | 'suspended'
    | 'fault'
    | 'lastFailure'
    | 'newcomers'
    | 'test',
>(half: Half, ...keys: readonly K[]): Half {
  const copy: { -readonly [P in keyof Half]: Half[P] } = { ...half };
  for (const key of keys) delete copy[key];
  return copy;
}

/** The halves compare themselves anew: until the peer has answered, what it has seen counts for nothing. */
export function untold(half: Half): Half {
  const { seen: _, ...peer } = half.peer;
  return { ...half, peer };
}

/** Other members, and those that wait for the next cycle. A cycle whose target is not frozen yet takes them along. */
export function withMembers(half: Half, pairs: readonly Pair[], newcomers: readonly VolumeId[]): Half {
  const next = { ...without(half, 'newcomers'), pairs, ...(newcomers.length > 0 && { newcomers }) };
  if (half.cycle?.phase !== 'freeze' && half.cycle?.phase !== 'members') return next;
  return { ...next, cycle: { ...half.cycle, phase: newcomers.length > 0 ? 'members' : 'freeze' } };
}
