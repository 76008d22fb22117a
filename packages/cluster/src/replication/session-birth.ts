import { type SessionId, sessionId, type Timer, volumeId } from '@antipode/base';
import type { Generation, HalfInfo, Pair, Role } from '@antipode/blocks';
import { RestError } from '@antipode/contract';
import { type Half, newHalf, recoverHalf } from '@antipode/replication';
import { freestAppliance } from '../appliances/placement.ts';
import type {
  PolicyDocument,
  ReplicationRuleDocument,
  VolumeDocument,
  VolumeGroupDocument,
} from '../catalog/documents.ts';
import type { Assignee } from '../services/assignments.ts';
import { changeMembership, groupDocument, labelMembers, membersOf } from '../services/group-document.ts';
import { rpo_ms } from '../services/policies.ts';
import type { ResourceKind } from '../services/replication-hooks.ts';
import { Turns } from '../services/turns.ts';
import { protectionOf } from '../services/volume-document.ts';
import type { CopyPlaces } from './copy-places.ts';
import { driverLimits } from './limits.ts';
import { copyDocument, notKnown, offeredVolume, refusedBy } from './offers.ts';
import type { GroupOffer, PeerAnswer, PeerRequest, PolicyCopy, SessionOffer } from './peer-wire.ts';
import type { RemoteRecord } from './remote-systems.ts';
import { policyCopyOf } from './replica-policy.ts';
import type { SessionEntry, SessionRegistry, SessionsDeps } from './session-parts.ts';
import type { SessionReports } from './session-reports.ts';
import type { SessionRecord } from './session-store.ts';
import { PeerUnreachable } from './step-runner.ts';

/** What a half is made of, on either side. */
interface Newborn {
  readonly id: SessionId;
  readonly role: Role;
  readonly generation: Generation;
  readonly pairs: readonly Pair[];
  readonly remote: RemoteRecord;
  readonly resource: { readonly kind: ResourceKind; readonly id: string; readonly name: string };
  readonly peerResource: string;
}

/** How sessions begin: agreed between two clusters before either has one, or not at all (REPLICATION 2.14, A5). */
export class SessionBirth {
  readonly #deps: SessionsDeps;
  readonly #registry: SessionRegistry;
  readonly #reports: SessionReports;
  readonly #places: CopyPlaces;
  /** Births to be undone once more. */
  readonly #again = new Map<string, Timer>();
  #stopped = false;
  /** A source that gave up asking may say so while its offer is still being carried out. */
  readonly #turns = new Turns<string>();
  /** Sessions that their sources gave up lately: an offer that was slower than that comes too late. */
  readonly #withdrawn = new Set<string>();

  constructor(deps: SessionsDeps, registry: SessionRegistry, reports: SessionReports, places: CopyPlaces) {
    this.#deps = deps;
    this.#registry = registry;
    this.#reports = reports;
    this.#places = places;
  }

  // --- at the source ------------------------------------------------------------------------------------------------

