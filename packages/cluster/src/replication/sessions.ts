import { pointId, type SessionId, sessionId, volumeId } from '@antipode/base';
import { display, RestError } from '@antipode/contract';
import {
  type Command,
  type Half,
  isDecidingDirection,
  type Notice,
  type PeerMessage,
  type PeerReply,
  recoverHalf,
  type Suspension,
} from '@antipode/replication';
import { type PolicyDocument, type SessionDocument, timestamp, type VolumeDocument } from '../catalog/documents.ts';
import type { DataPlaneEvent } from '../local/api.ts';
import type { Assignee } from '../services/assignments.ts';
import { membersOf } from '../services/group-document.ts';
import { rpo_ms } from '../services/policies.ts';
import type { ReplicationHooks, ResourceKind } from '../services/replication-hooks.ts';
import { CopyPlaces } from './copy-places.ts';
import { driverLimits } from './limits.ts';
import { LinkGate } from './link-gate.ts';
import { LostSessions } from './lost-sessions.ts';
import { Membership } from './membership.ts';
import type { PeerAnswer, PeerRequest, PolicyCopy } from './peer-wire.ts';
import { PolicyCopies } from './policy-copies.ts';
import { rejectionError } from './rejection-error.ts';
import type { RemoteRecord } from './remote-systems.ts';
import {
  dropUnusedReplica,
  flipProtection,
  type KeptPolicy,
  keepReplicaPolicy,
  letGoOfAnother,
} from './replica-policy.ts';
import { SessionBirth } from './session-birth.ts';
import { SessionDriver } from './session-driver.ts';
import { sessionFigures, sessionPreview } from './session-figures.ts';
import { SessionMonitor } from './session-monitor.ts';
import type { SessionEntry, SessionRegistry, SessionsDeps } from './session-parts.ts';
import { type Progress, SessionProgress } from './session-progress.ts';
import { SessionReports } from './session-reports.ts';
import { resourceOf, type SessionRecord, SessionStore } from './session-store.ts';

/** The sessions of this cluster: born by policies and offers, driven one by one, gone with their policies. */
export class Sessions implements ReplicationHooks, SessionRegistry {
  readonly #deps: SessionsDeps;
  readonly #store: SessionStore;
  readonly entries = new Map<SessionId, SessionEntry>();
  readonly #reports: SessionReports;
  readonly #birth: SessionBirth;
  readonly #membership: Membership;
  readonly #copies: PolicyCopies;
  readonly #gates = new Map<string, LinkGate>();
  readonly #progress: SessionProgress;
  readonly monitor: SessionMonitor;
  readonly lost: LostSessions;

