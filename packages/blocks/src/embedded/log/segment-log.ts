import { type Clock, type Random, systemRandom } from '@antipode/base';
import { BlockError } from '../../port/errors.ts';
import type { Disk, DiskFile } from '../disk.ts';
import { type EndOfTurn, endOfTurn } from '../end-of-turn.ts';
import { asBlockError, isNoSpace } from './disk-errors.ts';
import { checkLimits, LOG_LIMITS, type LogLimits } from './limits.ts';
import { mergeSegments } from './merged-scan.ts';
import { RECORD_HEADER_BYTES_MAX } from './record-format.ts';
import { recoverLog } from './recover.ts';
import { Reserve } from './reserve.ts';
import { Scratch } from './scratch.ts';
import { type Found, SegmentCursor } from './segment-cursor.ts';
import { SEGMENT_HEADER_BYTES } from './segment-header.ts';
import { SegmentsRelocation } from './segment-writer.ts';
import type { StoredSegment } from './stored-segment.ts';
import { StoredSegments } from './stored-segments.ts';
import { Tail } from './tail.ts';
import type {
  Appended,
  LayerId,
  LogDamage,
  LogRecord,
  LogState,
  MovedRecord,
  Place,
  Relocation,
  ScannedRecord,
  SegmentInfo,
  SegmentLog,
  Sequence,
} from './types.ts';

export interface SegmentLogOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  /** Salts of segments come from here. */
  readonly random?: Random;
  readonly endOfTurn?: EndOfTurn;
  readonly limits?: Partial<LogLimits>;
}

/**
 * Opens the log that lives on a disk, or begins one. Everything found is on stable storage when it resolves.
 * Rejects with `io_error` (also: a format newer than this build) or `no_space`.
 */
export async function openSegmentLog(options: SegmentLogOptions): Promise<SegmentLog> {
  const limits = checkLimits({ ...LOG_LIMITS, ...options.limits });
  const { disk, clock, random = systemRandom } = options;
  try {
    const recovered = await recoverLog(disk);
    const reserve = new Reserve(disk, limits.reserve_bytes);
    const log = new FileSegmentLog(
      { disk, clock, random, endOfTurn: options.endOfTurn ?? endOfTurn, limits, reserve },
      recovered,
    );
    await log.open(recovered);
    return log;
  } catch (error) {
    throw asBlockError(error, 'the log could not be opened');
  }
}

interface Dependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly endOfTurn: EndOfTurn;
  readonly limits: LogLimits;
  readonly reserve: Reserve;
}

type Recovered = Awaited<ReturnType<typeof recoverLog>>;

const SCAN_BUFFER_BYTES_MAX = 1024 * 1024;

class FileSegmentLog implements SegmentLog {
  private readonly deps: Dependencies;
  private readonly stored: StoredSegments;
  private readonly tail: Tail;
  private number: number;
  private readonly scanBuffer = new Scratch();
  private readonly relocateBuffer = new Scratch();
  private readonly found: LogDamage[];
  /** Reads under way by segment. */
  private readonly readers = new Map<number, number>();
  private readonly stateListeners = new Set<(state: LogState) => void>();
  private readonly moveListeners = new Set<(moves: readonly MovedRecord[]) => void>();

  constructor(deps: Dependencies, recovered: Recovered) {
    this.deps = deps;
    this.number = recovered.nextNumber;
    this.found = [...recovered.damages];
    this.stored = new StoredSegments(deps.disk, deps.limits, recovered.segments);
    const nextNumber = () => this.number++;
    this.tail = new Tail(
      {
        ...deps,
        nextNumber,
        takeSpare: () => this.stored.takeSpare(),
        onFull: (segment) => this.stored.addFull(segment),
        onFailed: (segment, needed) => this.stored.addFailed(segment, () => this.tail.durableSequence() >= needed),
        onRepaired: () => this.stored.retryUnsettled(),
        dropSpares: () => this.stored.dropSpares(),
        onState: (state) => {
          if (state.kind !== 'running') this.stored.dropSpares();
          for (const listener of this.stateListeners) listener(state);
        },
        onMoved: (moves) => {
          for (const listener of this.moveListeners) listener(moves);
        },
      },
      recovered.durableSequence,
    );
  }

