import type { Clock, Random } from '@antipode/base';
import type { PeerEndpoint, PeerMessage, PeerReply } from '@antipode/replication';
import type { HostPort } from '../config.ts';
import type { DataPlane } from '../local/api.ts';
import { LinkMonitor, type LinkState } from './link-monitor.ts';
import type { CallPeer, PeerCaller, TrustedPeer } from './peer-network.ts';
import type { Hello, PeerAnswer, PeerIdentity, PeerRequest } from './peer-wire.ts';
import { type PeerChannel, PeerUnreachable } from './step-runner.ts';

/** A peer that this cluster is paired with. Kept in the catalog. */
export interface RemoteRecord {
  readonly id: string;
  readonly serial: string;
  readonly name: string;
  readonly description: string | null;
  readonly managementAddress: string;
  readonly latency: string;
  readonly version: string;
  /** Where its management channel and data connections were last. */
  readonly peer: HostPort;
  readonly data: HostPort;
}

export interface RemoteStore {
  list(): readonly RemoteRecord[];
  save(record: RemoteRecord): void;
  /** As `save`, for what nobody waits for: once it can be stored. */
  follow(record: () => RemoteRecord | undefined): void;
  remove(id: string): void;
}

/** Certificates of clusters, exchanged by an administrator of both. */
export interface TrustRecord extends TrustedPeer {
  readonly name: string;
  readonly managementAddress: string;
  readonly peer: HostPort;
  readonly data: HostPort;
}

export interface TrustStore {
  list(): readonly TrustRecord[];
  save(record: TrustRecord): void;
  remove(serial: string): void;
}

export interface RemoteSystemsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly dataPlane: DataPlane;
  readonly call: CallPeer;
  readonly heartbeat_ms: number;
  readonly remotes: RemoteStore;
  readonly trust: TrustStore;
  readonly hello: () => Hello;
  readonly self: () => PeerIdentity;
  /** A peer that was not known is from now on. */
  readonly entered: () => void;
  /** The link of a peer came, went, or its data connection did. */
  readonly linkChanged: (record: RemoteRecord, state: LinkState, before: LinkState) => void;
  /** The list of trusted certificates is another one now. */
  readonly trustChanged: () => void;
}

interface Link {
  record: RemoteRecord;
  readonly client: PeerCaller;
  readonly monitor: LinkMonitor;
}

/** The peers of this cluster: who is trusted, who is paired, and whether each can be reached. */
export class RemoteSystems {
  readonly #deps: RemoteSystemsDeps;
  readonly #links = new Map<string, Link>();

  constructor(deps: RemoteSystemsDeps) {
    this.#deps = deps;
  }

