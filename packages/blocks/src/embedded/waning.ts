import type { EngineLimits } from './limits.ts';

/** How full a segment is: what the log has of it, and what of that is needed, bytes. */
export interface Fill {
  readonly segment: number;
  readonly used: number;
  readonly needed: number;
}

interface Mark {
  readonly since_ms: number;
  readonly needed: number;
}

/**
 * Which of the segments worth rewriting are still losing what is needed of them. A host that writes a volume anew kills the rest of
 * such a segment a moment later, so that copying it would have been for nothing; left alone it goes without a copy, and its file is
 * used again while the system still has its pages. That is worth some space: so much, and not the last of the disk.
 */
export class Waning {
  readonly #limits: EngineLimits;
  #marks: ReadonlyMap<number, Mark> = new Map();

  constructor(limits: EngineLimits) {
    this.#limits = limits;
  }

  /** Those of `sparse` that are to be left alone for now. `free`: share of the file system. */
  among(sparse: readonly Fill[], free: number, now_ms: number): ReadonlySet<number> {
    const { waneFor_ms, waneLeast, waneMost_bytes, waneFree } = this.#limits;
    const marks = new Map<number, Mark>();
    const waning = new Set<number>();
    let dead_bytes = 0;
    for (const { segment, used, needed } of sparse) {
      const known = this.#marks.get(segment);
      const moved = known === undefined || known.needed - needed > waneLeast * used;
      const mark = moved ? { since_ms: now_ms, needed } : known;
      marks.set(segment, mark);
      if (now_ms - mark.since_ms >= waneFor_ms) continue;
      waning.add(segment);
      dead_bytes += used - needed;
    }
    this.#marks = marks;
    return free < waneFree || dead_bytes > waneMost_bytes ? new Set() : waning;
  }
}
