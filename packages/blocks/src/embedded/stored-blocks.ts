import { BLOCK_BYTES } from '../port/device.ts';
import { isBlockError } from '../port/errors.ts';
import { type Page, pageBlocks } from './index/page.ts';
import { unpack } from './log/frame.ts';
import type { SegmentLog } from './log/types.ts';

/** Blocks of an image next to each other that stand next to each other in the log, as they are or packed in one frame. */
export interface StoredRun {
  readonly block: number;
  count: number;
  readonly segment: number;
  /** Of the first block, or of the frame. */
  readonly offset: number;
  /** 0: not packed. */
  readonly frame_bytes: number;
  /** Of the first block in the frame, and how many the frame has. */
  readonly part: number;
  readonly of: number;
}

/** The place of one block of data as a run of one. */
export function runAt(page: Page, index: number, block: number): StoredRun {
  const { part, of } = page.partOf(index);
  const frame_bytes = page.frame[index]!;
  return { block, count: 1, segment: page.segment[index]!, offset: page.offset[index]!, frame_bytes, part, of };
}

/** Whether a block goes on where the run ends; then the run has it. */
export function joinRun(run: StoredRun | undefined, page: Page, index: number, block: number): boolean {
  if (run === undefined || run.segment !== page.segment[index] || run.block + run.count !== block) return false;
  const packed = run.frame_bytes > 0;
  const joins = packed
    ? run.offset === page.offset[index] && page.frame[index]! > 0 && run.part + run.count === page.partOf(index).part
    : page.frame[index] === 0 && run.offset + run.count * BLOCK_BYTES === page.offset[index];
  if (joins) run.count += 1;
  return joins;
}

/** All blocks of data of a page, as runs. */
export function runsOf(page: Page, number: number): readonly StoredRun[] {
  const runs: StoredRun[] = [];
  for (let index = 0; index < pageBlocks; index++) {
    if (!page.isData(index)) continue;
    const block = number * pageBlocks + index;
    if (!joinRun(runs.at(-1), page, index, block)) runs.push(runAt(page, index, block));
  }
  return runs;
}

/** Where the bytes of a run begin in the content of its frame. */
export const partStart = ({ part }: StoredRun): number => part * BLOCK_BYTES;

/**
 * Reads the blocks of a run without waiting for the medium on this thread. Undefined when they are there, their checksums not
 * compared yet; else why they could not be read.
 */
export async function readAside(log: SegmentLog, run: StoredRun, target: Uint8Array): Promise<string | undefined> {
  const { segment, offset, frame_bytes } = run;
  try {
    if (frame_bytes === 0) {
      await log.readAside({ segment, offset }, target);
      return undefined;
    }
    const frame = new Uint8Array(frame_bytes);
    await log.readAside({ segment, offset }, frame);
    const content = unpack(frame, run.of);
    if (typeof content === 'string') return content;
    target.set(content.subarray(partStart(run), partStart(run) + target.length));
    return undefined;
  } catch (error) {
    if (!isBlockError(error)) throw error;
    return error.message;
  }
}
