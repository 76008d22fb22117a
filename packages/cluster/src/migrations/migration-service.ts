import { type Clock, passFaultPoint, type Random } from '@antipode/base';
import { display, MigrationCreate, MigrationDelete, MigrationSync, RestError } from '@antipode/contract';
import { type Static, Type } from 'typebox';
import type { ClusterDataPlane } from '../appliances/cluster-data-plane.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { timestamp, type VolumeDocument } from '../catalog/documents.ts';
import { isMediumRefusal } from '../catalog/medium-errors.ts';
import { DataPlaneAway } from '../local/client.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import type { Reporter } from '../services/occurrences.ts';
import {
  legalStates,
  type MigrationCommand,
  type MigrationDocument,
  type MigrationPrivate,
  type MigrationState,
} from './migration-document.ts';
import { Move, moveLimits, type SessionPauses } from './move.ts';
import { endStrayMoves, followPlaces, headOf } from './whereabouts.ts';

export interface MigrationDeps {
  readonly catalog: Catalog;
  readonly cluster: Pick<ClusterDataPlane, 'plane' | 'moved'>;
  readonly sessions: SessionPauses;
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly random: Random;
}

/** The states in which something is copied. */
const underWay: ReadonlySet<MigrationState | undefined> = new Set(['Synchronizing', 'Cutting_Over'] as const);

/** How often progress is looked at. */
const follow_ms = 500;

/** Migrations between the appliances of the cluster: made, driven, and told of. */
export class MigrationService {
  readonly #deps: MigrationDeps;
  readonly #running = new Map<string, { readonly move: Move; readonly ended: Promise<void> }>();
  readonly #deletions = new Map<string, Promise<void>>();
  #stopped = false;

  constructor(deps: MigrationDeps) {
    this.#deps = deps;
  }

