import type { CycleId, PointId, ProposalId, SessionId, TestId, VolumeId } from '@antipode/base';
import type { BlockRun, Difference } from './engine.ts';
import type { Base, Digest, Generation, Pair, PointKind, PointSpec, Role, Tag } from './types.ts';

/** A frozen image by the name that the engine it is at gives it; never used for another one. */
export type ImageId = string;

/** One image on its way: what differs from `parent`, an image before it in the list, or the whole. */
export interface MovingImage {
  readonly image: ImageId;
  readonly parent?: ImageId;
  /** Bytes. */
  readonly size: number;
}

/** What belongs together, and so moves together: families, the points that they share, and their halves of sessions. */
export interface MovingUnit {
  readonly volumes: readonly VolumeId[];
  readonly sessions: readonly SessionId[];
}

/** Everything about a unit but its bytes: plain data, which another engine makes the same of. */
export interface Manifest {
  readonly volumes: readonly {
    readonly id: VolumeId;
    readonly name: string;
    readonly family: VolumeId;
    readonly image: ImageId;
    readonly follows: boolean;
    readonly destination: boolean;
    readonly session?: SessionId;
    readonly replica?: PointId;
    readonly tag: Tag;
  }[];
  readonly points: readonly {
    readonly id: PointId;
    readonly kind: PointKind;
    readonly instant_ms: number;
    readonly members: readonly { readonly volume: VolumeId; readonly size: number; readonly image: ImageId }[];
    readonly holds: readonly string[];
    readonly dropped: boolean;
    readonly tag: Tag;
  }[];
  readonly halves: readonly {
    readonly session: SessionId;
    readonly role: Role;
    readonly generation: Generation;
    readonly pairs: readonly Pair[];
    readonly joining?: readonly Pair[];
    readonly base?: Base;
    readonly refused: readonly ProposalId[];
    readonly test?: { readonly id: TestId; readonly point: PointId };
    readonly committed?: CycleId;
    readonly tag: Tag;
  }[];
}

/** How far an image has come in. */
export interface ArrivingImage {
  /** First block that is not durable here. */
  readonly next: number;
  readonly complete: boolean;
}

export interface Departure {
  readonly move: string;
  readonly volumes: readonly VolumeId[];
}

export interface Arrival {
  readonly move: string;
  /** A proposal to adopt carries it; it rises when one is given up, so that a late one is refused. */
  readonly epoch: number;
  /** The unit is here and served here. */
  readonly adopted: boolean;
}

/**
 * Moving volumes from one appliance of a cluster to another. The images go over while hosts write; then the unit *departs*: one
 * durable record after which nothing of it is read, written or changed here; what was written last goes over; then the other
 * engine *adopts* it in one record, the point of no return. Exactly one engine serves the unit at any time, and after a crash at any
 * moment the two records say which.
 */
export interface MovingEngine {
  /** @throws not_found */
  unitOf(volumes: readonly VolumeId[]): MovingUnit;
  /**
   * Frozen images of a unit, parents first; all of them are durable when it resolves. What is known of an image at the other engine
   * outlives a crash here, after which nothing else may come to have its name.
   */
  images(volumes: readonly VolumeId[]): Promise<readonly MovingImage[]>;
  imageDifference(from: ImageId | undefined, to: ImageId): Promise<Difference>;
  /** As {@link BlockEngine.readBlocks}. */
  readImage(
    image: ImageId,
    block: number,
    count: number,
    payload: Uint8Array,
    checksums: Uint8Array,
  ): void | Promise<void>;
  imageDigest(image: ImageId): Promise<Digest>;

  /** Leaves: freezes the unit under `point` and takes nothing more; every call about it is `moved` from now on. Refused (`in_use`) while one of its sessions is sealed. */
  depart(move: string, volumes: readonly VolumeId[], point: PointSpec): Promise<Manifest>;
  /** The unit is served here again; only while it cannot have been adopted. */
  stay(move: string): Promise<void>;
  /** It has been adopted elsewhere: nothing of it is kept here. */
  departed(move: string): Promise<void>;
  departures(): readonly Departure[];

  /** Makes room for an image, or finds it again. One that is half here and stands on another image now begins anew. */
  openImage(move: string, image: MovingImage): Promise<ArrivingImage>;
  /** Checked and stored as runs of a cycle are; ascending; not yet durable. */
  writeImage(move: string, image: ImageId, runs: readonly BlockRun[]): void | Promise<void>;
  /** Everything below `next` is durable when this resolves. */
  syncImage(move: string, image: ImageId, next: number): Promise<void>;
  /** Reads the image back, and answers its digest. */
  closeImage(move: string, image: ImageId): Promise<Digest>;
  /** Complete, once `digest` says that it is at the other engine what was read back here; otherwise it begins anew. */
  proveImage(move: string, image: ImageId, digest: Digest): Promise<ArrivingImage>;
  /** One record makes the unit this engine's. Refused (`stale`) unless the epoch is the present one. */
  adopt(move: string, epoch: number, manifest: Manifest): Promise<void>;
  /** Whether the unit was adopted; if not, what was proposed so far will not be. */
  settleArrival(move: string): Promise<Arrival>;
  /** Forgets a move: what came in and was not adopted is given up. */
  forgetArrival(move: string): Promise<void>;
  arrivals(): readonly Arrival[];
}
