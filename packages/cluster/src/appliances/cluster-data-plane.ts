import type { Clock, PointId, SessionId, VolumeId } from '@antipode/base';
import { BlockError, isBlockError } from '@antipode/blocks';
import type { DataPlane, DataPlaneEvent, ScrubStatus } from '../local/api.ts';
import { DataPlaneAway } from '../local/client.ts';
import type { IoCounters } from '../metrics/figures.ts';
import { Owners } from './owners.ts';

/** A cluster's data planes as one: what it is asked goes to the appliance that has the volume, point or session in question. */
export interface ClusterDataPlane extends DataPlane {
  /** The data plane of one appliance. @throws DataPlaneAway when the cluster has no such appliance. */
  plane(appliance: string): DataPlane;
  /** Which appliance has a volume. */
  applianceOf(volume: VolumeId): Promise<string | undefined>;
  /** Volumes have moved, or are about to: who owns what is asked anew, also by who is asking just now. */
  moved(): void;
}

/**
 * @param placed where the catalog wants a volume that does not exist yet
 * @param planes by appliance, the first one first
 */
export function clusterDataPlane(
  planes: ReadonlyMap<string, DataPlane>,
  placed: (volume: VolumeId) => string | undefined,
  clock: Clock,
): ClusterDataPlane {
  const all = [...planes];
  const first = all[0]![1];
  const owners = new Owners(planes);
  const plane = (appliance: string): DataPlane => {
    const found = planes.get(appliance);
    if (found === undefined) throw new DataPlaneAway(`there is no appliance ${appliance}`);
    return found;
  };

  const ofVolume = async (id: VolumeId): Promise<DataPlane> => {
    const owner = (await owners.ofVolume(id)) ?? placed(id);
    return owner === undefined ? first : plane(owner);
  };
  const ofPoint = async (id: PointId): Promise<DataPlane> => {
    const owner = await owners.ofPoint(id);
    return owner === undefined ? first : plane(owner);
  };
  const ofHalf = async (session: SessionId): Promise<DataPlane> => {
    const owner = await owners.ofHalf(session);
    return owner === undefined ? first : plane(owner);
  };
  /** Where several volumes are: what is done to them at one instant needs one engine. */
  const ofVolumes = async (ids: readonly VolumeId[]): Promise<DataPlane> => {
    const found = new Set(await Promise.all(ids.map(ofVolume)));
    if (found.size > 1) throw new BlockError('out_of_range', 'the volumes are on different appliances');
    return [...found][0] ?? first;
  };
  /** Of every appliance; one that is away is an answer that is missing, so it fails the whole. */
  const gathered = async <T>(ask: (one: DataPlane) => Promise<readonly T[]>): Promise<readonly T[]> =>
    (await owners.still(() => Promise.all(all.map(([, one]) => ask(one))))).flat();
  const everywhere = async (tell: (one: DataPlane) => Promise<unknown>): Promise<void> => {
    await Promise.all(all.map(([, one]) => tell(one)));
  };

  const calls: Omit<DataPlane, 'onEvent'> = {
    // --- by volume --------------------------------------------------------------------------------------------------
    createVolume: async (spec) => {
      const known = await owners.ofVolume(spec.id);
      const owner = known ?? placed(spec.id) ?? all[0]![0];
      await plane(owner).createVolume(spec);
      owners.learn(spec.id, owner);
    },
    deleteVolume: async (id) => {
      await (await ofVolume(id)).deleteVolume(id);
      owners.unlearn(id);
    },
    resizeVolume: async (id, size) => (await ofVolume(id)).resizeVolume(id, size),
    changeVolume: async (id, change) => (await ofVolume(id)).changeVolume(id, change),
    volume: async (id) => (await ofVolume(id)).volume(id),
    volumeUsage: async (id) => (await ofVolume(id)).volumeUsage(id),
    bytesSince: async (id, point) => (await ofVolume(id)).bytesSince(id, point),
    restore: async (images) => (await ofVolumes(images.map(({ volume }) => volume))).restore(images),
    fork: async (spec) => (await ofPoint(spec.point)).fork(spec),
    freeze: async (point, volumes, hold) => (await ofVolumes(volumes)).freeze(point, volumes, hold),
    digest: async (volume, point) => (await ofPoint(point)).digest(volume, point),
    changedChunks: async (range) => (await ofPoint(range.to as PointId)).changedChunks(range),

    // --- by point ---------------------------------------------------------------------------------------------------
    dropPoint: async (id) => (await ofPoint(id)).dropPoint(id),
    changePoint: async (id, tag) => (await ofPoint(id)).changePoint(id, tag),
    hold: async (point, holder) => (await ofPoint(point)).hold(point, holder),
    release: async (point, holder) => (await ofPoint(point)).release(point, holder),
    point: async (id) => (await ofPoint(id)).point(id),
    pointsOf: async (volumes, since) => (await ofVolumes(volumes)).pointsOf(volumes, since),

    // --- by session -------------------------------------------------------------------------------------------------
    createHalf: async (half) => (await ofVolumes(half.pairs.map(({ local }) => local))).createHalf(half),
    changeHalf: async (session, change) => (await ofHalf(session)).changeHalf(session, change),
    removeHalf: async (session) => (await ofHalf(session)).removeHalf(session),
    half: async (session) => (await ofHalf(session)).half(session),
    settled: async (session) => (await ofHalf(session)).settled(session),
    advanceBase: async (session, generation, base) => (await ofHalf(session)).advanceBase(session, generation, base),
    resetBase: async (session, generation, base) => (await ofHalf(session)).resetBase(session, generation, base),
    abandonStage: async (session, cycle) => (await ofHalf(session)).abandonStage(session, cycle),
    seal: async (session, proposal, point) => (await ofHalf(session)).seal(session, proposal, point),
    unseal: async (session, proposal) => (await ofHalf(session)).unseal(session, proposal),
    refuseProposal: async (session, proposal) => (await ofHalf(session)).refuseProposal(session, proposal),
    startTest: async (session, test, from) => (await ofHalf(session)).startTest(session, test, from),
    stopTest: async (session, test, keep) => (await ofHalf(session)).stopTest(session, test, keep),
    promote: async (session, promotion) => (await ofHalf(session)).promote(session, promotion),
    demote: async (session, learned, base, preserve) =>
      (await ofHalf(session)).demote(session, learned, base, preserve),
    ship: async (order) => (await ofHalf(order.plan.session)).ship(order),
    // The session may have moved since its order began.
    cancelShip: (session) => everywhere((one) => one.cancelShip(session)),
    progress: async (session) => (await ofHalf(session)).progress(session),

    // --- everywhere -------------------------------------------------------------------------------------------------
    volumes: async () => unique(await gathered((one) => one.volumes()), ({ id }) => id),
    points: async () => unique(await gathered((one) => one.points()), ({ id }) => id),
    halves: async () => unique(await gathered((one) => one.halves()), ({ session }) => session),
    tombstone: async (session) =>
      (await gathered(async (one) => [await one.tombstone(session)])).find((stone) => stone !== undefined),
    appliances: async () => {
      const found = await Promise.all(all.map(([id, one]) => one.appliances().catch(() => [{ id }] as const)));
      return found.flat();
    },
    usage: async () => {
      const usages = await Promise.all(all.map(([, one]) => one.usage()));
      const sum = (key: keyof (typeof usages)[number]) => usages.reduce((total, usage) => total + usage[key], 0);
      return {
        total_bytes: sum('total_bytes'),
        free_bytes: sum('free_bytes'),
        log_bytes: sum('log_bytes'),
        data_bytes: sum('data_bytes'),
        live_bytes: sum('live_bytes'),
      };
    },
    writeState: async () => {
      const states = await Promise.all(all.map(([, one]) => one.writeState()));
      return states.find(({ kind }) => kind === 'stopped') ?? { kind: 'running' };
    },
    ioCounters: async () => addedUp(await gathered((one) => one.ioCounters())),
    // One host may come in at several of them: whoever reads this adds up.
    hostCounters: () => gathered((one) => one.hostCounters()),
    setAccess: (hosts) => everywhere((one) => one.setAccess(hosts)),
    setLimits: (limits) => everywhere((one) => one.setLimits(limits)),
    setPeers: (peers) => everywhere((one) => one.setPeers(peers)),
    // Every one of them may be where a cycle comes in.
    admit: (session, admission) => everywhere((one) => one.admit(session, admission)),
    startScrub: async (options) => together(await Promise.all(all.map(([, one]) => one.startScrub(options))))!,
    scrubStatus: async () => together(await Promise.all(all.map(([, one]) => one.scrubStatus()))),
    stopScrub: async () => together(await Promise.all(all.map(([, one]) => one.stopScrub()))),

    // --- moves: of one appliance, and asked of it ---------------------------------------------------------------------
    unitOf: async (volumes) => (await ofVolumes(volumes)).unitOf(volumes),
    depart: elsewhere,
    stay: elsewhere,
    departed: elsewhere,
    adopt: elsewhere,
    settleArrival: elsewhere,
    forgetArrival: elsewhere,
    move: elsewhere,
    moveProgress: elsewhere,
    cancelMove: elsewhere,
    departures: () => gathered((one) => one.departures()),
    arrivals: () => gathered((one) => one.arrivals()),

    // --- the first one's --------------------------------------------------------------------------------------------
    addresses: () => first.addresses(),
    probePeer: (peer) => first.probePeer(peer),
  };

  /** What is on its way to another appliance is waited for: who asks need not know that it moves. */
  const patient = async (call: (...args: unknown[]) => Promise<unknown>, args: unknown[]): Promise<unknown> => {
    const end = clock.monotonic() + movingMost_ms;
    for (;;) {
      try {
        return await call(...args);
      } catch (error) {
        if (!isBlockError(error) || error.code !== 'moved' || clock.monotonic() > end) throw error;
        owners.forget();
        await clock.sleep(moving_ms);
      }
    }
  };
  const patiently = Object.fromEntries(
    Object.entries(calls).map(([name, call]) => [
      name,
      (...args: unknown[]) => patient(call as (...args: unknown[]) => Promise<unknown>, args),
    ]),
  ) as unknown as typeof calls;

  return {
    ...patiently,
    plane,
    applianceOf: (volume) => owners.ofVolume(volume),
    moved: () => owners.moved(),
    onEvent(listener: (event: DataPlaneEvent) => void) {
      const ends = all.map(([appliance, one]) =>
        one.onEvent((event) => {
          if (event.kind === 'up') owners.forget();
          listener({ ...event, appliance });
        }),
      );
      return () => {
        for (const end of ends) end();
      };
    },
  };
}

