import type { Clock, Random } from '@antipode/base';
import type { Suspension } from '@antipode/replication';
import type { ClusterDataPlane } from '../appliances/cluster-data-plane.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { ClusterConfig, HostPort } from '../config.ts';
import type { DataPlane } from '../local/api.ts';
import { MigrationService } from '../migrations/migration-service.ts';
import { remoteStore, showLink, trustStore } from '../replication/catalog-stores.ts';
import { Pairing } from '../replication/pairing.ts';
import { peerAnswers } from '../replication/peer-answers.ts';
import type { CallPeer } from '../replication/peer-network.ts';
import type { Hello, PeerIdentity } from '../replication/peer-wire.ts';
import { RemoteSystems } from '../replication/remote-systems.ts';
import { sessionHandlers } from '../replication/session-handlers.ts';
import { Sessions } from '../replication/sessions.ts';
import { AccessPublisher } from '../services/access-table.ts';
import { CatalogWatch } from '../services/catalog-watch.ts';
import { VolumeGroupService } from '../services/groups.ts';
import { HostService } from '../services/hosts.ts';
import { ioLimitRuleHandlers } from '../services/io-limit-rules.ts';
import { LimitPublisher } from '../services/io-limits.ts';
import { JobRunner } from '../services/jobs.ts';
import { MappingService } from '../services/mappings.ts';
import { Reporter } from '../services/occurrences.ts';
import { PolicyService } from '../services/policies.ts';
import { ScrubService } from '../services/scrubs.ts';
import { SnapshotScheduler } from '../services/snapshot-rules/snapshot-scheduler.ts';
import { SnapshotService } from '../services/snapshots.ts';
import { UnfinishedAssignments } from '../services/unfinished-assignments.ts';
import { VolumeLife } from '../services/volume-life.ts';
import { VolumeService } from '../services/volumes.ts';
import { builtInSoftware } from '../software/version.ts';
import { firstAppliance } from '../supervisor/appliances.ts';
import { reportUnexplained } from './check-catalog.ts';

export interface ClusterServicesParts {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  /** The same, appliance by appliance; absent: volumes do not move. */
  readonly cluster?: Pick<ClusterDataPlane, 'plane' | 'moved'>;
  /** Dates and schedules. */
  readonly clock: Clock;
  /** What waits for processes, peers and people. Absent: `clock`. */
  readonly waits?: Clock;
  readonly random: Random;
  readonly call: CallPeer;
  readonly identity: { readonly serial: string; readonly certificate: string };
  /** Of the software that runs, as peers are told; absent: of this code. */
  readonly version?: string;
  readonly config: Pick<ClusterConfig, 'name' | 'heartbeat_ms' | 'localPauseResume' | 'schedule' | 'cyclesAtOnce'>;
  /** Where peers and users reach this cluster; known once everything listens, asked for when needed. */
  readonly addresses: () => { readonly management: string; readonly peer: HostPort; readonly data: HostPort };
  /** The certificates that the peer server trusts are others now. */
  readonly trustChanged: () => void;
  readonly onError: (error: unknown, what: string) => void;
  /** How often is looked for what no event tells; absent: as the limits of each say. */
  readonly looks?: { readonly objectives_ms: number; readonly rules_ms: number; readonly expiry_ms: number };
}

/** What pauses sessions for the system and outlives a process: an upgrade, a migration. */
export interface Suspender {
  /** Goes on where the last process was. */
  start(): void;
  /** Whether a pause is for something that is still under way. */
  stands(suspension: Suspension): boolean;
}

export type ClusterServices = ReturnType<typeof makeClusterServices>;

/**
 * What management does apart from its sockets and files: sessions, volumes, groups, snapshots, policies, peers. All it meets of the
 * world are its ports; the management process gives it the machine's, the simulator its own. Nothing runs before `start`.
 */
