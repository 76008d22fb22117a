import { type Clock, pointId, type Random, type SessionId, sessionId, volumeId } from '@antipode/base';
import type { Generation, HalfInfo } from '@antipode/blocks';
import { RestError } from '@antipode/contract';
import {
  type Command,
  type Half,
  type Notice,
  newHalf,
  nextStart_ms,
  type PeerMessage,
  type PeerReply,
  recoverHalf,
  type ScheduleRule,
} from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import { type PolicyDocument, type SessionDocument, timestamp, type VolumeDocument } from '../catalog/documents.ts';
import type { DataPlane, DataPlaneEvent } from '../local/api.ts';
import type { Assignee } from '../services/assignments.ts';
import type { Reporter } from '../services/occurrences.ts';
import { rpo_ms } from '../services/policies.ts';
import type { ReplicationHooks, ResourceKind } from '../services/replication-hooks.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';
import { LinkGate } from './link-gate.ts';
import type { PeerAnswer, PolicyCopy, SessionOffer } from './peer-wire.ts';
import { rejectionError } from './rejection-error.ts';
import type { RemoteRecord, RemoteSystems } from './remote-systems.ts';
import { dropUnusedReplica, keepReplicaPolicy, policyCopyOf } from './replica-policy.ts';
import { SessionDriver } from './session-driver.ts';
import { objectiveFigures, SessionMonitor } from './session-monitor.ts';
import { SessionReports } from './session-reports.ts';
import { type SessionRecord, SessionStore } from './session-store.ts';
import { accumulatedBytes, PeerUnreachable } from './step-runner.ts';

export interface SessionsDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly random: Random;
  readonly remotes: RemoteSystems;
  readonly reporter: Reporter;
  /** Serial of this cluster. */
  readonly site: string;
  readonly localPauseResume: 'pause_both' | 'refuse';
  readonly schedule: ScheduleRule;
  /** Cycles that may run at once on the link to one peer. */
  readonly cyclesAtOnce: number;
}

interface Entry {
  record: SessionRecord;
  readonly driver: SessionDriver;
}

/** The sessions of this cluster: born by policies and offers, driven one by one, gone with their policies. */
export class Sessions implements ReplicationHooks {
  readonly #deps: SessionsDeps;
  readonly #store: SessionStore;
  readonly #entries = new Map<SessionId, Entry>();
  readonly #reports: SessionReports;
  readonly #gates = new Map<string, LinkGate>();
  readonly monitor: SessionMonitor;

  constructor(deps: SessionsDeps) {
    this.#deps = deps;
    this.#store = new SessionStore(deps.catalog);
    this.#reports = new SessionReports(deps);
    this.monitor = new SessionMonitor({
      ...deps,
      records: () => this.records(),
      about: (record) => this.#reports.about(record),
    });
  }

