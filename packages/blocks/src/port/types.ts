import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';

/**
 * Who may write, as a counted epoch of a session. Only the present destination mints the next one [C4.1]. Two different
 * generations of one number are a split: the session stops with an alert.
 */
export interface Generation {
  /** 1 at birth; +1 with every change of direction. */
  readonly number: number;
  /** Serial of the cluster that minted it. */
  readonly site: string;
  /** Random text that tells two mintings of one number apart. */
  readonly nonce: string;
}

export const sameGeneration = (a: Generation, b: Generation): boolean =>
  a.number === b.number && a.site === b.site && a.nonce === b.nonce;

export type Role = 'source' | 'destination';

/** Free text that upper floors keep with an object in the log (name, expiry, …), so that a catalog can be rebuilt [C7.1]. */
export type Tag = Readonly<Record<string, string | number | boolean | null>>;

export interface VolumeInfo {
  readonly id: VolumeId;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Id of the first volume of the family: clones and their parents share blocks within it. */
  readonly family: VolumeId;
  /** Set on a volume that takes part in a session or was left as a destination by one. */
  readonly session?: SessionId;
  /** A destination's head follows its replica and refuses writes, also after its session ended (REPLICATION 2.12). */
  readonly destination: boolean;
  /** Writes are refused until the seal is lifted or the role changes [C4.2]. */
  readonly sealed: boolean;
  /** The newest committed point of a destination [C2.1]. */
  readonly replica?: PointId;
  /** It is leaving for another appliance: no I/O and no change here any more. */
  readonly departing?: true;
  readonly tag: Tag;
}

/**
 * `internal`: made for replication, hidden from hosts and users. `snapshot`: a user or a schedule asked for it.
 * `diverged`: what an old source held beyond the common base [C2.4].
 */
export type PointKind = 'internal' | 'snapshot' | 'diverged';

export interface PointMember {
  readonly volume: VolumeId;
  /** Size of the volume at that moment, bytes. */
  readonly size: number;
}

export interface PointInfo {
  readonly id: PointId;
  readonly kind: PointKind;
  /** Wall-clock moment of the freeze at the cluster where it was taken, ms. */
  readonly instant_ms: number;
  readonly members: readonly PointMember[];
  /** Who keeps it. A held point cannot disappear. */
  readonly holds: readonly string[];
  /** Dropped while held: hidden, and freed with the last hold [C3.1]. */
  readonly dropped: boolean;
  /** A volume of it is leaving for another appliance. */
  readonly departing?: true;
  readonly tag: Tag;
}

export interface PointSpec {
  readonly id: PointId;
  readonly kind: PointKind;
  readonly instant_ms: number;
  readonly tag: Tag;
}

/** One run of a difference: `data` must be copied, `zero` reads as zeros at the target. Positions in blocks. */
export interface DiffExtent {
  readonly kind: 'data' | 'zero';
  readonly block: number;
  readonly count: number;
}

/** What a difference is about, known before its first extent. */
export interface DifferenceSummary {
  /** Sizes of the two images in bytes; `from_size` is absent when there is no base. */
  readonly from_size?: number;
  readonly to_size: number;
  /** No common ancestor: the whole of the target is given [C1.2]. */
  readonly whole: boolean;
  /** Number of blocks of kind `data`, and of kind `zero`. */
  readonly data_blocks: number;
  readonly zero_blocks: number;
}

/** One member of a session: the volume here and its peer's id there. */
export interface Pair {
  readonly local: VolumeId;
  readonly remote: VolumeId;
}

/** A pair as one cycle ships it. */
export interface CyclePair extends Pair {
  /** The base has no image of it that both sides hold: all of it is shipped. */
  readonly whole?: true;
}

/** A point that both sides hold, with the digest of each pair's image there. */
export interface Base {
  readonly point: PointId;
  readonly digests: readonly Digest[];
  /** What the digests are of, in their order. Absent: the half's pairs. */
  readonly pairs?: readonly Pair[];
}

/** The next block that is not yet durable at the destination [C3.5]. */
export interface RestartAddress {
  /** Index into the cycle's points, in order of shipping. */
  readonly point: number;
  /** Index into the cycle's pairs. */
  readonly pair: number;
  /** First block of the pair's volume not covered. */
  readonly block: number;
}

export const compareAddress = (a: RestartAddress, b: RestartAddress): number =>
  a.point - b.point || a.pair - b.pair || a.block - b.block;

