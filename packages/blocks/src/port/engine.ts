import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';
import type { BlockDevice } from './device.ts';
import type { MovingEngine } from './moving.ts';
import type {
  Base,
  CyclePlan,
  DiffExtent,
  DifferenceSummary,
  Digest,
  EngineUsage,
  Generation,
  HalfInfo,
  Pair,
  PointInfo,
  PointSpec,
  RestartAddress,
  Restoration,
  Role,
  StageInfo,
  Tag,
  Tombstone,
  VerifyPosition,
  VerifyStep,
  VolumeInfo,
  VolumeUsage,
  WriteState,
} from './types.ts';

/** A run of blocks on its way between clusters: payload and one checksum per block, as they entered at the host's write. */
export interface BlockRun {
  readonly block: number;
  readonly count: number;
  /** `count` x BLOCK_BYTES bytes; absent for a run of zeros. */
  readonly payload?: Uint8Array;
  /** `count` x 8 bytes, XXH64 little-endian; absent for a run of zeros. */
  readonly checksums?: Uint8Array;
}

export interface Difference {
  readonly summary: DifferenceSummary;
  /** Extents by ascending block, from `fromBlock` on; their order depends on content alone [C3.5]. */
  extents(fromBlock: number): AsyncIterable<DiffExtent>;
}

/** Something that upper floors must hear of. Delivered after the change is durable. */
export type EngineEvent =
  | {
      readonly kind: 'committed';
      readonly session: SessionId;
      readonly cycle: CycleId;
      readonly points: readonly PointId[];
    }
  | { readonly kind: 'access_changed'; readonly volume: VolumeId }
  | { readonly kind: 'volume_changed'; readonly volume: VolumeId }
  | { readonly kind: 'volume_deleted'; readonly volume: VolumeId }
  | { readonly kind: 'damage'; readonly volume?: VolumeId; readonly block?: number; readonly detail: string }
  | { readonly kind: 'writes_stopped'; readonly reason: 'no_space' | 'io_error'; readonly detail: string }
  | { readonly kind: 'writes_resumed' };

/**
 * Where bytes live. Every mutating function is idempotent by the ids it is given: the same call again, also after a
 * crash, succeeds without effect; a call that contradicts what is there rejects with {@link BlockError} and changes
 * nothing. Unless said otherwise a promise resolves when the change is on stable storage, and the change is ordered
 * synchronously, within the call, against all writes of all devices [C9.2].
 */
export interface BlockEngine {
  // --- volumes ---------------------------------------------------------------------------------------------------
  /** `size`: bytes, multiple of 8192, 1 MiB to 256 TiB. */
  createVolume(spec: { id: VolumeId; name: string; size: number; destination?: boolean; tag: Tag }): Promise<void>;
  /** Removes the head and the volume's part in every point that nobody holds; held ones go with their last hold. Refused (`in_use`) while the volume is in a half. */
  deleteVolume(id: VolumeId): Promise<void>;
  resizeVolume(id: VolumeId, size: number): Promise<void>;
  /** Name, tag, and true -> false of `destination` (only without a half). */
  changeVolume(id: VolumeId, change: { name?: string; tag?: Tag; destination?: false }): Promise<void>;
  volumes(): readonly VolumeInfo[];
  volume(id: VolumeId): VolumeInfo | undefined;
  volumeUsage(id: VolumeId): Promise<VolumeUsage>;
  /** Bytes the head holds beyond a point: what a cycle would have to look at. Cheap: from counters. */
  bytesSince(volume: VolumeId, point: PointId): number;

  // --- points ----------------------------------------------------------------------------------------------------
  /**
   * Freezes all volumes at one instant under one point [C9.3]. Constant time. Resolves when the record *and everything
   * before it* is on stable storage [C3.2].
   */
  freeze(point: PointSpec, volumes: readonly VolumeId[], hold?: string): Promise<PointInfo>;
  /** Hides a point; frees it when no hold is left. */
  dropPoint(id: PointId): Promise<void>;
  changePoint(id: PointId, tag: Tag): Promise<void>;
  hold(point: PointId, holder: string): Promise<void>;
  release(point: PointId, holder: string): Promise<void>;
  points(): readonly PointInfo[];
  /** Points that hold one of these volumes, oldest first: all, or those made after `since`. Dropped ones are left out. */
  pointsOf(volumes: readonly VolumeId[], since?: PointId): readonly PointInfo[];
  point(id: PointId): PointInfo | undefined;
  /** A new, writable volume on a frozen image: constant time, shares blocks. */
  fork(spec: { id: VolumeId; name: string; point: PointId; of: VolumeId; tag: Tag }): Promise<void>;
  /**
   * The head of each `volume` becomes a fork of an image of the same family (restore, refresh); sizes follow. What they held since their
   * last points is given up. Of all at one instant, or of none: hosts and crashes see the members of a group old together or new together.
   */
  restore(images: readonly Restoration[]): Promise<void>;