  constructor(deps: SessionsDeps) {
    this.#deps = deps;
    this.#store = new SessionStore(deps.catalog);
    this.#reports = new SessionReports(deps);
    const places = new CopyPlaces(deps);
    this.#birth = new SessionBirth(deps, this, this.#reports, places);
    this.#membership = new Membership(deps, this, places);
    this.#copies = new PolicyCopies({
      catalog: deps.catalog,
      waits: deps.waits ?? deps.clock,
      records: () => this.records(),
      isUp: (remote) => deps.remotes.isUp(remote),
      ask: (remote, request) => deps.remotes.ask(remote, request),
    });
    this.lost = new LostSessions({
      ...deps,
      entries: this.entries,
      adopt: (half) => this.#birth.adopt(half),
      begin: async (entry) => {
        this.#reports.followRole(entry.record);
        await this.#reports.enterAllKept([entry.record]);
        await this.#followOne(entry);
        entry.driver.start();
      },
    });
    this.monitor = new SessionMonitor({
      ...deps,
      records: () => this.records(),
      about: (record) => this.#reports.about(record),
    });
    this.#progress = new SessionProgress({ ...deps, monitor: this.monitor });
  }

  /** Puts catalog and engine together and sets every session in motion [C7.2]. */
  async start(): Promise<void> {
    const { dataPlane, catalog } = this.#deps;
    const halves = new Map((await dataPlane.halves()).map((half) => [half.session, half]));
    for (const record of this.#store.load()) {
      const engine = halves.get(record.half.id);
      halves.delete(record.half.id);
      // Its half is gone: the deletion was durable before the catalog heard of it.
      if (engine === undefined) catalog.eventually(() => this.#forget(record));
      else {
        const entry = this.open({ ...record, half: recoverHalf(record.half, engine) });
        catalog.eventually(() => this.keep(entry.record));
      }
    }
    for (const intent of catalog.list('intent', 'kind', 'create_session')) {
      halves.delete(sessionId(intent.id));
      await this.#birth.undo(intent.id, String(intent.data.remote));
    }
    for (const engine of halves.values()) this.#birth.adopt(engine);
    for (const { record } of this.entries.values()) {
      this.#reports.followRole(record);
      this.#finishAssignment(record);
    }
    await this.#reports.enterAllKept([...this.entries.values()].map(({ record }) => record));
    await this.#followAll();
    for (const { driver } of this.entries.values()) driver.start();
    this.monitor.start();
    this.lost.start();
  }

  /**
   * A session is born before its resource is given the policy. Where a crash came between the two, nobody could remove the session: its
   * resource gets the policy that asked for it.
   */
  #finishAssignment(record: SessionRecord): void {
    const { catalog } = this.#deps;
    const resource = resourceOf(catalog, record);
    if (record.half.role !== 'source' || record.half.state === 'Deleting') return;
    if (resource === undefined || resource.protection_policy_id !== null || record.ruleId === undefined) return;
    const { ruleId } = record;
    const policy = catalog.list('policy').find((one) => !one.is_replica && one.replication_rule_ids.includes(ruleId));
    if (policy === undefined) return;
    const given = { protection_policy_id: policy.id };
    catalog.eventually(() => catalog.change(record.resourceKind ?? 'volume', resource.id, given));
  }

  records(): readonly SessionRecord[] {
    return [...this.entries.values()].map(({ record }) => record);
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
    this.#birth.stop();
    this.#copies.stop();
    for (const { driver } of this.entries.values()) driver.stop();
  }

  // --- what REST asks -----------------------------------------------------------------------------------------------

  /** `progress` hears how far the copying is that the command waits for, in percent: of several cycles the furthest, and all of it at the end. */
  async command(id: string, command: Command, progress?: Progress): Promise<void> {
    const entry = this.entries.get(sessionId(id));
    if (entry === undefined) throw new RestError('not_found', 'replication_session', id);
    const unfollow = progress && this.#progress.follow(entry.record.half.id, progress);
    try {
      const result = await entry.driver.command(command);
      if (!result.ok) throw rejectionError(result.error);
    } finally {
      unfollow?.();
    }
  }

  /** Ends a failover test; answers the snapshot that keeps what it has written, if that was asked for. */
  async stopTest(
    id: string,
    options: { readonly keep: boolean; readonly force: boolean },
  ): Promise<{ readonly snapshot_id: string } | undefined> {
    const keep = options.keep ? pointId(this.#deps.random.uuid()) : undefined;
    await this.command(id, { name: 'stop_test', force: options.force, ...(keep && { keep }) });
    if (keep === undefined) return undefined;
    const record = this.entries.get(sessionId(id))?.record;
    const snapshot = record && (await this.#reports.enterKept(record, keep));
    return snapshot === undefined ? undefined : { snapshot_id: snapshot };
  }

  async figures(id: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    const entry = this.entries.get(sessionId(id));
    if (entry === undefined) return undefined;
    const { half, remoteSystemId } = entry.record;
    const waiting = this.gateOf(remoteSystemId).waitingSince(half.id);
    return {
      ...(await sessionFigures(entry, this.#deps)),
      achieved_rpo_ms: this.monitor.of(half.id).achieved_ms ?? null,
      waiting_since: waiting === undefined ? null : timestamp(waiting),
    };
  }

  async preview(id: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    const entry = this.entries.get(sessionId(id));
    return entry && sessionPreview(entry, this.#deps);
  }

  // --- what upgrades and migrations ask ---------------------------------------------------------------------------------

  /**
   * Pauses sessions for the system itself (Paused_For_NDU, Paused_For_Migration), on both sides where the peer can be reached;
   * durable, and to be ended with {@link resumeFromSystem} by whom `suspension.by` names. Resolves when nothing of them is under way
   * any more. Rejects with the sessions that were not ready in time: then none of these stays paused for it.
   */
  async pauseForSystem(ids: readonly SessionId[], suspension: Suspension): Promise<void> {
    const entries = ids.map((id) => this.entries.get(id)).filter((entry) => entry !== undefined);
    const ready = await Promise.all(entries.map(({ driver }) => driver.suspend(suspension)));
    const late = entries.filter((_, index) => !ready[index]).map(({ record }) => record);
    if (late.length > 0) {
      this.resumeFromSystem(suspension.by);
      const names = late.map((record) => `${this.#reports.about(record).name} (${display(record.half.state)})`);
      throw new RestError('sessions_busy', names.join(', '));
    }
    // A peer that cannot be reached hears of it when it can.
    await Promise.all(entries.map(({ driver }) => driver.peerKnows(driverLimits.suspensionTold_ms)));
  }

  /** Ends what `by` has asked for; every session is what it was before. Nothing happens the second time. */
  resumeFromSystem(by: string): void {
    for (const { driver } of this.entries.values()) driver.lift(by);
  }

  /** Lifts what nobody will: pauses whose upgrade or migration is over, or had not begun when the process ended. */
  reconcileSuspensions(stands: (suspension: Suspension) => boolean): void {
    for (const { record, driver } of this.entries.values())
      for (const suspension of record.half.suspensions ?? []) if (!stands(suspension)) driver.lift(suspension.by);
  }

  // --- what volumes, groups and policies ask ------------------------------------------------------------------------

  sessionOf(resource: string): SessionDocument | undefined {
    return this.#deps.catalog.list('replication_session', 'local_resource_id', resource)[0];
  }

  protect(target: Assignee, policy: PolicyDocument): Promise<void> {
    return this.#birth.protect(target, policy);
  }

  goOnUnder(resource: string, ruleId: string): boolean {
    const entry = this.#entryOf(resource);
    const rule = this.#deps.catalog.get('replication_rule', ruleId);
    if (entry === undefined || rule === undefined || entry.record.ruleId !== undefined) return false;
    if (entry.record.half.role !== 'source' || entry.record.remoteSystemId !== rule.remote_system_id) return false;
    this.#followRule(entry, ruleId);
    return true;
  }

  async unprotect(resource: string): Promise<void> {
    const entry = this.#entryOf(resource);
    if (entry === undefined) return;
    const result = await entry.driver.command({ name: 'delete' });
    if (!result.ok) throw rejectionError(result.error);
  }

  async directionDecided(resource: string): Promise<void> {
    const group = this.#deps.catalog.get('volume', resource)?.group_id;
    const entry = this.#entryOf(resource) ?? (group == null ? undefined : this.#entryOf(group));
    await entry?.driver.directionDecided();
  }

  membersChange(group: string, add: readonly VolumeDocument[]): Promise<void> {
    return this.#membership.check(group, add);
  }

  /** A session begins with a group's first member and ends with its last. */
  async membersChanged(group: string): Promise<void> {
    const { catalog } = this.#deps;
    const document = catalog.get('volume_group', group);
    if (document === undefined || document.is_replication_destination) return;
    const entry = this.#entryOf(group);
    const isEmpty = membersOf(catalog, group).length === 0;
    if (entry !== undefined) return isEmpty ? this.unprotect(group) : this.#membership.align(entry);
    const held = document.protection_policy_id;
    const policy = held === null ? undefined : catalog.get('policy', held);
    if (policy !== undefined && !isEmpty)
      await this.#birth.protect({ kind: 'volume_group', id: group, name: document.name }, policy);
  }

  resourceChanged(kind: ResourceKind, id: string): void {
    const document = this.#deps.catalog.get(kind, id);
    const group = kind === 'volume' ? (document as VolumeDocument | undefined)?.group_id : undefined;
    const entry = this.#entryOf(id) ?? (group == null ? undefined : this.#entryOf(group));
    if (document === undefined || entry === undefined || entry.record.half.role !== 'source') return;
    const { half, localResourceId, remoteSystemId } = entry.record;
    const member = localResourceId === id ? undefined : half.pairs.find(({ local }) => local === id)?.remote;
    if (localResourceId !== id && member === undefined) return;
    const { name, description } = document;
    // Told when it can be; a name that the peer did not hear of does no harm.
    this.#deps.remotes
      .ask(remoteSystemId, { kind: 'volume', session: half.id, ...(member && { volume: member }), name, description })
      .catch(() => undefined);
  }

  policyChanged(policyId: string): void {
    this.#copies.changed(policyId);
  }

  ruleChanged(ruleId: string): void {
    const rule = this.#deps.catalog.get('replication_rule', ruleId);
    if (rule === undefined) return;
    for (const entry of this.entries.values()) {
      if (entry.record.ruleId === ruleId) entry.driver.changeObjective(rpo_ms[rule.rpo]);
    }
  }

  // --- what the peer asks -------------------------------------------------------------------------------------------

  /** Requests about sessions; undefined: it is not one of them. */
  async answer(remote: RemoteRecord, request: PeerRequest): Promise<PeerAnswer | undefined> {
    // What is about to be a session again is not unknown.
    if (this.lost.looked !== undefined) await this.lost.looked;
    switch (request.kind) {
      case 'offer':
        return this.#birth.accept(remote, request.offer);
      case 'offer_group':
        return this.#birth.acceptGroup(remote, request.offer);
      case 'members':
        return this.#membership.setAside(remote, request.session, request.volumes, request.check);
      case 'withdraw':
        await this.#birth.withdrawn(remote, request.session);
        return { kind: 'done' };
      case 'policy':
        this.#policyChanged(remote, request.session, request.protection);
        return { kind: 'done' };
      case 'volume':
        await this.#renamed(remote, request);
        return { kind: 'done' };
      case 'session':
        return { kind: 'session', reply: await this.#message(remote, request.message) };
      default:
        return undefined;
    }
  }

  async #message(remote: RemoteRecord, message: PeerMessage): Promise<PeerReply> {
    const entry = this.entries.get(message.session);
    if (entry !== undefined && entry.record.remoteSystemId === remote.id) return entry.driver.message(message);
    if (entry !== undefined) return { kind: 'unknown_session' };
    const grave = await this.#deps.dataPlane.tombstone(message.session);
    return grave === undefined ? { kind: 'unknown_session' } : { kind: 'tombstone', generation: grave.generation };
  }

  /** The source has renamed its volume or group, or a member. */
  async #renamed(remote: RemoteRecord, request: Extract<PeerRequest, { kind: 'volume' }>): Promise<void> {
    const entry = this.entries.get(sessionId(request.session));
    if (entry === undefined || entry.record.remoteSystemId !== remote.id || entry.record.half.role !== 'destination')
      return;
    const { half, localResourceId, resourceKind = 'volume' } = entry.record;
    const { name, description, volume: member } = request;
    if (member === undefined && resourceKind === 'volume_group')
      return this.#deps.catalog.change('volume_group', localResourceId, { name, description });
    const id = member ?? localResourceId;
    if (half.pairs.every(({ local }) => local !== id)) return;
    this.#deps.catalog.change('volume', id, { name, description });
    await this.#deps.dataPlane.changeVolume(volumeId(id), { name });
  }

  /** A policy of the peer, which protects a session here among others, is another one now. */
  #policyChanged(remote: RemoteRecord, session: string, copy: PolicyCopy): void {
    const { catalog } = this.#deps;
    const entry = this.entries.get(sessionId(session));
    if (entry === undefined || entry.record.remoteSystemId !== remote.id) return;
    // The peer, as the new source, owns it: here it is the copy, even if that was not known yet.
    if (entry.driver.half.role === 'destination') flipProtection(catalog, entry.record, 'destination');
    const { resourceKind = 'volume', localResourceId, half } = entry.record;
    const id = resourceOf(catalog, entry.record)?.protection_policy_id;
    const held = id == null ? undefined : catalog.get('policy', id);
    // The peer has not heard yet that this side is the source: the policy is this side's own.
    if (held === undefined ? half.role === 'source' || half.state === 'Deleting' : !held.is_replica) return;
    catalog.transaction(() => {
      const gone = held && letGoOfAnother(catalog, entry.record, held, copy);
      this.#rulesFollow([], gone ?? []);
      const { policy } = this.keepPolicy(remote, copy, gone === undefined ? held : undefined);
      if (held !== undefined && gone === undefined) return;
      // The catalog here has lost it, or the peer has another one since it has lost its own.
      catalog.change(resourceKind, localResourceId, { protection_policy_id: policy.id });
      this.#followRule(entry, policy.replication_rule_ids[0]);
    });
  }

  #followRule(entry: SessionEntry, ruleId: string | undefined): void {
    const rule = this.#deps.catalog.get('replication_rule', ruleId ?? '');
    if (rule === undefined) return;
    entry.record = { ...entry.record, ruleId: rule.id };
    this.#store.save(entry.record);
    entry.driver.changeObjective(rpo_ms[rule.rpo]);
  }

  keepPolicy(remote: RemoteRecord, copy: PolicyCopy, held?: PolicyDocument): KeptPolicy {
    const { catalog, random } = this.#deps;
    const kept = keepReplicaPolicy(catalog, random, remote, copy, held);
    this.#rulesFollow(kept.policy.snapshot_rule_ids, kept.snapshotRulesGone);
    for (const rule of kept.policy.replication_rule_ids) this.ruleChanged(rule);
    return kept;
  }

  #rulesFollow(changed: readonly string[], gone: readonly string[]): void {
    for (const rule of gone) this.#deps.snapshotRules?.ruleGone(rule);
    for (const rule of changed) this.#deps.snapshotRules?.ruleChanged(rule);
  }

  // --- what happens around ------------------------------------------------------------------------------------------

  linkChanged(remote: RemoteRecord, up: boolean): void {
    for (const entry of this.entries.values())
      if (entry.record.remoteSystemId === remote.id) entry.driver.hear({ kind: 'link', up });
    if (!up) return;
    this.#reports.linkBack(remote.id);
    this.#copies.linkUp(remote.id);
  }

  /**
   * The peer had lost the link, which this side need not have noticed: what it did meanwhile it could tell nobody. All halves compare
   * themselves with theirs.
   */
  lostByPeer(remote: RemoteRecord): void {
    // Where this side has lost the link too, they do so when it is back.
    if (!this.#deps.remotes.isUp(remote.id)) return;
    for (const entry of this.entries.values())
      if (entry.record.remoteSystemId === remote.id) entry.driver.hear({ kind: 'link', up: true });
  }

  dataPlaneEvent(event: DataPlaneEvent): void {
    if (event.kind === 'up') {
      for (const entry of this.entries.values()) entry.driver.dataPlaneUp();
      this.catchUp();
    }
    if (event.kind === 'ship_progress') {
      const entry = this.entries.get(event.session);
      if (entry !== undefined) this.#progress.show(entry.record, event.progress);
    }
    // What is missed while the data plane is away is caught up with when it is back.
    if (event.kind === 'committed') this.#membership.follow(event.session, event.points).catch(() => undefined);
  }

  /** The data plane is back, or the catalog takes changes again: what could not be looked at, or not be stored, is now. */
  catchUp(): void {
    this.lost.look();
    void this.#followAll();
  }

  /** Catalog and halves catch up with what the engine has committed and changed without them. */
  async #followAll(): Promise<void> {
    for (const entry of this.entries.values()) await this.#followOne(entry);
    await this.#membership.endedBefore().catch(() => undefined);
  }

  async #followOne(entry: SessionEntry): Promise<void> {
    await this.#membership.follow(entry.record.half.id).catch(() => undefined);
    await this.#membership.align(entry).catch(() => undefined);
  }

  /** Fields that pass, for REST. */
  refresh(): void {
    for (const { record } of this.entries.values()) if (record.half.cycle === undefined) this.#progress.stands(record);
  }

  // --- inside ---------------------------------------------------------------------------------------------------------

  open(record: SessionRecord): SessionEntry {
    const { dataPlane, clock, waits = clock, random, remotes, site, localPauseResume, schedule } = this.#deps;
    const channel = remotes.channel(record.remoteSystemId);
    const driver = new SessionDriver(
      { ...record.half, schedule },
      {
        gate: this.gateOf(record.remoteSystemId),
        clock,
        waits,
        random,
        site,
        localPauseResume,
        linkUp: () => remotes.isUp(record.remoteSystemId),
        world: {
          dataPlane,
          peer: channel,
          now_ms: () => clock.now(),
          shipped: (bytes) => this.#shipped(record.half.id, bytes),
          recruit: (half, newcomers) => this.#membership.recruit(half, newcomers),
        },
        persist: (half) => this.#persist(half),
        eventually: (work) => this.#deps.catalog.eventually(work),
        notify: (notice, half) => this.#notify(notice, half),
        removed: (half) => this.#removed(half),
      },
    );
    const entry: SessionEntry = { record, driver };
    this.entries.set(record.half.id, entry);
    return entry;
  }

  keep(record: SessionRecord): void {
    this.#store.save(record);
  }

  #persist(half: Half): void {
    const entry = this.entries.get(half.id);
    if (entry === undefined) return;
    const before = entry.record.half;
    const another = before.cycle?.id !== half.cycle?.id;
    const record = { ...entry.record, half };
    this.#store.save(record);
    entry.record = record;
    // Who came or went while a failover was in doubt: when this is still the source it takes effect now.
    if (isDecidingDirection(before) && !isDecidingDirection(half))
      queueMicrotask(() => void this.#membership.align(entry).catch(() => undefined));
    // What passed belonged to another cycle.
    if (half.cycle === undefined || another) this.#progress.stands(entry.record);
  }

  #shipped(id: SessionId, bytes: number): void {
    const entry = this.entries.get(id);
    if (entry !== undefined)
      entry.record = { ...entry.record, shippedTotal_bytes: entry.record.shippedTotal_bytes + bytes };
  }

  #removed(half: Half): void {
    const entry = this.entries.get(half.id);
    if (entry === undefined) return;
    const about = this.#reports.about(entry.record);
    this.#forget(entry.record);
    this.entries.delete(half.id);
    this.monitor.removed(entry.record);
    this.#deps.reporter.tell('session_deleted', about, 'on request');
    this.#membership.ended(half.id).catch(() => undefined);
  }

  /** The half is gone: now, or before the catalog could hear of it. */
  #forget(record: SessionRecord): void {
    const { catalog, reporter } = this.#deps;
    for (const name of ['session_parked', 'failover_in_doubt', 'session_split'] as const)
      reporter.clear(name, this.#reports.about(record));
    catalog.transaction(() => {
      this.#store.remove(record.half.id);
      catalog.removeWhere('cycle_record', 'session_id', record.half.id);
      // A copy's policy was the source's: it goes with the session. The copy itself stays, flagged (REPLICATION 2.12).
      const held = resourceOf(catalog, record)?.protection_policy_id;
      const policy = held == null ? undefined : catalog.get('policy', held);
      if (policy?.is_replica)
        catalog.change(record.resourceKind ?? 'volume', record.localResourceId, { protection_policy_id: null });
      // That it is to have none may have been entered before, when a start found its removal half-way.
      const { ruleId } = record;
      const isOf = ({ id, replication_rule_ids }: PolicyDocument) =>
        id === held || (ruleId !== undefined && replication_rule_ids.includes(ruleId));
      for (const one of catalog.list('policy').filter(isOf)) this.#rulesFollow([], dropUnusedReplica(catalog, one));
    });
  }

  #notify(notice: Notice, half: Half): void {
    const entry = this.entries.get(half.id);
    if (entry === undefined) return;
    this.#reports.notice(notice, entry.record, half);
    if (notice.kind === 'reprotected') this.#deps.catalog.eventually(() => this.#protectionTurned(entry.record));
    this.monitor.notice(notice, entry.record);
    // Who had come since the last agreement, and was never copied, is no member of what is a destination now.
    if (notice.kind === 'fenced' || notice.kind === 'failed_over')
      this.#membership.follow(half.id).catch(() => undefined);
  }

  #protectionTurned(record: SessionRecord): void {
    if (!flipProtection(this.#deps.catalog, record, record.half.role)) return;
    const policy = resourceOf(this.#deps.catalog, record)?.protection_policy_id;
    if (policy != null) this.#copies.changed(policy);
  }

  #entryOf(resource: string): SessionEntry | undefined {
    const session = this.sessionOf(resource);
    return session && this.entries.get(sessionId(session.id));
  }
}