  handlers(): Handlers {
    return {
      'migration_session.create': handler(MigrationCreate, (_, __, body) => this.#create(body)),
      'migration_session.delete': handler(MigrationDelete, (_, id) => this.#delete(id)),
      'migration_session.sync': handler(MigrationSync, async (_, id, body) => this.#sync(id, body)),
      'migration_session.pause': handler(Type.Object({}), (_, id) => this.#pause(id)),
      'migration_session.resume': handler(Type.Object({}), async (_, id) => this.#resume(id)),
      'migration_session.cutover': handler(Type.Object({}), (context, id) => this.#cutover(id, context.progress)),
    };
  }

  /** Before anything else asks where volumes are: what a restart found half-way is on one appliance when it resolves. */
  async recover(): Promise<void> {
    const { catalog, cluster } = this.#deps;
    const planes = new Map(catalog.list('appliance').map(({ id }) => [id, cluster.plane(id)]));
    if (planes.size < 2) return;
    for (const document of catalog.list('migration_session')) {
      if (document.state === 'Completed') continue;
      if ((await this.#moveOf(document).settle()) || (await this.#isThere(document))) await this.#complete(document);
      else if (document.state === 'Cutting_Over') this.#show(document.id, { state: 'System_Paused' });
    }
    await endStrayMoves(
      planes,
      (move) => catalog.get('migration_session', move) !== undefined,
      (id, from, to) => this.#move(id, [], from, to),
    );
    await followPlaces(catalog, planes);
  }

  /** An older catalog may know of a move that has been complete, and forgotten by its destination. */
  async #isThere({ id, destination_appliance_id: to }: MigrationDocument): Promise<boolean> {
    const destination = this.#deps.cluster.plane(to);
    const present = await Promise.all(this.#hidden(id).seeds.map((seed) => destination.volume(seed as never)));
    return present.some((volume) => volume !== undefined && !volume.departing);
  }

  /** Goes on with what was being copied. */
  start(): void {
    for (const { id, state } of this.#deps.catalog.list('migration_session')) {
      if (state === 'Synchronizing' || state === 'Resuming') this.#run(id);
      if (state === 'Pausing') this.#show(id, { state: 'Paused' });
      // One that cannot be ended now is left to whoever deletes it again.
      if (state === 'Deleting') this.#delete(id).catch(() => undefined);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #create(body: Static<typeof MigrationCreate>): Promise<{ id: string; rescan_host_ids: string[] }> {
    const { catalog, cluster, random, clock } = this.#deps;
    const { resource_type: type, family_id: family, destination_appliance_id: to } = body;
    if (type !== 'volume' && type !== 'volume_group') throw new RestError('migration_type', display(type));
    if (catalog.get('appliance', to) === undefined) throw new RestError('not_found', 'appliance', to);
    const seeds = this.#seeds(type, family);
    const [first] = seeds;
    if (first === undefined) throw new RestError('not_found', `${type} family`, family);
    const from = first.appliance_id;
    if (from === to) throw new RestError('migration_there', first.name, to);
    const unit = await cluster.plane(from).unitOf(seeds.map(({ id }) => id as never));
    const moving = unit.volumes.flatMap((id) => catalog.get('volume', id) ?? []);
    for (const volume of moving) {
      if (volume.migration_session_id != null) throw new RestError('migration_running', volume.name);
      const group = volume.group_id == null ? undefined : catalog.get('volume_group', volume.group_id);
      if (type === 'volume' && group !== undefined) throw new RestError('migration_group', volume.name, group.name);
    }
    const id = random.uuid();
    const name = body.name ?? `Migration of ${first.name}`;
    if (catalog.list('migration_session', 'name', name).length > 0) throw new RestError('name_in_use', name);
    const document: MigrationDocument = {
      id,
      name,
      resource_type: type,
      family_id: family,
      source_appliance_id: from,
      destination_appliance_id: to,
      state: 'Initialized',
      created_timestamp: timestamp(clock.now()),
      last_sync_timestamp: null,
      progress_percentage: 0,
      estimated_completion_timestamp: null,
      current_transfer_rate: null,
      session_ids: unit.sessions,
    };
    const hidden: MigrationPrivate = {
      seeds: seeds.map((seed) => seed.id),
      automatic: body.automatic_cutover ?? false,
    };
    catalog.transaction(() => {
      catalog.put('migration_session', document, hidden);
      this.#mark(moving, id);
    });
    this.#tell('migration_created', document, to);
    return { id, rescan_host_ids: [] };
  }

  /** The volumes that a family's name stands for; what moves with them is more. */
  #seeds(type: 'volume' | 'volume_group', family: string): readonly VolumeDocument[] {
    const { catalog } = this.#deps;
    if (type === 'volume') return catalog.listFamily(family).filter((volume) => volume.type !== 'Snapshot');
    return catalog
      .list('volume_group')
      .filter((group) => group.type !== 'Snapshot' && group.protection_data.family_id === family)
      .flatMap((group) => catalog.list('volume', 'group_id', group.id));
  }

  #sync(id: string, body: Static<typeof MigrationSync>): void {
    const document = this.#allowed(id, 'sync');
    const hidden = this.#hidden(id);
    this.#deps.catalog.put('migration_session', document, {
      ...hidden,
      automatic: body.automatic_cutover ?? hidden.automatic,
    });
    this.#run(id);
  }

  #resume(id: string): void {
    this.#allowed(id, 'resume');
    this.#run(id);
  }

  async #pause(id: string): Promise<void> {
    this.#allowed(id, 'pause');
    this.#show(id, { state: 'Pausing' });
    await this.#halt(id);
    // It may have been deleted meanwhile, or be about to go.
    const { state } = this.#document(id);
    if (state !== 'Pausing') throw this.#illegal('pause', state);
    this.#show(id, { state: 'Paused' });
  }

  async #cutover(id: string, progress: (percent: number) => void): Promise<void> {
    this.#allowed(id, 'cutover');
    const move = this.#moveOf(this.#document(id));
    const ended = this.#cutOver(id, move);
    this.#running.set(id, { move, ended: ended.catch(() => undefined) });
    void this.#follow(id, move, progress);
    try {
      await ended;
    } finally {
      this.#running.delete(id);
    }
  }

  /** Asked for again while it is under way it is the same one. */
  #delete(id: string): Promise<void> {
    const deletion = this.#deletions.get(id) ?? this.#remove(id).finally(() => this.#deletions.delete(id));
    this.#deletions.set(id, deletion);
    return deletion;
  }

  async #remove(id: string): Promise<void> {
    const { catalog } = this.#deps;
    const { state } = this.#document(id);
    if (state === 'Cutting_Over') throw new RestError('migration_state', 'delete', display(state), 'any other');
    if (state !== 'Completed') {
      this.#show(id, { state: 'Deleting' });
      await this.#halt(id);
    }
    // Of a complete one the destination may still know: a process died before it was told.
    await this.#moveOf(this.#document(id)).forget();
    catalog.transaction(() => {
      this.#mark(catalog.list('volume', 'migration_session_id', id), null);
      catalog.remove('migration_session', id);
    });
  }

