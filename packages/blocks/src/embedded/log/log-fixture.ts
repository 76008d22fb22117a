import type { Random } from '@antipode/base';
import { xxh64 } from '@node-rs/xxhash';
import { BLOCK_BYTES } from '../../port/device.ts';
import { ManualClock } from '../simulated/manual-clock.ts';
import { seededRandom } from '../simulated/seeded-random.ts';
import { SimulatedDisk } from '../simulated/simulated-disk.ts';
import type { LogLimits } from './limits.ts';
import { openSegmentLog } from './segment-log.ts';
import { smallLogLimits } from './small-limits.ts';
import type {
  DataRecord,
  LayerId,
  LogRecord,
  Place,
  RelocatedRecord,
  ScannedRecord,
  SegmentLog,
  Sequence,
} from './types.ts';

/** A data record whose bytes follow from its block and fill. */
export function dataRecord(block: number, fill: number, count = 1): DataRecord {
  const payload = new Uint8Array(count * BLOCK_BYTES);
  const checksums = new Uint8Array(count * 8);
  const view = new DataView(checksums.buffer);
  for (let i = 0; i < count; i++) {
    const bytes = payload.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
    bytes.fill((fill + i) & 255);
    new DataView(payload.buffer).setUint32(i * BLOCK_BYTES, block * 1000 + fill, true);
    view.setBigUint64(i * 8, xxh64(bytes), true);
  }
  return { type: 'data', layer: 1 as LayerId, block, count, payload, checksums };
}

export const zeroRecord = (block: number, count: number): LogRecord => ({
  type: 'zero',
  layer: 2 as LayerId,
  block,
  count,
});

export const controlRecord = (value: unknown): LogRecord => ({
  type: 'control',
  body: new TextEncoder().encode(JSON.stringify(value)),
});

/** Relocates records, whatever order they are given in; answers the new places in that order. */
export async function relocateAll(
  log: SegmentLog,
  items: readonly { readonly record: RelocatedRecord; readonly sequence: Sequence }[],
): Promise<readonly Place[]> {
  const relocation = log.relocation(false);
  const places = new Map<number, Place>();
  const order = items.map((_, index) => index).sort((a, b) => items[a]!.sequence - items[b]!.sequence || a - b);
  for (const index of order) places.set(index, await relocation.add(items[index]!.record, items[index]!.sequence));
  await relocation.finish();
  return items.map((_, index) => places.get(index)!);
}

/** A disk and the processes that open a log on it, one after the other. */
export class Bench {
  readonly disk: SimulatedDisk;
  /** Of the present process: what an earlier one waited for never comes. */
  clock = new ManualClock();
  private readonly random: Random;
  private readonly limits: Partial<LogLimits>;

  /** `syncsNow`: a lone sync is done on the calling thread. */
  constructor(seed = 1, limits: Partial<LogLimits> = {}, capacity_bytes = 2 ** 40, syncsNow = false) {
    this.random = seededRandom(seed);
    this.limits = { ...smallLogLimits, ...limits };
    this.disk = new SimulatedDisk({ random: this.random, capacity_bytes, syncsNow });
  }

  open(): Promise<SegmentLog> {
    const clock = new ManualClock();
    this.clock = clock;
    const endOfTurn = (callback: () => void) => {
      setImmediate(() => {
        if (this.clock === clock) callback();
      });
    };
    return openSegmentLog({ disk: this.disk.mount(), clock, random: this.random, endOfTurn, limits: this.limits });
  }
}

export async function scanAll(log: SegmentLog, after = 0): Promise<ScannedRecord[]> {
  const records: ScannedRecord[] = [];
  for await (const record of log.scan(after as Sequence)) records.push(record);
  return records;
}

/** A scanned record with its payload read, as it was appended. */
export async function asAppended(log: SegmentLog, scanned: ScannedRecord): Promise<RelocatedRecord> {
  switch (scanned.type) {
    case 'data': {
      const payload = new Uint8Array(scanned.count * BLOCK_BYTES);
      await log.read(scanned.place, payload);
      const { type, layer, block, count, checksums } = scanned;
      return { type, layer, block, count, payload, checksums };
    }
    case 'packed': {
      const frame = new Uint8Array(scanned.frame_bytes);
      await log.read(scanned.place, frame);
      const { type, layer, block, count, checksums } = scanned;
      return { type, layer, block, count, frame, checksums };
    }
    case 'zero': {
      const { type, layer, block, count } = scanned;
      return { type, layer, block, count };
    }
    case 'control':
      return { type: 'control', body: scanned.body };
  }
}

/** Lets pending work go on for some turns of the event loop. */
export async function turns(count = 4): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
