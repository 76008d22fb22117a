import { getServers } from 'node:dns';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { assert, pacedClocks, systemClock, systemRandom, volumeId } from '@antipode/base';
import pino from 'pino';
import { clusterDataPlane } from '../appliances/cluster-data-plane.ts';
import { Catalog } from '../catalog/catalog.ts';
import { timestamp } from '../catalog/documents.ts';
import type { ClusterConfig, HostPort } from '../config.ts';
import { connectDataPlane } from '../local/client.ts';
import { startMetrics } from '../metrics/start-metrics.ts';
import { httpsCalls } from '../replication/peer-client.ts';
import { type PeerServer, startPeerServer } from '../replication/peer-server.ts';
import { buildRestApp, useCertificate } from '../rest/app.ts';
import { restLimits } from '../rest/limits.ts';
import type { RestOptions } from '../rest/options.ts';
import { Authenticator } from '../security/authenticator.ts';
import { ensureKeyPair, type KeyPair } from '../security/certificates.ts';
import { KeyStore } from '../security/key-store.ts';
import { loadLinkIdentity } from '../security/link-identity.ts';
import { CertificateService } from '../services/certificates.ts';
import { changedBlocksHandlers } from '../services/changed-blocks.ts';
import { cloneHandlers } from '../services/clone-rules.ts';
import { metricsHandlers } from '../services/metrics.ts';
import type { Reporter } from '../services/occurrences.ts';
import { enterPlatform, platformHandlers } from '../services/platform.ts';
import { enterMachine } from '../services/platform-network.ts';
import { SoftwarePackages } from '../services/software-packages.ts';
import { Upgrades } from '../services/upgrades.ts';
import { UserService } from '../services/users.ts';
import { Webhook, type WebhookDeps } from '../services/webhook.ts';
import type { SupervisorLink } from '../supervisor/child.ts';
import { ChosenPorts, dataPlaneSocket, listenOn, lockPart, places } from '../supervisor/data-dir.ts';
import type { SoftwareState } from '../supervisor/messages.ts';
import type { ClusterReady } from '../supervisor/supervisor.ts';
import { auditRequest } from './audit.ts';
import { checkCatalog } from './check-catalog.ts';
import { makeClusterServices } from './cluster-services.ts';
import { ownRoutes } from './own-routes.ts';
import { rebuildCatalog } from './rebuild-catalog.ts';
import { rebuildDone, rebuildRequested } from './rebuild-request.ts';
import { checkManagement } from './self-check.ts';

const backupEvery_ms = 6 * 3_600_000;

