import { type PointId, type SessionId, sessionId, type VolumeId, volumeId } from '@antipode/base';
import type { HalfInfo, Pair } from '@antipode/blocks';
import { RestError } from '@antipode/contract';
import { type Half, isDecidingDirection } from '@antipode/replication';
import { freestAppliance } from '../appliances/placement.ts';
import type { VolumeDocument } from '../catalog/documents.ts';
import { enterSnapshot } from '../services/found-snapshots.ts';
import { changeMembership, labelMembers, membersOf } from '../services/group-document.ts';
import { forgetVolume } from '../services/snapshots.ts';
import { Turns } from '../services/turns.ts';
import type { CopyPlaces } from './copy-places.ts';
import { copyDocument, offeredVolume } from './offers.ts';
import type { OfferedVolume, PeerAnswer } from './peer-wire.ts';
import type { RemoteRecord } from './remote-systems.ts';
import type { SessionEntry, SessionRegistry, SessionsDeps } from './session-parts.ts';
import { PeerUnreachable, type Recruited } from './step-runner.ts';

/**
 * Who is a member of a session, at both sides. At the source a group's members come and go in any state: who leaves is free at once,
 * who comes waits for the next cycle, before whose freeze the peer sets a volume aside for it. At the destination the members
 * change with a commit and never otherwise, so that it is a complete point in time of the members it had.
 */
export class Membership {
  readonly #deps: SessionsDeps;
  readonly #registry: SessionRegistry;
  readonly #places: CopyPlaces;

  /** What is under way for a session: volumes are not set aside while another turn looks which of them are needed. */
  readonly #turns = new Turns<SessionId>();

  constructor(deps: SessionsDeps, registry: SessionRegistry, places: CopyPlaces) {
    this.#deps = deps;
    this.#registry = registry;
    this.#places = places;
  }

  // --- at the source ------------------------------------------------------------------------------------------------

  /** Refuses what cannot be, before anything changes: names that are in use at the peer, if it can be asked. */
  async check(group: string, add: readonly VolumeDocument[]): Promise<void> {
    const entry = this.#entryOf(group);
    if (entry === undefined) return;
    const { remoteSystemId } = entry.record;
    const { half } = entry.driver;
    // What is going asks nobody any more.
    if (half.state === 'Deleting') return;
    const members = new Set(half.pairs.map(({ local }) => local as string));
    const fresh = add.filter(({ id }) => !members.has(id));
    if (fresh.length === 0 || half.role !== 'source' || !this.#deps.remotes.isUp(remoteSystemId)) return;
    const answer = await this.#ask(half, remoteSystemId, fresh, true);
    // A peer that is not reached now is asked again before the next cycle.
    if (answer?.kind === 'refused') throw new RestError('peer_refused', answer.message);
  }

  /**
   * Brings the session in line with its group: who left is out at once, who came waits for the next cycle. While a failover is in doubt
   * nothing happens; it is done when this side is still the source afterwards, and else the group follows what was agreed before.
   */
  align(entry: SessionEntry): Promise<void> {
    return this.#turns.take(entry.record.half.id, () => this.#align(entry));
  }

  async #align(entry: SessionEntry): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    const { localResourceId, resourceKind } = entry.record;
    const { half } = entry.driver;
    const waits = isDecidingDirection(half) || half.state === 'Deleting';
    if (resourceKind !== 'volume_group' || half.role !== 'source' || waits) return;
    const engine = await dataPlane.half(half.id);
    if (engine === undefined || engine.role !== 'source') return;
    const members = membersOf(catalog, localResourceId).map(({ id }) => volumeId(id));
    const pairs = engine.pairs.filter(({ local }) => members.includes(local));
    const gone = engine.pairs.filter(({ local }) => !members.includes(local)).map(({ local }) => local);
    if (gone.length > 0 && !(await this.#let(entry, pairs))) return;
    const known = new Set(pairs.map(({ local }) => local));
    const newcomers = members.filter((member) => !known.has(member));
    // Those that the peer must be asked for anew stay on the list.
    const asked = half.newcomers?.filter((member) => known.has(member)) ?? [];
    const waited = new Set(half.newcomers);
    this.#tell(
      entry,
      newcomers.filter((member) => !waited.has(member)),
      gone,
    );
    entry.driver.submit({ kind: 'members', pairs, newcomers: [...asked, ...newcomers] });
  }

  /** Members leave the engine's half; false when a failover, or the end of the session, came first. */
  async #let(entry: SessionEntry, pairs: readonly Pair[]): Promise<boolean> {
    try {
      await this.#deps.dataPlane.changeHalf(entry.record.half.id, { pairs });
      return true;
    } catch (error) {
      const { half } = entry.driver;
      if (isDecidingDirection(half) || half.state === 'Deleting' || half.role !== 'source') return false;
      throw error;
    }
  }