  async open(recovered: Recovered): Promise<void> {
    await this.tail.open(recovered.carried);
    for (const name of recovered.obsolete) this.deps.disk.remove(name);
    await this.stored.cutUnsettled();
    await this.tail.service.openReserve();
  }

  append(record: LogRecord): Appended {
    return this.tail.append(record);
  }

  written(): Promise<void> {
    return this.tail.written();
  }

  durable(): Promise<void> {
    return this.tail.durable();
  }

  durableSequence(): Sequence {
    return this.tail.durableSequence() as Sequence;
  }

  lastSequence(): Sequence {
    return this.tail.lastSequence() as Sequence;
  }

  read(place: Place, target: Uint8Array): void | Promise<void> {
    if (this.tail.readMemory(place, target)) return;
    const file = this.fileOf(place.segment);
    const small = target.length <= this.deps.limits.sync_read_bytes_max;
    if (!small || !file.readAtHand(target, place.offset)) return this.readAsync(file, place, target);
  }

  async readAside(place: Place, target: Uint8Array): Promise<void> {
    if (!this.tail.readMemory(place, target)) await this.readAsync(this.fileOf(place.segment), place, target);
  }

  async *scan(after: Sequence): AsyncGenerator<ScannedRecord> {
    const segments = this.readable().filter((segment) => segment.last > after);
    const buffer_bytes = Math.floor(this.deps.limits.scan_bytes / Math.max(1, segments.length));
    const size = Math.max(2 * RECORD_HEADER_BYTES_MAX, Math.min(SCAN_BUFFER_BYTES_MAX, buffer_bytes));
    const inputs = segments.map((tag) => ({
      tag,
      first: tag.first,
      open: () => this.cursor(tag, new Uint8Array(size)),
    }));
    let control = 0;
    for await (const { tag, found } of mergeSegments(inputs, (bad, offset, end) => this.bad(bad, offset, end))) {
      const { type, sequence } = found.header;
      if (sequence <= after) continue;
      // A change of the graph may lie in two segments (moved, relocated) but happened once.
      if (type === 'control' && sequence === control) continue;
      if (type === 'control') control = sequence;
      yield scanned(tag.number, found);
    }
  }

  async *scanSegment(segment: number): AsyncGenerator<ScannedRecord> {
    const stored = this.readable().find(({ number }) => number === segment);
    if (stored === undefined) throw new BlockError('not_found', `there is no segment ${segment}`);
    const buffer = this.scanBuffer.take(SCAN_BUFFER_BYTES_MAX);
    const cursor = this.cursor(stored, buffer);
    for (let found = await cursor.next(); found !== undefined; found = await cursor.next()) {
      if (found.kind === 'bad') this.bad(stored, found.offset, found.end);
      else if (found.header.type !== 'start' && found.header.type !== 'footer') yield scanned(segment, found);
    }
    this.scanBuffer.give(buffer);
  }

  segments(): readonly SegmentInfo[] {
    const stored = this.stored.all().map(({ number, kind, end, settled, first, last }) => ({
      segment: number,
      used: end - SEGMENT_HEADER_BYTES,
      sealed: settled,
      first: first as Sequence,
      last: last as Sequence,
      packed: kind === 'packed',
    }));
    const growing = this.tail.unsealed().map(({ number, end, first, last }) => ({
      segment: number,
      used: end - SEGMENT_HEADER_BYTES,
      sealed: false,
      first: first as Sequence,
      last: last as Sequence,
      packed: false,
    }));
    return [...stored, ...growing];
  }

  relocation(packed: boolean): Relocation {
    return new SegmentsRelocation({
      ...this.deps,
      kind: packed ? 'packed' : 'relocated',
      nextNumber: () => this.number++,
      durable: () => this.tail.durableSequence(),
      buffer: this.relocateBuffer,
      // Compaction is how a full disk gets room again.
      makeRoom: (error) => isNoSpace(error) && this.tail.service.releaseReserve(error),
      onFinished: (segments) => {
        for (const segment of segments) this.stored.add(segment);
      },
    });
  }

  async removeSegment(segment: number): Promise<void> {
    if (this.tail.segment(segment)) throw new BlockError('in_use', `segment ${segment} takes records`);
    await this.stored.remove(segment);
    if (this.tail.service.current().kind === 'running') return;
    this.stored.dropSpares();
    this.tail.service.spaceMayHaveReturned();
  }

