import { AssertionError, assert, type Clock, passFaultPoint, type Timer } from '@antipode/base';
import type { EndOfTurn } from '../end-of-turn.ts';
import { type Deferred, deferred } from './deferred.ts';
import { asBlockError, isNoSpace } from './disk-errors.ts';
import type { LogLimits } from './limits.ts';
import { LoneSyncs } from './lone-syncs.ts';
import { assertRecord, recordBytes } from './record-format.ts';
import type { CarriedRecord } from './recover.ts';
import { SegmentSupply, type SegmentSupplyDependencies } from './segment-supply.ts';
import { Service, type ServiceDependencies } from './service.ts';
import type { TailSegment } from './tail-segment.ts';
import type { Appended, LogRecord, MovedRecord, Place, Sequence } from './types.ts';
import { unsyncedRecords } from './unsynced-records.ts';
import { BufferPool } from './write-back.ts';

export interface TailDependencies extends ServiceDependencies, SegmentSupplyDependencies {
  readonly clock: Clock;
  readonly endOfTurn: EndOfTurn;
  readonly limits: LogLimits;
  /** The segment is complete and durable. */
  onFull(segment: TailSegment): void;
  /**
   * The segment failed; what counts in it ends at `durableEnd`. Its rest must stay until everything up to `needed` is
   * durable elsewhere: it may be all that survives the process.
   */
  onFailed(segment: TailSegment, needed: number): void;
  /** What was appended again is durable. */
  onRepaired(): void;
  onMoved(moves: readonly MovedRecord[]): void;
}

interface Waiter extends Deferred {
  readonly sequence: number;
}

/**
 * The growing end of the log. Invariants:
 * 1. Sequences are appended without gaps; memory holds every record that is not durable [C6.4].
 * 2. Segments are written in order: the kernel never has a record without all those before it.
 * 3. `durableSequence` rises only after a sync that began when all up to it was written; one sync runs at a time [C6.6].
 * 4. After a failed write or sync a segment is neither written nor synced again [C6.4], but for a lack of space, where
 *    the same bytes are written again at the same place.
 */
export class Tail {
  readonly service: Service;
  private readonly deps: TailDependencies;
  private readonly supply: SegmentSupply;
  private readonly pool: BufferPool;
  /** Ascending; the last takes records. All others are full and not yet durable. */
  private segments: TailSegment[] = [];
  private last: number;
  private writtenSequence: number;
  private durableTo: number;

  private turnScheduled = false;
  private group: Deferred | undefined;
  private blocked: Deferred[] = [];
  private durableWaiters: Waiter[] = [];
  private syncing = false;
  private readonly loneSyncs: LoneSyncs;
  /** Hosts sync often: what the last sync covered was little. */
  private smallSyncs = false;
  private syncWanted = false;
  private timer: Timer | undefined;
  private idleTimer: Timer | undefined;

  /** Counts changes of place; a sync that began in an earlier one says nothing. */
  private epoch = 0;
  /** What was appended again after a failure is not durable yet. */
  private repairing = false;
  /** Older segments, of this process or the last one, hold the same records up to here. */
  private repairTo = 0;
  /** A write or sync of the present segments has failed: they are given up by the next attempt [C6.4]. */
  private failed = false;
  /** While stopped: an attempt is under way. */
  private attempting = false;
  /** Takes no more records. */
  private closed = false;
  /** Has let go of its files. */
  private released = false;

  constructor(deps: TailDependencies, durableSequence: number) {
    this.deps = deps;
    this.service = new Service(deps, () => this.attempt());
    this.loneSyncs = new LoneSyncs(deps.limits);
    this.pool = new BufferPool(deps.limits.group_bytes, deps.limits.group_buffers_max);
    this.supply = new SegmentSupply(deps, this.pool, {
      onCreated: (segment) => {
        if (this.segments.includes(segment)) this.turn();
        else this.deps.onFailed(segment, 0);
      },
      onFailed: (segment, error) => this.creationFailed(segment, error),
    });
    this.last = durableSequence;
    this.writtenSequence = durableSequence;
    this.durableTo = durableSequence;
  }

