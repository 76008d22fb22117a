import type { Brand } from '@antipode/base';

/** Place of a record in the one order of everything [C6.1]: counts up from 1, never used twice, below 2^53. */
export type Sequence = Brand<number, 'Sequence'>;
/** Identity of a layer on this appliance: counts up from 1, never used twice. */
export type LayerId = Brand<number, 'LayerId'>;

/** Where bytes lie: byte `offset` in segment number `segment`. */
export interface Place {
  readonly segment: number;
  readonly offset: number;
}

/** `count` blocks from `block` of a layer: payload and 8 bytes XXH64 (little-endian) a block. */
export interface DataRecord {
  readonly type: 'data';
  readonly layer: LayerId;
  readonly block: number;
  readonly count: number;
  readonly payload: Uint8Array;
  readonly checksums: Uint8Array;
}

/**
 * The same blocks packed into one frame (docs/formats/segment.md); checksums are those of the blocks as they were written. Only
 * what compaction rewrites is packed: the tail never has such a record.
 */
export interface PackedRecord {
  readonly type: 'packed';
  readonly layer: LayerId;
  readonly block: number;
  readonly count: number;
  readonly frame: Uint8Array;
  readonly checksums: Uint8Array;
}

/** A range of a layer that reads as zeros from here on (trim, write-zeroes) [C1.3]. */
export interface ZeroRecord {
  readonly type: 'zero';
  readonly layer: LayerId;
  readonly block: number;
  readonly count: number;
}

/** A change of the graph of volumes, layers, points, holds and halves. The body is the graph's affair (UTF-8 JSON). */
export interface ControlRecord {
  readonly type: 'control';
  readonly body: Uint8Array;
}

export type LogRecord = DataRecord | ZeroRecord | ControlRecord;
/** What compaction may write. */
export type RelocatedRecord = LogRecord | PackedRecord;

export interface Appended {
  readonly sequence: Sequence;
  /** Of the first payload byte (data) or of the record's body. */
  readonly place: Place;
}

/** A record found by a scan, payload not read: `checksums` only for data, `body` only for control. */
export type ScannedRecord =
  | (Omit<DataRecord, 'payload'> & Appended)
  | (Omit<PackedRecord, 'frame'> & Appended & { readonly frame_bytes: number })
  | (ZeroRecord & Appended)
  | (ControlRecord & Appended);

/** Damage found by a scan outside the unsealed tail [C6.3]. */
export interface LogDamage {
  readonly segment: number;
  readonly offset: number;
  /** How many bytes cannot be read as records, where that is known. */
  readonly bytes?: number;
  readonly detail: string;
}

export interface SegmentInfo {
  readonly segment: number;
  /** Bytes used by records. */
  readonly used: number;
  readonly sealed: boolean;
  /** Lowest and highest sequence in it. */
  readonly first: Sequence;
  readonly last: Sequence;
  /** Written by a compaction that packed what could be packed. */
  readonly packed: boolean;
}

/** Segments that compaction is writing. Nothing of them counts before {@link finish} has resolved. */
export interface Relocation {
  /** Takes a record with its old sequence; sequences do not fall from one call to the next. Copied before it resolves. */
  add(record: RelocatedRecord, sequence: Sequence): Promise<Place>;
  /** Durable, directory entries included, when it resolves. */
  finish(): Promise<void>;
  /** Gives up what was written, as far as it is not finished. */
  discard(): void;
}

/** A record that lies elsewhere now [C6.4]: same sequence, same bytes. Places are as in {@link Appended}. */
export type MovedRecord = { readonly sequence: Sequence; readonly from: Place; readonly to: Place } & (
  | { readonly type: 'data' | 'zero'; readonly layer: LayerId; readonly block: number; readonly count: number }
  | { readonly type: 'control' }
);

/** What the log can take now. `no_space`: control records only. `stopped`: nothing; it tries again by itself. */
export type LogState =
  | { readonly kind: 'running' }
  | { readonly kind: 'no_space'; readonly detail: string }
  | { readonly kind: 'stopped'; readonly reason: 'no_space' | 'io_error'; readonly detail: string };

/**
 * The append-only log of one appliance: fixed-size segments in one directory, one order. The truth from which all else
 * can be rebuilt.
 */
export interface SegmentLog {
  /**
   * Orders a record. It is readable through {@link read} when this returns; it reaches the kernel with the group at the
   * end of this turn of the event loop. Throws BlockError `no_space` or `io_error` when it cannot be taken.
   */
  append(record: LogRecord): Appended;
  /** Resolves when everything appended before the call has been handed to the kernel: it survives the death of the process. Rejects if it could not be. Also waits while more than the allowed amount is not yet durable (back-pressure). */
  written(): Promise<void>;
  /** Resolves when everything appended before the call is on stable storage: one fdatasync for all that wait [C6.6]. */
  durable(): Promise<void>;
  /** Highest sequence known to be on stable storage. */
  durableSequence(): Sequence;
  lastSequence(): Sequence;
  /** Reads bytes that were appended; from memory while they are not durable. */
  read(place: Place, target: Uint8Array): void | Promise<void>;
  /** The same, and never waits for the medium on the calling thread: for background work. */
  readAside(place: Place, target: Uint8Array): Promise<void>;
  /**
   * Records with a sequence above `after`, ascending by sequence whatever segment they are in. For start-up only. Data and
   * zero records may come more than once with one sequence, after compaction or a repair: the later one's place counts.
   */
  scan(after: Sequence): AsyncIterable<ScannedRecord>;
  /** All records of one segment in place order, for compaction and fsck. */
  scanSegment(segment: number): AsyncIterable<ScannedRecord>;
  segments(): readonly SegmentInfo[];
  /**
   * Compaction [C6.2]: writes records with their own old sequences into segments that hold nothing else. `packed`: what could be
   * packed is, so that nobody needs to try again.
   */
  relocation(packed: boolean): Relocation;
  /** Bytes of the segment are on their way to somebody who asked for them: it may not be given back. */
  isBeingRead(segment: number): boolean;
  /** Gives a sealed segment's space back. The caller has seen to [C6.2]. */
  removeSegment(segment: number): Promise<void>;
  damages(): readonly LogDamage[];
  state(): LogState;
  /** Calls back with every change of {@link state}. Answers how to stop that. */
  onState(listener: (state: LogState) => void): () => void;
  /**
   * Calls back, synchronously and before anything else can be read, when records that were not durable have been appended
   * again elsewhere after a failed write or sync [C6.4]. Old places are not to be read afterwards.
   */
  onMoved(listener: (moves: readonly MovedRecord[]) => void): () => void;
  usage(): { readonly total_bytes: number; readonly free_bytes: number; readonly log_bytes: number };
  close(): Promise<void>;
}