  /** A policy with a replication rule was assigned. A group without members waits for its first. */
  async protect(target: Assignee, policy: PolicyDocument): Promise<void> {
    const { catalog, random, remotes, site } = this.#deps;
    const rule = catalog.get('replication_rule', policy.replication_rule_ids[0] ?? '');
    if (rule === undefined) return;
    const members = this.#membersOf(target);
    if (members.length === 0) return;
    const remote = remotes.get(rule.remote_system_id);
    if (remote === undefined) throw new RestError('not_found', 'remote_system', rule.remote_system_id);
    // Counted as lost is not the same as lost: asked once more before a user is sent away.
    if (!remotes.isUp(remote.id)) await remotes.verify(remote.id);
    if (!remotes.isUp(remote.id))
      throw new RestError('remote_unreachable', remote.name, 'a session begins with an agreement of both clusters');
    const id = sessionId(random.uuid());
    const generation: Generation = { number: 1, site, nonce: random.uuid() };
    const protection = policyCopyOf(catalog, policy);
    catalog.put('intent', { id, kind: 'create_session', data: { remote: remote.id } });
    try {
      const agreed = await this.#offer(remote, target, members, { session: id, generation, protection });
      const common = { id, role: 'source', generation, remote, resource: target } as const;
      const record = await this.#bear({ ...common, pairs: agreed.pairs, peerResource: agreed.resource });
      this.#enter(record, () => {
        catalog.remove('intent', id);
        return rule.id;
      });
    } catch (error) {
      await this.undo(id, remote.id);
      throw error;
    }
  }

  /** A session that was not completed must not live on, here or there. Who cannot be told now is told later, by the next start at the latest. */
  async undo(id: string, remoteId: string): Promise<void> {
    const { catalog, clock, remotes, waits = clock } = this.#deps;
    try {
      if (this.#registry.entries.has(sessionId(id))) return catalog.remove('intent', id);
      await this.#removeUnheard(id, () => true);
      if (remotes.get(remoteId) !== undefined) await remotes.ask(remoteId, { kind: 'withdraw', session: id });
      catalog.remove('intent', id);
    } catch {
      if (this.#stopped) return;
      this.#again.set(
        id,
        waits.after(driverLimits.undoAgain_ms, () => void this.undo(id, remoteId)),
      );
    }
  }

  /** A data plane may have died between the record of a half and the answer: the half is there, and no session knows of it. */
  async #removeUnheard(id: string, isMeant: (half: HalfInfo) => boolean): Promise<void> {
    const { dataPlane } = this.#deps;
    const half = (await dataPlane.halves()).find(({ session }) => session === id);
    if (half !== undefined && isMeant(half)) await dataPlane.removeHalf(half.session);
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#again.values()) timer.cancel();
    this.#again.clear();
  }

  #membersOf(target: Assignee): readonly VolumeDocument[] {
    const { catalog } = this.#deps;
    if (target.kind === 'volume_group') return membersOf(catalog, target.id);
    const volume = catalog.get('volume', target.id);
    return volume === undefined ? [] : [volume];
  }

  async #offer(
    remote: RemoteRecord,
    target: Assignee,
    members: readonly VolumeDocument[],
    common: Omit<SessionOffer, 'volume'>,
  ): Promise<{ readonly resource: string; readonly pairs: readonly Pair[] }> {
    const { catalog } = this.#deps;
    const group = target.kind === 'volume_group' ? catalog.get('volume_group', target.id) : undefined;
    const volumes = members.map(offeredVolume);
    const answer = await this.#ask(
      remote,
      group === undefined
        ? { kind: 'offer', offer: { ...common, volume: volumes[0]! } }
        : { kind: 'offer_group', offer: { ...common, group: described(group), volumes } },
    );
    if (answer.kind === 'refused') throw new RestError('peer_refused', answer.message);
    if (answer.kind === 'accepted' && group === undefined) {
      const pair = { local: volumeId(volumes[0]!.id), remote: volumeId(answer.volume) };
      return { resource: answer.volume, pairs: [pair] };
    }
    if (answer.kind === 'accepted_group') {
      const copies = new Map(answer.volumes.map(({ source, copy }) => [source, copy]));
      const pairs = volumes.flatMap(({ id }): readonly Pair[] => {
        const copy = copies.get(id);
        return copy === undefined ? [] : [{ local: volumeId(id), remote: volumeId(copy) }];
      });
      if (pairs.length === volumes.length) return { resource: answer.group, pairs };
    }
    throw new RestError('peer_refused', 'the answer was not understood');
  }

  async #ask(remote: RemoteRecord, request: PeerRequest): Promise<PeerAnswer> {
    try {
      return await this.#deps.remotes.ask(remote.id, request);
    } catch (error) {
      if (error instanceof PeerUnreachable) throw new RestError('remote_unreachable', remote.name, error.message);
      throw error;
    }
  }

  // --- at the destination -------------------------------------------------------------------------------------------

  /** A source wants its volume kept here: the volume, its half and the policy's copy exist when this resolves. */
  accept(remote: RemoteRecord, offer: SessionOffer): Promise<PeerAnswer> {
    return this.#turns.take(offer.session, () => this.#places.take([offer.volume], () => this.#accept(remote, offer)));
  }

  async #accept(remote: RemoteRecord, offer: SessionOffer): Promise<PeerAnswer> {
    if (this.#withdrawn.has(offer.session)) return notKnown;
    const known = this.#registry.entries.get(sessionId(offer.session));
    if (known !== undefined && known.record.remoteSystemId !== remote.id) return notKnown;
    if (known !== undefined) return { kind: 'accepted', volume: known.record.localResourceId };
    if (await this.#isOver(offer.session)) return notKnown;
    const places = await this.#places.find([offer.volume]);
    if (places.kind === 'refused') return places;
    const { pairs } = await this.#copies([offer.volume], places.leftovers);
    const local = pairs[0]!.local;
    const resource = { kind: 'volume', id: local, name: offer.volume.name } as const;
    await this.#acceptHalf(remote, offer, { pairs, resource, peerResource: offer.volume.id });
    return { kind: 'accepted', volume: local };
  }

  /** The same for a group: a group of the same name with volumes of the same names. Any name in use refuses it all before anything exists. */
  acceptGroup(remote: RemoteRecord, offer: GroupOffer): Promise<PeerAnswer> {
    return this.#turns.take(offer.session, () =>
      this.#places.take(offer.volumes, () => this.#acceptGroup(remote, offer), offer.group),
    );
  }

  async #acceptGroup(remote: RemoteRecord, offer: GroupOffer): Promise<PeerAnswer> {
    if (this.#withdrawn.has(offer.session)) return notKnown;
    const { catalog, random } = this.#deps;
    const known = this.#registry.entries.get(sessionId(offer.session));
    if (known !== undefined && known.record.remoteSystemId !== remote.id) return notKnown;
    if (known !== undefined) return this.#acceptedGroup(known);
    if (await this.#isOver(offer.session)) return notKnown;
    const lower = offer.group.name.toLowerCase();
    const named = catalog
      .list('volume_group')
      .find((group) => group.type !== 'Snapshot' && group.name.toLowerCase() === lower);
    const isFree =
      named === undefined || (named.is_replication_destination && this.#registry.sessionOf(named.id) === undefined);
    if (!isFree) return refusedBy(catalog, new RestError('group_name_in_use', offer.group.name));
    const places = await this.#places.find(offer.volumes);
    if (places.kind === 'refused') return places;
    const id = named?.id ?? random.uuid();
    const document = {
      ...(named ??
        groupDocument(this.#deps, {
          id,
          name: offer.group.name,
          description: offer.group.description,
          type: 'Primary',
          is_write_order_consistent: offer.group.isWriteOrderConsistent,
          protection: protectionOf(id, null, null, null, 'User'),
        })),
      is_replication_destination: true,
    };
    const { pairs } = await this.#copies(offer.volumes, places.leftovers, (copies) => {
      catalog.put('volume_group', document, {});
      const before = membersOf(catalog, id).map((member) => member.id);
      changeMembership(catalog, id, {
        add: copies.filter((member) => !before.includes(member)),
        remove: before.filter((member) => !copies.includes(member)),
      });
    });
    await labelMembers(this.#deps, id);
    const resource = { kind: 'volume_group', id, name: document.name } as const;
    const entry = await this.#acceptHalf(remote, offer, { pairs, resource, peerResource: offer.group.id });
    return this.#acceptedGroup(entry);
  }

  /** An offer may come again when its session is long over: nothing is made or taken for it [C5.6]. */
  async #isOver(session: string): Promise<boolean> {
    return (await this.#deps.dataPlane.tombstone(sessionId(session))) !== undefined;
  }

  /** The source gave up creating a session. */
  withdrawn(remote: RemoteRecord, session: string): Promise<void> {
    return this.#turns.take(session, () => this.#takeBack(remote, session));
  }

  async #takeBack(remote: RemoteRecord, session: string): Promise<void> {
    const entry = this.#registry.entries.get(sessionId(session));
    if (entry === undefined) {
      this.#withdrawn.add(session);
      for (const oldest of this.#withdrawn) {
        if (this.#withdrawn.size <= driverLimits.withdrawnKept) break;
        this.#withdrawn.delete(oldest);
      }
      return this.#removeUnheard(session, ({ role, tag }) => role === 'destination' && tag.remote === remote.serial);
    }
    if (
      entry.record.remoteSystemId !== remote.id ||
      entry.record.half.role !== 'destination' ||
      entry.record.half.lastSync !== undefined
    )
      return;
    await entry.driver.command({ name: 'delete' });
  }

  #acceptedGroup({ record, driver }: SessionEntry): PeerAnswer {
    const volumes = driver.half.pairs.map(({ local, remote }) => ({ source: remote, copy: local }));
    return { kind: 'accepted_group', group: record.localResourceId, volumes };
  }

  /** A copy of each volume: a leftover of the same name, or a new one. All names are taken at once, with what `alongside` takes, or none. */
  async #copies(
    offered: readonly SessionOffer['volume'][],
    leftovers: ReadonlyMap<string, VolumeDocument>,
    alongside: (copies: readonly string[]) => void = () => undefined,
  ): Promise<{ readonly pairs: readonly Pair[] }> {
    const { catalog, dataPlane } = this.#deps;
    // All of a session are on one appliance: its cycles are committed as a whole.
    const appliance = [...leftovers.values()][0]?.appliance_id ?? (await freestAppliance(dataPlane));
    const copies = offered.map((volume) => ({
      volume,
      copy: leftovers.get(volume.name) ?? copyDocument(this.#deps, volume, appliance),
    }));
    catalog.transaction(() => {
      for (const { copy } of copies) if (!leftovers.has(copy.name)) catalog.put('volume', copy, {});
      alongside(copies.map(({ copy }) => copy.id));
    });
    const pairs: Pair[] = [];
    for (const { volume, copy } of copies) {
      const local = volumeId(copy.id);
      await dataPlane.createVolume({ id: local, name: copy.name, size: copy.size, destination: true, tag: {} });
      pairs.push({ local, remote: volumeId(volume.id) });
    }
    return { pairs };
  }

  async #acceptHalf(
    remote: RemoteRecord,
    offer: { readonly session: string; readonly generation: Generation; readonly protection: PolicyCopy },
    born: Pick<Newborn, 'pairs' | 'resource' | 'peerResource'>,
  ): Promise<SessionEntry> {
    const { catalog } = this.#deps;
    const record = await this.#bear({
      ...born,
      id: sessionId(offer.session),
      role: 'destination',
      generation: offer.generation,
      remote,
    });
    return this.#enter(record, () => {
      // With the session and not before it: a process that dies in between leaves no copy of a policy that protects nothing.
      const { policy } = this.#registry.keepPolicy(remote, offer.protection);
      for (const { local } of born.pairs)
        catalog.change('volume', local, { state: 'Ready', is_replication_destination: true });
      catalog.change(born.resource.kind, born.resource.id, { protection_policy_id: policy.id });
      return policy.replication_rule_ids[0];
    });
  }

  // --- at both ------------------------------------------------------------------------------------------------------

  /** Puts the half into the engine; what the catalog keeps of it. */
  async #bear(born: Newborn): Promise<SessionRecord> {
    const { dataPlane } = this.#deps;
    const { id, role, generation, pairs, remote, resource, peerResource } = born;
    const { kind } = resource;
    const named = kind === 'volume_group' && { kind, name: resource.name };
    const tag = { remote: remote.serial, volume: resource.id, peer: peerResource, ...named };
    await dataPlane.createHalf({ session: id, role, generation, pairs, tag });
    return {
      half: newHalf({ id, role, generation, pairs, rpo_ms: 0 }),
      remoteSystemId: remote.id,
      ruleId: undefined,
      ...(kind === 'volume_group' && { resourceKind: kind }),
      localResourceId: resource.id,
      remoteResourceId: peerResource,
      shippedTotal_bytes: 0,
    };
  }

  /** From here on it is a session, under the rule that `alongside` names. */
  #enter(record: SessionRecord, alongside: () => string | undefined): SessionEntry {
    const { catalog } = this.#deps;
    const born = catalog.transaction(() => {
      const rule = catalog.get('replication_rule', alongside() ?? '');
      const half = { ...record.half, rpo_ms: rule === undefined ? 0 : rpo_ms[rule.rpo] };
      const kept = { ...record, half, ruleId: rule?.id };
      this.#registry.keep(kept);
      return kept;
    });
    const entry = this.#registry.open(born);
    this.#deps.reporter.tell('session_created', this.#reports.about(entry.record));
    entry.driver.start();
    return entry;
  }

  /** A half that the catalog does not know: rebuilt from what the log says of it [C7.1]. Undefined: its peer is not known either. */
  adopt(engine: HalfInfo): SessionEntry | undefined {
    const { catalog, remotes, reporter } = this.#deps;
    const remote = remotes.bySerial(String(engine.tag.remote));
    const local = engine.pairs[0]?.local;
    const unexplained = { type: 'replication_session', id: engine.session, name: engine.session };
    if (remote === undefined || local === undefined) {
      reporter.tell('unexplained', unexplained, 'a half of a session without its remote system');
      return undefined;
    }
    reporter.clear('unexplained', unexplained);
    const { session: id, role, generation, pairs, tag } = engine;
    const isGroup = tag.kind === 'volume_group';
    if (isGroup) this.#adoptGroup(engine);
    const kind = isGroup ? 'volume_group' : 'volume';
    const localResourceId = isGroup ? String(tag.volume) : local;
    const rule = this.#ruleFor(kind, localResourceId, remote);
    const born = newHalf({ id, role, generation, pairs, rpo_ms: rule === undefined ? 0 : rpo_ms[rule.rpo] });
    const half: Half = recoverHalf({ ...born, state: role === 'source' ? 'System_Paused' : 'OK' }, engine);
    // Set aside for members to come, like before.
    for (const { local: aside } of engine.joining) {
      const volume = catalog.get('volume', aside);
      if (volume !== undefined) catalog.put('volume', volume, { joined: id });
    }
    const record = {
      half,
      remoteSystemId: remote.id,
      ruleId: rule?.id,
      ...(isGroup && { resourceKind: 'volume_group' as const }),
      localResourceId,
      remoteResourceId: isGroup ? String(tag.peer) : (engine.pairs[0]?.remote ?? ''),
      shippedTotal_bytes: 0,
    };
    this.#registry.keep(record);
    return this.#registry.open(record);
  }

  /** What the policy of a volume or group says of the copy at a peer. None: the session goes on without a schedule until a policy is assigned. */
  #ruleFor(kind: ResourceKind, id: string, remote: RemoteRecord): ReplicationRuleDocument | undefined {
    const { catalog } = this.#deps;
    const policy = catalog.get('policy', catalog.get(kind, id)?.protection_policy_id ?? '');
    return policy?.replication_rule_ids
      .flatMap((rule) => catalog.get('replication_rule', rule) ?? [])
      .find((rule) => rule.remote_system_id === remote.id);
  }

  /** The group of such a half, if the catalog has lost that as well. */
  #adoptGroup({ tag, pairs, role }: HalfInfo): void {
    const { catalog } = this.#deps;
    const id = String(tag.volume);
    if (catalog.get('volume_group', id) !== undefined) return;
    const wanted = String(tag.name);
    const taken = catalog.list('volume_group').some(({ name }) => name.toLowerCase() === wanted.toLowerCase());
    const document = groupDocument(this.#deps, {
      id,
      name: taken ? id : wanted,
      description: null,
      type: 'Primary',
      is_write_order_consistent: true,
      protection: protectionOf(id, null, null, null, 'User'),
    });
    catalog.transaction(() => {
      catalog.put('volume_group', { ...document, is_replication_destination: role === 'destination' }, {});
      const add = pairs.flatMap(({ local }) =>
        catalog.get('volume', local)?.group_id == null ? [local as string] : [],
      );
      changeMembership(catalog, id, { add: add.filter((member) => catalog.get('volume', member) !== undefined) });
    });
  }
}

const described = (group: VolumeGroupDocument): GroupOffer['group'] => ({
  id: group.id,
  name: group.name,
  description: group.description,
  isWriteOrderConsistent: group.is_write_order_consistent,
});
