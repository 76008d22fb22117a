import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type SessionId, systemClock, systemRandom } from '@antipode/base';
import { openEmbeddedEngine } from '@antipode/blocks';
import { startNbdServer } from '@antipode/hosts';
import { type Admission, createReceiver, createShipper, plainFingerprint } from '@antipode/replication';
import type { ClusterConfig } from '../config.ts';
import type { KnownPeer } from '../local/api.ts';
import { engineDataPlane } from '../local/engine-data-plane.ts';
import { serveDataPlane } from '../local/server.ts';
import { loadLinkIdentity } from '../security/link-identity.ts';
import { firstAppliance } from '../supervisor/appliances.ts';
import { ChosenPorts, dataPlaneSocket, frameSocket, hostSocket, listenOn, places } from '../supervisor/data-dir.ts';
import { clusterExports, ownExports } from './exports.ts';
import { HostAccessTable } from './host-access.ts';
import { IoStatistics } from './io-statistics.ts';
import { ScrubJob } from './scrub-job.ts';
import { Siblings } from './siblings.ts';

/** Which appliance it is, and which ones the cluster has. */
export interface ApplianceSetting {
  readonly appliance: string;
  readonly appliances: readonly string[];
}

/**
 * The data-plane process of one appliance: its engine, its hosts' sockets and the data connections of replication. Bytes of
 * volumes are here and nowhere else [C9.1]. Hosts may connect to any of them: what another one has is passed on to it.
 */
export async function startDataPlane(config: ClusterConfig, { appliance, appliances }: ApplianceSetting) {
  // Relative socket paths: a Unix socket's is limited to about a hundred bytes, a data directory's is not.
  process.chdir(config.dataDir);
  const clock = systemClock;
  const identity = await loadLinkIdentity(config.dataDir);
  const ports = new ChosenPorts(config.dataDir);
  const engine = await openEmbeddedEngine({ directory: places(config.dataDir).appliance(appliance), clock });
  const admissions = new Map<SessionId, Admission>();
  let peers: readonly KnownPeer[] = [];
  const localSerial = identity.serial;
  const receiverOptions = {
    engine,
    identity,
    clock,
    localSerial,
    peers: () => peers.map((peer) => peer.fingerprint),
    others: appliances.filter((id) => id !== appliance).map(frameSocket),
    // Until management has said so, nothing is taken [C5.3].
    admit: (session: SessionId, from: string | undefined): Admission => {
      const admission = admissions.get(session) ?? { admit: false, code: 'peer_not_ready' };
      const stranger =
        from !== undefined &&
        admission.admit &&
        admission.peer !== undefined &&
        plainFingerprint(admission.peer) !== from;
      return stranger ? { admit: false, code: 'session_unknown' } : admission;
    },
  };
  // A receiver that could not listen is done with: each attempt has its own.
  let receiver = createReceiver(receiverOptions);
  // Hosts and peers know the first one's addresses. Hosts may reach the others directly, at ports of their own.
  const isFirst = appliance === firstAppliance;
  const replication = isFirst
    ? await listenOn(ports, 'replication', config.replication.port, (port) => {
        receiver = createReceiver(receiverOptions);
        return receiver.listen({ host: config.replication.host, port });
      })
    : undefined;
  if (replication !== undefined) ports.set('replication', replication.port);
  rmSync(frameSocket(appliance), { force: true });
  await receiver.listenLocally(frameSocket(appliance));
  const shipper = createShipper({ engine, identity, clock, localSerial });
  const access = new HostAccessTable();
  const io = new IoStatistics(clock);
  const siblings = new Siblings(
    appliances.filter((id) => id !== appliance),
    clock,
  );
  const nbdPort = isFirst ? ('nbd' as const) : (`nbd.${appliance}` as const);
  const nbd = await listenOn(ports, nbdPort, isFirst ? config.nbd.port : 0, (port) =>
    startNbdServer({
      listen: { host: config.nbd.host, port },
      exports: clusterExports({ engine, access, io, siblings, clock }),
      clock,
      ...nbdTls(config),
    }),
  );
  const nbdAddress = nbd.address();
  ports.set(nbdPort, nbdAddress.port);
  rmSync(hostSocket(appliance), { force: true });
  const passedOn = await startNbdServer({
    listen: { path: hostSocket(appliance) },
    exports: ownExports({ engine, io }),
    clock,
  });
  const scrub = new ScrubJob({
    engine,
    clock,
    random: systemRandom,
    path: join(places(config.dataDir).appliance(appliance), 'scrub.json'),
    every_ms: config.scrubEvery_ms,
    rate_bytes_per_s: config.scrubRate_bytes_per_s,
  });
  const plane = engineDataPlane({
    appliance,
    engine,
    scrub,
    shipper,
    addresses: () => ({ nbd: nbdAddress, ...(replication && { replication }) }),
    ioCounters: () => io.counters(),
    setAccess: (hosts) => {
      access.set(hosts);
      // A host that was detached ends what it is doing and does no more [C11.2].
      nbd.disconnect(
        ({ client, exportId }) => exportId !== undefined && !access.mayOpen(client, exportId),
        'the host was detached',
      );
    },
    setPeers: (known) => {
      peers = known;
    },
    setAdmission: (session, admission) => void admissions.set(session, admission),
  });
  engine.on((event) => {
    if (event.kind !== 'volume_deleted') return;
    for (const server of [nbd, passedOn])
      server.disconnect((connection) => connection.exportId === event.volume, 'the volume was deleted');
    io.forget(event.volume);
  });
  const local = await serveDataPlane(plane, dataPlaneSocket(appliance));
  scrub.open();
  return {
    info: { nbd: nbdAddress },
    async stop() {
      await scrub.close();
      await local.close();
      await receiver.close();
      siblings.close();
      await Promise.all([nbd.close(), passedOn.close()]);
      await engine.close();
    },
  };
}

function nbdTls(config: ClusterConfig) {
  if (config.nbdAccess.mode === 'open') return {};
  const { certFile, keyFile, clientCaFile } = config.nbdAccess;
  return {
    tls: {
      cert: readFileSync(certFile),
      key: readFileSync(keyFile),
      clientCa: readFileSync(clientCaFile),
      mode: 'required' as const,
    },
  };
}
