import { BLOCK_BYTES } from '../port/device.ts';
import { packableSegments } from './compaction.ts';
import type { EngineCore } from './core.ts';
import { SEGMENT_HEADER_BYTES } from './log/segment-header.ts';
import type { SegmentInfo, Sequence } from './log/types.ts';

/** How a segment was when it was last found to be in use. */
interface Mark {
  readonly since_ms: number;
  readonly live_bytes: number;
  readonly reads: number;
}

/**
 * Which segments hosts leave alone: little of them was overwritten, and little read, for a while. What hosts work with is not worth
 * packing: it is overwritten soon, or read so often that unpacking it would show.
 */
export class ColdSegments {
  readonly #core: EngineCore;
  /** Blocks read, by segment; since this process began. */
  readonly #reads = new Map<number, number>();
  readonly #marks = new Map<number, Mark>();
  /** Looked into and found to be as small as they get. */
  readonly #tried = new Set<number>();

  constructor(core: EngineCore) {
    this.#core = core;
  }

  /** Blocks of a segment were read. */
  used(segment: number, blocks: number): void {
    this.#reads.set(segment, (this.#reads.get(segment) ?? 0) + blocks);
  }

  /** Nothing is to be gained. */
  tried(segment: number): void {
    this.#tried.add(segment);
  }

  forget(segment: number): void {
    this.#reads.delete(segment);
    this.#marks.delete(segment);
    this.#tried.delete(segment);
  }

  /** Cold segments that may be packed together, the oldest first; `more`: there are others that may become cold. */
  next(checkpointed: Sequence, now_ms: number): { readonly segments: readonly SegmentInfo[]; readonly more: boolean } {
    const { limits, live } = this.#core;
    const waiting = packableSegments(this.#core, checkpointed).filter(({ segment }) => !this.#tried.has(segment));
    const cold = waiting.filter((segment) => this.#isCold(segment, now_ms));
    const chosen: SegmentInfo[] = [];
    let total = 0;
    for (const segment of cold) {
      total += live.of(segment.segment);
      if (chosen.length > 0 && total > limits.packMost_bytes) break;
      chosen.push(segment);
    }
    return { segments: chosen, more: waiting.length > chosen.length };
  }

  #isCold({ segment, used }: SegmentInfo, now_ms: number): boolean {
    const { packAfter_ms, packWarm } = this.#core.limits;
    const live_bytes = this.#core.live.of(segment);
    const reads = this.#reads.get(segment) ?? 0;
    const mark = this.#marks.get(segment);
    const warm =
      mark === undefined ||
      mark.live_bytes - live_bytes > packWarm * used ||
      (reads - mark.reads) * BLOCK_BYTES > packWarm * used;
    if (warm) this.#marks.set(segment, { since_ms: now_ms, live_bytes, reads });
    return now_ms - (warm ? now_ms : mark.since_ms) >= packAfter_ms;
  }
}

/** Pieces that are looked at, evenly spread over a segment. */
const samples = 32;

/** Whether packing a segment is worth the work: a few pieces of it, as they stand there, are packed for a try. */
export async function paysToPack(core: EngineCore, { segment, used }: SegmentInfo): Promise<boolean> {
  const { packBlocks, packBelow, packGain } = core.limits;
  const size = Math.min(packBlocks * BLOCK_BYTES, used);
  const bytes = new Uint8Array(size);
  let packed = 0;
  for (let sample = 0; sample < samples; sample++) {
    const at = Math.floor(((used - size) * sample) / samples);
    await core.log.readAside({ segment, offset: SEGMENT_HEADER_BYTES + at }, bytes);
    const frame = await core.packer!.pack(bytes);
    packed += frame.length <= packBelow * size ? frame.length : size;
  }
  return packed <= (1 - packGain) * samples * size;
}
