import { BLOCK_BYTES, type DiffExtent } from '@antipode/blocks';
import { transferLimits } from './limits.ts';
import type { WireRun } from './protocol.ts';

/** Gathers extents into one frame. */
export class Batch {
  readonly runs: WireRun[] = [];
  blocks = 0;
  end = 0;

  /** First block of the first run. */
  get start(): number {
    return this.runs[0]?.[0] ?? this.end;
  }

  get full(): boolean {
    return this.blocks * BLOCK_BYTES >= transferLimits.frame_bytes || this.runs.length >= transferLimits.frameRuns;
  }

  /** Takes what fits; answers what does not. */
  add(extent: DiffExtent): DiffExtent | undefined {
    const room = extent.kind === 'zero' ? extent.count : transferLimits.frame_bytes / BLOCK_BYTES - this.blocks;
    const count = Math.min(extent.count, room);
    this.runs.push([extent.block, count, extent.kind === 'zero' ? 1 : 0]);
    if (extent.kind === 'data') this.blocks += count;
    this.end = extent.block + count;
    return count === extent.count ? undefined : { ...extent, block: extent.block + count, count: extent.count - count };
  }
}