  /** Puts catalog and engine together and sets every session in motion [C7.2]. */
  async start(): Promise<void> {
    const { dataPlane, catalog } = this.#deps;
    const halves = new Map((await dataPlane.halves()).map((half) => [half.session, half]));
    for (const record of this.#store.load()) {
      const engine = halves.get(record.half.id);
      halves.delete(record.half.id);
      // Its half is gone: the deletion was durable before the catalog heard of it.
      if (engine === undefined) this.#store.remove(record.half.id);
      else this.#open({ ...record, half: recoverHalf(record.half, engine) });
    }
    for (const intent of catalog.list('intent', 'kind', 'create_session'))
      await this.#undoCreation(intent.id, String(intent.data.remote));
    for (const engine of halves.values()) this.#adopt(engine);
    await this.#reports.enterAllKept([...this.#entries.values()].map(({ record }) => record));
    for (const { driver } of this.#entries.values()) driver.start();
    this.monitor.start();
  }

  records(): readonly SessionRecord[] {
    return [...this.#entries.values()].map(({ record }) => record);
  }

  /** The places for cycles on the link to a peer. */
  gateOf(remoteSystemId: string): LinkGate {
    let gate = this.#gates.get(remoteSystemId);
    if (gate === undefined) {
      gate = new LinkGate(this.#deps.cyclesAtOnce);
      this.#gates.set(remoteSystemId, gate);
    }
    return gate;
  }

  stop(): void {
    this.monitor.stop();
    for (const { driver } of this.#entries.values()) driver.stop();
  }

  // --- what REST asks -----------------------------------------------------------------------------------------------

  async command(id: string, command: Command): Promise<void> {
    const entry = this.#entries.get(sessionId(id));
    if (entry === undefined) throw new RestError('not_found', 'replication_session', id);
    const result = await entry.driver.command(command);
    if (!result.ok) throw rejectionError(result.error);
  }

  /** Ends a failover test; answers the snapshot that keeps what it has written, if that was asked for. */
  async stopTest(
    id: string,
    options: { readonly keep: boolean; readonly force: boolean },
  ): Promise<{ readonly snapshot_id: string } | undefined> {
    const keep = options.keep ? pointId(this.#deps.random.uuid()) : undefined;
    await this.command(id, { name: 'stop_test', force: options.force, ...(keep && { keep }) });
    if (keep === undefined) return undefined;
    const record = this.#entries.get(sessionId(id))?.record;
    const snapshot = record && (await this.#reports.enterKept(record, keep));
    return snapshot === undefined ? undefined : { snapshot_id: snapshot };
  }

  /** Ours, beside the session: figures that PowerStore's resource has no place for. */
  async figures(id: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    const entry = this.#entries.get(sessionId(id));
    if (entry === undefined) return undefined;
    const { half, shippedTotal_bytes } = entry.record;
    const progress = half.role === 'source' ? await this.#deps.dataPlane.progress(half.id) : undefined;
    const accumulated = half.role === 'source' ? await accumulatedBytes(half, this.#deps.dataPlane) : 0;
    const next = nextStart_ms(half);
    return {
      id,
      generation: half.generation.number,
      shipped_bytes_total: shippedTotal_bytes + (progress?.shipped_bytes ?? 0),
      total_bytes: progress?.total_bytes ?? 0,
      copied_bytes: progress?.copied_bytes ?? 0,
      remaining_bytes: progress === undefined ? 0 : progress.total_bytes - progress.copied_bytes,
      accumulated_bytes: accumulated,
      ...objectiveFigures(half, this.#deps.clock.now()),
      achieved_rpo_ms: this.monitor.of(half.id).achieved_ms ?? null,
      waiting_since: this.#waitingSince(entry.record),
      next_sync_timestamp: next === undefined ? null : timestamp(next),
      paused_scope: half.paused?.scope ?? null,
      fault:
        half.fault === undefined
          ? null
          : { code: half.fault.code, message: half.fault.message, goes_on_by_itself: half.fault.retry },
    };
  }

  #waitingSince(record: SessionRecord): string | null {
    const claim = this.gateOf(record.remoteSystemId)
      .waiting()
      .find(({ session }) => session === record.half.id);
    return claim === undefined ? null : timestamp(claim.since_ms);
  }

  /** What a failover or reprotect would do now (DESIGN, preview). */
  async preview(id: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    const entry = this.#entries.get(sessionId(id));
    if (entry === undefined) return undefined;
    const { half } = entry.record;
    const engine = await this.#deps.dataPlane.half(half.id);
    const point = engine?.base && (await this.#deps.dataPlane.point(engine.base.point));
    return {
      id,
      role: half.role,
      point:
        point === undefined
          ? null
          : {
              id: point.id,
              instant: timestamp(point.instant_ms),
              age_ms: Math.max(0, this.#deps.clock.now() - point.instant_ms),
            },
      bytes_beyond_point: half.role === 'source' ? await accumulatedBytes(half, this.#deps.dataPlane) : null,
    };
  }

  // --- what volumes and policies ask --------------------------------------------------------------------------------

  sessionOf(volume: string): SessionDocument | undefined {
    return this.#deps.catalog.list('replication_session', 'local_resource_id', volume)[0];
  }

  async membersChange(): Promise<void> {}

  async membersChanged(): Promise<void> {}

  async protect(target: Assignee, policy: PolicyDocument): Promise<void> {
    const { catalog, dataPlane, random, remotes, site } = this.#deps;
    const rule = catalog.get('replication_rule', policy.replication_rule_ids[0] ?? '');
    if (rule === undefined) return;
    const remote = remotes.get(rule.remote_system_id);
    if (remote === undefined) throw new RestError('not_found', 'remote_system', rule.remote_system_id);
    // Counted as lost is not the same as lost: asked once more before a user is sent away.
    if (!remotes.isUp(remote.id)) await remotes.verify(remote.id);
    if (!remotes.isUp(remote.id))
      throw new RestError('remote_unreachable', remote.name, 'a session begins with an agreement of both clusters');
    const id = sessionId(random.uuid());
    const generation: Generation = { number: 1, site, nonce: random.uuid() };
    const volume = target.kind === 'volume' ? catalog.get('volume', target.id) : undefined;
    if (volume === undefined) throw new RestError('not_for_this_type', 'volume group', 'only volumes are replicated');
    const { name, description, size, app_type, app_type_other } = volume;
    const offer: SessionOffer = {
      session: id,
      generation,
      volume: { id: volume.id, name, description, size, appType: app_type, appTypeOther: app_type_other },
      protection: policyCopyOf(catalog, policy),
    };
    catalog.put('intent', { id, kind: 'create_session', data: { remote: remote.id } });
    try {
      const accepted = await this.#offer(remote, offer);
      const pairs = [{ local: volumeId(volume.id), remote: volumeId(accepted) }];
      await dataPlane.createHalf({
        session: id,
        role: 'source',
        generation,
        pairs,
        tag: { remote: remote.serial, volume: volume.id, peer: accepted },
      });
      const half = newHalf({ id, role: 'source', generation, pairs, rpo_ms: rpo_ms[rule.rpo] });
      const record: SessionRecord = {
        half,
        remoteSystemId: remote.id,
        ruleId: rule.id,
        localResourceId: volume.id,
        remoteResourceId: accepted,
        shippedTotal_bytes: 0,
      };
      catalog.transaction(() => {
        this.#store.save(record);
        catalog.remove('intent', id);
      });
      this.#deps.reporter.tell('session_created', this.#reports.about(record));
      this.#open(record).driver.start();
    } catch (error) {
      await this.#undoCreation(id, remote.id);
      throw error;
    }
  }

  async unprotect(volume: string): Promise<void> {
    const session = this.sessionOf(volume);
    const entry = session && this.#entries.get(sessionId(session.id));
    if (entry === undefined) return;
    const result = await entry.driver.command({ name: 'delete' });
    if (!result.ok) throw rejectionError(result.error);
  }

  resourceChanged(_kind: ResourceKind, volume: string): void {
    const session = this.sessionOf(volume);
    const document = this.#deps.catalog.get('volume', volume);
    if (session === undefined || document === undefined || session.role !== 'Source') return;
    // Told when it can be; a name that the peer did not hear of does no harm.
    this.#deps.remotes
      .ask(session.remote_system_id, {
        kind: 'volume',
        session: session.id,
        name: document.name,
        description: document.description,
      })
      .catch(() => undefined);
  }

  ruleChanged(ruleId: string): void {
    const rule = this.#deps.catalog.get('replication_rule', ruleId);
    if (rule === undefined) return;
    for (const entry of this.#entries.values()) {
      if (entry.record.ruleId === ruleId) entry.driver.changeObjective(rpo_ms[rule.rpo]);
    }
  }

  // --- what the peer asks -------------------------------------------------------------------------------------------

  /** A source wants its volume kept here: the volume, its half and the policy's copy exist when this resolves. */
  async accept(remote: RemoteRecord, offer: SessionOffer): Promise<PeerAnswer> {
    const { catalog, dataPlane } = this.#deps;
    const id = sessionId(offer.session);
    const known = this.#entries.get(id);
    if (known !== undefined && known.record.remoteSystemId !== remote.id)
      return { kind: 'refused', code: '', message: 'the session is not known', arguments: [] };
    if (known !== undefined) return { kind: 'accepted', volume: known.record.localResourceId };
    const named = catalog.list('volume', 'name', offer.volume.name).find((volume) => volume.type !== 'Snapshot');
    const leftover = named?.is_replication_destination && this.sessionOf(named.id) === undefined ? named : undefined;
    if (named !== undefined && leftover === undefined) {
      const error = new RestError('name_in_use', offer.volume.name);
      return {
        kind: 'refused',
        code: error.entry.code,
        message: `at ${this.#clusterName()}: ${error.message}`,
        arguments: error.args,
      };
    }
    const volume = leftover ?? this.#newCopy(offer);
    const local = volumeId(volume.id);
    await dataPlane.createVolume({ id: local, name: volume.name, size: volume.size, destination: true, tag: {} });
    const pairs = [{ local, remote: volumeId(offer.volume.id) }];
    await dataPlane.createHalf({
      session: id,
      role: 'destination',
      generation: offer.generation,
      pairs,
      tag: { remote: remote.serial, volume: volume.id, peer: offer.volume.id },
    });
    const policy = keepReplicaPolicy(catalog, this.#deps.random, remote, offer.protection);
    const rule = catalog.get('replication_rule', policy.replication_rule_ids[0] ?? '');
    const half = newHalf({
      id,
      role: 'destination',
      generation: offer.generation,
      pairs,
      rpo_ms: rule === undefined ? 0 : rpo_ms[rule.rpo],
    });
    const record: SessionRecord = {
      half,
      remoteSystemId: remote.id,
      ruleId: rule?.id,
      localResourceId: volume.id,
      remoteResourceId: offer.volume.id,
      shippedTotal_bytes: 0,
    };
    catalog.transaction(() => {
      catalog.change('volume', volume.id, {
        state: 'Ready',
        is_replication_destination: true,
        protection_policy_id: policy.id,
      });
      this.#store.save(record);
    });
    this.#deps.reporter.tell('session_created', this.#reports.about(record));
    this.#open(record).driver.start();
    return { kind: 'accepted', volume: volume.id };
  }

  async message(remote: RemoteRecord, message: PeerMessage): Promise<PeerReply> {
    const entry = this.#entries.get(message.session);
    if (entry !== undefined && entry.record.remoteSystemId === remote.id) return entry.driver.message(message);
    if (entry !== undefined) return { kind: 'unknown_session' };
    const grave = (await this.#deps.dataPlane.tombstones()).find((stone) => stone.session === message.session);
    return grave === undefined ? { kind: 'unknown_session' } : { kind: 'tombstone', generation: grave.generation };
  }

  /** The source has renamed its volume. */
  async volumeRenamed(remote: RemoteRecord, session: string, name: string, description: string | null): Promise<void> {
    const entry = this.#entries.get(sessionId(session));
    if (entry === undefined || entry.record.remoteSystemId !== remote.id || entry.record.half.role !== 'destination')
      return;
    this.#deps.catalog.change('volume', entry.record.localResourceId, { name, description });
    await this.#deps.dataPlane.changeVolume(volumeId(entry.record.localResourceId), { name });
  }

  policyChanged(remote: RemoteRecord, copy: PolicyCopy): void {
    keepReplicaPolicy(this.#deps.catalog, this.#deps.random, remote, copy);
  }

  // --- what happens around ------------------------------------------------------------------------------------------

  linkChanged(remote: RemoteRecord, up: boolean): void {
    for (const entry of this.#entries.values())
      if (entry.record.remoteSystemId === remote.id) entry.driver.submit({ kind: 'link', up });
  }

  dataPlaneEvent(event: DataPlaneEvent): void {
    if (event.kind === 'up') for (const entry of this.#entries.values()) entry.driver.dataPlaneUp();
    if (event.kind === 'ship_progress') this.#showProgress(event.session, event.progress);
    if (event.kind === 'committed') {
      const entry = this.#entries.get(event.session);
      if (entry !== undefined) void this.#reports.sizesFollow(entry.record.half);
    }
  }

  #showProgress(
    session: SessionId,
    progress: { readonly total_bytes: number; readonly copied_bytes: number; readonly phase: string },
  ): void {
    const entry = this.#entries.get(session);
    if (entry === undefined) return;
    const { total_bytes, copied_bytes } = progress;
    const share = total_bytes === 0 ? 1 : copied_bytes / total_bytes;
    const started = entry.record.half.cycle?.started_ms ?? this.#deps.clock.now();
    const elapsed = this.#deps.clock.now() - started;
    this.monitor.progress(session, progress);
    this.#deps.catalog.live('replication_session', session, {
      ...this.#linkFields(entry.record),
      progress_percentage: Math.floor(share * 100),
      estimated_completion_timestamp: share > 0 && share < 1 ? timestamp(started + elapsed / share) : null,
    });
  }

  /** Fields that pass, for REST. */
  refresh(): void {
    for (const { record } of this.#entries.values()) {
      if (record.half.cycle === undefined)
        this.#deps.catalog.live('replication_session', record.half.id, this.#linkFields(record));
    }
  }

  #linkFields(record: SessionRecord) {
    const state = this.#deps.remotes.state(record.remoteSystemId);
    const { half } = record;
    const due = half.state === 'OK' || half.state === 'Synchronizing' ? nextStart_ms(half) : undefined;
    return {
      // Overdue or in line: from now on at any moment.
      ...(due !== undefined && { next_sync_timestamp: timestamp(Math.max(due, this.#deps.clock.now())) }),
      data_connection_state: state?.up !== true || state.data === 'lost' ? 'Complete_Data_Connection_Loss' : 'OK',
    };
  }

  // --- inside -------------------------------------------------------------------------------------------------------

  #open(record: SessionRecord): Entry {
    const { dataPlane, clock, random, remotes, site, localPauseResume, schedule } = this.#deps;
    const channel = remotes.channel(record.remoteSystemId);
    const driver = new SessionDriver(
      { ...record.half, schedule },
      {
        gate: this.gateOf(record.remoteSystemId),
        clock,
        random,
        site,
        localPauseResume,
        linkUp: () => remotes.isUp(record.remoteSystemId),
        world: {
          dataPlane,
          peer: channel,
          now_ms: () => clock.now(),
          shipped: (bytes) => this.#shipped(record.half.id, bytes),
        },
        persist: (half) => this.#persist(half),
        notify: (notice, half) => this.#notify(notice, half),
        removed: (half) => this.#removed(half),
      },
    );
    const entry: Entry = { record, driver };
    this.#entries.set(record.half.id, entry);
    this.#store.save(record);
    return entry;
  }

  #persist(half: Half): void {
    const entry = this.#entries.get(half.id);
    if (entry === undefined) return;
    const another = entry.record.half.cycle?.id !== half.cycle?.id;
    entry.record = { ...entry.record, half };
    this.#store.save(entry.record);
    // What passed belonged to another cycle.
    if (half.cycle === undefined || another)
      this.#deps.catalog.live('replication_session', half.id, this.#linkFields(entry.record));
  }

  #shipped(id: SessionId, bytes: number): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined)
      entry.record = { ...entry.record, shippedTotal_bytes: entry.record.shippedTotal_bytes + bytes };
  }

  #removed(half: Half): void {
    const entry = this.#entries.get(half.id);
    if (entry === undefined) return;
    this.#entries.delete(half.id);
    this.monitor.removed(entry.record);
    const { catalog, reporter } = this.#deps;
    reporter.tell('session_deleted', this.#reports.about(entry.record), 'on request');
    for (const name of ['session_parked', 'failover_in_doubt', 'session_split'] as const)
      reporter.clear(name, this.#reports.about(entry.record));
    catalog.transaction(() => {
      this.#store.remove(half.id);
      const volume = catalog.get('volume', entry.record.localResourceId);
      // A copy's policy was the source's: it goes with the session. The volume itself stays, flagged (REPLICATION 2.12).
      const policy =
        volume?.protection_policy_id == null ? undefined : catalog.get('policy', volume.protection_policy_id);
      if (volume !== undefined && policy?.is_replica) {
        catalog.change('volume', volume.id, { protection_policy_id: null });
        dropUnusedReplica(catalog, policy);
      }
    });
  }

  #notify(notice: Notice, half: Half): void {
    const entry = this.#entries.get(half.id);
    if (entry === undefined) return;
    this.#reports.notice(notice, entry.record, half);
    this.monitor.notice(notice, entry.record);
  }

  /** A half that the catalog does not know: rebuilt from what the log says of it [C7.1]. */
  #adopt(engine: HalfInfo): void {
    const { remotes, reporter } = this.#deps;
    const remote = remotes.bySerial(String(engine.tag.remote));
    const local = engine.pairs[0]?.local;
    if (remote === undefined || local === undefined) {
      return reporter.tell(
        'unexplained',
        { type: 'replication_session', id: engine.session, name: engine.session },
        'a half of a session without its remote system',
      );
    }
    const born = newHalf({
      id: engine.session,
      role: engine.role,
      generation: engine.generation,
      pairs: engine.pairs,
      rpo_ms: 0,
    });
    const half: Half = recoverHalf({ ...born, state: engine.role === 'source' ? 'System_Paused' : 'OK' }, engine);
    this.#open({
      half,
      remoteSystemId: remote.id,
      ruleId: undefined,
      localResourceId: local,
      remoteResourceId: engine.pairs[0]?.remote ?? '',
      shippedTotal_bytes: 0,
    });
  }

  async #offer(remote: RemoteRecord, offer: SessionOffer): Promise<string> {
    let answer: PeerAnswer;
    try {
      answer = await this.#deps.remotes.ask(remote.id, { kind: 'offer', offer });
    } catch (error) {
      if (error instanceof PeerUnreachable) throw new RestError('remote_unreachable', remote.name, error.message);
      throw error;
    }
    if (answer.kind === 'accepted') return answer.volume;
    if (answer.kind === 'refused') throw new RestError('peer_refused', answer.message);
    throw new RestError('peer_refused', 'the answer was not understood');
  }

  /** A session that was not completed here must not live on there. */
  async #undoCreation(id: string, remoteId: string): Promise<void> {
    const { catalog, remotes } = this.#deps;
    if (this.#entries.has(sessionId(id))) return catalog.remove('intent', id);
    try {
      await remotes.ask(remoteId, { kind: 'withdraw', session: id });
      catalog.remove('intent', id);
    } catch {
      // The peer cannot be told now: the intent stays, and the next start tells it.
    }
  }

  /** The source gave up creating a session. */
  async withdrawn(remote: RemoteRecord, session: string): Promise<void> {
    const entry = this.#entries.get(sessionId(session));
    if (
      entry === undefined ||
      entry.record.remoteSystemId !== remote.id ||
      entry.record.half.role !== 'destination' ||
      entry.record.half.lastSync !== undefined
    )
      return;
    await entry.driver.command({ name: 'delete' });
  }

  #newCopy(offer: SessionOffer): VolumeDocument {
    const { catalog, random } = this.#deps;
    const id = random.uuid();
    const document = newVolumeDocument(this.#deps, {
      id,
      name: offer.volume.name,
      size: offer.volume.size,
      type: 'Primary',
      protection: protectionOf(id, null, null, null, 'User'),
      description: offer.volume.description,
      appType: offer.volume.appType as VolumeDocument['app_type'],
      appTypeOther: offer.volume.appTypeOther,
    });
    const copy: VolumeDocument = { ...document, is_replication_destination: true };
    catalog.put('volume', copy, {});
    return copy;
  }

  #clusterName(): string {
    return String(this.#deps.catalog.get('cluster', '0')?.name ?? 'the peer');
  }
}