  // --- bytes -----------------------------------------------------------------------------------------------------
  /** A device on the volume's head. */
  open(volume: VolumeId): BlockDevice;
  /** A read-only device on a frozen image. */
  openPoint(point: PointId, volume: VolumeId): BlockDevice;
  /** What turns image `from` of the volume into image `to` [C1.2, C1.5]. Both must stay held while it is read. */
  difference(volume: VolumeId, from: PointId | undefined, to: PointId): Promise<Difference>;
  /**
   * Calls `mark` for each of `count` blocks from `block` that differs between two images of a volume; without `from`, that holds anything
   * but zeros. Answers the next block beyond them that differs, or may; nothing: none does. Its cost follows what changed.
   */
  changedWithin(
    volume: VolumeId,
    from: PointId | undefined,
    to: PointId,
    block: number,
    count: number,
    mark: (block: number) => void,
  ): Promise<number | undefined>;
  /** Reads whole blocks of an image with their stored checksums, verified, into `payload` and `checksums` (sized for `count`). */
  readBlocks(
    volume: VolumeId,
    point: PointId,
    block: number,
    count: number,
    payload: Uint8Array,
    checksums: Uint8Array,
  ): Promise<void>;
  /** Root digest of an image; unchanged parts are not computed again [C8.2]. */
  digest(volume: VolumeId, point: PointId): Promise<Digest>;
  /** SHA-256 of each 1 MiB page's block checksums for `count` pages from `page`: to name the page that differs [C8.4]. */
  pageDigests(volume: VolumeId, point: PointId, page: number, count: number): Promise<readonly Digest[]>;

  // --- halves of sessions ----------------------------------------------------------------------------------------
  /** Born once. A destination's volumes become read-only and follow their replica (none yet: an empty image). */
  createHalf(half: {
    session: SessionId;
    role: Role;
    generation: Generation;
    pairs: readonly Pair[];
    tag: Tag;
  }): Promise<void>;
  /**
   * Source: `pairs` are the members from now on; who leaves is an ordinary volume. Destination: `joining` are set aside for the next
   * commit, which alone changes the members there. Both are whole lists.
   */
  changeHalf(
    session: SessionId,
    change: { pairs?: readonly Pair[]; joining?: readonly Pair[]; tag?: Tag },
  ): Promise<void>;
  /** Ends the half and leaves a tombstone [C5.6]: points and holds of the session go, a destination's volumes stay flagged. */
  removeHalf(session: SessionId): Promise<void>;
  halves(): readonly HalfInfo[];
  half(session: SessionId): HalfInfo | undefined;
  tombstones(): readonly Tombstone[];
  /**
   * Source: the cycle is known committed at the destination: its last point becomes the base, the former base is
   * released [C3.4]. Refused (`stale`) when the generation is not the present one.
   */
  advanceBase(session: SessionId, generation: Generation, base: Base): Promise<void>;
  /** Either role: the base agreed at a handshake (an older common point, or none) [C2.3, C3.7]. */
  resetBase(session: SessionId, generation: Generation, base: Base | undefined): Promise<void>;