/** The management process: REST, sessions, catalog. Its loss does not stop hosts' I/O [C9.1]. */
export async function startManagement(
  config: ClusterConfig,
  {
    appliances,
    software,
    supervisor,
  }: { readonly appliances: readonly string[]; readonly software: SoftwareState; readonly supervisor: SupervisorLink },
) {
  process.chdir(config.dataDir);
  // What is dated or scheduled goes by `clock`; what waits for processes, peers and people waits as long as it says.
  const { dates: clock, waits } = pacedClocks(systemClock, config.pace);
  const random = systemRandom;
  await lockPart(config.dataDir, places(config.dataDir).catalog, clock);
  const log = pino(
    { level: config.logLevel, base: { cluster: config.name } },
    pino.destination({ dest: 2, sync: false }),
  );
  const identity = await loadLinkIdentity(config.dataDir);
  const ports = new ChosenPorts(config.dataDir);
  const planes = new Map(appliances.map((id) => [id, connectDataPlane(() => connect(dataPlaneSocket(id)), waits)]));
  await Promise.all([...planes.values()].map((plane) => plane.ready()));
  const catalog = new Catalog(places(config.dataDir).catalog);
  const dataPlane = clusterDataPlane(planes, (volume) => catalog.get('volume', volume)?.appliance_id, waits);
  const rebuild = rebuildRequested(config.dataDir);
  await checkCatalog(catalog, dataPlane, rebuild);
  // Addresses are known once everything listens; those who ask before get what there is.
  const addresses = await dataPlane.addresses();
  const replicationPort = addresses.replication?.port;
  assert(replicationPort !== undefined, 'the first appliance takes replicated data');
  let restAddress: HostPort = config.listen;
  let peerAddress: HostPort = config.peer;
  const reachedAt = () => ({
    management: `${reachable(restAddress.host)}:${restAddress.port}`,
    peer: config.advertise.peer ?? { host: reachable(config.peer.host), port: peerAddress.port },
    data: config.advertise.replication ?? {
      host: reachable(config.replication.host),
      port: replicationPort,
    },
  });
  const services = makeClusterServices({
    catalog,
    dataPlane,
    cluster: dataPlane,
    clock,
    waits,
    random,
    call: httpsCalls(identity),
    identity,
    config,
    version: software.software.build_version,
    addresses: reachedAt,
    trustChanged: () => peerServer?.trustChanged(),
    onError: (error, what) => log.error({ err: error }, what),
  });
  const { reporter, jobs, trust, sessions, scrubs, pairing, clusterName, storage } = services;
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
  jobs.recover(Upgrades.jobOf(catalog));
  const packages = new SoftwarePackages({
    ...storage,
    reporter,
    dataDir: config.dataDir,
    running: software.software,
    release: software.release,
  });
  await packages.recover();
  const upgrades = new Upgrades({ catalog, random, reporter, jobs, packages, sessions, supervisor, software });
  const onError = (error: unknown) => log.error({ err: error }, 'a request of a peer failed');
  const peerServer: PeerServer = await listenOn(ports, 'peer', config.peer.port, (port) =>
    startPeerServer({
      listen: { host: config.peer.host, port },
      identity,
      trusted: trust.list,
      answer: services.answer,
      onError,
    }),
  );
  peerAddress = peerServer.address;
  ports.set('peer', peerAddress.port);

  await services.start(async () => {
    if (!rebuild) return;
    log.warn(
      await rebuildCatalog(storage, (volume) => dataPlane.applianceOf(volume)),
      'the catalog was rebuilt from the log',
    );
    rebuildDone(config.dataDir);
  }, [upgrades]);
  const metrics = await startMetrics({
    directory: places(config.dataDir).catalog,
    catalog,
    dataPlane,
    clock,
    figures: (id) => sessions.figures(id),
    onError: (error) => log.warn({ err: error }, 'figures could not be measured'),
  });
  services.startSchedules();

  const keys = new KeyStore(places(config.dataDir).keys);
  const tls = await serverCertificate(config, keys);
  const certificates = new CertificateService({
    catalog,
    // Whoever looks at a certificate does so by the world's time.
    clock: systemClock,
    random,
    reporter,
    keys,
    served: tls,
    serve: (pair) => useCertificate(app, pair),
    inFiles: config.tls !== undefined,
    subject: () => ({ name: clusterName(), hosts: hostsOf(config) }),
    link: identity,
  });
  const audit: RestOptions['audit'] = (request, principal, operation, status, job) => {
    auditRequest(catalog, random, clock.now(), request, principal, operation, status, job);
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
      ...certificates.handlers(),
      ...services.handlers(),
      ...changedBlocksHandlers(catalog, dataPlane),
      ...metricsHandlers(catalog, metrics, clock),
      ...new UserService(catalog, random, authenticator).handlers(),
      ...cloneHandlers(catalog, random),
      ...upgrades.handlers(),
      ...platformHandlers(catalog, () => clock.now()),
    },
    uploads: { 'software_package.create': (context, file) => packages.upload(context, file) },
    refresh: async (resource, id) => {
      if (resource === 'cluster') catalog.live('cluster', '0', { system_time: timestamp(clock.now()) });
      if (resource === 'replication_session') sessions.refresh();
      if (resource === 'x509_certificate') certificates.refresh();
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
    appliances,
    serial: identity.serial,
    name: config.name,
    managementAddress: `${reachable(config.listen.host)}:${port}`,
    now_ms: clock.now(),
    software: software.software,
  });
  enterMachine(catalog, {
    appliances,
    serial: identity.serial,
    interfaces: networkInterfaces(),
    nameServers: getServers(),
    reached: [
      { host: reachable(config.listen.host), purpose: 'Mgmt_Cluster_Floating' },
      { host: reachedAt().data.host, purpose: 'External_Replication' },
    ],
  });

  certificates.enter();

  const backup = () => {
    try {
      catalog.backup(new Date(clock.now()).toISOString().replaceAll(/[:.]/g, '-'));
    } catch (error) {
      log.warn({ err: error }, 'the catalog could not be copied');
    }
  };
  const nextBackup = () => {
    timer = waits.after(backupEvery_ms, () => {
      backup();
      certificates.refresh();
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
      await app.close();
      metrics.stop();
      webhook?.stop();
      services.stop();
      await peerServer.close();
      for (const plane of planes.values()) plane.close();
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

/** An address that others can use: a listener on all interfaces is reached by this machine's own. */
const reachable = (host: string): string => (host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host);
const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

function startWebhook(config: ClusterConfig, deps: Omit<WebhookDeps, 'url' | 'secret'>): Webhook | undefined {
  if (config.webhook === undefined) return undefined;
  const { url, secretFile } = config.webhook;
  const secret = secretFile === undefined ? undefined : readFileSync(secretFile, 'utf8').split(/\r?\n/)[0];
  return new Webhook({ url, ...deps, ...(secret !== undefined && { secret }) });
}

/** Names and addresses that a certificate of the REST interface is for. */
const hostsOf = ({ listen }: ClusterConfig): readonly string[] => [
  ...new Set(['localhost', '127.0.0.1', '::1', reachable(listen.host)]),
];

async function serverCertificate(config: ClusterConfig, keys: KeyStore): Promise<KeyPair> {
  if (config.tls !== undefined)
    return {
      certificate: readFileSync(config.tls.certFile, 'utf8'),
      privateKey: readFileSync(config.tls.keyFile, 'utf8'),
    };
  return keys.served() ?? ensureKeyPair(places(config.dataDir).keys, 'rest', config.name, hostsOf(config));
}
