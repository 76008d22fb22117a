import type { SessionId, VolumeId } from '@antipode/base';
import type { BlockEngine } from '@antipode/blocks';
import type { OpId } from './history.ts';
import type { Shipping } from './shipping.ts';
import type { Engine, Site } from './site.ts';

/** What hosts know of the volumes at one side. */
export interface Head {
  /** Role, generation and test under which it was looked at; undefined: to be looked at before anything is written. */
  key: string | undefined;
  tip: OpId;
  /** Newest operation that was acknowledged, and newest that was flushed. */
  acked: OpId;
  flushed: OpId;
  /** The machine has lost power since: what was only acknowledged may be gone. */
  powerLost: boolean;
  /** The engine that is being looked at: one whose process ends meanwhile never answers. */
  looking: Engine | undefined;
}

/** The volumes at one side, and what is known of them there. */
export interface Side {
  readonly site: Site;
  volumes: readonly VolumeId[];
  head: Head;
  /** Newest moment that the destination here is known to show, and under which generation. */
  shown: { readonly generation: number; readonly moment: OpId; readonly landed: boolean } | undefined;
  /** Newest generation that the engine here has had. */
  newest: number;
  readonly shipping: Shipping;
  /** Sessions whose half here is gone for good. */
  readonly buried: Set<SessionId>;
}

export const unlooked = (): Head => ({
  key: undefined,
  tip: 0,
  acked: 0,
  flushed: 0,
  powerLost: false,
  looking: undefined,
});

/** Role, generation and test, with `open` before it where hosts may write: under which hosts find what they find. */
export function keyOf(session: SessionId, sides: readonly Side[], engine: BlockEngine): string | undefined {
  const half = engine.half(session);
  if (half === undefined) {
    // A volume like any other, or what a session has left behind.
    const side = sides.find(({ site }) => site.dataPlane?.engine === engine);
    const infos = side?.volumes.map((id) => engine.volume(id)) ?? [undefined];
    if (infos.some((info) => info === undefined || info.session !== undefined)) return undefined;
    return infos.some((info) => info?.destination) ? 'shut alone' : 'open alone';
  }
  const writable = half.role === 'source' ? half.seal === undefined : half.test !== undefined;
  return `${writable ? 'open' : 'shut'} ${half.role} ${half.generation.number} ${half.test?.id ?? ''}`;
}

/** Whether hosts write what is theirs: not a test's copy. */
export const isOwn = (key: string): boolean => key === 'open alone' || key.startsWith('open source');
