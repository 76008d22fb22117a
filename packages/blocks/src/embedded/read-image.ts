import type { VolumeId } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import { BlockError } from '../port/errors.ts';
import { type Chain, pagesAt, resolve } from './chain.ts';
import type { FrameCache } from './frame-cache.ts';
import { pageBlocks, pageOf } from './index/page.ts';
import type { PageTable } from './index/page-table.ts';
import { unpack } from './log/frame.ts';
import type { SegmentLog } from './log/types.ts';
import { joinRun, partStart, runAt, type StoredRun } from './stored-blocks.ts';
import { sumOf, zeroSum } from './zero-block.ts';

export interface ReadWorld {
  readonly pages: PageTable;
  readonly log: SegmentLog;
  readonly frames: FrameCache;
  /** A stored block does not match its checksum: told before the read fails. */
  readonly damaged: (volume: VolumeId | undefined, block: number, detail: string) => void;
  /** So many blocks were wanted of a segment; `unpacked`: a frame was unpacked for some of its blocks only. */
  readonly used: (segment: number, blocks: number, unpacked: boolean) => void;
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
  volume: VolumeId | undefined,
): void | Promise<void> {
  const runs: StoredRun[] = [];
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
      if (!joinRun(runs.at(-1), page, index, at)) runs.push(runAt(page, index, at));
    }
  }
  const pending: Promise<void>[] = [];
  try {
    for (let at = 0, next = 0; at < runs.length; at = next) {
      next = at + 1;
      const run = runs[at]!;
      if (run.frame_bytes > 0) {
        while (next < runs.length && isNear(run, runs[next - 1]!, runs[next]!)) next += 1;
        const reading = readPacked(world, runs.slice(at, next), { block, target, sums, volume });
        if (reading !== undefined) pending.push(reading);
        continue;
      }
      const part =
        run.count === count
          ? target
          : target.subarray((run.block - block) * BLOCK_BYTES, (run.block - block + run.count) * BLOCK_BYTES);
      world.used(run.segment, run.count, false);
      const read = world.log.read(run, part);
      if (read === undefined) verify(world, run, part, { block, target, sums, volume });
      else pending.push(read.then(() => verify(world, run, part, { block, target, sums, volume })));
    }
  } catch (error) {
    if (pending.length === 0) throw error;
    pending.push(Promise.reject(error as Error));
  }
  if (pending.length > 0) return allEnded(pending);
}

/** Ends with the last of them, also where one fails: until then bytes may come into the target. */
async function allEnded(pending: readonly Promise<void>[]): Promise<void> {
  for (const ended of await Promise.allSettled(pending)) if (ended.status === 'rejected') throw ended.reason;
}

/** Frames of one read that stand so close to each other are read together, up to so much. */
const gapMost_bytes = 4096;
const togetherMost_bytes = 1024 * 1024;

const isNear = (first: StoredRun, last: StoredRun, next: StoredRun): boolean =>
  next.frame_bytes > 0 &&
  next.segment === first.segment &&
  next.offset >= last.offset + last.frame_bytes &&
  next.offset - last.offset - last.frame_bytes <= gapMost_bytes &&
  next.offset + next.frame_bytes - first.offset <= togetherMost_bytes;

/** What is asked for, and where it goes. */
interface Wanted {
  readonly block: number;
  readonly target: Uint8Array;
  readonly sums: BigUint64Array;
  readonly volume: VolumeId | undefined;
}

/** Reads frames that stand close to each other, and takes the wanted blocks out of them. */
function readPacked(world: ReadWorld, runs: readonly StoredRun[], wanted: Wanted): void | Promise<void> {
  const [first, last] = [runs[0]!, runs.at(-1)!];
  const known = runs.length === 1 ? world.frames.get(first.segment, first.offset) : undefined;
  if (known !== undefined) return give(world, first, known, wanted);
  const bytes = Buffer.allocUnsafe(last.offset + last.frame_bytes - first.offset);
  const frameOf = ({ offset, frame_bytes }: StoredRun) =>
    bytes.subarray(offset - first.offset, offset - first.offset + frame_bytes);
  const take = () => {
    for (const run of runs) takeOut(world, run, unpack(frameOf(run), run.of), wanted);
  };
  const reading = world.log.read(first, bytes);
  return reading === undefined ? take() : reading.then(take);
}

function takeOut(world: ReadWorld, run: StoredRun, content: Uint8Array | string, wanted: Wanted): void {
  if (typeof content === 'string') throw damage(world, run, 0, content, wanted.volume);
  give(world, run, content, wanted);
  const partly = run.count < run.of;
  world.used(run.segment, run.count, partly);
  // Who reads all of it at once does not come back for the rest.
  if (partly) world.frames.put(run.segment, run.offset, content);
}

function give(world: ReadWorld, run: StoredRun, content: Uint8Array, wanted: Wanted): void {
  const at = (run.block - wanted.block) * BLOCK_BYTES;
  const part = wanted.target.subarray(at, at + run.count * BLOCK_BYTES);
  part.set(content.subarray(partStart(run), partStart(run) + part.length));
  verify(world, run, part, wanted);
}

function verify(world: ReadWorld, run: StoredRun, part: Uint8Array, { sums, block: first, volume }: Wanted): void {
  for (let index = 0; index < run.count; index++) {
    const bytes = run.count === 1 ? part : part.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    if (sumOf(bytes) === sums[run.block - first + index]) continue;
    throw damage(world, run, index, 'does not match its checksum', volume);
  }
}

function damage(
  world: ReadWorld,
  run: StoredRun,
  index: number,
  what: string,
  volume: VolumeId | undefined,
): BlockError {
  const offset = run.frame_bytes > 0 ? run.offset : run.offset + index * BLOCK_BYTES;
  const detail = `block ${run.block + index} in segment ${run.segment} at ${offset} ${what}`;
  world.damaged(volume, run.block + index, detail);
  return new BlockError('corrupt', detail);
}