  // --- under way ----------------------------------------------------------------------------------------------------

  /** Copies in the background, and cuts over if that was asked for. */
  #run(id: string): void {
    const move = this.#moveOf(this.#document(id));
    this.#show(id, { state: 'Synchronizing', progress_percentage: 0 });
    this.#clear(id);
    const ended = this.#copy(id, move)
      .catch((error: unknown) => this.#failed(id, move, error))
      .finally(() => this.#running.delete(id));
    this.#running.set(id, { move, ended });
    void this.#follow(id, move);
  }

  async #copy(id: string, move: Move): Promise<void> {
    this.#tell('migration_started', this.#document(id));
    await move.sync();
    if (move.cancelled || this.#stopped) return;
    const { clock } = this.#deps;
    this.#show(id, { state: 'Idle', last_sync_timestamp: timestamp(clock.now()), progress_percentage: 100 });
    this.#tell('migration_synchronized', this.#document(id));
    if (this.#hidden(id).automatic) await this.#cutOver(id, move);
  }

  async #cutOver(id: string, move: Move): Promise<void> {
    const session_ids = await move.sessions();
    // Paused or deleted while that was asked; from here on neither can be.
    if (move.cancelled) throw this.#illegal('cutover', this.#document(id).state);
    this.#show(id, { state: 'Cutting_Over', session_ids });
    try {
      await move.cutOver();
    } catch (error) {
      this.#failed(id, move, error);
      throw error;
    }
    await this.#complete(this.#document(id));
  }

  /** The destination has it: the catalog follows, and nothing of the move is left. */
  async #complete(document: MigrationDocument): Promise<void> {
    const { catalog, cluster, clock } = this.#deps;
    const { id, source_appliance_id: from, destination_appliance_id: to } = document;
    const destination = cluster.plane(to);
    const seeds = this.#hidden(id).seeds;
    // There is no way back from here: a destination that is being started again is waited for.
    const unit = await this.#answered(async () => {
      const present = await Promise.all(seeds.map((seed) => destination.volume(seed as never)));
      return destination.unitOf(present.flatMap((volume) => (volume === undefined ? [] : [volume.id])));
    });
    const moved = new Set<string>(unit.volumes);
    const entry = {
      from_appliance_id: from,
      to_appliance_id: to,
      migrated_on: timestamp(clock.now()),
      reason: 'Manual',
      reason_l10n: 'Manual',
    };
    await this.#answered(async () =>
      catalog.transaction(() => {
        for (const volume of catalog.list('volume', 'appliance_id', from)) {
          const of = headOf(catalog, volume);
          if (of === undefined || !moved.has(of)) continue;
          const location_history = [...volume.location_history, entry];
          catalog.change('volume', volume.id, { appliance_id: to, location_history, migration_session_id: null });
        }
        this.#mark(catalog.list('volume', 'migration_session_id', id), null);
        this.#show(id, {
          state: 'Completed',
          progress_percentage: 100,
          last_sync_timestamp: timestamp(clock.now()),
        });
      }),
    );
    passFaultPoint('migration.catalog.followed');
    await this.#answered(() => destination.forgetArrival(id));
    this.#clear(id);
    this.#tell('migration_completed', document, to);
  }

  /**
   * What a data plane answers, however long it takes to be started again, or what the catalog takes, once it takes anything; a process
   * that ends leaves that to the next one.
   */
  async #answered<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const passes = error instanceof DataPlaneAway || isMediumRefusal(error);
        if (!passes || this.#stopped) throw error;
        await this.#deps.clock.sleep(moveLimits.retry_ms);
      }
    }
  }

  #failed(id: string, move: Move, error: unknown): void {
    if (move.cancelled || this.#stopped || this.#deps.catalog.get('migration_session', id) === undefined) return;
    const reason = error instanceof Error ? error.message : String(error);
    this.#deps.catalog.eventually(() => {
      const document = this.#deps.catalog.get('migration_session', id);
      if (document === undefined || !underWay.has(document.state)) return;
      this.#show(id, { state: 'System_Paused' });
      this.#tell('migration_parked', document, reason);
    });
  }

  async #halt(id: string): Promise<void> {
    const running = this.#running.get(id);
    await running?.move.cancel();
    await running?.ended;
  }

  async #follow(id: string, move: Move, progress: (percent: number) => void = () => undefined): Promise<void> {
    const { catalog, clock } = this.#deps;
    let last: { readonly copied: number; readonly at: number } | undefined;
    while (this.#running.get(id)?.move === move && !this.#stopped) {
      const now = await move.progress().catch(() => undefined);
      // What was asked may be answered when it is over: what is final must not be covered by what was on its way.
      if (this.#running.get(id)?.move !== move || this.#stopped) return;
      const goesOn = underWay.has(catalog.get('migration_session', id)?.state);
      if (goesOn && now !== undefined && now.total_bytes > 0) {
        const { copied_bytes: copied, total_bytes: total } = now;
        const at = clock.now();
        const rate =
          last === undefined || at === last.at ? 0 : Math.max(0, ((copied - last.copied) * 1000) / (at - last.at));
        last = { copied, at };
        const percent = Math.floor((100 * copied) / total);
        progress(percent);
        catalog.live('migration_session', id, {
          progress_percentage: percent,
          current_transfer_rate: Math.round(rate),
          estimated_completion_timestamp: rate > 0 ? timestamp(at + ((total - copied) * 1000) / rate) : null,
        });
      }
      await clock.sleep(follow_ms);
    }
  }

  // --- small things -------------------------------------------------------------------------------------------------

  #moveOf({ id, source_appliance_id: from, destination_appliance_id: to }: MigrationDocument): Move {
    return this.#move(id, this.#hidden(id).seeds, from, to);
  }

  #move(id: string, seeds: readonly string[], from: string, to: string): Move {
    const { cluster, sessions, clock, random } = this.#deps;
    return new Move({
      ...{ id, seeds, to },
      source: cluster.plane(from),
      destination: cluster.plane(to),
      sessions,
      moved: () => cluster.moved(),
      clock,
      random,
    });
  }

  #document(id: string): MigrationDocument {
    const document = this.#deps.catalog.get('migration_session', id);
    if (document === undefined) throw new RestError('not_found', 'migration_session', id);
    return document;
  }

  #hidden(id: string): MigrationPrivate {
    return this.#deps.catalog.private<MigrationPrivate>('migration_session', id) ?? { seeds: [], automatic: false };
  }

  #allowed(id: string, command: MigrationCommand): MigrationDocument {
    const document = this.#document(id);
    const states: readonly MigrationState[] = legalStates[command];
    if (!states.includes(document.state) || this.#running.has(id) !== (document.state === 'Synchronizing'))
      throw this.#illegal(command, document.state);
    return document;
  }

  #illegal(command: MigrationCommand, state: MigrationState): RestError {
    return new RestError('migration_state', command, display(state), legalStates[command].map(display).join(', '));
  }

  /** What is shown from now on; what was measured before it counts no more. */
  #show(id: string, change: Partial<MigrationDocument>): void {
    this.#deps.catalog.still('migration_session', id);
    this.#deps.catalog.change('migration_session', id, change);
  }

  #mark(volumes: readonly VolumeDocument[], id: string | null): void {
    const { catalog } = this.#deps;
    const groups = new Set(volumes.flatMap(({ group_id }) => group_id ?? []));
    for (const volume of volumes) catalog.change('volume', volume.id, { migration_session_id: id });
    for (const group of groups)
      if (catalog.get('volume_group', group) !== undefined)
        catalog.change('volume_group', group, { migration_session_id: id });
  }

  #about({ id, name }: MigrationDocument) {
    return { type: 'migration_session', id, name };
  }

  #tell(what: Parameters<Reporter['tell']>[0], document: MigrationDocument, detail?: string): void {
    this.#deps.reporter.tell(what, this.#about(document), detail);
  }

  #clear(id: string): void {
    this.#deps.reporter.clear('migration_parked', this.#about(this.#document(id)));
  }
}