  /** Before a target is frozen: the peer sets volumes aside for those that have none, and they become members of the engine's half. */
  async recruit(half: Half, newcomers: readonly VolumeId[]): Promise<Recruited> {
    const { catalog, dataPlane } = this.#deps;
    const entry = this.#registry.entries.get(half.id);
    const volumes = newcomers.flatMap((id) => catalog.get('volume', id) ?? []);
    const present = (await dataPlane.half(half.id))?.pairs ?? half.pairs;
    if (volumes.length === 0 || entry === undefined) return { ok: true, pairs: present };
    const answer = await this.#ask(half, entry.record.remoteSystemId, volumes, false);
    if (answer === undefined) return { ok: false, code: 'link_lost', message: 'the peer cannot be reached' };
    if (answer.kind === 'refused') return { ok: false, code: 'member_refused', message: answer.message };
    if (answer.kind !== 'members') return { ok: false, code: 'internal', message: 'the answer was not understood' };
    const copies = new Map(answer.volumes.map(({ source, copy }) => [source, copy]));
    return { ok: true, pairs: await this.#turns.take(half.id, () => this.#enlist(entry, copies)) };
  }

  /** Who has a copy at the peer becomes a member, unless it has left again while the peer was asked. */
  async #enlist(entry: SessionEntry, copies: ReadonlyMap<string, string>): Promise<readonly Pair[]> {
    const { catalog, dataPlane } = this.#deps;
    const { half, localResourceId } = entry.record;
    const present = (await dataPlane.half(half.id))?.pairs ?? half.pairs;
    const fresh = membersOf(catalog, localResourceId).flatMap(({ id }): readonly Pair[] => {
      const copy = copies.get(id);
      return copy === undefined ? [] : [{ local: volumeId(id), remote: volumeId(copy) }];
    });
    const replaced = new Set(fresh.map(({ local }) => local));
    const pairs = [...present.filter(({ local }) => !replaced.has(local)), ...fresh];
    await dataPlane.changeHalf(half.id, { pairs });
    return pairs;
  }