  /** Creates the first segment, with what the last process left. Durable when it resolves; rejects when the disk fails. */
  async open(carried: readonly CarriedRecord[]): Promise<void> {
    const segment = this.supply.take();
    await this.withReserve(() => this.supply.createNow(segment));
    this.repairTo = this.last + carried.length;
    this.activate(segment, this.last + 1);
    for (const { record, sequence } of carried) {
      assert(sequence === this.last + 1, 'what is carried has no gaps');
      this.place(record, sequence, recordBytes(record));
      this.last = sequence;
    }
    if (carried.length > 0) return this.durable();
    await this.withReserve(async () => segment.write());
    await segment.file!.sync();
    segment.markDurable(segment.end, this.last);
  }

  /** A full disk must not keep the log shut: deleting something is how it gets room again [C6.5]. */
  private async withReserve<T>(operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (!isNoSpace(error) || !this.deps.reserve.release()) throw error;
      return operation();
    }
  }

  append(record: LogRecord): Appended {
    assertRecord(record);
    const bytes = recordBytes(record);
    this.service.admit(record, bytes);
    const sequence = this.last + 1;
    const place = this.place(record, sequence, bytes);
    this.last = sequence;
    this.loneSyncs.worked();
    this.scheduleTurn();
    return { sequence: sequence as Sequence, place };
  }

  written(): Promise<void> {
    if (this.service.isStopped() && this.writtenSequence < this.last) return Promise.reject(this.service.refusal());
    if (this.writtenSequence < this.last) {
      this.group ??= deferred();
      return this.group.promise;
    }
    if (!this.overLimit()) return Promise.resolve();
    if (this.service.isStopped()) return Promise.reject(this.service.refusal());
    const waiter = deferred();
    this.blocked.push(waiter);
    this.scheduleTurn();
    return waiter.promise;
  }

  durable(): Promise<void> {
    if (this.durableTo >= this.last) return Promise.resolve();
    if (this.service.isStopped()) return Promise.reject(this.service.refusal());
    const waiter = { ...deferred(), sequence: this.last };
    this.durableWaiters.push(waiter);
    this.syncWanted = true;
    this.scheduleTurn();
    return waiter.promise;
  }

  durableSequence(): number {
    return this.durableTo;
  }

  lastSequence(): number {
    return this.last;
  }

  /** Segments not handed over yet, ascending. */
  unsealed(): readonly TailSegment[] {
    return this.segments;
  }

  /** Copies bytes that are in memory; false when they are not. Every read begins here. */
  readMemory(place: Place, target: Uint8Array): boolean {
    this.loneSyncs.worked();
    return this.segment(place.segment)?.memory.read(place.offset, target) ?? false;
  }

  segment(number: number): TailSegment | undefined {
    for (let i = this.segments.length - 1; i >= 0; i--)
      if (this.segments[i]!.number === number) return this.segments[i];
    return undefined;
  }

  /** Everything durable, the last segment handed over as full. Nothing can be appended afterwards. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.service.close();
    try {
      await this.durable();
    } finally {
      this.released = true;
      this.epoch++;
      this.timer?.cancel();
      this.idleTimer?.cancel();
      const spare = this.supply.discardSpare();
      if (spare?.file) this.deps.onFailed(spare, 0);
      for (const segment of this.segments.splice(0)) {
        if (segment.durableEnd === segment.end) this.deps.onFull(segment);
        else segment.file?.close();
      }
    }
  }

  // --- appending -------------------------------------------------------------------------------------------------

  private place(record: LogRecord, sequence: number, bytes: number): Place {
    let segment = this.segments.at(-1)!;
    if (!segment.fits(bytes, this.deps.limits.segment_bytes)) segment = this.rotate(sequence);
    const offset = segment.add(record, sequence, this.durableTo);
    if (segment.end > this.deps.limits.segment_bytes / 2 && !this.closed) this.supply.prepare();
    return { segment: segment.number, offset };
  }

  private rotate(first: number): TailSegment {
    this.segments.at(-1)!.full = true;
    const segment = this.supply.take();
    this.activate(segment, first);
    this.supply.ensureFile(segment);
    return segment;
  }

  private activate(segment: TailSegment, first: number): void {
    segment.start(first, this.durableTo, this.repairTo < first ? 0 : this.repairTo);
    this.segments.push(segment);
  }

  // --- writing ---------------------------------------------------------------------------------------------------

  private scheduleTurn(): void {
    if (this.turnScheduled) return;
    this.turnScheduled = true;
    this.deps.endOfTurn(() => {
      this.turnScheduled = false;
      this.turn();
    });
  }

  private turn(): void {
    if (!this.mayWrite()) return;
    this.flush();
    if (this.unsynced_bytes() >= this.deps.limits.unsynced_bytes_sync) this.syncWanted = true;
    if (this.durableWaiters.length > 0 || this.blocked.length > 0 || this.repairing) this.syncWanted = true;
    if (this.syncWanted) void this.sync();
    else if (this.durableTo < this.last) this.armTimer();
  }

  private armTimer(): void {
    this.timer ??= this.deps.clock.after(this.deps.limits.unsynced_ms_max, () => {
      this.timer = undefined;
      this.syncWanted = true;
      this.turn();
    });
  }

  /** Spare buffers go once nothing was appended for a while, never between two writes. */
  private armIdle(): void {
    const last = this.last;
    this.idleTimer ??= this.deps.clock.after(this.deps.limits.idle_ms, () => {
      this.idleTimer = undefined;
      if (this.released) return;
      if (this.last === last) this.pool.shrink();
      else this.armIdle();
    });
  }

  /** Hands the gathered group to the kernel, as far as files exist. Failure is handled here. */
  private flush(): void {
    for (const segment of this.segments) {
      if (segment.file === undefined) return;
      if (segment.writtenEnd < segment.end && !this.writeSegment(segment)) return;
      this.writtenSequence = segment.last;
    }
    const group = this.group;
    this.group = undefined;
    if (group === undefined) return;
    if (this.overLimit()) this.blocked.push(group);
    else group.resolve();
  }

  private writeSegment(segment: TailSegment): boolean {
    try {
      segment.write();
      const { fill_bytes, segment_bytes } = this.deps.limits;
      if (this.smallSyncs && !segment.full) segment.fill(fill_bytes, segment_bytes);
      return true;
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (!isNoSpace(error)) {
        this.repair(error);
        return false;
      }
      if (this.service.releaseReserve(error)) return this.writeSegment(segment);
      this.stop(error);
      return false;
    }
  }

  private unsynced_bytes(): number {
    let bytes = 0;
    for (const { end, durableEnd } of this.segments) bytes += end - durableEnd;
    return bytes;
  }

  private overLimit(): boolean {
    if (this.unsynced_bytes() <= this.deps.limits.unsynced_bytes_max) return false;
    this.syncWanted = true;
    return true;
  }

  // --- syncing ---------------------------------------------------------------------------------------------------

  private async sync(): Promise<void> {
    if (this.syncing) return;
    this.syncing = true;
    this.timer?.cancel();
    this.timer = undefined;
    try {
      while (this.syncWanted && this.mayWrite()) {
        this.syncWanted = false;
        this.flush();
        // The flush may have failed: a segment that failed is not synced again, whatever of it was written [C6.4].
        if (this.mayWrite()) await this.syncWritten();
      }
    } finally {
      this.syncing = false;
    }
    if (this.mayWrite() && this.durableTo < this.last) this.armTimer();
  }

  private async syncWritten(): Promise<void> {
    const epoch = this.epoch;
    const target = this.writtenSequence;
    const batch = this.segments
      .filter((segment) => segment.writtenEnd > segment.durableEnd)
      .map((segment) => ({ segment, end: segment.writtenEnd, last: segment.writtenLast }));
    if (batch.length === 0) return;
    assert(batch.at(-1)!.last === target, 'what is synced counts as written');
    passFaultPoint('log.group.written');
    const bytes = batch.reduce((sum, { segment, end }) => sum + end - segment.durableEnd, 0);
    this.smallSyncs = bytes <= this.deps.limits.small_sync_bytes;
    const files = batch.map(({ segment }) => segment.file!);
    const here = this.loneSyncs.here(this.durableWaiters.length, this.smallSyncs);
    const began_ms = this.deps.clock.monotonic();
    try {
      if (here && files.every((file) => file.syncNow !== undefined)) for (const file of files) file.syncNow!();
      else await Promise.all(files.map((file) => file.sync()));
      this.loneSyncs.took(this.deps.clock.monotonic() - began_ms);
    } catch (error) {
      if (epoch === this.epoch) this.repair(error);
      return;
    }
    if (epoch !== this.epoch) return;
    passFaultPoint('log.group.synced');
    for (const { segment, end, last } of batch) segment.markDurable(end, last);
    this.durableTo = Math.max(this.durableTo, target);
    this.retire();
    this.armIdle();
    this.afterSync();
    this.resolveWaiters();
  }

  /** Hands over segments that are full and durable. */
  private retire(): void {
    while (this.segments[0]!.full && this.segments[0]!.durableEnd === this.segments[0]!.end) {
      const full = this.segments.shift()!;
      full.memory.dropAll();
      passFaultPoint('log.segment.full');
      this.deps.onFull(full);
    }
  }

  private resolveWaiters(): void {
    const waiting = this.durableWaiters;
    this.durableWaiters = [];
    for (const waiter of waiting) {
      if (waiter.sequence <= this.durableTo) waiter.resolve();
      else this.durableWaiters.push(waiter);
    }
    if (this.durableWaiters.length > 0) this.syncWanted = true;
    if (this.blocked.length > 0 && !this.overLimit()) for (const waiter of this.blocked.splice(0)) waiter.resolve();
  }

  // --- failure ---------------------------------------------------------------------------------------------------

  /** [C6.4] Leaves the failed segments as they are and appends what is not durable again, to a new one. */
  private repair(error: unknown): void {
    this.failed = true;
    if (this.repairing) return this.stop(error);
    this.appendAgain();
  }

  private appendAgain(): void {
    const failed = this.segments;
    this.failed = false;
    this.epoch++;
    this.repairing = true;
    this.repairTo = this.last;
    this.segments = [];
    this.writtenSequence = this.durableTo;
    this.activate(this.supply.take(), this.durableTo + 1);
    const moves: MovedRecord[] = [];
    for (const { record, sequence, from } of unsyncedRecords(failed, this.durableTo)) {
      assert(sequence === this.durableTo + moves.length + 1, 'memory holds every record that is not durable');
      moves.push(moveOf(record, sequence, from, this.place(record, sequence, recordBytes(record))));
    }
    assert(this.durableTo + moves.length === this.last, 'memory holds every record that is not durable');
    for (const segment of failed) {
      segment.memory.dropAll();
      if (segment.file !== undefined) this.deps.onFailed(segment, this.repairTo);
    }
    this.deps.onMoved(moves);
    for (const segment of this.segments) this.supply.ensureFile(segment);
    this.scheduleTurn();
  }

  private creationFailed(segment: TailSegment, error: unknown): void {
    if (!this.segments.includes(segment)) return;
    if (isNoSpace(error) && this.service.releaseReserve(error)) this.supply.ensureFile(segment);
    else this.stop(error);
  }

  private mayWrite(): boolean {
    return !this.released && (!this.service.isStopped() || this.attempting);
  }

  /** Stops taking writes, tells those who wait, and tries again later. */
  private stop(error: unknown): void {
    this.attempting = false;
    this.service.stop(error);
    const refusal = asBlockError(error, 'the log could not be written');
    this.group?.reject(refusal);
    this.group = undefined;
    for (const waiter of this.blocked.splice(0)) waiter.reject(refusal);
    for (const waiter of this.durableWaiters.splice(0)) waiter.reject(refusal);
  }

  private attempt(): void {
    if (this.closed || this.attempting) return;
    this.attempting = true;
    // What merely found no room, or no file, is written once more where it is.
    if (this.failed) this.appendAgain();
    else for (const segment of this.segments) this.supply.ensureFile(segment);
    this.syncWanted = true;
    this.turn();
  }

  /** After a sync that succeeded. Once nothing is left that is not durable, a stopped log takes writes again. */
  private afterSync(): void {
    if (this.repairing && this.durableTo >= this.repairTo) {
      this.repairing = false;
      this.deps.onRepaired();
    }
    if (!this.service.isStopped() || this.durableTo < this.last) return;
    this.attempting = false;
    this.service.resume();
  }
}

function moveOf(record: LogRecord, sequence: number, from: Place, to: Place): MovedRecord {
  const base = { sequence: sequence as Sequence, from, to };
  if (record.type === 'control') return { type: record.type, ...base };
  const { type, layer, block, count } = record;
  return { type, layer, block, count, ...base };
}
