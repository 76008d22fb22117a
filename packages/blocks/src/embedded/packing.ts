import { BLOCK_BYTES } from '../port/device.ts';
import { usedSegments } from './compaction.ts';
import type { EngineCore } from './core.ts';
import { SEGMENT_HEADER_BYTES } from './log/segment-header.ts';
import type { SegmentInfo, Sequence } from './log/types.ts';

/** How a segment was when it was last found to be in use. */
interface Mark {
  readonly since_ms: number;
  readonly live_bytes: number;
  readonly read_bytes: number;
  readonly unpacked_bytes: number;
}

/**
 * Which segments hosts leave alone: little of them was overwritten, and little read, for a while. What hosts work with is not worth
 * packing: it is overwritten soon, or read so often that unpacking it would show. Packed segments of which single blocks are read
 * again and again are hot: they are to be unpacked. Who reads all of a volume once, as a backup does, makes nothing hot.
 */
export class ColdSegments {
  readonly #core: EngineCore;
  /** Read and unpacked by segment, since this process began. */
  readonly #read_bytes = new Map<number, number>();
  readonly #unpacked_bytes = new Map<number, number>();
  readonly #marks = new Map<number, Mark>();
  /** Looked into and found to be as small as they get. */
  readonly #tried = new Set<number>();

  constructor(core: EngineCore) {
    this.#core = core;
  }

  /** Blocks of a segment were read; `unpacked`: a frame was unpacked for some of its blocks only. */
  used(segment: number, blocks: number, unpacked: boolean): void {
    const bytes = blocks * BLOCK_BYTES;
    this.#read_bytes.set(segment, (this.#read_bytes.get(segment) ?? 0) + bytes);
    if (unpacked) this.#unpacked_bytes.set(segment, (this.#unpacked_bytes.get(segment) ?? 0) + bytes);
  }

  /** Nothing is to be gained. */
  tried(segment: number): void {
    this.#tried.add(segment);
  }

  forget(segment: number): void {
    for (const known of [this.#read_bytes, this.#unpacked_bytes, this.#marks, this.#tried]) known.delete(segment);
  }

  /** Cold segments that may be packed together, the oldest first, and one that is hot. */
  look(
    checkpointed: Sequence,
    now_ms: number,
  ): { readonly hot: number | undefined; readonly cold: readonly SegmentInfo[] } {
    const { limits, live } = this.#core;
    let hot: number | undefined;
    const cold: SegmentInfo[] = [];
    let total = 0;
    let full = false;
    for (const segment of usedSegments(this.#core, checkpointed)) {
      if (segment.packed) {
        if (this.#isHot(segment, now_ms)) hot ??= segment.segment;
        continue;
      }
      if (this.#tried.has(segment.segment) || !this.#isCold(segment, now_ms) || full) continue;
      total += live.of(segment.segment);
      full = cold.length > 0 && total > limits.packMost_bytes;
      if (!full) cold.push(segment);
    }
    return { hot, cold };
  }

  #isCold(segment: SegmentInfo, now_ms: number): boolean {
    const { packAfter_ms, packWarm } = this.#core.limits;
    const now = this.#now(segment, now_ms);
    const mark = this.#marks.get(segment.segment) ?? this.#mark(segment, now);
    const most_bytes = packWarm * segment.used;
    const warm = mark.live_bytes - now.live_bytes > most_bytes || now.read_bytes - mark.read_bytes > most_bytes;
    const { since_ms } = warm ? this.#mark(segment, now) : mark;
    return now_ms - since_ms >= packAfter_ms;
  }

  #isHot(segment: SegmentInfo, now_ms: number): boolean {
    const { packAfter_ms, packHot } = this.#core.limits;
    const now = this.#now(segment, now_ms);
    const mark = this.#marks.get(segment.segment) ?? this.#mark(segment, now);
    if (now.unpacked_bytes - mark.unpacked_bytes > packHot * segment.used) return true;
    if (now_ms - mark.since_ms > packAfter_ms) this.#mark(segment, now);
    return false;
  }

  #now({ segment }: SegmentInfo, since_ms: number): Mark {
    return {
      since_ms,
      live_bytes: this.#core.live.of(segment),
      read_bytes: this.#read_bytes.get(segment) ?? 0,
      unpacked_bytes: this.#unpacked_bytes.get(segment) ?? 0,
    };
  }

  #mark({ segment }: SegmentInfo, now: Mark): Mark {
    this.#marks.set(segment, now);
    return now;
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
