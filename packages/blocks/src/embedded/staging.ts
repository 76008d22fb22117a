import type { CycleId, SessionId, VolumeId } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockRun } from '../port/engine.ts';
import { BlockError } from '../port/errors.ts';
import type { Digest, RestartAddress } from '../port/types.ts';
import type { EngineCore } from './core.ts';
import { nextTurn } from './end-of-turn.ts';
import { noLayer } from './graph/graph.ts';
import { needStage } from './graph/plan.ts';
import { type Page, pageBlocks, pageOf } from './index/page.ts';
import type { LayerId } from './log/types.ts';
import { sumOf } from './zero-block.ts';

/**
 * Puts runs of a cycle into a staging layer. Nothing of it is trusted: places are checked against the size, every block against
 * the checksum that came with it, and that checksum is stored as it came [C8.1].
 */
export function stageRuns(
  core: EngineCore,
  session: SessionId,
  cycle: CycleId,
  point: number,
  pair: number,
  runs: readonly BlockRun[],
  ordered: boolean,
): void {
  const { stage } = needStage(core.graph, session, cycle);
  const layer = stage.layers[pair]?.[point];
  const size = stage.plan.points[point]?.sizes[pair];
  if (layer === undefined || layer === noLayer || size === undefined)
    throw new BlockError('out_of_range', `the cycle has no point ${point} of pair ${pair}`);
  const { address } = stage;
  const least = ordered ? leastBlock(address, point, pair) : 0;
  storeRuns(core, layer, size, least, runs);
}

/** Puts runs into a layer that nobody else writes: all of them, or none. */
export function storeRuns(
  core: EngineCore,
  layer: LayerId,
  size: number,
  least: number,
  runs: readonly BlockRun[],
): void {
  const checked = runs.map((run) => ({ run, sums: checkRun(run, size, least) }));
  for (const { run, sums } of checked) {
    if (run.payload === undefined || sums === undefined) core.orderZero(layer, run.block, run.count);
    else core.orderData(layer, run.block, run.payload, sums);
  }
}

/** Stands where a pair is not in a point. */
const absentDigest: Digest = '0'.repeat(64);

/** What the address covers is durable and not written again. */
function leastBlock(address: RestartAddress, point: number, pair: number): number {
  const ahead = point - address.point || pair - address.pair;
  if (ahead === 0) return address.block;
  return ahead > 0 ? 0 : Number.POSITIVE_INFINITY;
}

/**
 * After a repair below: what later points of the cycle changed in these blocks is ordered once more, so that it has the higher
 * sequence. A rebuild from the log of layers that were folded together goes by sequence alone [C6.1].
 */
export async function raiseAbove(
  core: EngineCore,
  session: SessionId,
  cycle: CycleId,
  point: number,
  pair: number,
  runs: readonly BlockRun[],
): Promise<void> {
  const { stage } = needStage(core.graph, session, cycle);
  const bytes = new Uint8Array(BLOCK_BYTES);
  const sums = new BigUint64Array(1);
  for (const layer of stage.layers[pair]!.slice(point + 1)) {
    if (layer === noLayer) continue;
    const index = core.layerIndex(layer);
    for (const { block: first, count } of runs) {
      for (let block = first; block < first + count; block++) {
        const page = core.pages.get(index, pageOf(block));
        const entry = block % pageBlocks;
        if (page === undefined || page.isAbsent(entry)) continue;
        if (page.isHole(entry)) {
          core.orderZero(layer, block, 1);
          continue;
        }
        await core.read(core.chains.of(layer), block, 1, bytes, sums, stage.plan.pairs[pair]!.local);
        core.orderData(layer, block, bytes, sums.slice());
      }
    }
  }
}

