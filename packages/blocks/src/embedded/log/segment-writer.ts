import type { Random } from '@antipode/base';
import type { Disk, DiskFile } from '../disk.ts';
import { segmentName, temporaryName } from './file-names.ts';
import type { LogLimits } from './limits.ts';
import {
  assertRecord,
  encodeBareRecord,
  encodeRecord,
  footerFields,
  payloadStart,
  RECORD_HEADER_BYTES,
  recordBytes,
} from './record-format.ts';
import type { Scratch } from './scratch.ts';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES } from './segment-header.ts';
import type { StoredSegment } from './stored-segment.ts';
import type { LogRecord, Place, Sequence } from './types.ts';

export interface RelocateDependencies {
  readonly disk: Disk;
  readonly random: Random;
  readonly limits: LogLimits;
  nextNumber(): number;
  /** Where records gather on their way to the file. */
  readonly buffer: Scratch;
}

export interface Relocated {
  readonly segments: readonly StoredSegment[];
  /** Of the records, in the order given. */
  readonly places: readonly Place[];
}

interface Item {
  readonly record: LogRecord;
  readonly sequence: Sequence;
}

/**
 * Writes records with their old sequences into segments of their own [C6.2], ascending by sequence. A segment gets its
 * name only when it is whole and durable: a crash leaves an unfinished file that start-up removes, and nothing else.
 */
export async function relocateRecords(
  deps: RelocateDependencies,
  items: readonly Item[],
  durable: number,
): Promise<Relocated> {
  const order = items.map((_, i) => i).sort((a, b) => items[a]!.sequence - items[b]!.sequence || a - b);
  const places: Place[] = new Array(items.length);
  const segments: StoredSegment[] = [];
  let writer: RelocatedSegment | undefined;
  try {
    for (const i of order) {
      const { record, sequence } = items[i]!;
      assertRecord(record);
      if (writer !== undefined && !writer.fits(recordBytes(record))) {
        segments.push(await writer.finish(durable));
        writer = undefined;
      }
      writer ??= new RelocatedSegment(deps);
      places[i] = writer.add(record, sequence, durable);
    }
    if (writer !== undefined) segments.push(await writer.finish(durable));
    writer = undefined;
    await deps.disk.syncDirectory();
    return { segments, places };
  } catch (error) {
    writer?.discard();
    for (const { name } of segments) deps.disk.remove(name);
    throw error;
  }
}

class RelocatedSegment {
  private readonly deps: RelocateDependencies;
  private readonly number: number;
  private readonly salt: bigint;
  private readonly temporary: string;
  private readonly file: DiskFile;
  private readonly buffer: Uint8Array;
  private readonly view: DataView;
  private used = 0;
  private end = SEGMENT_HEADER_BYTES;
  private first = 0;
  private last = 0;
  private records = 0;

  constructor(deps: RelocateDependencies) {
    this.deps = deps;
    this.number = deps.nextNumber();
    this.salt = new DataView(deps.random.bytes(8).slice().buffer).getBigUint64(0, true);
    this.temporary = temporaryName(segmentName(this.number));
    this.buffer = deps.buffer.take(Math.max(deps.limits.group_bytes, 2 * 1024 * 1024));
    this.view = new DataView(this.buffer.buffer);
    this.file = deps.disk.open(this.temporary, 'create');
    try {
      this.file.writeSync([encodeSegmentHeader({ number: this.number, kind: 'relocated', salt: this.salt })], 0);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  fits(bytes: number): boolean {
    return this.end + bytes + RECORD_HEADER_BYTES <= this.deps.limits.segment_bytes;
  }

  add(record: LogRecord, sequence: number, durable: number): Place {
    const bytes = recordBytes(record);
    if (this.used + bytes > this.buffer.length) this.flush();
    encodeRecord(this.buffer, this.view, this.used, record, { salt: this.salt, offset: this.end, sequence, durable });
    const place = { segment: this.number, offset: this.end + payloadStart(record) };
    if (this.records === 0) this.first = sequence;
    this.last = sequence;
    this.records++;
    this.used += bytes;
    this.end += bytes;
    return place;
  }

  async finish(durable: number): Promise<StoredSegment> {
    this.flush();
    const footer = footerFields(this.first, this.last, this.records, durable);
    this.file.writeSync([encodeBareRecord(footer, this.salt, this.end)], this.end);
    await this.file.sync();
    const { number, salt, first, last, end } = this;
    const name = segmentName(number);
    this.deps.disk.rename(this.temporary, name);
    this.file.close();
    this.deps.buffer.give(this.buffer);
    return { number, kind: 'relocated', salt, name, first, last, end, settled: true };
  }

  discard(): void {
    this.file.close();
    this.deps.disk.remove(this.temporary);
  }

  private flush(): void {
    this.file.writeSync([this.buffer.subarray(0, this.used)], this.end - this.used);
    this.used = 0;
  }
}
