import { AssertionError, assert, type Clock, type Random, type Timer } from '@antipode/base';
import { BlockError } from '../../port/errors.ts';
import type { Disk } from '../disk.ts';
import type { EndOfTurn } from '../end-of-turn.ts';
import { type Deferred, deferred } from './deferred.ts';
import { asBlockError, isNoSpace, messageOf, reasonOf } from './disk-errors.ts';
import type { LogLimits } from './limits.ts';
import { assertRecord, recordBytes } from './record-format.ts';
import type { CarriedRecord } from './recover.ts';
import type { Reserve } from './reserve.ts';
import { createSegmentFile } from './segment-file.ts';
import { TailSegment } from './tail-segment.ts';
import type { Appended, LogRecord, LogState, MovedRecord, Place, Sequence } from './types.ts';
import { unsyncedRecords } from './unsynced-records.ts';
import { BufferPool } from './write-back.ts';

export interface TailDependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly endOfTurn: EndOfTurn;
  readonly limits: LogLimits;
  readonly reserve: Reserve;
  /** A number that no segment has had. */
  nextNumber(): number;
  /** An old file to use again, its name durable as `.tmp`. */
  takeSpare(): string | undefined;
  /** The segment is complete and durable. */
  onFull(segment: TailSegment): void;
  /**
   * The segment failed; what counts in it ends at `durableEnd`. Its rest must stay until everything up to `needed` is
   * durable elsewhere: it may be all that survives the process.
   */
  onFailed(segment: TailSegment, needed: number): void;
  /** What was appended again is durable. */
  onRepaired(): void;
  onState(state: LogState): void;
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
  private readonly deps: TailDependencies;
  private readonly pool: BufferPool;
  /** Ascending; the last takes records. All others are full and not yet durable. */
  private segments: TailSegment[] = [];
  private spare: TailSegment | undefined;
  private readonly creating = new Set<TailSegment>();
  private last: number;
  private writtenSequence: number;
  private durableTo: number;
  private unsynced_bytes = 0;
  private space_budget_bytes = 0;

  private turnScheduled = false;
  private group: Deferred | undefined;
  private blocked: Deferred[] = [];
  private durableWaiters: Waiter[] = [];
  private syncing = false;
  private syncWanted = false;
  private timer: Timer | undefined;

  private state: LogState = { kind: 'running' };
  /** Counts changes of place; a sync that began in an earlier one says nothing. */
  private epoch = 0;
  /** A failure has been answered by appending again, and that has not been synced yet. */
  private repairing = false;
  private noRoom = false;
  private attempting = false;
  private restoring = false;
  private retry_ms: number;
  private retryTimer: Timer | undefined;
  /** Takes no more records. */
  private closed = false;
  /** Has let go of its files. */
  private released = false;

  constructor(deps: TailDependencies, durableSequence: number) {
    this.deps = deps;
    this.pool = new BufferPool(deps.limits.group_bytes, deps.limits.group_buffers_max);
    this.last = durableSequence;
    this.writtenSequence = durableSequence;
    this.durableTo = durableSequence;
    this.retry_ms = deps.limits.retry_ms_min;
  }

  /** Creates the first segment, with what the last process left. Durable when it resolves; rejects when the disk fails. */
  async open(carried: readonly CarriedRecord[]): Promise<void> {
    const segment = this.newSegment();
    segment.file = await this.withReserve(() => createSegmentFile(this.deps.disk, this.header(segment)));
    this.activate(segment, this.last + 1);
    for (const { record, sequence } of carried) {
      assert(sequence === this.last + 1, 'what is carried has no gaps');
      this.place(record, sequence, recordBytes(record));
      this.last = sequence;
    }
    if (carried.length > 0) return this.durable();
    await this.withReserve(async () => segment.write());
    await segment.file.sync();
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

  /** Takes the reserve, or says that it could not. */
  async openReserve(): Promise<void> {
    if (this.deps.reserve.isHeld()) return;
    this.enter({ kind: 'no_space', detail: 'the reserve could not be taken yet' });
    await this.restoreReserve();
  }

  /** Gives up the reserve for something that must be recorded; false when it is given up already. */
  releaseReserve(error: unknown): boolean {
    if (!this.deps.reserve.release()) return false;
    if (this.state.kind === 'running') this.enter({ kind: 'no_space', detail: messageOf(error) });
    this.scheduleRetry();
    return true;
  }

  append(record: LogRecord): Appended {
    assertRecord(record);
    const bytes = recordBytes(record);
    this.admit(record, bytes);
    const sequence = this.last + 1;
    const place = this.place(record, sequence, bytes);
    this.last = sequence;
    this.scheduleTurn();
    return { sequence: sequence as Sequence, place };
  }

  written(): Promise<void> {
    if (this.state.kind === 'stopped' && this.writtenSequence < this.last) return Promise.reject(this.refusal());
    if (this.writtenSequence < this.last) {
      this.group ??= deferred();
      return this.group.promise;
    }
    if (!this.overLimit()) return Promise.resolve();
    if (this.state.kind === 'stopped') return Promise.reject(this.refusal());
    const waiter = deferred();
    this.blocked.push(waiter);
    this.scheduleTurn();
    return waiter.promise;
  }

  durable(): Promise<void> {
    if (this.durableTo >= this.last) return Promise.resolve();
    if (this.state.kind === 'stopped') return Promise.reject(this.refusal());
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

  currentState(): LogState {
    return this.state;
  }

  /** Segments not handed over yet, ascending. */
  unsealed(): readonly TailSegment[] {
    return this.segments;
  }

  /** Copies bytes that are in memory; false when they are not. */
  readMemory(place: Place, target: Uint8Array): boolean {
    return this.segment(place.segment)?.memory.read(place.offset, target) ?? false;
  }

  segment(number: number): TailSegment | undefined {
    for (let i = this.segments.length - 1; i >= 0; i--)
      if (this.segments[i]!.number === number) return this.segments[i];
    return undefined;
  }

  /** Space was freed, or somebody wants to know: tries to take up service again. */
  spaceMayHaveReturned(): void {
    if (this.state.kind === 'running' || this.closed) return;
    this.retryTimer?.cancel();
    this.retryTimer = undefined;
    this.attempt();
  }

  /** Everything durable, the last segment handed over as full. Nothing can be appended afterwards. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    try {
      await this.durable();
    } finally {
      this.released = true;
      this.epoch++;
      this.timer?.cancel();
      this.retryTimer?.cancel();
      if (this.spare?.file) this.deps.onFailed(this.spare, 0);
      this.spare = undefined;
      for (const segment of this.segments.splice(0)) {
        if (segment.durableEnd === segment.end) this.deps.onFull(segment);
        else segment.file?.close();
      }
    }
  }

  // --- appending -------------------------------------------------------------------------------------------------

  private admit(record: LogRecord, bytes: number): void {
    if (this.closed) throw new BlockError('closed', 'the log is closed');
    if (this.state.kind === 'stopped') throw this.refusal();
    if (record.type !== 'data') return;
    if (this.state.kind === 'no_space') throw this.refusal();
    this.space_budget_bytes -= bytes;
    if (this.space_budget_bytes >= 0) return;
    const { free_bytes } = this.deps.disk.space();
    if (free_bytes < this.deps.limits.free_bytes_min) {
      this.enter({ kind: 'no_space', detail: `${free_bytes} bytes are free` });
      this.scheduleRetry();
      throw this.refusal();
    }
    this.space_budget_bytes = this.deps.limits.space_check_bytes - bytes;
  }

  private refusal(): BlockError {
    switch (this.state.kind) {
      case 'no_space':
        return new BlockError('no_space', `no space: ${this.state.detail}`);
      case 'stopped':
        return new BlockError(this.state.reason, `writes are stopped: ${this.state.detail}`);
      case 'running':
        return new BlockError('io_error', 'the log was interrupted');
    }
  }

  private place(record: LogRecord, sequence: number, bytes: number): Place {
    let segment = this.segments.at(-1)!;
    if (!segment.fits(bytes, this.deps.limits.segment_bytes)) segment = this.rotate(sequence);
    const offset = segment.add(record, sequence, this.durableTo);
    this.unsynced_bytes += bytes;
    if (segment.end > this.deps.limits.segment_bytes / 2) this.prepareSpare();
    return { segment: segment.number, offset };
  }

  private rotate(first: number): TailSegment {
    this.segments.at(-1)!.full = true;
    const segment = this.takeNext();
    this.activate(segment, first);
    this.ensureFile(segment);
    return segment;
  }

  private activate(segment: TailSegment, first: number): void {
    segment.start(first, this.durableTo);
    this.segments.push(segment);
  }

  private takeNext(): TailSegment {
    const segment = this.spare ?? this.newSegment();
    this.spare = undefined;
    return segment;
  }

  private newSegment(): TailSegment {
    const salt = new DataView(this.deps.random.bytes(8).slice().buffer).getBigUint64(0, true);
    return new TailSegment(this.deps.nextNumber(), salt, this.pool);
  }

  private header(segment: TailSegment) {
    return { number: segment.number, kind: 'log', salt: segment.salt } as const;
  }

  /** Creates the file in the background; until it is there the segment's records stay in memory. */
  private ensureFile(segment: TailSegment): void {
    if (segment.file !== undefined || this.creating.has(segment)) return;
    this.creating.add(segment);
    createSegmentFile(this.deps.disk, this.header(segment), this.deps.takeSpare()).then(
      (file) => {
        this.creating.delete(segment);
        segment.file = file;
        if (this.segments.includes(segment)) this.turn();
        else if (this.spare !== segment) this.deps.onFailed(segment, 0);
      },
      (error: unknown) => {
        this.creating.delete(segment);
        if (this.segments.includes(segment)) this.stop(error);
        else if (this.spare === segment) this.spare = undefined;
      },
    );
  }

  private prepareSpare(): void {
    if (this.spare !== undefined || this.closed) return;
    this.spare = this.newSegment();
    this.ensureFile(this.spare);
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
    if (this.unsynced_bytes >= this.deps.limits.unsynced_bytes_sync) this.syncWanted = true;
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
      return true;
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (!isNoSpace(error)) {
        this.repair(error);
        return false;
      }
      if (this.releaseReserve(error)) return this.writeSegment(segment);
      this.stop(error);
      return false;
    }
  }

  private overLimit(): boolean {
    if (this.unsynced_bytes <= this.deps.limits.unsynced_bytes_max) return false;
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
        await this.syncWritten();
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
      .map((segment) => ({ segment, end: segment.writtenEnd, last: Math.min(segment.last, target) }));
    if (batch.length === 0) return;
    try {
      await Promise.all(batch.map(({ segment }) => segment.file!.sync()));
    } catch (error) {
      if (epoch === this.epoch) this.repair(error);
      return;
    }
    if (epoch !== this.epoch) return;
    for (const { segment, end, last } of batch) {
      this.unsynced_bytes -= end - segment.durableEnd;
      segment.markDurable(end, last);
    }
    this.durableTo = Math.max(this.durableTo, target);
    this.retire();
    this.afterSync();
    this.resolveWaiters();
  }

  /** Hands over segments that are full and durable. */
  private retire(): void {
    while (this.segments[0]!.full && this.segments[0]!.durableEnd === this.segments[0]!.end) {
      this.deps.onFull(this.segments.shift()!);
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
    if (this.repairing) return this.stop(error);
    this.repairing = true;
    this.appendAgain();
  }

  private appendAgain(): void {
    const failed = this.segments;
    this.epoch++;
    this.segments = [];
    this.unsynced_bytes = 0;
    this.writtenSequence = this.durableTo;
    const next = this.takeNext();
    this.activate(next, this.durableTo + 1);
    const moves: MovedRecord[] = [];
    for (const { record, sequence, from } of unsyncedRecords(failed, this.durableTo)) {
      moves.push(moveOf(record, sequence, from, this.place(record, sequence, recordBytes(record))));
    }
    for (const segment of failed) {
      segment.memory.dropAll();
      if (segment.file !== undefined) this.deps.onFailed(segment, this.last);
    }
    this.deps.onMoved(moves);
    for (const segment of this.segments) this.ensureFile(segment);
    this.scheduleTurn();
  }

  private mayWrite(): boolean {
    return !this.released && (this.state.kind !== 'stopped' || this.attempting);
  }

  /** Stops taking writes, tells those who wait, and tries again later. */
  private stop(error: unknown): void {
    this.attempting = false;
    this.noRoom = isNoSpace(error);
    this.enter({ kind: 'stopped', reason: reasonOf(error), detail: messageOf(error) });
    const refusal = asBlockError(error, 'the log could not be written');
    this.group?.reject(refusal);
    this.group = undefined;
    for (const waiter of this.blocked.splice(0)) waiter.reject(refusal);
    for (const waiter of this.durableWaiters.splice(0)) waiter.reject(refusal);
    this.scheduleRetry();
  }

  private scheduleRetry(): void {
    if (this.closed || this.retryTimer !== undefined) return;
    this.retryTimer = this.deps.clock.after(this.retry_ms, () => {
      this.retryTimer = undefined;
      this.attempt();
    });
    this.retry_ms = Math.min(this.retry_ms * 2, this.deps.limits.retry_ms_max);
  }

  private attempt(): void {
    if (this.closed) return;
    if (this.state.kind === 'no_space') return void this.restoreReserve();
    if (this.state.kind === 'running' || this.attempting) return;
    this.attempting = true;
    this.repairing = true;
    if (this.noRoom) for (const segment of this.segments) this.ensureFile(segment);
    else this.appendAgain();
    this.turn();
  }

  /** After a sync that succeeded. Once nothing is left that is not durable, a stopped log takes writes again. */
  private afterSync(): void {
    if (this.repairing) this.deps.onRepaired();
    this.repairing = this.repairing && this.durableTo < this.last && this.state.kind === 'stopped';
    if (this.state.kind !== 'stopped' || this.durableTo < this.last) return;
    this.attempting = false;
    this.retry_ms = this.deps.limits.retry_ms_min;
    if (this.deps.reserve.isHeld()) return this.enter({ kind: 'running' });
    this.enter({ kind: 'no_space', detail: 'the reserve is in use' });
    this.scheduleRetry();
  }

  private async restoreReserve(): Promise<void> {
    if (this.restoring) return;
    this.restoring = true;
    const { reserve, limits, disk } = this.deps;
    try {
      const needed = limits.free_bytes_min + (reserve.isHeld() ? 0 : reserve.size());
      if (disk.space().free_bytes >= needed) {
        await reserve.rebuild();
        this.retry_ms = limits.retry_ms_min;
        this.space_budget_bytes = 0;
        if (this.state.kind === 'no_space') this.enter({ kind: 'running' });
      }
    } catch {
      // Not enough room after all: the state stays, and the next attempt comes by itself.
    } finally {
      this.restoring = false;
    }
    if (this.state.kind === 'no_space') this.scheduleRetry();
  }

  private enter(state: LogState): void {
    const same = state.kind === this.state.kind && state.kind !== 'stopped';
    this.state = state;
    if (!same) this.deps.onState(state);
  }
}

function moveOf(record: LogRecord, sequence: number, from: Place, to: Place): MovedRecord {
  const base = { sequence: sequence as Sequence, from, to };
  if (record.type === 'control') return { type: record.type, ...base };
  const { type, layer, block, count } = record;
  return { type, layer, block, count, ...base };
}