  damages(): readonly LogDamage[] {
    return this.found;
  }

  state(): LogState {
    return this.tail.service.current();
  }

  onState(listener: (state: LogState) => void): () => void {
    this.stateListeners.add(listener);
    return () => this.stateListeners.delete(listener);
  }

  onMoved(listener: (moves: readonly MovedRecord[]) => void): () => void {
    this.moveListeners.add(listener);
    return () => this.moveListeners.delete(listener);
  }

  usage() {
    const { total_bytes, free_bytes } = this.deps.disk.space();
    let log_bytes = 0;
    for (const { end } of this.stored.all()) log_bytes += end;
    for (const { end } of this.tail.unsealed()) log_bytes += end;
    return { total_bytes, free_bytes, log_bytes };
  }

  async close(): Promise<void> {
    try {
      await this.tail.close();
    } finally {
      await this.stored.close();
    }
  }

  private fileOf(number: number): DiskFile {
    const growing = this.tail.segment(number)?.file;
    if (growing !== undefined) return growing;
    const stored = this.stored.get(number);
    if (stored === undefined) throw new BlockError('io_error', `there is no segment ${number}`);
    try {
      return this.stored.file(stored);
    } catch (error) {
      throw asBlockError(error, `segment ${number} could not be opened`);
    }
  }

  isBeingRead(segment: number): boolean {
    return this.readers.has(segment);
  }

  private async readAsync(file: DiskFile, place: Place, target: Uint8Array): Promise<void> {
    const { segment } = place;
    this.readers.set(segment, (this.readers.get(segment) ?? 0) + 1);
    try {
      this.checkRead(place, await file.read(target, place.offset), target.length);
    } catch (error) {
      throw asBlockError(error, `segment ${segment} could not be read`);
    } finally {
      const left = this.readers.get(segment)! - 1;
      if (left === 0) this.readers.delete(segment);
      else this.readers.set(segment, left);
    }
  }

  private checkRead(place: Place, got: number, wanted: number): void {
    if (got === wanted) return;
    throw new BlockError('io_error', `segment ${place.segment} ends before ${place.offset + wanted}`);
  }

  /** Everything that has a file; what is in memory alone has no place in a scan. */
  private readable(): readonly StoredSegment[] {
    const growing = this.tail
      .unsealed()
      .filter(({ file }) => file !== undefined)
      .map(({ number, salt, first, writtenLast, writtenEnd }) => ({
        number,
        kind: 'log' as const,
        salt,
        name: '',
        first,
        last: writtenLast,
        end: writtenEnd,
        settled: false,
      }));
    return [...this.stored.all().filter(({ salt }) => salt !== undefined), ...growing];
  }

  private cursor(segment: StoredSegment, buffer: Uint8Array): SegmentCursor {
    // Looked up for every read: of more segments than files are kept open, this one's may be closed between two.
    const file = {
      read: (target: Uint8Array, offset: number) => this.fileOf(segment.number).read(target, offset),
    };
    return new SegmentCursor(file, segment.salt!, SEGMENT_HEADER_BYTES, segment.end, buffer);
  }

  private bad(segment: StoredSegment, offset: number, end: number): void {
    if (this.found.some((known) => known.segment === segment.number && known.offset === offset)) return;
    const bytes = end - offset;
    this.found.push({ segment: segment.number, offset, bytes, detail: `${bytes} bytes are no records` });
  }
}

function scanned(segment: number, found: Found & { readonly kind: 'record' }): ScannedRecord {
  const { header, offset } = found;
  const sequence = header.sequence as Sequence;
  const place = { segment, offset: offset + header.header_bytes };
  if (header.type === 'control') return { type: 'control', body: found.body!, sequence, place };
  const { block, count } = header;
  const layer = header.layer as LayerId;
  if (header.type === 'packed') {
    const { payload_bytes: frame_bytes } = header;
    return { type: 'packed', layer, block, count, frame_bytes, checksums: found.checksums!, sequence, place };
  }
  if (header.type === 'zero') return { type: 'zero', layer, block, count, sequence, place };
  return { type: 'data', layer, block, count, checksums: found.checksums!, sequence, place };
}