const elsewhere = (): Promise<never> => Promise.reject(new Error('a move is asked of the appliance that it concerns'));

/** How often, and how long at most, a call waits for what moves. */
const moving_ms = 25;
const movingMost_ms = 20_000;

/** What has just arrived is, for a moment, where it came from as well: it is shown as it is where it stays. */
function unique<T extends { readonly departing?: true }>(items: readonly T[], key: (item: T) => string): readonly T[] {
  const seen = new Set<string>();
  return [...items]
    .sort((a, b) => Number(a.departing ?? false) - Number(b.departing ?? false))
    .filter((item) => !seen.has(key(item)) && seen.add(key(item)));
}

/** What hosts did with a volume counts where it was done: a volume that moved has counters at both places. */
function addedUp(all: readonly IoCounters[]): readonly IoCounters[] {
  const byVolume = new Map<string, Record<string, number>>();
  for (const { volume, counters } of all) {
    const sums = byVolume.get(volume) ?? {};
    for (const [name, value] of Object.entries(counters)) sums[name] = (sums[name] ?? 0) + value;
    byVolume.set(volume, sums);
  }
  return [...byVolume].map(([volume, counters]) => ({ volume, counters }));
}

/** Scrubs of all appliances as one: it runs while any runs. */
function together(statuses: readonly (ScrubStatus | undefined)[]): ScrubStatus | undefined {
  const known = statuses.filter((status) => status !== undefined);
  const [one] = known;
  if (one === undefined || known.length === 1) return one;
  const sum = (read: (status: ScrubStatus) => number) => known.reduce((total, status) => total + read(status), 0);
  const running = known.some(({ state }) => state === 'running');
  const completed = known.every(({ state }) => state === 'completed');
  const ends = known.flatMap(({ ended_ms }) => (ended_ms === undefined ? [] : [ended_ms]));
  return {
    id: one.id,
    state: running ? 'running' : completed ? 'completed' : 'stopped',
    started_ms: Math.min(...known.map(({ started_ms }) => started_ms)),
    ...(!running && ends.length > 0 && { ended_ms: Math.max(...ends) }),
    rate_bytes_per_s: sum(({ rate_bytes_per_s }) => rate_bytes_per_s),
    verified_bytes: sum(({ verified_bytes }) => verified_bytes),
    total_bytes: sum(({ total_bytes }) => total_bytes),
    damage_count: sum(({ damage_count }) => damage_count),
    damages: known.flatMap(({ damages }) => damages),
  };
}
