import type { Clock, Random, SessionId } from '@antipode/base';
import type { BlockEngine } from '@antipode/blocks';
import {
  type Admission,
  createImageShipper,
  createReceiver,
  createShipper,
  type DataNetwork,
  frameLinks,
  type LinkIdentity,
  type Links,
  type Others,
  type PeerSocket,
  plainFingerprint,
  type Receiver,
} from '@antipode/replication';
import type { ClusterConfig } from '../config.ts';
import type { DataPlane, KnownPeer } from '../local/api.ts';
import { type EngineDataPlaneParts, engineDataPlane } from '../local/engine-data-plane.ts';
import { ScrubJob, type ScrubPlace } from './scrub-job.ts';

export interface DataPlaneParts
  extends Pick<EngineDataPlaneParts, 'appliance'>,
    Pick<EngineDataPlaneParts, 'addresses' | 'ioCounters' | 'hostCounters' | 'setAccess' | 'setLimits'> {
  readonly engine: BlockEngine;
  readonly clock: Clock;
  readonly random: Random;
  readonly identity: LinkIdentity & { readonly serial: string };
  /** How data connections are made: frames over a network on this thread, or links that are made elsewhere. */
  readonly network: DataNetwork | Links;
  /** The cluster's other data planes. */
  readonly others?: Others;
  readonly connectTo?: (appliance: string) => Promise<PeerSocket>;
  readonly scrubPlace: ScrubPlace;
  readonly config: Pick<ClusterConfig, 'scrubEvery_ms' | 'scrubRate_bytes_per_s'>;
}

/** What a data plane does apart from its listeners: the data process gives it the machine's ports, the simulator its own. */
export function assembleDataPlane(parts: DataPlaneParts): {
  readonly plane: DataPlane;
  readonly scrub: ScrubJob;
  /** One that could not listen is done with: each attempt has its own. */
  receiver(): Receiver;
} {
  const { engine, clock, random, identity, network } = parts;
  const admissions = new Map<SessionId, Admission>();
  let peers: readonly KnownPeer[] = [];
  const links = 'listener' in network ? frameLinks(network, identity, clock) : network;
  const ends = { engine, links, clock, localSerial: identity.serial };
  const scrub = new ScrubJob({
    engine,
    clock,
    random,
    place: parts.scrubPlace,
    every_ms: parts.config.scrubEvery_ms,
    rate_bytes_per_s: parts.config.scrubRate_bytes_per_s,
  });
  const plane = engineDataPlane({
    appliance: parts.appliance,
    engine,
    scrub,
    shipper: createShipper(ends),
    images: createImageShipper({
      ...ends,
      connect: parts.connectTo ?? (async (other) => Promise.reject(new Error(`there is no appliance ${other}`))),
    }),
    addresses: parts.addresses,
    ioCounters: parts.ioCounters,
    hostCounters: parts.hostCounters,
    setAccess: parts.setAccess,
    setLimits: parts.setLimits,
    setPeers: (known) => {
      peers = known;
    },
    setAdmission: (session, admission) => void admissions.set(session, admission),
  });
  return {
    plane,
    scrub,
    receiver: () =>
      createReceiver({
        ...ends,
        ...(parts.others && { others: parts.others }),
        peers: () => peers.map((peer) => peer.fingerprint),
        // Until management has said so, nothing is taken [C5.3].
        admit: (session, from) => {
          const admission = admissions.get(session) ?? { admit: false, code: 'peer_not_ready' };
          const stranger =
            from !== undefined &&
            admission.admit &&
            admission.peer !== undefined &&
            plainFingerprint(admission.peer) !== from;
          return stranger ? { admit: false, code: 'session_unknown' } : admission;
        },
      }),
  };
}
