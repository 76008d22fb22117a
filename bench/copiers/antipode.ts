import { setTimeout as pause } from 'node:timers/promises';
import type { PairedClusters } from '../load/clusters.ts';
import { type Export, fill, scatter } from '../load/export-load.ts';
import type { Bench } from '../runner/bench.ts';
import type { Role, Sample } from '../runner/results.ts';
import type { Copier } from './copier.ts';
import { timed } from './copier.ts';

const GiB = 2 ** 30;
const MiB = 2 ** 20;
const poll_ms = 10;
/** Share of what a copy has taken by which its end may be seen late: to ask all the time would take processor time from it. */
const lateness = 0.01;

interface Protected {
  readonly volume: Export;
  readonly volumeId: string;
  readonly sessionId: string;
}

/** Replication of the product: a protected volume, one session. */
export class AntipodeCopier implements Copier {
  readonly name: string;
  readonly role: Role;
  readonly party: PairedClusters;
  readonly #bench: Bench;
  #policy: string | undefined;
  #copy: Protected | undefined;
  #made = 0;

  constructor(bench: Bench, name: string, role: Role, clusters: PairedClusters) {
    this.#bench = bench;
    this.name = name;
    this.role = role;
    this.party = clusters;
  }

  async initial(): Promise<Sample> {
    const { client } = this.party.source;
    await this.#drop();
    const policy = await this.#protection();
    const { size } = this.#bench.settings;
    this.#made += 1;
    const name = `copied-${this.#made}`;
    const volumeId = await client.create('volume', { name, size });
    const volume = { server: this.party, uri: this.party.source.uriOf(name), size };
    await fill(this.#bench, volume);
    const before_ms = this.party.cpu_ms;
    const seconds = await timed(async () => {
      await client.modify('volume', volumeId, { protection_policy_id: policy });
      const session = await client.first('replication_session', {
        select: 'id',
        filter: { local_resource_id: `eq.${volumeId}` },
      });
      if (session?.id === undefined) throw new Error('the volume has no session');
      this.#copy = { volume, volumeId, sessionId: session.id };
      await this.#synchronized(session.id, null);
    });
    return { value: size / MiB / seconds, cpu: (this.party.cpu_ms - before_ms) / 1000 / (size / GiB) };
  }

  async delta(share: number): Promise<Sample> {
    const copy = this.#copy;
    if (copy === undefined) throw new Error('there is no first copy');
    const { client } = this.party.source;
    await this.#linked();
    if (share > 0) await scatter(this.#bench, copy.volume, share);
    const last = (await client.get('replication_session', copy.sessionId)).last_sync_timestamp ?? null;
    const before_ms = this.party.cpu_ms;
    const value = await timed(async () => {
      await client.action('replication_session', copy.sessionId, 'sync');
      await this.#synchronized(copy.sessionId, last);
    });
    return { value, cpu: (this.party.cpu_ms - before_ms) / 1000 };
  }

  async #synchronized(session: string, last: string | null): Promise<void> {
    const began_ms = performance.now();
    for (;;) {
      this.#bench.signal.throwIfAborted();
      const row = await this.party.source.client.get('replication_session', session);
      if (row.state === 'OK' && (row.last_sync_timestamp ?? null) !== last) return;
      await pause(Math.max(poll_ms, lateness * (performance.now() - began_ms)));
    }
  }

  /** Clusters that stood still must find each other again first. */
  async #linked(): Promise<void> {
    for (;;) {
      this.#bench.signal.throwIfAborted();
      const remote = await this.party.source.client.first('remote_system', {
        select: ['state', 'data_connection_state'],
      });
      if (remote?.state === 'OK' && remote.data_connection_state === 'OK') return;
      await pause(poll_ms);
    }
  }

  async #protection(): Promise<string> {
    await this.#linked();
    if (this.#policy !== undefined) return this.#policy;
    const { client } = this.party.source;
    const remote = await client.first('remote_system', { select: 'id' });
    const rule = await client.create('replication_rule', {
      name: 'measured',
      rpo: 'One_Day',
      remote_system_id: String(remote?.id),
    });
    this.#policy = await client.create('policy', { name: 'measured', replication_rule_ids: [rule] });
    return this.#policy;
  }

  /** Removes the last round's volumes, so that the disk does not fill. */
  async #drop(): Promise<void> {
    const copy = this.#copy;
    if (copy === undefined) return;
    this.#copy = undefined;
    await this.#linked();
    const { source, destination } = this.party;
    const { remote_resource_id: replica } = await source.client.get('replication_session', copy.sessionId);
    await source.client.modify('volume', copy.volumeId, { protection_policy_id: '' });
    await source.client.remove('volume', copy.volumeId);
    if (replica !== undefined && replica !== null) await destination.client.remove('volume', replica);
  }
}