function checkRun(run: BlockRun, size: number, least: number): BigUint64Array | undefined {
  const { block, count, payload, checksums } = run;
  const whole = Number.isSafeInteger(block) && Number.isSafeInteger(count) && block >= least && count > 0;
  if (!whole || (block + count) * BLOCK_BYTES > size)
    throw new BlockError(
      'out_of_range',
      `blocks ${block} to ${block + count} are outside of the image or below the restart address`,
    );
  if (payload === undefined) return undefined;
  if (payload.length !== count * BLOCK_BYTES || checksums?.length !== count * 8)
    throw new BlockError('out_of_range', 'payload, checksums and count of a run do not agree');
  // Copied to where eight-byte words may stand; the payload itself is not.
  const sums = new BigUint64Array(count);
  new Uint8Array(sums.buffer).set(checksums);
  for (let index = 0; index < count; index++) {
    if (sumOf(payload.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)) === sums[index]) continue;
    throw new BlockError('corrupt', `block ${block + index} does not match its checksum`);
  }
  return sums;
}

/** Pages that are read back at the same time: the disk is asked for the next ones while one is checked. */
const pagesAtOnce = 3;

/**
 * Reads every block of a layer through the read path; `read` hears how many more they are. Rejects with `corrupt`, and touches nothing
 * any more then.
 */
export async function readBack(
  core: EngineCore,
  layer: LayerId,
  volume: VolumeId | undefined,
  read: (blocks: number) => void,
): Promise<void> {
  const index = core.layerIndex(layer);
  // A cycle may have very many layers with nothing in them: those cost nothing.
  if (index.data === 0) return;
  const pages = [...index.present.within(0, Number.MAX_SAFE_INTEGER)].values();
  let failed = false;
  const lane = async (): Promise<void> => {
    const bytes = new Uint8Array(pageBlocks * BLOCK_BYTES);
    const sums = new BigUint64Array(pageBlocks);
    for (let next = pages.next(); !next.done && !failed; next = pages.next()) {
      const page = core.pages.get(index, next.value);
      if (page === undefined) continue;
      let blocks = 0;
      for (const [at, count] of dataRuns(page)) {
        const target = bytes.subarray(0, count * BLOCK_BYTES);
        const block = next.value * pageBlocks + at;
        await core.read(core.chains.of(layer), block, count, target, sums.subarray(0, count), volume);
        blocks += count;
      }
      read(blocks);
      // Hosts' work comes between two pages.
      await nextTurn();
    }
  };
  const lanes = Array.from({ length: pagesAtOnce }, () =>
    lane().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  const ends = await Promise.allSettled(lanes);
  const first = ends.find((end) => end.status === 'rejected');
  if (first !== undefined) throw first.reason;
}

/** Where data lies in a page: first block in it, and how many. */
function dataRuns(page: Page): readonly (readonly [number, number])[] {
  const runs: [number, number][] = [];
  for (let at = 0; at < pageBlocks; at++) {
    if (!page.isData(at)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === at) last[1] += 1;
    else runs.push([at, 1]);
  }
  return runs;
}

/** Reads every staged block back through the read path and answers the digests of all pairs at all points [C8.3]. */
export async function verifyStaged(
  core: EngineCore,
  session: SessionId,
  cycle: CycleId,
  progress: (blocks: number, of: number) => void,
): Promise<readonly (readonly Digest[])[]> {
  const { stage } = needStage(core.graph, session, cycle);
  const staged = stage.layers.flatMap((layers, pair) =>
    layers.filter((layer) => layer !== noLayer).map((layer) => ({ layer, volume: stage.plan.pairs[pair]!.local })),
  );
  const total = staged.reduce((sum, { layer }) => sum + core.layerIndex(layer).data, 0);
  let done = 0;
  for (const { layer, volume } of staged)
    await readBack(core, layer, volume, (blocks) => {
      done += blocks;
      progress(done, total);
    });
  // A staging layer may have changed since it was proven last.
  for (const { layer } of staged) core.digests.forget(layer);
  const digests: Digest[][] = [];
  for (let point = 0; point < stage.plan.points.length; point++) {
    const row: Digest[] = [];
    for (const layers of stage.layers) {
      const layer = layers[point]!;
      // Told as well, though no more was read: silence means that nothing moves.
      const looked = () => progress(done, total);
      row.push(layer === noLayer ? absentDigest : await core.digests.root(core.chains.of(layer), looked));
    }
    digests.push(row);
  }
  return digests;
}
