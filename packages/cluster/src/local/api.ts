import type { SessionId } from '@antipode/base';
import type {
  BlockEngine,
  EngineEvent,
  EngineUsage,
  IoRate,
  MovingEngine,
  StoredDamage,
  Tombstone,
  WriteState,
} from '@antipode/blocks';
import type {
  Admission,
  MoveOrder,
  MoveProgress,
  PeerEndpoint,
  ShipOrder,
  ShipOutcome,
  ShipProgress,
} from '@antipode/replication';
import type { HostCounters, IoCounters } from '../metrics/figures.ts';

/**
 * What management may ask of a data plane, over the local protocol or, in tests, of an engine in the same process.
 * Every call is idempotent. Bytes of volumes never travel here [C9.1].
 */
type EngineControl = Pick<
  BlockEngine,
  | 'createVolume'
  | 'deleteVolume'
  | 'resizeVolume'
  | 'changeVolume'
  | 'volumes'
  | 'volume'
  | 'volumeUsage'
  | 'bytesSince'
  | 'freeze'
  | 'dropPoint'
  | 'changePoint'
  | 'hold'
  | 'release'
  | 'points'
  | 'pointsOf'
  | 'point'
  | 'fork'
  | 'restore'
  | 'digest'
  | 'createHalf'
  | 'changeHalf'
  | 'removeHalf'
  | 'halves'
  | 'half'
  | 'advanceBase'
  | 'resetBase'
  | 'abandonStage'
  | 'seal'
  | 'unseal'
  | 'refuseProposal'
  | 'startTest'
  | 'stopTest'
  | 'promote'
  | 'demote'
  | 'usage'
  | 'writeState'
>;

/** The same functions, each answering a promise. */
export type Remote<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

/** What the data plane must know of a peer: whose data connections to take. */
export interface KnownPeer {
  readonly fingerprint: string;
}

/** What one host may open: the names that its certificate may carry, in lower case, and the ids of its volumes [C11.1]. */
export interface HostAccess {
  readonly names: readonly string[];
  readonly volumes: readonly string[];
}

/** A rate that the hosts of one volume are held to, or those of several together. */
export interface IoLimit {
  /** Stays while it is the same limit: what has been used of it is remembered. */
  readonly id: string;
  readonly volumes: readonly string[];
  readonly rate: IoRate;
}

/** A range of an image in chunks, all in bytes; `from`: the image that it is compared with. */
export interface ChunkRange {
  readonly volume: string;
  readonly from?: string;
  readonly to: string;
  readonly offset: number;
  readonly length: number;
  readonly chunk: number;
}

export interface ChunkBitmap {
  /** Base64. */
  readonly bitmap: string;
  /** Where to look next, bytes; absent: nothing more differs. */
  readonly next?: number;
}

export interface Addresses {
  /** Ports in use, after any 0 was resolved. */
  readonly nbd: { readonly host: string; readonly port: number };
  /** The first appliance alone takes what comes from other clusters, and passes it on. */
  readonly replication?: { readonly host: string; readonly port: number };
}

export interface ScrubOptions {
  /** How fast it reads at most; absent: the setting of the data plane. */
  readonly rate_bytes_per_s?: number;
}

/** A pass over everything stored. Bytes and ms. */
export interface ScrubStatus {
  readonly id: string;
  readonly state: 'running' | 'completed' | 'stopped';
  readonly started_ms: number;
  readonly ended_ms?: number;
  readonly rate_bytes_per_s: number;
  readonly verified_bytes: number;
  /** What there was to verify when it started; hosts write on meanwhile. */
  readonly total_bytes: number;
  readonly damage_count: number;
  /** The first of them. */
  readonly damages: readonly StoredDamage[];
}

/** One appliance of the cluster as it is now. */
export interface ApplianceStatus {
  readonly id: string;
  /** Absent while its data plane does not answer. */
  readonly usage?: EngineUsage;
  readonly writes?: WriteState;
  /** Where hosts reach it directly. */
  readonly nbd?: Addresses['nbd'];
}

/** Moves between appliances, as {@link MovingEngine} has them. */
type MovingControl = Pick<
  MovingEngine,
  'unitOf' | 'depart' | 'stay' | 'departed' | 'departures' | 'adopt' | 'settleArrival' | 'forgetArrival' | 'arrivals'
>;

export interface DataPlane extends Remote<EngineControl>, Remote<MovingControl> {
  /** Ships every frozen image of a unit that is not at the other appliance yet. */
  move(order: MoveOrder): Promise<MoveProgress>;
  moveProgress(move: string): Promise<MoveProgress | undefined>;
  /** Resolves when nothing of it is running. */
  cancelMove(move: string): Promise<void>;
  addresses(): Promise<Addresses>;
  /** The appliances behind this data plane: itself, or all of a cluster. */
  appliances(): Promise<readonly ApplianceStatus[]>;
  /** What hosts did with each volume since this data plane began. */
  ioCounters(): Promise<readonly IoCounters[]>;
  /** What hosts that prove who they are did, whatever the volume. */
  hostCounters(): Promise<readonly HostCounters[]>;
  /** Which chunks of a range differ between two images of a volume. */
  changedChunks(range: ChunkRange): Promise<ChunkBitmap>;
  /** Who may open what, where clients are known by certificates; connections that it does not cover end. Until told, nobody may. */
  setAccess(hosts: readonly HostAccess[]): Promise<void>;
  /** All rates that hosts are held to; they hold at once, also for requests that wait, and from the next start on. */
  setLimits(limits: readonly IoLimit[]): Promise<void>;
  setPeers(peers: readonly KnownPeer[]): Promise<void>;
  /** Whether incoming cycles of a session are taken. Unknown sessions are `peer_not_ready` until told [C5.3]. */
  admit(session: SessionId, admission: Admission): Promise<void>;
  /** Ships one cycle; resolves at its end, whatever that is. A second call for the same cycle joins the first. */
  ship(order: ShipOrder): Promise<ShipOutcome>;
  /** Stops a ship order at the next window; its outcome is `cancelled`. Resolves when nothing of it is running. */
  cancelShip(session: SessionId): Promise<void>;
  progress(session: SessionId): Promise<ShipProgress | undefined>;
  /** Of a session that was deleted here. */
  tombstone(session: SessionId): Promise<Tombstone | undefined>;
  /** Resolves when all that can be seen of a half now is on stable storage: peers rely on what they are told. */
  settled(session: SessionId): Promise<void>;
  /** Opens one TLS connection to a peer's data listener, checks its pin, and closes it; the round trip in ms. */
  probePeer(peer: PeerEndpoint): Promise<number>;
  /** Begins to verify everything that is stored, in the background; joins a scrub that runs, with its new rate. */
  startScrub(options: ScrubOptions): Promise<ScrubStatus>;
  /** The scrub that runs, or the last one. */
  scrubStatus(): Promise<ScrubStatus | undefined>;
  /** Ends a scrub where it is. */
  stopScrub(): Promise<ScrubStatus | undefined>;
  onEvent(listener: (event: DataPlaneEvent) => void): () => void;
}

/** `appliance`: where it happened, in a cluster of several. */
export type DataPlaneEvent = { readonly appliance?: string } & (
  | EngineEvent
  /** A scrub has ended, by itself or because it was told to. */
  | { readonly kind: 'scrub_ended'; readonly status: ScrubStatus }
  | { readonly kind: 'ship_progress'; readonly session: SessionId; readonly progress: ShipProgress }
  /** The data plane went away (restart) or came back; on `up` management reconciles. */
  | { readonly kind: 'up' }
  | { readonly kind: 'down' }
);
