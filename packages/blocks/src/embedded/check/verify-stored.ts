import { BLOCK_BYTES } from '../../port/device.ts';
import { isBlockError } from '../../port/errors.ts';
import type { StoredDamage, VerifyPosition, VerifyStep } from '../../port/types.ts';
import type { EngineCore } from '../core.ts';
import { pageBlocks } from '../index/page.ts';
import type { LayerIndex } from '../index/page-table.ts';
import type { LogDamage } from '../log/types.ts';
import { readAside, runsOf, type StoredRun } from '../stored-blocks.ts';
import { sumOf } from '../zero-block.ts';
import { whoSees } from './seen.ts';

/**
 * One bounded piece of verifying what is stored. First every block that the index refers to, by layer and page: layers are only
 * ever folded into later ones, so nothing that was there at the beginning is missed. Then the headers of all records and the
 * bodies of control records, a segment at a time, which a rebuild of the index would need.
 */
export async function verifyStored(
  core: EngineCore,
  from: VerifyPosition | undefined,
  most_bytes: number,
): Promise<VerifyStep> {
  const at = from ?? { phase: 'blocks', layer: 0, page: 0 };
  return at.phase === 'blocks' ? verifyBlocks(core, at, most_bytes) : verifyRecords(core, at.segment);
}

async function verifyBlocks(
  core: EngineCore,
  from: Extract<VerifyPosition, { phase: 'blocks' }>,
  most_bytes: number,
): Promise<VerifyStep> {
  const damages: StoredDamage[] = [];
  let verified_bytes = 0;
  const layers = [...core.pages.layers()].filter(({ id }) => id >= from.layer).sort((a, b) => a.id - b.id);
  for (const layer of layers) {
    const first = layer.id === from.layer ? from.page : 0;
    for (const number of layer.present.within(first, Number.MAX_SAFE_INTEGER)) {
      if (verified_bytes >= most_bytes)
        return { next: { phase: 'blocks', layer: layer.id, page: number }, verified_bytes, damages };
      const { bytes, bad } = await core.pin(verifyPage(core, layer, number));
      verified_bytes += bytes;
      for (const run of bad) damages.push(told(core, layer, run));
    }
  }
  return { next: { phase: 'records', segment: 0 }, verified_bytes, damages };
}

/** Damaged blocks next to each other, with their place in the log. */
interface BadRun {
  readonly block: number;
  readonly count: number;
  readonly segment: number;
  readonly offset: number;
  /** In the log. */
  readonly bytes: number;
  readonly detail: string;
}

/** Verifies one page of one layer; every damaged block of it is named. */
export async function verifyPage(
  core: EngineCore,
  layer: LayerIndex,
  number: number,
): Promise<{ readonly bytes: number; readonly bad: readonly BadRun[] }> {
  const page = core.pages.get(layer, number);
  if (page === undefined) return { bytes: 0, bad: [] };
  // Taken now: hosts write on while bytes are on their way.
  const runs = runsOf(page, number).map((run) => {
    const first = run.block - number * pageBlocks;
    return { ...run, sums: page.sum.slice(first, first + run.count) };
  });
  const bad: BadRun[] = [];
  for (const run of runs) {
    const wrong = await wrongBlocks(core, run);
    for (const [index, detail] of wrong) {
      const block = run.block + index;
      const packed = run.frame_bytes > 0;
      const offset = packed ? run.offset : run.offset + index * BLOCK_BYTES;
      // Written again, or lying elsewhere by now: what was read was not what is stored there.
      if (!isStill(core, layer, number, block, run.segment, offset)) continue;
      const last = bad.at(-1);
      const joins =
        last !== undefined &&
        last.segment === run.segment &&
        last.block + last.count === block &&
        (packed ? last.offset === offset : last.offset + last.bytes === offset);
      const bytes = packed ? run.frame_bytes : BLOCK_BYTES;
      if (!joins) bad.push({ block, count: 1, segment: run.segment, offset, bytes, detail });
      else bad[bad.length - 1] = { ...last, count: last.count + 1, bytes: packed ? bytes : last.bytes + bytes };
    }
  }
  return { bytes: runs.reduce((sum, run) => sum + run.count * BLOCK_BYTES, 0), bad };
}

interface SummedRun extends StoredRun {
  readonly sums: BigUint64Array;
}

/** Index and reason of each block of a run that cannot be read as it was written. A second look decides. */
async function wrongBlocks(core: EngineCore, run: SummedRun): Promise<readonly (readonly [number, string])[]> {
  const bytes = new Uint8Array(run.sums.length * BLOCK_BYTES);
  const matches = (index: number) =>
    sumOf(bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)) === run.sums[index];
  const whole = await readAside(core.log, run, bytes);
  const wrong: [number, string][] = [];
  for (let index = 0; index < run.sums.length; index++) {
    if (whole === undefined && matches(index)) continue;
    const part = bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    const failure = await readAside(core.log, oneOf(run, index), part);
    if (failure === undefined && matches(index)) continue;
    wrong.push([index, failure ?? 'does not match its checksum']);
  }
  return wrong;
}

/** One block of a run. */
const oneOf = (run: StoredRun, index: number): StoredRun => ({
  ...run,
  block: run.block + index,
  count: 1,
  ...(run.frame_bytes > 0 ? { part: run.part + index } : { offset: run.offset + index * BLOCK_BYTES }),
});

function isStill(
  core: EngineCore,
  layer: LayerIndex,
  number: number,
  block: number,
  segment: number,
  offset: number,
): boolean {
  const page = core.pages.get(layer, number);
  const index = block - number * pageBlocks;
  return page?.segment[index] === segment && page.offset[index] === offset;
}

function told(core: EngineCore, layer: LayerIndex, run: BadRun): StoredDamage {
  const blocks = Array.from({ length: run.count }, (_, index) => run.block + index);
  const { segment, offset, bytes, detail } = run;
  return { detail: `stored data ${detail}`, segment, offset, bytes, seen: whoSees(core, layer.id, blocks) };
}

async function verifyRecords(core: EngineCore, from: number): Promise<VerifyStep> {
  const segments = core.log.segments().filter(({ segment }) => segment >= from);
  const first = segments[0];
  if (first === undefined) return { verified_bytes: 0, damages: damagesOf(core, (segment) => segment === 0) };
  const { segment, used } = first;
  await core.pin(scanAll(core, segment));
  const damages = damagesOf(core, (damaged) => damaged === segment);
  return { next: { phase: 'records', segment: segment + 1 }, verified_bytes: used, damages };
}

async function scanAll(core: EngineCore, segment: number): Promise<void> {
  try {
    // What is no record is noted by the log itself.
    for await (const _ of core.log.scanSegment(segment));
  } catch (error) {
    // Gone meanwhile, or without a readable header, which the start has noted.
    if (!isBlockError(error) || error.code !== 'not_found') throw error;
  }
}

function damagesOf(core: EngineCore, wanted: (segment: number) => boolean): readonly StoredDamage[] {
  return core.log
    .damages()
    .filter(({ segment }) => wanted(segment))
    .map(fromLog);
}

/** Damage that the log found in its records: which blocks they held is not known any more, unless the index knows. */
export const fromLog = ({ segment, offset, bytes, detail }: LogDamage): StoredDamage => ({
  detail: `the log is damaged: ${detail}`,
  segment,
  offset,
  ...(bytes !== undefined && { bytes }),
  seen: [],
});
