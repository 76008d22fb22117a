import { BLOCK_BYTES } from '../../port/device.ts';
import type { Disk } from '../disk.ts';
import { messageOf } from '../log/disk-errors.ts';
import { parseSegmentName } from '../log/file-names.ts';
import { unpack } from '../log/frame.ts';
import { blocksMatch, CHECKSUM_BYTES, decodeHeader, RECORD_HEADER_BYTES, RECORD_MAGIC } from '../log/record-format.ts';
import { type Found, SegmentCursor } from '../log/segment-cursor.ts';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../log/segment-header.ts';
import type { LayerId, LogDamage } from '../log/types.ts';

const SCAN_BUFFER_BYTES = 1024 * 1024;

/** One block whose bytes do not match the checksum in its record. */
export interface BadBlock {
  readonly segment: number;
  /** Of the block, or of the frame that it is packed in. */
  readonly offset: number;
  readonly packed: boolean;
  /** That are damaged: of the block or of the whole frame. */
  readonly bytes: number;
  readonly layer: LayerId;
  readonly block: number;
  readonly sequence: number;
  readonly detail: string;
}

export interface SegmentsReport {
  readonly segments: number;
  readonly records: number;
  readonly verified_bytes: number;
  readonly damages: readonly LogDamage[];
  readonly blocks: readonly BadBlock[];
}

/**
 * Reads every segment from its header to its footer and compares every record and every block with its checksum. `ends`: where
 * the records that count end, for segments without a footer or a cut.
 */
export async function checkSegments(
  disk: Disk,
  ends: ReadonlyMap<number, number>,
  progress: (done_bytes: number, of_bytes: number) => void,
): Promise<SegmentsReport> {
  const names = disk
    .list()
    .map(parseSegmentName)
    .filter((name) => name !== undefined);
  const damages: LogDamage[] = [];
  const blocks: BadBlock[] = [];
  let records = 0;
  let verified_bytes = 0;
  let before = 0;
  const sizes = names.map(({ name }) => sizeOf(disk, name));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  for (const [index, { name, number, cut }] of names.entries()) {
    const damage = (offset: number, detail: string, bytes?: number) =>
      damages.push({ segment: number, offset, detail, ...(bytes !== undefined && { bytes }) });
    const file = disk.open(name, 'open');
    try {
      const size = sizes[index]!;
      const head = new Uint8Array(SEGMENT_HEADER_BYTES);
      const got = file.readSync(head, 0);
      const header = decodeSegmentHeader(head.subarray(0, got));
      // A header that cannot be read is told by the recovery of the log, with all that follows from it.
      if (header === undefined || header.number !== number) continue;
      if (!headerIsWhole(head))
        damage(0, 'one of the two copies of the segment header is damaged', SEGMENT_HEADER_BYTES);
      const footer = cut === undefined ? await readFooter(file, size, header.salt) : 'none';
      if (footer === 'damaged') damage(size - RECORD_HEADER_BYTES, 'the footer is damaged', RECORD_HEADER_BYTES);
      const sealed = typeof footer === 'object';
      const end = sealed ? size - RECORD_HEADER_BYTES : (cut?.end ?? ends.get(number) ?? SEGMENT_HEADER_BYTES);
      const cursor = new SegmentCursor(
        file,
        header.salt,
        SEGMENT_HEADER_BYTES,
        Math.min(end, size),
        new Uint8Array(SCAN_BUFFER_BYTES),
      );
      if (end > size) damage(size, 'the file is shorter than its records', end - size);
      let counted = 0;
      let last = 0;
      for (let found = await cursor.next(); found !== undefined; found = await cursor.next()) {
        if (found.kind === 'bad') {
          damage(found.offset, 'these bytes are no records', found.end - found.offset);
          continue;
        }
        if (found.header.type === 'start' || found.header.type === 'footer') continue;
        counted += 1;
        if (found.header.sequence < last)
          damage(found.offset, `sequence ${found.header.sequence} stands behind ${last}`);
        last = found.header.sequence;
        if (found.header.type === 'data') blocks.push(...(await badBlocks(file, number, found)));
        if (found.header.type === 'packed') blocks.push(...(await badPacked(file, number, found)));
        verified_bytes += found.header.total_bytes;
        progress(before + found.offset, total);
      }
      records += counted;
      const lost = damages.some(({ segment }) => segment === number);
      if (sealed && !lost && (footer.records !== counted || footer.last !== last))
        damage(
          end,
          `the footer counts ${footer.records} records up to ${footer.last}; there are ${counted} up to ${last}`,
        );
    } catch (error) {
      if (typeof (error as { code?: unknown }).code !== 'string') throw error;
      damage(0, `the segment cannot be read: ${messageOf(error)}`);
    } finally {
      file.close();
      before += sizes[index]!;
      progress(before, total);
    }
  }
  return { segments: names.length, records, verified_bytes, damages, blocks };
}

