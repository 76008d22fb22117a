import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@antipode/base';
import { openEmbeddedEngine } from '@antipode/blocks';
import { startNbdServer } from '@antipode/hosts';
import { type ListenAddress, startLinkThread } from '@antipode/replication';
import type { ClusterConfig } from '../config.ts';
import { serveDataPlane } from '../local/server.ts';
import { loadLinkIdentity } from '../security/link-identity.ts';
import { firstAppliance } from '../supervisor/appliances.ts';
import { ChosenPorts, dataPlaneSocket, hostSocket, listenOn, lockPart, places } from '../supervisor/data-dir.ts';
import { assembleDataPlane } from './assemble.ts';
import { clusterExports, ownExports } from './exports.ts';
import { HostAccessTable } from './host-access.ts';
import { IoStatistics } from './io-statistics.ts';
import { KeptLimits } from './kept-limits.ts';
import { localFrames } from './local-frames.ts';
import { scrubFile } from './scrub-job.ts';
import { checkDataPlane } from './self-check.ts';
import { connectSibling, Siblings } from './siblings.ts';
import { VolumeLimits } from './volume-limits.ts';

/** A data plane, and where it listens. */
export interface RunningDataPlane {
  readonly info: Readonly<Record<string, unknown>> & { readonly nbd: ListenAddress };
  /** Shows that it works. */
  check(): Promise<void>;
  stop(): Promise<void>;
}

/** Which appliance it is, and which ones the cluster has. */
export interface ApplianceSetting {
  readonly appliance: string;
  readonly appliances: readonly string[];
}

/**
 * The data-plane process of one appliance: its engine, its hosts' sockets and the data connections of replication. Bytes of
 * volumes are here and nowhere else [C9.1]. Hosts may connect to any of them: what another one has is passed on to it.
 */
export async function startDataPlane(
  config: ClusterConfig,
  { appliance, appliances }: ApplianceSetting,
): Promise<RunningDataPlane> {
  // Relative socket paths: a Unix socket's is limited to about a hundred bytes, a data directory's is not.
  process.chdir(config.dataDir);
  const clock = systemClock;
  const directory = places(config.dataDir).appliance(appliance);
  await lockPart(config.dataDir, directory, clock);
  const identity = await loadLinkIdentity(config.dataDir);
  const ports = new ChosenPorts(config.dataDir);
  const { packCold, packAfter_ms } = config;
  const engine = await openEmbeddedEngine({ directory, clock, packCold, packAfter_ms });
  const links = startLinkThread(identity);
  const access = new HostAccessTable();
  const io = new IoStatistics(clock);
  const limits = new VolumeLimits(clock);
  const keptLimits = new KeptLimits(join(directory, 'limits.json'));
  limits.set(keptLimits.load());
  const others = appliances.filter((id) => id !== appliance);
  const siblings = new Siblings(new Map(others.map((id) => [id, connectSibling(id, clock)])));
  // Hosts and peers know the first one's addresses. Hosts may reach the others directly, at ports of their own.
  const isFirst = appliance === firstAppliance;
  const nbdPort = isFirst ? ('nbd' as const) : (`nbd.${appliance}` as const);
  const nbd = await listenOn(ports, nbdPort, isFirst ? config.nbd.port : 0, (port) =>
    startNbdServer({
      listen: { host: config.nbd.host, port },
      exports: clusterExports({ engine, access, io, limits, siblings, clock }),
      clock,
      ...nbdTls(config),
    }),
  );
  const nbdAddress = nbd.address();
  ports.set(nbdPort, nbdAddress.port);
  rmSync(hostSocket(appliance), { force: true });
  const passedOn = await startNbdServer({
    listen: { path: hostSocket(appliance) },
    exports: ownExports({ engine, io, limits }),
    clock,
  });
  const frames = await localFrames(appliance, others);
  const assembled = assembleDataPlane({
    appliance,
    others: frames.others,
    connectTo: (other) => frames.connect(other),
    engine,
    clock,
    random: systemRandom,
    identity,
    network: links,
    config,
    scrubPlace: scrubFile(join(directory, 'scrub.json')),
    addresses: () => ({ nbd: nbdAddress, ...(replication && { replication }) }),
    ioCounters: () => io.counters(),
    hostCounters: () => io.hostCounters(),
    setAccess: (hosts) => {
      access.set(hosts);
      // A host that was detached ends what it is doing and does no more [C11.2].
      nbd.disconnect(
        ({ client, exportId }) => exportId !== undefined && !access.mayOpen(client, exportId),
        'the host was detached',
      );
    },
    setLimits: (told) => {
      limits.set(told);
      keptLimits.keep(told);
    },
  });
  const { plane, scrub } = assembled;
  let receiver = assembled.receiver();
  const replication = isFirst
    ? await listenOn(ports, 'replication', config.replication.port, (port) => {
        receiver = assembled.receiver();
        return receiver.listen({ host: config.replication.host, port });
      })
    : undefined;
  if (replication !== undefined) ports.set('replication', replication.port);
  engine.on((event) => {
    if (event.kind !== 'volume_deleted') return;
    for (const server of [nbd, passedOn])
      server.disconnect((connection) => connection.exportId === event.volume, 'the volume was deleted');
    io.forget(event.volume);
    limits.forget(event.volume);
  });
  const local = await serveDataPlane(plane, dataPlaneSocket(appliance));
  scrub.open();
  return {
    info: { nbd: nbdAddress },
    check: () => checkDataPlane(engine, nbdAddress),
    async stop() {
      await scrub.close();
      await local.close();
      await receiver.close();
      await frames.close();
      await links.close();
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
