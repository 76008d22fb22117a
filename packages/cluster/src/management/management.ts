import { getServers } from 'node:dns';
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { pacedClocks, systemClock, systemRandom, volumeId } from '@antipode/base';
import pino from 'pino';
import { Catalog } from '../catalog/catalog.ts';
import { timestamp } from '../catalog/documents.ts';
import type { ClusterConfig, HostPort } from '../config.ts';
import type { DataPlane } from '../local/api.ts';
import { connectDataPlane } from '../local/client.ts';
import { startMetrics } from '../metrics/start-metrics.ts';
import { remoteStore, showLink, trustStore } from '../replication/catalog-stores.ts';
import { Pairing } from '../replication/pairing.ts';
import { peerAnswers } from '../replication/peer-answers.ts';
import { startPeerServer } from '../replication/peer-server.ts';
import type { Hello, PeerIdentity } from '../replication/peer-wire.ts';
import { RemoteSystems } from '../replication/remote-systems.ts';
import { sessionHandlers } from '../replication/session-handlers.ts';
import { Sessions } from '../replication/sessions.ts';
import { buildRestApp } from '../rest/app.ts';
import { restLimits } from '../rest/limits.ts';
import type { RestOptions } from '../rest/options.ts';
import { Authenticator } from '../security/authenticator.ts';
import { ensureKeyPair } from '../security/certificates.ts';
import { loadLinkIdentity } from '../security/link-identity.ts';
import { AccessPublisher } from '../services/access-table.ts';
import { changedBlocksHandlers } from '../services/changed-blocks.ts';
import { cloneHandlers } from '../services/clone-rules.ts';
import { VolumeGroupService } from '../services/groups.ts';
import { HostService } from '../services/hosts.ts';
import { ioLimitRuleHandlers } from '../services/io-limit-rules.ts';
import { LimitPublisher } from '../services/io-limits.ts';
import { JobRunner } from '../services/jobs.ts';
import { MappingService } from '../services/mappings.ts';
import { metricsHandlers } from '../services/metrics.ts';
import { Reporter } from '../services/occurrences.ts';
import { enterPlatform, platformHandlers } from '../services/platform.ts';
import { enterMachine } from '../services/platform-network.ts';
import { PolicyService } from '../services/policies.ts';
import { ScrubService } from '../services/scrubs.ts';
import { SnapshotScheduler } from '../services/snapshot-rules/snapshot-scheduler.ts';
import { SnapshotService } from '../services/snapshots.ts';
import { SoftwarePackages } from '../services/software-packages.ts';
import { Upgrades } from '../services/upgrades.ts';
import { UserService } from '../services/users.ts';
import { VolumeLife } from '../services/volume-life.ts';
import { VolumeService } from '../services/volumes.ts';
import { Webhook, type WebhookDeps } from '../services/webhook.ts';
import type { SupervisorLink } from '../supervisor/child.ts';
import { ChosenPorts, dataPlaneSocket, listenOn, places } from '../supervisor/data-dir.ts';
import type { SoftwareState } from '../supervisor/messages.ts';
import type { ClusterReady } from '../supervisor/supervisor.ts';
import { auditRequest } from './audit.ts';
import { checkCatalog, reportUnexplained } from './check-catalog.ts';
import { ownRoutes } from './own-routes.ts';
import { rebuildCatalog } from './rebuild-catalog.ts';
import { rebuildDone, rebuildRequested } from './rebuild-request.ts';
import { checkManagement } from './self-check.ts';

const backupEvery_ms = 6 * 3_600_000;
/** How often what the catalog could not store is tried again. */
const settleEvery_ms = 2_000;

