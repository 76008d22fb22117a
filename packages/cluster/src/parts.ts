/** What a cluster is made of, apart from processes, sockets and files: for whoever brings other ones. */
export { Catalog } from './catalog/catalog.ts';
export type { HostPort } from './config.ts';
export { assembleDataPlane } from './dataplane/assemble.ts';
export { connectDataPlane, DataPlaneAway } from './local/client.ts';
export { serveLocal } from './local/server.ts';
export { checkCatalog } from './management/check-catalog.ts';
export { type ClusterServices, makeClusterServices } from './management/cluster-services.ts';
export { rebuildCatalog } from './management/rebuild-catalog.ts';
export { driverLimits } from './replication/limits.ts';
export type { CallPeer, TrustedPeer } from './replication/peer-network.ts';
export { envelopeOf, readPeerAnswer } from './replication/peer-schema.ts';
export { answerPeer } from './replication/peer-server.ts';
export { PeerUnreachable } from './replication/step-runner.ts';
export { fingerprintOf } from './security/certificates.ts';
