import { BLOCK_BYTES } from '../port/device.ts';
import { BlockError } from '../port/errors.ts';
import { type Chain, pagesAt, resolve } from './chain.ts';
import { pageBlocks, pageOf } from './index/page.ts';
import type { PageTable } from './index/page-table.ts';
import type { SegmentLog } from './log/types.ts';
import { sumOf, zeroSum } from './zero-block.ts';

export interface ReadWorld {
  readonly pages: PageTable;
  readonly log: SegmentLog;
  /** A stored block does not match its checksum: told before the read fails. */
  readonly damaged: (block: number, detail: string) => void;
}

interface Run {
  readonly segment: number;
  readonly offset: number;
  /** First block, and how many. */
  readonly block: number;
  count: number;
}

/**
 * Reads whole blocks of an image into `target`, each compared with its checksum; a mismatch is an I/O error, never silent bytes.
 * `sums`: receives the checksums (zeros' for holes). Synchronous when the bytes are at hand.
 */
export function readBlocks(
  world: ReadWorld,
  chain: Chain,
  block: number,
  count: number,
  target: Uint8Array,
  sums: BigUint64Array,
): void | Promise<void> {
  const runs: Run[] = [];
  for (let number = pageOf(block); number <= pageOf(block + count - 1); number++) {
    const found = pagesAt(chain, number, world.pages);
    const from = Math.max(block, number * pageBlocks);
    const to = Math.min(block + count, (number + 1) * pageBlocks);
    for (let at = from; at < to; at++) {
      const index = at - number * pageBlocks;
      const page = found.length === 0 ? undefined : resolve(found, at, index);
      if (page === undefined) {
        sums[at - block] = zeroSum;
        target.fill(0, (at - block) * BLOCK_BYTES, (at - block + 1) * BLOCK_BYTES);
        continue;
      }
      // Taken now: a write that comes while the bytes are on their way must not change what they are compared with.
      sums[at - block] = page.sum[index]!;
      const segment = page.segment[index]!;
      const offset = page.offset[index]!;
      const last = runs.at(-1);
      if (
        last !== undefined &&
        last.segment === segment &&
        last.block + last.count === at &&
        last.offset + last.count * BLOCK_BYTES === offset
      )
        last.count += 1;
      else runs.push({ segment, offset, block: at, count: 1 });
    }
  }
  const pending: Promise<void>[] = [];
  for (const run of runs) {
    const part = target.subarray((run.block - block) * BLOCK_BYTES, (run.block - block + run.count) * BLOCK_BYTES);
    const read = world.log.read({ segment: run.segment, offset: run.offset }, part);
    if (read === undefined) verify(world, run, part, sums, block);
    else pending.push(read.then(() => verify(world, run, part, sums, block)));
  }
  if (pending.length > 0) return Promise.all(pending).then(() => undefined);
}

function verify(world: ReadWorld, run: Run, part: Uint8Array, sums: BigUint64Array, first: number): void {
  for (let index = 0; index < run.count; index++) {
    if (sumOf(part.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)) === sums[run.block - first + index])
      continue;
    const detail = `block ${run.block + index} in segment ${run.segment} at ${run.offset + index * BLOCK_BYTES} does not match its checksum`;
    world.damaged(run.block + index, detail);
    throw new BlockError('corrupt', detail);
  }
}