/** The management process: REST, sessions, catalog. Its loss does not stop hosts' I/O [C9.1]. */
export async function startManagement(config: ClusterConfig, software: SoftwareState, supervisor: SupervisorLink) {
  process.chdir(config.dataDir);
  // What is dated or scheduled goes by `clock`; what waits for processes, peers and people waits as long as it says.
  const { dates: clock, waits } = pacedClocks(systemClock, config.pace);
  const random = systemRandom;
  const log = pino(
    { level: config.logLevel, base: { cluster: config.name } },
    pino.destination({ dest: 2, sync: false }),
  );
  const identity = await loadLinkIdentity(config.dataDir);
  const ports = new ChosenPorts(config.dataDir);
  const dataPlane = connectDataPlane(dataPlaneSocket('A1'), waits);
  await dataPlane.ready();
  const catalog = new Catalog(places(config.dataDir).catalog);
  const rebuild = rebuildRequested(config.dataDir);
  await checkCatalog(catalog, dataPlane, rebuild);
  const reporter = new Reporter(catalog, clock, random);
  showPace(config, catalog, reporter);
  const webhook = startWebhook(config, {
    cluster: () => ({ name: clusterName(), serial: identity.serial }),
    clock: waits,
    random,
    failing: (reason) => {
      const about = { type: 'cluster', id: '0', name: clusterName() };
      if (reason === undefined) reporter.clear('webhook_failing', about);
      else reporter.tell('webhook_failing', about, reason);
    },
  });
  if (webhook !== undefined) reporter.listen((told) => webhook.send(told));
  const authenticator = new Authenticator(catalog, waits, random);
  const generatedPassword = await authenticator.ensureFirstAdministrator(config.adminPassword);
  const jobs = new JobRunner(catalog, waits, random);
  jobs.recover(Upgrades.jobOf(catalog));

  // Addresses are known once everything listens; those who ask before get what there is.
  const addresses = await dataPlane.addresses();
  let restAddress: HostPort = config.listen;
  let peerAddress: HostPort = config.peer;
  const clusterName = () => String(catalog.get('cluster', '0')?.name ?? config.name);
  const reachedAt = () => ({
    peer: config.advertise.peer ?? { host: reachable(config.peer.host), port: peerAddress.port },
    data: config.advertise.replication ?? {
      host: reachable(config.replication.host),
      port: addresses.replication.port,
    },
  });
  const self = (): PeerIdentity => ({
    serial: identity.serial,
    name: clusterName(),
    version: software.software.build_version,
    certificate: identity.certificate,
    managementAddress: `${reachable(restAddress.host)}:${restAddress.port}`,
    ...reachedAt(),
  });
  const hello = async (): Promise<Hello> => ({
    serial: identity.serial,
    name: clusterName(),
    version: software.software.build_version,
    now_ms: clock.now(),
    free_bytes: (await dataPlane.usage()).free_bytes,
    ...reachedAt(),
  });

  const trust = trustStore(catalog);
  const showTrust = () => {
    peerServer?.trustChanged();
    dataPlane.setPeers(trust.list().map(({ fingerprint }) => ({ fingerprint }))).catch(() => undefined);
  };
  const remotes = new RemoteSystems({
    clock: waits,
    random,
    dataPlane,
    identity,
    heartbeat_ms: config.heartbeat_ms,
    remotes: remoteStore(catalog),
    trust,
    hello,
    self,
    trustChanged: showTrust,
    linkChanged: (record, state, before) => {
      showLink(catalog, record, state);
      const about = { type: 'remote_system', id: record.id, name: record.name };
      if (state.up && !before.up) {
        reporter.clear('link_lost', about);
        reporter.tell('link_back', about);
      }
      if (!state.up && before.up) reporter.tell('link_lost', about);
      if (state.up !== before.up) sessions.linkChanged(record, state.up);
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
    snapshotRules: { ruleChanged: (id) => scheduler.ruleChanged(id), ruleGone: (id) => scheduler.ruleGone(id) },
  });
  const access = new AccessPublisher(catalog, dataPlane);
  const limits = new LimitPublisher(catalog, dataPlane);
  const mappings = new MappingService(catalog, random, access);
  const hosts = new HostService(catalog, random, mappings, access);
  const storage = { catalog, dataPlane, clock, random };
  const snapshots = new SnapshotService(storage);
  const life = new VolumeLife(storage, snapshots);
  const groups = new VolumeGroupService({ ...storage, replication: sessions, snapshots, life });
  const volumes = new VolumeService({
    ...storage,
    replication: sessions,
    snapshots,
    life,
    mappings,
    groups: () => groups,
  });
  const scheduler: SnapshotScheduler = new SnapshotScheduler({ catalog, clock, reporter, snapshots });
  const policies = new PolicyService(catalog, random, sessions, scheduler);
  const scrubs = new ScrubService({ dataPlane, jobs, reporter, clock: waits });
  const packages = new SoftwarePackages({
    ...storage,
    reporter,
    dataDir: config.dataDir,
    running: software.software,
    release: software.release,
  });
  const upgrades = new Upgrades({ catalog, random, reporter, jobs, packages, sessions, supervisor, software });
  const pairing = new Pairing({ catalog, remotes, trust, reporter, self });
  const answer = peerAnswers({ clock: waits, remotes, trust, sessions, pairing, hello });
  const onError = (error: unknown) => log.error({ err: error }, 'a request of a peer failed');
  const peerServer = await listenOn(ports, 'peer', config.peer.port, (port) =>
    startPeerServer({ listen: { host: config.peer.host, port }, identity, trusted: trust.list, answer, onError }),
  );
  peerAddress = peerServer.address;
  ports.set('peer', peerAddress.port);

  dataPlane.onEvent((event) => {
    if (event.kind === 'up') {
      showTrust();
      access.publish().catch((error: unknown) => log.error({ err: error }, 'hosts cannot be told of'));
      limits.again().catch((error: unknown) => log.error({ err: error }, 'limits cannot be told of'));
    }
    if (event.kind === 'damage')
      reporter.tell(
        'damage',
        {
          type: 'volume',
          id: event.volume ?? 'A1',
          name: (event.volume && catalog.get('volume', event.volume)?.name) ?? 'A1',
        },
        event.detail,
      );
    if (event.kind === 'writes_stopped') reporter.tell('writes_stopped', appliance, event.detail);
    if (event.kind === 'writes_resumed') writesResumed(reporter);
    if (event.kind === 'up') void showWriteState(dataPlane, reporter);
    scrubs.event(event);
    sessions.dataPlaneEvent(event);
  });
  showTrust();
  await access.publish();
  await limits.again();
  if (rebuild) {
    log.warn(await rebuildCatalog(storage), 'the catalog was rebuilt from the log');
    rebuildDone(config.dataDir);
  }
  await volumes.recover();
  await showWriteState(dataPlane, reporter);
  groups.recover();
  await reportUnexplained(catalog, dataPlane, reporter);
  remotes.start();
  await sessions.start();
  packages.recover();
  upgrades.start();
  sessions.reconcileSuspensions((suspension) => upgrades.stands(suspension));
  const metrics = await startMetrics({
    directory: places(config.dataDir).catalog,
    catalog,
    dataPlane,
    clock,
    figures: (id) => sessions.figures(id),
    onError: (error) => log.warn({ err: error }, 'figures could not be measured'),
  });
  scheduler.start();

  const tls = await serverCertificate(config);
  const audit: RestOptions['audit'] = (request, principal, operation, status) => {
    auditRequest(catalog, random, clock.now(), request, principal, operation, status);
    catalog.trim('audit_event', restLimits.audits);
  };
  const app = await buildRestApp({
    catalog,
    authenticator,
    clock: waits,
    jobs,
    version: software.software.build_version,
    tls,
    handlers: {
      ...limits.holding({
        ...volumes.handlers(),
        ...groups.handlers(),
        ...policies.handlers(),
        ...ioLimitRuleHandlers(catalog, random),
      }),
      ...changedBlocksHandlers(catalog, dataPlane),
      ...metricsHandlers(catalog, metrics.store, clock),
      ...mappings.handlers(),
      ...hosts.handlers(),
      ...new UserService(catalog, random, authenticator).handlers(),
      ...cloneHandlers(catalog, random),
      ...pairing.handlers(),
      ...sessionHandlers(catalog, sessions),
      ...upgrades.handlers(),
      ...platformHandlers(catalog, () => clock.now()),
    },
    uploads: { 'software_package.create': (context, file) => packages.upload(context, file) },
    refresh: async (resource, id) => {
      if (resource === 'cluster') catalog.live('cluster', '0', { system_time: timestamp(clock.now()) });
      if (resource === 'replication_session') sessions.refresh();
      if (resource === 'volume' && id !== undefined && catalog.get('volume', id)?.type !== 'Snapshot') {
        const usage = await dataPlane.volumeUsage(volumeId(id)).catch(() => undefined);
        if (usage !== undefined) catalog.live('volume', id, { logical_used: usage.logical_bytes });
      }
    },
    loginSession: (principal) => ({
      id: principal.session?.id ?? '0',
      user: principal.user,
      role_ids: principal.roleIds,
      idle_timeout: authenticator.idleTimeout_s,
      is_password_change_required: principal.mustChangePassword,
      is_built_in_user: principal.isBuiltIn,
    }),
    own: (own, guard) => ownRoutes(own, guard, { catalog, dataPlane, clock, sessions, pairing, scrubs, audit }),
    audit,
    onError: (error, requestId) => log.error({ err: error, request: requestId }, 'a request failed'),
  });
  const port = await listenOn(ports, 'listen', config.listen.port, async (wanted) => {
    await app.listen({ host: config.listen.host, port: wanted });
    return (app.server.address() as { port: number }).port;
  });
  ports.set('listen', port);
  restAddress = { host: config.listen.host, port };
  enterPlatform(catalog, {
    serial: identity.serial,
    name: config.name,
    managementAddress: `${reachable(config.listen.host)}:${port}`,
    now_ms: clock.now(),
    software: software.software,
  });
  enterMachine(catalog, {
    serial: identity.serial,
    interfaces: networkInterfaces(),
    nameServers: getServers(),
    reached: [
      { host: reachable(config.listen.host), purpose: 'Mgmt_Cluster_Floating' },
      { host: reachedAt().data.host, purpose: 'External_Replication' },
    ],
  });

  const backup = () => {
    try {
      catalog.backup(new Date(clock.now()).toISOString().replaceAll(/[:.]/g, '-'));
    } catch (error) {
      log.warn({ err: error }, 'the catalog could not be copied');
    }
  };
  const nextSettle = () => {
    settling = waits.after(settleEvery_ms, () => {
      catalog.settle();
      nextSettle();
    });
  };
  let settling = waits.after(0, () => undefined);
  nextSettle();
  const nextBackup = () => {
    timer = waits.after(backupEvery_ms, () => {
      backup();
      nextBackup();
    });
  };
  let timer = waits.after(0, () => undefined);
  nextBackup();
  const info: ClusterReady = {
    url: `https://${bracketed(reachable(config.listen.host))}:${port}`,
    nbd: addresses.nbd,
    username: 'admin',
    ...(generatedPassword !== undefined && { generatedPassword }),
  };
  return {
    info: info as unknown as Readonly<Record<string, unknown>>,
    check: () => checkManagement(info.url, dataPlane),
    async stop() {
      timer.cancel();
      settling.cancel();
      await app.close();
      scrubs.close();
      metrics.stop();
      scheduler.stop();
      webhook?.stop();
      sessions.stop();
      remotes.stop();
      await peerServer.close();
      dataPlane.close();
      catalog.close();
    },
  };
}

/** Whoever looks at dates must know when they are a lab's. */
function showPace({ name, pace }: ClusterConfig, catalog: Catalog, reporter: Reporter): void {
  const about = { type: 'cluster', id: '0', name: String(catalog.get('cluster', '0')?.name ?? name) };
  reporter.clear('clock_paced', about);
  if (pace !== undefined && pace.rate !== 1) reporter.tell('clock_paced', about, String(pace.rate));
}

/** What a data plane that has started, or management that has, did not hear of. */
async function showWriteState(dataPlane: DataPlane, reporter: Reporter): Promise<void> {
  const state = await dataPlane.writeState().catch(() => undefined);
  if (state?.kind === 'stopped') reporter.tell('writes_stopped', appliance, state.detail);
  if (state?.kind === 'running' && reporter.active('writes_stopped').length > 0) writesResumed(reporter);
}

function writesResumed(reporter: Reporter): void {
  reporter.clear('writes_stopped', appliance);
  reporter.tell('writes_resumed', appliance);
}

const appliance = { type: 'appliance', id: 'A1', name: 'A1' };

/** An address that others can use: a listener on all interfaces is reached by this machine's own. */
const reachable = (host: string): string => (host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host);
const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

function startWebhook(config: ClusterConfig, deps: Omit<WebhookDeps, 'url' | 'secret'>): Webhook | undefined {
  if (config.webhook === undefined) return undefined;
  const { url, secretFile } = config.webhook;
  const secret = secretFile === undefined ? undefined : readFileSync(secretFile, 'utf8').split(/\r?\n/)[0];
  return new Webhook({ url, ...deps, ...(secret !== undefined && { secret }) });
}

async function serverCertificate(config: ClusterConfig): Promise<{ readonly cert: string; readonly key: string }> {
  if (config.tls !== undefined)
    return { cert: readFileSync(config.tls.certFile, 'utf8'), key: readFileSync(config.tls.keyFile, 'utf8') };
  const hosts = [...new Set(['localhost', '127.0.0.1', '::1', reachable(config.listen.host)])];
  const pair = await ensureKeyPair(places(config.dataDir).keys, 'rest', config.name, hosts);
  return { cert: pair.certificate, key: pair.privateKey };
}
