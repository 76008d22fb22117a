import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type SessionId, systemClock, systemRandom } from '@antipode/base';
import { type BlockEngine, BlockError, openEmbeddedEngine } from '@antipode/blocks';
import { type ExportSource, startNbdServer } from '@antipode/hosts';
import { type Admission, createReceiver, createShipper, plainFingerprint } from '@antipode/replication';
import type { ClusterConfig } from '../config.ts';
import type { KnownPeer } from '../local/api.ts';
import { engineDataPlane } from '../local/engine-data-plane.ts';
import { serveDataPlane } from '../local/server.ts';
import { loadLinkIdentity } from '../security/link-identity.ts';
import { ChosenPorts, dataPlaneSocket, listenOn, places } from '../supervisor/data-dir.ts';
import { HostAccessTable } from './host-access.ts';
import { IoStatistics } from './io-statistics.ts';
import { ScrubJob } from './scrub-job.ts';
import { checkDataPlane } from './self-check.ts';
import { VolumeLimits } from './volume-limits.ts';

/**
 * The data-plane process of one appliance: its engine, its hosts' sockets and the data connections of replication. Bytes of
 * volumes are here and nowhere else [C9.1].
 */
export async function startDataPlane(config: ClusterConfig) {
  // Relative socket paths: a Unix socket's is limited to about a hundred bytes, a data directory's is not.
  process.chdir(config.dataDir);
  const clock = systemClock;
  const identity = await loadLinkIdentity(config.dataDir);
  const ports = new ChosenPorts(config.dataDir);
  const engine = await openEmbeddedEngine({ directory: places(config.dataDir).appliance('A1'), clock });
  const admissions = new Map<SessionId, Admission>();
  let peers: readonly KnownPeer[] = [];
  const localSerial = identity.serial;
  const receiverOptions = {
    engine,
    identity,
    clock,
    localSerial,
    peers: () => peers.map((peer) => peer.fingerprint),
    // Until management has said so, nothing is taken [C5.3].
    admit: (session: SessionId, from: string): Admission => {
      const admission = admissions.get(session) ?? { admit: false, code: 'peer_not_ready' };
      const stranger = admission.admit && admission.peer !== undefined && plainFingerprint(admission.peer) !== from;
      return stranger ? { admit: false, code: 'session_unknown' } : admission;
    },
  };
  // A receiver that could not listen is done with: each attempt has its own.
  let receiver = createReceiver(receiverOptions);
  const replication = await listenOn(ports, 'replication', config.replication.port, (port) => {
    receiver = createReceiver(receiverOptions);
    return receiver.listen({ host: config.replication.host, port });
  });
  ports.set('replication', replication.port);
  const shipper = createShipper({ engine, identity, clock, localSerial });
  const access = new HostAccessTable();
  const io = new IoStatistics(clock);
  const limits = new VolumeLimits(clock);
  const nbd = await listenOn(ports, 'nbd', config.nbd.port, (port) =>
    startNbdServer({
      listen: { host: config.nbd.host, port },
      exports: exportsOf(engine, { access, io, limits }),
      clock,
      ...nbdTls(config),
    }),
  );
  const nbdAddress = nbd.address();
  ports.set('nbd', nbdAddress.port);
  const scrub = new ScrubJob({
    engine,
    clock,
    random: systemRandom,
    path: join(places(config.dataDir).appliance('A1'), 'scrub.json'),
    every_ms: config.scrubEvery_ms,
    rate_bytes_per_s: config.scrubRate_bytes_per_s,
  });
  const plane = engineDataPlane({
    engine,
    scrub,
    shipper,
    addresses: () => ({ nbd: nbdAddress, replication }),
    ioCounters: () => io.counters(),
    setAccess: (hosts) => {
      access.set(hosts);
      // A host that was detached ends what it is doing and does no more [C11.2].
      nbd.disconnect(
        ({ client, exportId }) => exportId !== undefined && !access.mayOpen(client, exportId),
        'the host was detached',
      );
    },
    setLimits: (told) => limits.set(told),
    setPeers: (known) => {
      peers = known;
    },
    setAdmission: (session, admission) => void admissions.set(session, admission),
  });
  engine.on((event) => {
    if (event.kind !== 'volume_deleted') return;
    nbd.disconnect((connection) => connection.exportId === event.volume, 'the volume was deleted');
    io.forget(event.volume);
    limits.forget(event.volume);
  });
  const local = await serveDataPlane(plane, dataPlaneSocket('A1'));
  scrub.open();
  return {
    info: { nbd: nbdAddress, replication },
    check: () => checkDataPlane(engine, nbdAddress),
    async stop() {
      await scrub.close();
      await local.close();
      await receiver.close();
      await nbd.close();
      await engine.close();
    },
  };
}

/** Every volume that a client may open is an export, by name and by id. */
function exportsOf(
  engine: BlockEngine,
  {
    access,
    io,
    limits,
  }: { readonly access: HostAccessTable; readonly io: IoStatistics; readonly limits: VolumeLimits },
): ExportSource {
  return {
    list: (client) =>
      engine
        .volumes()
        .filter((volume) => access.mayOpen(client, volume.id))
        .map((volume) => ({ name: volume.name, aliases: [volume.id] })),
    open(name, client) {
      const volume =
        engine.volumes().find((known) => known.id === name) ?? engine.volumes().find((known) => known.name === name);
      if (volume === undefined || !access.mayOpen(client, volume.id)) return undefined;
      const { id } = volume;
      // A host that was detached while its request waited is not served any more [C11.2].
      const refusal = () =>
        access.mayOpen(client, id) ? undefined : new BlockError('read_only', 'the host was detached from the volume');
      return {
        name: volume.name,
        id,
        device: io.counted(id, limits.limited(id, engine.open(id), refusal)),
        inFlight_bytes: () => limits.inFlight_bytes(id),
      };
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
