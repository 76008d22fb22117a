import type { Random } from '@antipode/base';
import type { Disk, DiskFile } from '../disk.ts';
import { asBlockError } from './disk-errors.ts';
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
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentKind } from './segment-header.ts';
import type { StoredSegment } from './stored-segment.ts';
import type { Place, RelocatedRecord, Relocation, Sequence } from './types.ts';

export interface RelocationDependencies {
  readonly disk: Disk;
  readonly random: Random;
  readonly limits: LogLimits;
  readonly kind: Exclude<SegmentKind, 'log'>;
  nextNumber(): number;
  /** Highest sequence known to be on stable storage. */
  durable(): number;
  /** Where records gather on their way to the file. */
  readonly buffer: Scratch;
  /** After a write that failed: whether it is worth trying once more. */
  makeRoom(error: unknown): boolean;
  /** They are whole and durable: what they hold can be read from now on. */
  onFinished(segments: readonly StoredSegment[]): void;
}

/** Holds the largest record twice over. */
const BUFFER_BYTES = 2 * 1024 * 1024 + 64 * 1024;
/** Handed to the kernel at once: the thread that orders waits for it. */
const WRITE_BYTES = 512 * 1024;
/** Between two syncs of a file: those of hosts have to wait for what the disk is given. */
const SYNC_BYTES = 8 * 1024 * 1024;

/**
 * Writes records with their old sequences into segments of their own [C6.2], ascending by sequence. A segment gets its
 * name only when it is whole and durable: a crash leaves an unfinished file that start-up removes, and nothing else.
 */
export class SegmentsRelocation implements Relocation {
  private readonly deps: RelocationDependencies;
  private readonly segments: StoredSegment[] = [];
  private writer: RelocatedSegment | undefined;

  constructor(deps: RelocationDependencies) {
    this.deps = deps;
  }

  async add(record: RelocatedRecord, sequence: Sequence): Promise<Place> {
    assertRecord(record);
    return this.guarded(async () => {
      const full = this.writer !== undefined && !this.writer.fits(recordBytes(record));
      if (full || (this.writer?.last ?? 0) > sequence) await this.close();
      this.writer ??= new RelocatedSegment(this.deps);
      const place = this.writer.add(record, sequence);
      if (this.writer.mustSync()) await this.writer.sync();
      return place;
    });
  }

  async finish(): Promise<void> {
    await this.guarded(async () => {
      await this.close();
      await this.deps.disk.syncDirectory();
    });
    this.deps.onFinished(this.segments.splice(0));
  }

  discard(): void {
    this.writer?.discard();
    this.writer = undefined;
    for (const { name } of this.segments.splice(0)) this.deps.disk.remove(name);
  }

  private async close(): Promise<void> {
    if (this.writer === undefined) return;
    this.segments.push(await this.writer.finish());
    this.writer = undefined;
  }

  private async guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.discard();
      throw asBlockError(error, 'records could not be relocated');
    }
  }
}

class RelocatedSegment {
  last = 0;
  private readonly deps: RelocationDependencies;
  private readonly number: number;
  private readonly salt: bigint;
  private readonly temporary: string;
  private readonly file: DiskFile;
  private readonly buffer: Uint8Array;
  private readonly view: DataView;
  private used = 0;
  private unsynced = 0;
  private end = SEGMENT_HEADER_BYTES;
  private first = 0;
  private records = 0;

  constructor(deps: RelocationDependencies) {
    this.deps = deps;
    this.number = deps.nextNumber();
    this.salt = new DataView(deps.random.bytes(8).slice().buffer).getBigUint64(0, true);
    this.temporary = temporaryName(segmentName(this.number));
    this.buffer = deps.buffer.take(BUFFER_BYTES);
    this.view = new DataView(this.buffer.buffer, this.buffer.byteOffset);
    this.file = this.trying(() => deps.disk.open(this.temporary, 'create'));
    try {
      const header = encodeSegmentHeader({ number: this.number, kind: deps.kind, salt: this.salt });
      this.trying(() => this.file.writeSync([header], 0));
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  fits(bytes: number): boolean {
    return this.end + bytes + RECORD_HEADER_BYTES <= this.deps.limits.segment_bytes;
  }

  add(record: RelocatedRecord, sequence: number): Place {
    const bytes = recordBytes(record);
    if (this.used + bytes > this.buffer.length || this.used >= WRITE_BYTES) this.flush();
    const place = { salt: this.salt, offset: this.end, sequence, durable: this.deps.durable() };
    encodeRecord(this.buffer, this.view, this.used, record, place);
    const offset = this.end + payloadStart(record);
    if (this.records === 0) this.first = sequence;
    this.last = sequence;
    this.records++;
    this.used += bytes;
    this.end += bytes;
    return { segment: this.number, offset };
  }

  mustSync(): boolean {
    return this.unsynced >= SYNC_BYTES;
  }

  async sync(): Promise<void> {
    this.unsynced = 0;
    try {
      await this.file.sync();
    } catch (error) {
      // This file is lost [C6.4]; the next attempt may have more luck.
      this.deps.makeRoom(error);
      throw error;
    }
  }

  async finish(): Promise<StoredSegment> {
    this.flush();
    const footer = footerFields(this.first, this.last, this.records, this.deps.durable());
    const bytes = encodeBareRecord(footer, this.salt, this.end);
    this.trying(() => this.file.writeSync([bytes], this.end));
    await this.sync();
    const { number, salt, first, last, end } = this;
    const name = segmentName(number);
    this.deps.disk.rename(this.temporary, name);
    this.file.close();
    this.deps.buffer.give(this.buffer);
    return { number, kind: this.deps.kind, salt, name, first, last, end, settled: true };
  }

  discard(): void {
    this.file.close();
    this.deps.disk.remove(this.temporary);
  }

  private flush(): void {
    this.trying(() => this.file.writeSync([this.buffer.subarray(0, this.used)], this.end - this.used));
    this.unsynced += this.used;
    this.used = 0;
  }

  private trying<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!this.deps.makeRoom(error)) throw error;
      return work();
    }
  }
}