  // --- receiving a cycle (destination) ---------------------------------------------------------------------------
  /** Opens, or finds again, the staging layers of a cycle. A stage of another cycle of this session is given up. Resolves with the durable restart address. */
  openStage(plan: CyclePlan): Promise<StageInfo>;
  /**
   * Appends runs of one pair of the point being shipped, in ascending order, at or above the address. Checks each
   * block against its checksum (`corrupt` otherwise) and stores the checksums as they came [C8.1]. Not yet durable.
   */
  writeStage(
    session: SessionId,
    cycle: CycleId,
    point: number,
    pair: number,
    runs: readonly BlockRun[],
  ): void | Promise<void>;
  /** Records that everything before `address` has been given, after the bytes it covers, and makes both durable [C3.5]. */
  syncStage(session: SessionId, cycle: CycleId, address: RestartAddress): Promise<RestartAddress>;
  /** Reads every staged block back through the read path and returns the digests of all pairs at all points [C8.3]. */
  verifyStage(
    session: SessionId,
    cycle: CycleId,
    progress: (blocks: number, of: number) => void,
  ): Promise<readonly (readonly Digest[])[]>;
  /** Page digests of a staged image, as {@link pageDigests} gives them of a point [C8.4]. */
  stagePageDigests(
    session: SessionId,
    cycle: CycleId,
    point: number,
    pair: number,
    page: number,
    count: number,
  ): Promise<readonly Digest[]>;
  /** Gives page ranges of a staged image up, so that they can be sent once more after a mismatch [C8.4]. */
  repairStage(
    session: SessionId,
    cycle: CycleId,
    point: number,
    pair: number,
    runs: readonly BlockRun[],
  ): Promise<void>;
  /**
   * The commit point [C3.3]: one record makes the staged points visible, the last one replica and base, the sizes present, and
   * the cycle's pairs the members: a volume that is no longer one stays a destination, without a session. Refused (`stale`) unless generation and base are the present ones. The former base is dropped.
   */
  commitStage(session: SessionId, cycle: CycleId, generation: Generation, digests: readonly Digest[]): Promise<void>;
  abandonStage(session: SessionId, cycle: CycleId): Promise<void>;

  // --- change of direction ---------------------------------------------------------------------------------------
  /** Source: one durable record that freezes all members and refuses every write ordered after it [C4.2b]. */
  seal(session: SessionId, proposal: ProposalId, point: PointSpec): Promise<PointInfo>;
  /** Source: writes are allowed again; only while the promote for this proposal cannot have happened. */
  unseal(session: SessionId, proposal: ProposalId): Promise<void>;
  /** Destination: durably refuses a proposal; a later promote of it is `stale`. */
  refuseProposal(session: SessionId, proposal: ProposalId): Promise<void>;
  /**
   * Destination: hosts may write to the heads, which become forks of `from` (a held point; default: the replica) and stop
   * following. The point stays held; cycles go on moving the replica [C2.2].
   */
  startTest(session: SessionId, test: TestId, from?: PointId): Promise<void>;
  /**
   * The heads follow the replica again, all at one instant. What the test wrote is frozen under `keep` first, or given up. Done
   * already when no test is running.
   */
  stopTest(session: SessionId, test: TestId, keep?: PointSpec): Promise<void>;
  /**
   * Destination -> source in one record, the point of no return [C4.2e]: with `commit`, the staged cycle is committed by
   * the same record. The head becomes a fork of `from` (a held point; default: the replica), or with `testCopy` goes on as a
   * running failover test has left it; without it a running test refuses the promotion (`in_use`). `next` must be the present
   * number + 1.
   */
  promote(
    session: SessionId,
    promotion: {
      next: Generation;
      proposal?: ProposalId;
      commit?: { cycle: CycleId; digests: readonly Digest[] };
      from?: PointId;
      testCopy?: true;
    },
  ): Promise<void>;
  /**
   * Source -> destination on learning a newer generation: heads follow the base again. What they held beyond it is kept
   * first under `preserve` [C2.4]; resolves with the bytes preserved (0: no point was made), also when it is asked again.
   */
  demote(
    session: SessionId,
    learned: Generation,
    base: PointId | undefined,
    preserve: PointSpec,
  ): Promise<{ diverged_bytes: number }>;

  /** Moves to and from other appliances of the cluster. */
  readonly moving: MovingEngine;

  // --- the whole -------------------------------------------------------------------------------------------------
  usage(): EngineUsage;
  /** Changes are told as `writes_stopped` and `writes_resumed`. */
  writeState(): WriteState;
  /**
   * Verifies stored bytes against their checksums, about `most_bytes` of them from a position on, without waiting for the medium
   * on the thread of the hosts. The positions survive restarts: what is written meanwhile need not be visited.
   */
  verifyStored(from: VerifyPosition | undefined, most_bytes: number): Promise<VerifyStep>;
  on(listener: (event: EngineEvent) => void): () => void;
  /** Resolves when all that can be seen now is on stable storage: what others rely on may be told then. Rejects while the medium refuses it. */
  durable(): Promise<void>;
  /** Makes everything durable and lets go of the medium. */
  close(): Promise<void>;
}
