import type { SessionId, VolumeId } from '@antipode/base';
import type { BlockEngine, Manifest, PointSpec } from '@antipode/blocks';
import type {
  Admission,
  ImageShipper,
  MoveOrder,
  PeerEndpoint,
  ShipOrder,
  ShipOutcome,
  ShipProgress,
} from '@antipode/replication';
import { changedChunks } from '../dataplane/changed-chunks.ts';
import type { ScrubJob } from '../dataplane/scrub-job.ts';
import type { HostCounters, IoCounters } from '../metrics/figures.ts';
import type {
  Addresses,
  ChunkRange,
  DataPlane,
  DataPlaneEvent,
  HostAccess,
  IoLimit,
  KnownPeer,
  ScrubOptions,
} from './api.ts';
import { methods } from './methods.ts';

/** What a data plane has besides its engine. */
export interface EngineDataPlaneParts {
  readonly appliance: string;
  readonly engine: BlockEngine;
  readonly shipper: {
    ship(order: ShipOrder, onProgress?: (progress: ShipProgress) => void): Promise<ShipOutcome>;
    cancel(session: SessionId): Promise<void>;
    progress(session: SessionId): ShipProgress | undefined;
    probe(peer: PeerEndpoint): Promise<number>;
  };
  readonly images: ImageShipper;
  readonly addresses: () => Addresses;
  readonly ioCounters: () => readonly IoCounters[];
  readonly hostCounters: () => readonly HostCounters[];
  readonly setAccess: (hosts: readonly HostAccess[]) => void;
  readonly setLimits: (limits: readonly IoLimit[]) => void;
  /** Takes the list of peers whose data connections are accepted. */
  readonly setPeers: (peers: readonly KnownPeer[]) => void;
  readonly scrub: ScrubJob;
  readonly setAdmission: (session: SessionId, admission: Admission) => void;
}

/** Moves as the local protocol has them. */
const movingControl = ({ moving }: BlockEngine) => ({
  unitOf: async (volumes: readonly VolumeId[]) => moving.unitOf(volumes),
  depart: (move: string, volumes: readonly VolumeId[], point: PointSpec) => moving.depart(move, volumes, point),
  stay: (move: string) => moving.stay(move),
  departed: (move: string) => moving.departed(move),
  departures: async () => moving.departures(),
  adopt: (move: string, epoch: number, manifest: Manifest) => moving.adopt(move, epoch, manifest),
  settleArrival: (move: string) => moving.settleArrival(move),
  forgetArrival: (move: string) => moving.forgetArrival(move),
  arrivals: async () => moving.arrivals(),
});

/** The data plane of an engine in this process: what the local protocol serves, and what tests use without it. */
export function engineDataPlane(parts: EngineDataPlaneParts): DataPlane {
  const { engine, shipper } = parts;
  const listeners = new Set<(event: DataPlaneEvent) => void>();
  const emit = (event: DataPlaneEvent) => {
    for (const listener of listeners) listener(event);
  };
  engine.on(emit);
  parts.scrub.on(emit);
  const own = {
    addresses: async () => parts.addresses(),
    ...movingControl(engine),
    move: (order: MoveOrder) => parts.images.move(order),
    moveProgress: async (move: string) => parts.images.progress(move),
    cancelMove: (move: string) => parts.images.cancel(move),
    appliances: async () => [
      { id: parts.appliance, usage: engine.usage(), writes: engine.writeState(), nbd: parts.addresses().nbd },
    ],
    ioCounters: async () => parts.ioCounters(),
    hostCounters: async () => parts.hostCounters(),
    settled: () => engine.durable(),
    tombstone: async (session: SessionId) => engine.tombstones().find((stone) => stone.session === session),
    changedChunks: (range: ChunkRange) => changedChunks(engine, range),
    setAccess: async (hosts: readonly HostAccess[]) => parts.setAccess(hosts),
    setLimits: async (limits: readonly IoLimit[]) => parts.setLimits(limits),
    setPeers: async (peers: readonly KnownPeer[]) => parts.setPeers(peers),
    admit: async (session: SessionId, admission: Admission) => parts.setAdmission(session, admission),
    ship: (order: ShipOrder) =>
      shipper.ship(order, (progress) => emit({ kind: 'ship_progress', session: order.plan.session, progress })),
    cancelShip: (session: SessionId) => shipper.cancel(session),
    progress: async (session: SessionId) => shipper.progress(session),
    startScrub: async (options: ScrubOptions) => parts.scrub.start(options),
    scrubStatus: async () => parts.scrub.status(),
    stopScrub: () => parts.scrub.stop(),
    probePeer: (peer: PeerEndpoint) => shipper.probe(peer),
    onEvent: (listener: (event: DataPlaneEvent) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const control = Object.fromEntries(
    methods
      .filter((method) => !Object.hasOwn(own, method))
      .map((method) => {
        const call = engine[method as keyof BlockEngine] as (...args: unknown[]) => unknown;
        return [method, async (...args: unknown[]) => call.apply(engine, args)];
      }),
  );
  return { ...(control as unknown as Omit<DataPlane, keyof typeof own>), ...own };
}