/** Root digest of a volume's image at a point, hex SHA-256 [C8.2]. */
export type Digest = string;

/** A point as one cycle ships it: sizes and digests per pair, in the order of the cycle's pairs. */
export interface CyclePoint extends PointSpec {
  /** Size of each pair's volume at this point, bytes. 0: the volume is not in this point; the last point has all. */
  readonly sizes: readonly number[];
}

/** A cycle, fixed at its start [C3.1]. The last of `points` is the new common base. */
export interface CyclePlan {
  readonly session: SessionId;
  readonly cycle: CycleId;
  readonly generation: Generation;
  /** The common base it builds on; absent: nothing in common, the whole is shipped. */
  readonly base?: PointId;
  readonly points: readonly CyclePoint[];
  /** As seen from the cluster that reads this. With the commit they become the session's members. */
  readonly pairs: readonly CyclePair[];
}

export interface StageInfo {
  readonly plan: CyclePlan;
  /** Durable address: everything before it need not be sent again. */
  readonly address: RestartAddress;
}

/** One cluster's durable half of a session: the engine refuses what contradicts it [C3.3, C4.3]. */
export interface HalfInfo {
  readonly session: SessionId;
  readonly role: Role;
  readonly generation: Generation;
  readonly pairs: readonly Pair[];
  /** Destination: volumes that are set aside for members to come; the commit that brings them makes them members. */
  readonly joining: readonly Pair[];
  /** Newest point known to be equal on both sides; `pairs` is always there. */
  readonly base?: Base;
  readonly seal?: { readonly proposal: ProposalId; readonly point: PointId };
  /** Proposals durably refused here (destination), newest last, bounded. */
  readonly refused: readonly ProposalId[];
  readonly stage?: StageInfo;
  /** Destination: a failover test is running on a fork of this point, which it keeps [C2.2]. */
  readonly test?: { readonly id: TestId; readonly point: PointId };
  /** It is leaving for another appliance with its volumes. */
  readonly departing?: true;
  readonly tag: Tag;
}

/** What a volume becomes: the image of `of` at `point`. */
export interface Restoration {
  readonly volume: VolumeId;
  readonly point: PointId;
  readonly of: VolumeId;
}

export interface Tombstone {
  readonly session: SessionId;
  readonly generation: Generation;
}

export interface VolumeUsage {
  /** Bytes that read as stored data through the head. */
  readonly logical_bytes: number;
  /** Bytes of blocks that only this volume's head and its points keep. */
  readonly unique_bytes: number;
  /** What these unique bytes take where they are stored: less, where they are packed. */
  readonly stored_bytes: number;
}

export interface EngineUsage {
  /** Bytes of the file system that holds the log, and what is free of it. */
  readonly total_bytes: number;
  readonly free_bytes: number;
  /** Bytes the log occupies, and of these the bytes that something still refers to. */
  readonly log_bytes: number;
  readonly live_bytes: number;
  /** What these live bytes come to when they are read: more than they are, where they are packed. */
  readonly data_bytes: number;
}

/** Whether hosts' writes are taken now. What stops them goes away by itself, or with the cause. */
export type WriteState =
  | { readonly kind: 'running' }
  | { readonly kind: 'stopped'; readonly reason: 'no_space' | 'io_error'; readonly detail: string };

/** Stored bytes that are not what was written, and where they are seen. */
export interface StoredDamage {
  readonly detail: string;
  /** Place in the log, bytes. */
  readonly segment?: number;
  readonly offset?: number;
  readonly bytes?: number;
  /** Empty: no image shows these bytes, or it cannot be known which. */
  readonly seen: readonly DamagedRange[];
}

/** A range of a volume, in bytes, that shows damaged bytes. */
export interface DamagedRange {
  readonly volume: VolumeId;
  readonly name: string;
  readonly offset: number;
  readonly length: number;
  /** Hosts of the volume see it. Otherwise only the points named. */
  readonly head: boolean;
  readonly points: readonly { readonly id: PointId; readonly name: string }[];
}

/** Where a verification goes on: blocks are verified first, by layer and page, then the records of each segment. Plain data. */
export type VerifyPosition =
  | { readonly phase: 'blocks'; readonly layer: number; readonly page: number }
  | { readonly phase: 'records'; readonly segment: number };

/** One bounded piece of a verification. */
export interface VerifyStep {
  /** Absent: everything has been verified. */
  readonly next?: VerifyPosition;
  readonly verified_bytes: number;
  readonly damages: readonly StoredDamage[];
}
