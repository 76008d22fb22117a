import { BlockError } from '../../port/errors.ts';
import type { Disk, DiskFile } from '../disk.ts';
import { asBlockError } from './disk-errors.ts';
import { FileCache } from './file-cache.ts';
import { cutName, segmentName, temporaryName } from './file-names.ts';
import type { LogLimits } from './limits.ts';
import { SEGMENT_HEADER_BYTES } from './segment-header.ts';
import type { StoredSegment } from './stored-segment.ts';
import type { TailSegment } from './tail-segment.ts';

/**
 * The segments that take no more records, and their files. A segment is *settled* when the disk itself says where it
 * ends: by a footer, or, after a failure, by a name that carries the cut. Invariant: no segment is removed while an older
 * one is unsettled, because until then a younger one's `start` record is what says that the older one's rest is void.
 */
export class StoredSegments {
  readonly files: FileCache;
  private readonly disk: Disk;
  private readonly spare_files_max: number;
  private readonly byNumber = new Map<number, StoredSegment>();
  private readonly unsettled = new Map<number, () => Promise<void>>();
  private readonly spares: string[] = [];
  /** Files on their way to be spares: a crash may still bring back the segments that they were. */
  private retired: string[] = [];
  private settling: Promise<void> = Promise.resolve();

  constructor(disk: Disk, limits: LogLimits, segments: readonly StoredSegment[]) {
    this.disk = disk;
    this.spare_files_max = limits.spare_files_max;
    this.files = new FileCache(disk, limits.open_files_max);
    for (const segment of segments) this.byNumber.set(segment.number, segment);
  }

  get(number: number): StoredSegment | undefined {
    return this.byNumber.get(number);
  }

  /** Ascending by number. */
  all(): readonly StoredSegment[] {
    return [...this.byNumber.values()].sort((a, b) => a.number - b.number);
  }

  file(segment: StoredSegment): DiskFile {
    return this.files.get(segment.name);
  }

  add(segment: StoredSegment): void {
    this.byNumber.set(segment.number, segment);
  }

  /** A tail segment that is complete and durable: gets its footer in the background. */
  addFull(tail: TailSegment): void {
    const { number, salt, first, last, end } = tail;
    const segment = { number, kind: 'log' as const, salt, name: segmentName(number), first, last, end, settled: false };
    const file = tail.file!;
    this.files.put(segment.name, file);
    this.byNumber.set(number, segment);
    this.settleLater(number, async () => {
      try {
        file.writeSync([tail.footer()], end);
        file.truncate(end + tail.footer().length);
        await file.sync();
        segment.settled = true;
      } catch {
        await this.cut(segment);
      }
    });
  }

  /**
   * A tail segment whose write or sync failed: only what was durable before counts; it is never synced again [C6.4]. Its
   * end is recorded once the rest is durable elsewhere, which `ready` tells.
   */
  addFailed(tail: TailSegment, ready: () => boolean): void {
    const { number, salt, first, durableEnd, durableLast } = tail;
    const name = segmentName(number);
    const settle = async (action: () => Promise<void>) => {
      if (!ready()) throw new BlockError('io_error', `segment ${number} is still needed`);
      await action();
    };
    if (durableEnd === SEGMENT_HEADER_BYTES || durableLast < first) {
      tail.file?.close();
      return this.settleLater(number, () =>
        settle(async () => {
          if (this.disk.list().includes(name)) this.disk.remove(name);
          await this.disk.syncDirectory();
        }),
      );
    }
    const found = { number, kind: 'log' as const, salt, name, first, last: durableLast, end: durableEnd };
    const segment: StoredSegment = { ...found, settled: false };
    this.files.put(name, tail.file!);
    this.byNumber.set(number, segment);
    this.settleLater(number, () => settle(() => this.cut(segment)));
  }

  retryUnsettled(): void {
    for (const number of this.unsettled.keys()) this.runSettle(number);
  }

  /** Resolves when every segment is settled, trying again where it failed before. */
  async settle(): Promise<void> {
    this.retryUnsettled();
    await this.settling;
    if (this.unsettled.size > 0) throw new BlockError('io_error', 'the end of a segment could not be recorded');
  }

  /** After recovery: records the ends that were found. What cannot be recorded now is tried again before a removal. */
  async cutUnsettled(): Promise<void> {
    for (const segment of this.byNumber.values()) {
      if (!segment.settled) this.settleLater(segment.number, () => this.cut(segment));
    }
    await this.settling;
    await this.disk.syncDirectory();
  }

  takeSpare(): string | undefined {
    return this.spares.pop();
  }

  /** Gives the space of a segment back; its file may be kept for reuse. */
  async remove(number: number): Promise<void> {
    const segment = this.byNumber.get(number);
    if (segment === undefined) return;
    await this.settle();
    this.files.drop(segment.name);
    const kept = this.spares.length + this.retired.length;
    const spare = kept < this.spare_files_max ? temporaryName(segmentName(number)) : undefined;
    try {
      if (spare === undefined) this.disk.remove(segment.name, { later: true });
      else this.disk.rename(segment.name, spare);
    } catch (error) {
      throw asBlockError(error, `segment ${number} could not be removed`);
    }
    this.byNumber.delete(number);
    if (spare !== undefined) this.retired.push(spare);
    const retired = [...this.retired];
    // Only a name that is gone for certain may be written over.
    await this.disk.syncDirectory().catch((error: unknown) => {
      throw asBlockError(error, `the removal of segment ${number} may not be durable`);
    });
    this.spares.push(...retired.filter((name) => this.retired.includes(name)));
    this.retired = this.retired.filter((name) => !retired.includes(name));
  }

  /** Frees the files kept for reuse: on a full disk they are space. False when there are none. */
  dropSpares(): boolean {
    const spares = [...this.spares.splice(0), ...this.retired.splice(0)];
    for (const spare of spares) this.disk.remove(spare, { later: true });
    return spares.length > 0;
  }

  async close(): Promise<void> {
    await this.settling;
    this.files.close();
  }

  private async cut(segment: StoredSegment): Promise<void> {
    const name = cutName(segment.number, segment.end, segment.last);
    if (segment.name !== name) {
      this.disk.rename(segment.name, name);
      const file = this.files.take(segment.name);
      segment.name = name;
      if (file) this.files.put(name, file);
    }
    await this.disk.syncDirectory();
    segment.settled = true;
  }

  private settleLater(number: number, action: () => Promise<void>): void {
    this.unsettled.set(number, action);
    this.runSettle(number);
  }

  private runSettle(number: number): void {
    this.settling = this.settling.then(async () => {
      try {
        await this.unsettled.get(number)?.();
        this.unsettled.delete(number);
      } catch {
        // Stays unsettled: removal waits for it, and tries again.
      }
    });
  }
}