  async #ask(
    half: Half,
    remote: string,
    volumes: readonly VolumeDocument[],
    check: boolean,
  ): Promise<PeerAnswer | undefined> {
    const request = { kind: 'members', session: half.id, check, volumes: volumes.map(offeredVolume) } as const;
    try {
      return await this.#deps.remotes.ask(remote, request);
    } catch (error) {
      if (error instanceof PeerUnreachable) return undefined;
      throw error;
    }
  }

  // --- at the destination -------------------------------------------------------------------------------------------

  /** The source asks for volumes for members to come; with `check` it only asks whether it could. */
  setAside(
    remote: RemoteRecord,
    session: string,
    volumes: readonly OfferedVolume[],
    check: boolean,
  ): Promise<PeerAnswer> {
    return this.#turns.take(sessionId(session), () =>
      this.#places.take(volumes, () => this.#setAside(remote, session, volumes, check)),
    );
  }

  async #setAside(
    remote: RemoteRecord,
    session: string,
    volumes: readonly OfferedVolume[],
    check: boolean,
  ): Promise<PeerAnswer> {
    const { catalog, dataPlane } = this.#deps;
    const id = sessionId(session);
    const entry = this.#registry.entries.get(id);
    const engine = await dataPlane.half(id);
    if (entry === undefined || entry.record.remoteSystemId !== remote.id || engine === undefined)
      return { kind: 'refused', code: '', message: 'the session is not known', arguments: [] };
    if (engine.role !== 'destination') {
      if (check) return { kind: 'members', volumes: [] };
      return {
        kind: 'refused',
        code: '',
        message: 'this cluster is not the destination of the session',
        arguments: [],
      };
    }
    const known = new Map([...engine.pairs, ...engine.joining].map(({ local, remote }) => [remote as string, local]));
    const wanted = volumes.filter((volume) => !known.has(volume.id));
    const found = await this.#places.find(wanted);
    if (found.kind === 'refused') return found;
    if (check) return { kind: 'members', volumes: [] };
    const joining: Pair[] = [...engine.joining];
    const beside = engine.pairs[0] && catalog.get('volume', engine.pairs[0].local);
    const appliance = beside?.appliance_id ?? (await freestAppliance(dataPlane));
    for (const volume of wanted) {
      const copy = found.leftovers.get(volume.name) ?? copyDocument(this.#deps, volume, appliance);
      const local = volumeId(copy.id);
      if (!found.leftovers.has(volume.name)) catalog.put('volume', copy, { joined: id });
      await dataPlane.createVolume({ id: local, name: copy.name, size: copy.size, destination: true, tag: {} });
      catalog.change('volume', copy.id, { state: 'Ready' });
      joining.push({ local, remote: volumeId(volume.id) });
      known.set(volume.id, local);
    }
    if (wanted.length > 0) await dataPlane.changeHalf(id, { joining });
    return {
      kind: 'members',
      volumes: volumes.map((volume) => ({ source: volume.id, copy: known.get(volume.id)! })),
    };
  }

  /** The engine has changed who is a member, or what there is: half, group, sizes and snapshots of the catalog follow it [C3.3]. */
  follow(session: SessionId, points?: readonly PointId[]): Promise<void> {
    return this.#turns.take(session, () => this.#follow(session, points));
  }

  async #follow(session: SessionId, points: readonly PointId[] | undefined): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    const entry = this.#registry.entries.get(session);
    const engine = entry && (await dataPlane.half(session));
    if (entry === undefined || engine === undefined) return;
    for (const { local } of engine.pairs) {
      const info = await dataPlane.volume(local);
      const shown = catalog.get('volume', local);
      if (info !== undefined && shown !== undefined && info.size !== shown.size)
        catalog.change('volume', local, { size: info.size });
    }
    if (engine.role === 'destination') {
      await this.#followMembers(entry, engine);
      if (!samePairs(engine, entry.driver.half))
        entry.driver.submit({ kind: 'members', pairs: engine.pairs, newcomers: [] });
    }
    const come =
      points === undefined
        ? await dataPlane.pointsOf(engine.pairs.map(({ local }) => local))
        : await Promise.all(points.map((point) => dataPlane.point(point)));
    for (const point of come) if (point?.kind === 'snapshot') enterSnapshot(this.#deps, point);
    await this.#dropUnused(session, engine);
  }

  /** The session is gone: so are the volumes that were only set aside. */
  ended(session: SessionId): Promise<void> {
    return this.#turns.take(session, () => this.#dropUnused(session, undefined));
  }

  /** The same for sessions that went when it could not be done: in the death of a process, or while the data plane was away. */
  async endedBefore(): Promise<void> {
    for (const session of this.#deps.catalog.setAsideFor().map(sessionId))
      if (!this.#registry.entries.has(session)) await this.ended(session);
  }

  /** Volumes that were set aside for members that never came go again: nobody has ever seen anything in them. */
  async #dropUnused(session: SessionId, engine: HalfInfo | undefined): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    for (const volume of catalog.listByPrivate('volume', 'joined', session)) {
      const isMember = ({ local }: Pair) => local === volume.id;
      if (engine?.joining.some(isMember)) continue;
      const info = await dataPlane.volume(volumeId(volume.id));
      // Where the session ended before its last commit was followed, the copy itself tells that it is one: it stays, like the others.
      if (engine === undefined ? info?.replica !== undefined : engine.pairs.some(isMember)) {
        catalog.put('volume', volume, {});
        continue;
      }
      if (info !== undefined) await dataPlane.deleteVolume(volumeId(volume.id));
      forgetVolume(catalog, volume);
    }
  }

  /** The group of a session that has become, or is, a destination: its members are the engine's, whoever was put in or taken out here. */
  async #followMembers(entry: SessionEntry, engine: HalfInfo): Promise<void> {
    const { catalog } = this.#deps;
    const { localResourceId, resourceKind } = entry.record;
    if (resourceKind !== 'volume_group') return;
    const members = new Set(engine.pairs.map(({ local }) => local as string));
    const shown = membersOf(catalog, localResourceId).map(({ id }) => id);
    const add = [...members].filter((id) => !shown.includes(id) && catalog.get('volume', id) !== undefined);
    const remove = shown.filter((id) => !members.has(id));
    if (add.length === 0 && remove.length === 0) return;
    changeMembership(catalog, localResourceId, { add, remove });
    this.#tell(entry, add, remove);
    await labelMembers(this.#deps, localResourceId, remove);
  }

  #tell({ record }: SessionEntry, came: readonly string[], went: readonly string[]): void {
    const { catalog, reporter } = this.#deps;
    if (came.length === 0 && went.length === 0) return;
    const named = (ids: readonly string[], sign: string) =>
      ids.map((id) => `${sign}${catalog.get('volume', id)?.name ?? id}`);
    const name = catalog.get('volume_group', record.localResourceId)?.name ?? record.localResourceId;
    const about = { type: 'replication_session', id: record.half.id, name };
    reporter.tell('members_changed', about, [...named(came, '+'), ...named(went, '-')].join(', '));
  }

  #entryOf(resource: string): SessionEntry | undefined {
    const session = this.#registry.sessionOf(resource);
    return session && this.#registry.entries.get(sessionId(session.id));
  }
}

const samePairs = (engine: HalfInfo, half: Half): boolean =>
  engine.pairs.length === half.pairs.length &&
  engine.pairs.every(
    ({ local, remote }, index) => half.pairs[index]?.local === local && half.pairs[index]?.remote === remote,
  );