  start(): void {
    for (const record of this.#deps.remotes.list()) this.#open(record);
  }

  stop(): void {
    for (const link of this.#links.values()) this.#close(link);
    this.#links.clear();
  }

  list(): readonly RemoteRecord[] {
    return [...this.#links.values()].map((link) => link.record);
  }

  get(id: string): RemoteRecord | undefined {
    return this.#links.get(id)?.record;
  }

  bySerial(serial: string): RemoteRecord | undefined {
    return this.list().find((record) => record.serial === serial);
  }

  state(id: string): LinkState | undefined {
    return this.#links.get(id)?.monitor.state;
  }

  isUp(id: string): boolean {
    return this.state(id)?.up ?? false;
  }

  /** Keeps what an exchange taught: certificate and addresses of another cluster. */
  trust(identity: PeerIdentity, fingerprint: string): void {
    const { serial, name, certificate, managementAddress, peer, data } = identity;
    this.#deps.trust.save({ serial, name, certificate, fingerprint, managementAddress, peer, data });
    this.#deps.trustChanged();
    const paired = this.bySerial(serial);
    // A renewed certificate: the old connections would go on with the old one.
    if (paired !== undefined) this.#reopen({ ...paired, peer, data, managementAddress });
  }

  /** Asks a trusted cluster that is not paired yet. */
  async askTrusted(trusted: TrustRecord, request: PeerRequest): Promise<PeerAnswer> {
    const client = this.#deps.call(trusted, () => trusted.peer);
    try {
      return await client.ask(request);
    } finally {
      client.close();
    }
  }

  /** Enters a peer, or finds its entry: one entry a serial. */
  enter(
    trusted: TrustRecord,
    given: {
      readonly description: string | null;
      readonly latency: string;
      readonly version: string;
      readonly managementAddress: string;
    },
  ): RemoteRecord {
    const known = this.bySerial(trusted.serial);
    const record: RemoteRecord = {
      id: known?.id ?? this.#deps.random.uuid(),
      serial: trusted.serial,
      name: trusted.name,
      peer: trusted.peer,
      data: trusted.data,
      ...given,
    };
    this.#reopen(record);
    if (known === undefined) this.#deps.entered();
    return record;
  }

  change(id: string, change: Partial<Pick<RemoteRecord, 'description' | 'latency' | 'managementAddress'>>): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    const record = { ...link.record, ...change };
    this.#deps.remotes.save(record);
    link.record = record;
  }

  /** Forgets a peer and its certificate. */
  forget(id: string): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    this.#deps.remotes.remove(id);
    this.#deps.trust.remove(link.record.serial);
    this.#close(link);
    this.#links.delete(id);
    this.#deps.trustChanged();
  }

  /** One heartbeat now, and its result. */
  async verify(id: string): Promise<LinkState | undefined> {
    const link = this.#links.get(id);
    if (link === undefined) return undefined;
    await link.monitor.beat();
    return link.monitor.state;
  }

  /** The peer has just spoken: if it counted as lost, there is no need to wait for the next heartbeat. */
  heard(id: string): void {
    const link = this.#links.get(id);
    if (link !== undefined && !link.monitor.state.up) void link.monitor.beat();
  }

  ask(id: string, request: PeerRequest): Promise<PeerAnswer> {
    const link = this.#links.get(id);
    if (link === undefined) return Promise.reject(new PeerUnreachable('the remote system is not known'));
    return link.client.ask(request).catch((error: unknown) => {
      link.monitor.suspect();
      throw error;
    });
  }

  /** The way to a peer for the sessions with it. */
  channel(id: string): PeerChannel {
    return {
      send: async (message: PeerMessage): Promise<PeerReply> => {
        const answer = await this.ask(id, { kind: 'session', message });
        if (answer.kind !== 'session') throw new PeerUnreachable('the peer answered something else');
        return answer.reply;
      },
      dataEndpoint: (): PeerEndpoint | undefined => {
        const link = this.#links.get(id);
        const trusted = link && this.#trusted(link.record.serial);
        return link && trusted && { ...link.record.data, fingerprint: trusted.fingerprint };
      },
    };
  }

  #trusted(serial: string): TrustRecord | undefined {
    return this.#deps.trust.list().find((record) => record.serial === serial);
  }

  #reopen(record: RemoteRecord): void {
    this.#deps.remotes.save(record);
    const known = this.#links.get(record.id);
    if (known !== undefined) this.#close(known);
    this.#open(record);
  }

  #open(record: RemoteRecord): void {
    const trusted = this.#trusted(record.serial);
    // Without its certificate a peer cannot be told from a stranger: the entry stays, shown as lost, until the exchange.
    if (trusted === undefined) return;
    const { clock, dataPlane, heartbeat_ms, call } = this.#deps;
    const client = call(trusted, () => this.#links.get(record.id)?.record.peer ?? record.peer);
    const monitor = new LinkMonitor({
      clock,
      period_ms: heartbeat_ms,
      client,
      hello: this.#deps.hello,
      probe: (data) => dataPlane.probePeer({ ...data, fingerprint: trusted.fingerprint }),
      changed: (state, before) => this.#changed(record.id, state, before),
    });
    this.#links.set(record.id, { record, client, monitor });
    monitor.start();
  }

  #changed(id: string, state: LinkState, before: LinkState): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    const hello = state.peer;
    const moved =
      hello !== undefined &&
      (!same(hello.data, link.record.data) ||
        !same(hello.peer, link.record.peer) ||
        hello.version !== link.record.version ||
        hello.name !== link.record.name);
    if (moved) {
      link.record = { ...link.record, data: hello.data, peer: hello.peer, version: hello.version, name: hello.name };
      this.#deps.remotes.follow(() => this.#links.get(id)?.record);
    }
    this.#deps.linkChanged(link.record, state, before);
  }

  #close(link: Link): void {
    link.monitor.stop();
    link.client.close();
  }
}

const same = (a: HostPort, b: HostPort): boolean => a.host === b.host && a.port === b.port;