export function makeClusterServices(parts: ClusterServicesParts) {
  const { catalog, dataPlane, clock, waits = clock, random, identity, config, addresses, onError } = parts;
  const version = parts.version ?? builtInSoftware.build_version;
  const reporter = new Reporter(catalog, clock, random);
  const jobs = new JobRunner(catalog, waits, random);
  const clusterName = () => String(catalog.get('cluster', '0')?.name ?? config.name);
  const self = (): PeerIdentity => {
    const { management, peer, data } = addresses();
    return {
      serial: identity.serial,
      name: clusterName(),
      version,
      certificate: identity.certificate,
      managementAddress: management,
      peer,
      data,
    };
  };
  const hello = (): Hello => {
    const { peer, data } = addresses();
    return {
      serial: identity.serial,
      name: clusterName(),
      version,
      now_ms: clock.now(),
      peer,
      data,
      appliances: catalog.list('appliance').map(({ id, name, model }) => ({
        id,
        name: String(name),
        model: String(model),
      })),
    };
  };

  const trust = trustStore(catalog);
  const showTrust = () => {
    parts.trustChanged();
    dataPlane.setPeers(trust.list().map(({ fingerprint }) => ({ fingerprint }))).catch(() => undefined);
  };
  const remotes = new RemoteSystems({
    clock: waits,
    random,
    dataPlane,
    call: parts.call,
    heartbeat_ms: config.heartbeat_ms,
    remotes: remoteStore(catalog),
    trust,
    hello,
    self,
    trustChanged: showTrust,
    entered: () => sessions.lost.due(),
    linkChanged: (record, state, before) => {
      showLink(catalog, record, state);
      const about = { type: 'remote_system', id: record.id, name: record.name };
      if (state.up && !before.up) {
        reporter.clear('link_lost', about);
        reporter.tell('link_back', about);
      }
      if (!state.up && before.up) reporter.tell('link_lost', about);
      if (state.up !== before.up) sessions.linkChanged(record, state.up);
      if (state.up && !before.up) void unfinished.retry();
    },
  });
  const sessions: Sessions = new Sessions({
    catalog,
    dataPlane,
    clock,
    waits,
    random,
    remotes,
    reporter,
    site: identity.serial,
    localPauseResume: config.localPauseResume,
    schedule: config.schedule,
    cyclesAtOnce: config.cyclesAtOnce,
    ...(parts.looks && { objectivesEvery_ms: parts.looks.objectives_ms }),
    snapshotRules: { ruleChanged: (id) => scheduler.ruleChanged(id), ruleGone: (id) => scheduler.ruleGone(id) },
  });
  const unfinished = new UnfinishedAssignments({ catalog, replication: sessions, clock: waits, reporter });
  const access = new AccessPublisher(catalog, dataPlane);
  const limits = new LimitPublisher(catalog, dataPlane);
  const mappings = new MappingService(catalog, random, access);
  const hosts = new HostService(catalog, random, mappings, access);
  const storage = { catalog, dataPlane, clock, random };
  const snapshots = new SnapshotService(storage);
  const life = new VolumeLife(storage, snapshots);
  const groups = new VolumeGroupService({ ...storage, replication: sessions, unfinished, snapshots, life });
  const volumes = new VolumeService({
    ...storage,
    replication: sessions,
    unfinished,
    snapshots,
    life,
    mappings,
    groups: () => groups,
  });
  const scheduler: SnapshotScheduler = new SnapshotScheduler({
    catalog,
    clock,
    reporter,
    snapshots,
    ...(parts.looks && { lookMost_ms: parts.looks.rules_ms, expireEvery_ms: parts.looks.expiry_ms }),
  });
  const policies = new PolicyService(catalog, random, sessions, unfinished, scheduler);
  const scrubs = new ScrubService({ dataPlane, jobs, reporter, clock: waits });
  const migrations =
    parts.cluster &&
    new MigrationService({ ...{ catalog, reporter, random, sessions }, cluster: parts.cluster, clock: waits });
  const pairing = new Pairing({ catalog, remotes, trust, reporter, self });
  const watch = new CatalogWatch({
    catalog,
    clock: waits,
    reporter,
    about: () => ({ type: 'cluster', id: '0', name: clusterName() }),
    resumed: () => {
      sessions.catchUp();
      void unfinished.retry();
    },
  });

  return {
    clusterName,
    storage,
    reporter,
    jobs,
    trust,
    remotes,
    sessions,
    scrubs,
    pairing,
    /** Answers what peers ask. */
    answer: peerAnswers({ clock: waits, remotes, trust, sessions, pairing, hello }),
    /** The verbs of what these services keep. */
    handlers: () => ({
      ...limits.holding({
        ...volumes.handlers(),
        ...groups.handlers(),
        ...policies.handlers(),
        ...ioLimitRuleHandlers(catalog, random),
      }),
      ...mappings.handlers(),
      ...hosts.handlers(),
      ...pairing.handlers(),
      ...sessionHandlers(catalog, sessions),
      ...migrations?.handlers(),
    }),
    /**
     * Puts catalog and engine together and sets everything in motion [C7.2]. `rebuild`: what a catalog that was lost is made anew
     * with, before anything relies on it. `suspenders`: who may have paused sessions before this process was started.
     */
    async start(
      rebuild: () => Promise<void> = async () => undefined,
      suspenders: readonly Suspender[] = [],
    ): Promise<void> {
      dataPlane.onEvent((event) => {
        const applianceId = event.appliance ?? firstAppliance;
        if (event.kind === 'up') {
          showTrust();
          access.publish().catch((error: unknown) => onError(error, 'hosts cannot be told of'));
          limits.again().catch((error: unknown) => onError(error, 'limits cannot be told of'));
        }
        if (event.kind === 'damage')
          reporter.tell(
            'damage',
            {
              type: 'volume',
              id: event.volume ?? applianceId,
              name: (event.volume && catalog.get('volume', event.volume)?.name) ?? applianceId,
            },
            event.detail,
          );
        if (event.kind === 'writes_stopped') reporter.tell('writes_stopped', about(applianceId), event.detail);
        if (event.kind === 'writes_resumed') writesResumed(reporter, applianceId);
        if (event.kind === 'up') void showWriteState(dataPlane, reporter);
        scrubs.event(event);
        sessions.dataPlaneEvent(event);
      });
      showTrust();
      await access.publish();
      await limits.again();
      // Where volumes are comes before anything that asks them, or enters them.
      await migrations?.recover();
      await rebuild();
      await volumes.recover();
      await showWriteState(dataPlane, reporter);
      groups.recover();
      await reportUnexplained(catalog, dataPlane, reporter);
      remotes.start();
      await sessions.start();
      unfinished.recover();
      for (const suspender of suspenders) suspender.start();
      sessions.reconcileSuspensions((suspension) => suspenders.some((one) => one.stands(suspension)));
    },
    /** Snapshot rules begin to fire: when everything else is in place. */
    startSchedules: () => {
      watch.start();
      scheduler.start();
      migrations?.start();
    },
    stop(): void {
      watch.stop();
      scrubs.close();
      migrations?.stop();
      scheduler.stop();
      unfinished.stop();
      sessions.stop();
      remotes.stop();
    },
  };
}

/** What a data plane that has started, or management that has, did not hear of. */
async function showWriteState(dataPlane: DataPlane, reporter: Reporter): Promise<void> {
  for (const { id, writes } of await dataPlane.appliances().catch(() => [])) {
    if (writes?.kind === 'stopped') reporter.tell('writes_stopped', about(id), writes.detail);
    const isTold = reporter.active('writes_stopped').some(({ resource_id }) => resource_id === id);
    if (writes?.kind === 'running' && isTold) writesResumed(reporter, id);
  }
}

function writesResumed(reporter: Reporter, appliance: string): void {
  reporter.clear('writes_stopped', about(appliance));
  reporter.tell('writes_resumed', about(appliance));
}

const about = (appliance: string) => ({ type: 'appliance', id: appliance, name: appliance });
