import type { Random } from '@antipode/base';
import type { Disk } from '../disk.ts';
import { createSegmentFile } from './segment-file.ts';
import { TailSegment } from './tail-segment.ts';
import type { BufferPool } from './write-back.ts';

export interface SegmentSupplyDependencies {
  readonly disk: Disk;
  readonly random: Random;
  /** A number that no segment has had. */
  nextNumber(): number;
  /** An old file to use again, its name durable as `.tmp`. */
  takeSpare(): string | undefined;
}

/**
 * New segments for the tail, one of them made ahead. A segment may be used before its file exists: its records wait in
 * memory. Log segments are used in the order of their numbers.
 */
export class SegmentSupply {
  private readonly deps: SegmentSupplyDependencies;
  private readonly pool: BufferPool;
  private readonly onCreated: (segment: TailSegment) => void;
  private readonly onFailed: (segment: TailSegment, error: unknown) => void;
  private readonly creating = new Set<TailSegment>();
  private spare: TailSegment | undefined;

  /** The callbacks hear of segments that have been taken; a failed creation is for the taker to ask for again. */
  constructor(
    deps: SegmentSupplyDependencies,
    pool: BufferPool,
    callbacks: { onCreated(segment: TailSegment): void; onFailed(segment: TailSegment, error: unknown): void },
  ) {
    this.deps = deps;
    this.pool = pool;
    this.onCreated = callbacks.onCreated;
    this.onFailed = callbacks.onFailed;
  }

  take(): TailSegment {
    const segment = this.spare ?? this.make();
    this.spare = undefined;
    return segment;
  }

  /** Makes a segment ahead, if there is none. */
  prepare(): void {
    if (this.spare !== undefined) return;
    this.spare = this.make();
    this.ensureFile(this.spare);
  }

  /** The segment made ahead, no longer wanted. */
  discardSpare(): TailSegment | undefined {
    const spare = this.spare;
    this.spare = undefined;
    return spare;
  }

  /** Creates the file of a segment and waits for it. */
  async createNow(segment: TailSegment): Promise<void> {
    const { number, salt } = segment;
    segment.attach(await createSegmentFile(this.deps.disk, { number, kind: 'log', salt }, this.deps.takeSpare()));
  }

  /** Creates the file in the background, unless that is under way or done. */
  ensureFile(segment: TailSegment): void {
    if (segment.file !== undefined || this.creating.has(segment)) return;
    this.creating.add(segment);
    this.createNow(segment).then(
      () => {
        this.creating.delete(segment);
        if (this.spare !== segment) this.onCreated(segment);
      },
      (error: unknown) => {
        this.creating.delete(segment);
        if (this.spare === segment) this.spare = undefined;
        else this.onFailed(segment, error);
      },
    );
  }

  private make(): TailSegment {
    const salt = new DataView(this.deps.random.bytes(8).slice().buffer).getBigUint64(0, true);
    return new TailSegment(this.deps.nextNumber(), salt, this.pool);
  }
}