function sizeOf(disk: Disk, name: string): number {
  const file = disk.open(name, 'open');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

/** Both copies of a segment's header are equal where all is well. */
function headerIsWhole(head: Uint8Array): boolean {
  const half = SEGMENT_HEADER_BYTES / 2;
  return Buffer.compare(head.subarray(0, half), head.subarray(half)) === 0;
}

async function readFooter(
  file: ReturnType<Disk['open']>,
  size: number,
  salt: bigint,
): Promise<'none' | 'damaged' | { readonly records: number; readonly last: number }> {
  const offset = size - RECORD_HEADER_BYTES;
  if (offset < SEGMENT_HEADER_BYTES) return 'none';
  const bytes = new Uint8Array(RECORD_HEADER_BYTES);
  file.readSync(bytes, offset);
  const view = new DataView(bytes.buffer);
  const found = decodeHeader(bytes, view, 0, { salt, offset, limit: size });
  if (typeof found === 'object')
    return found.type === 'footer' ? { records: found.block, last: found.sequence } : 'none';
  // Something like a footer, directly behind the records: it was one. Elsewhere it is what a reused file held before.
  const traces = view.getUint32(8, true) === RECORD_MAGIC || view.getUint32(60, true) === offset;
  return traces && (await recordsEnd(file, salt, offset)) === offset ? 'damaged' : 'none';
}

/** Where the last record before `limit` ends. */
async function recordsEnd(file: ReturnType<Disk['open']>, salt: bigint, limit: number): Promise<number> {
  const cursor = new SegmentCursor(file, salt, SEGMENT_HEADER_BYTES, limit, new Uint8Array(SCAN_BUFFER_BYTES));
  let end = SEGMENT_HEADER_BYTES;
  for (let found = await cursor.next(); found !== undefined; found = await cursor.next())
    if (found.kind === 'record') end = found.offset + found.header.total_bytes;
  return end;
}

async function badBlocks(
  file: ReturnType<Disk['open']>,
  segment: number,
  found: Found & { readonly kind: 'record' },
): Promise<readonly BadBlock[]> {
  const { header, offset, checksums } = found;
  const payload = new Uint8Array(header.payload_bytes);
  const at = offset + header.header_bytes;
  const got = await file.read(payload, at);
  if (got === payload.length && blocksMatch(payload, checksums!)) return [];
  // A read may have failed to give what is stored: look once more before calling it damage.
  const again = await file.read(payload, at);
  const bad: BadBlock[] = [];
  for (let index = 0; index < header.count; index++) {
    const bytes = payload.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    const sum = checksums!.subarray(index * CHECKSUM_BYTES, (index + 1) * CHECKSUM_BYTES);
    if ((index + 1) * BLOCK_BYTES <= again && blocksMatch(bytes, sum)) continue;
    bad.push({
      segment,
      offset: at + index * BLOCK_BYTES,
      packed: false,
      bytes: BLOCK_BYTES,
      layer: header.layer as LayerId,
      block: header.block + index,
      sequence: header.sequence,
      detail: 'stored data does not match its checksum',
    });
  }
  return bad;
}

/** Blocks of a frame that do not come out of it as they were written: all of them, when the frame itself is damaged. */
async function badPacked(
  file: ReturnType<Disk['open']>,
  segment: number,
  found: Found & { readonly kind: 'record' },
): Promise<readonly BadBlock[]> {
  const { header, offset, checksums } = found;
  const frame = new Uint8Array(header.payload_bytes);
  const at = offset + header.header_bytes;
  let content: Uint8Array | string = 'is not there';
  // A read may have failed to give what is stored: look once more before calling it damage.
  for (let look = 0; look < 2 && typeof content === 'string'; look++)
    if ((await file.read(frame, at)) === frame.length) content = unpack(frame, header.count);
  const bad: BadBlock[] = [];
  for (let index = 0; index < header.count; index++) {
    const sum = checksums!.subarray(index * CHECKSUM_BYTES, (index + 1) * CHECKSUM_BYTES);
    const block =
      typeof content === 'string' ? undefined : content.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    if (block !== undefined && blocksMatch(block, sum)) continue;
    bad.push({
      segment,
      offset: at,
      packed: true,
      bytes: header.payload_bytes,
      layer: header.layer as LayerId,
      block: header.block + index,
      sequence: header.sequence,
      detail: `stored data ${typeof content === 'string' ? content : 'does not match its checksum'}`,
    });
  }
  return bad;
}
