import type { Clock, PointId, Random } from '@antipode/base';
import type { PointInfo, Tag } from '@antipode/blocks';
import type { Half, Notice } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import { enterSnapshot } from '../services/found-snapshots.ts';
import type { About, OccurrenceName, Reporter } from '../services/occurrences.ts';
import { driverLimits } from './limits.ts';
import { flipProtection } from './replica-policy.ts';
import { resourceOf, type SessionRecord } from './session-store.ts';
import { testPurpose } from './step-runner.ts';

export interface SessionReportsDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly random: Random;
  readonly reporter: Reporter;
}

/** A source in these has not been reprotected, or may not stay one: its policy is what it was. */
const undecided: readonly Half['state'][] = ['Failed_Over', 'Failing_Over', 'Deleting'];

/** What the state machine's notices mean for operators and for the catalog. */
export class SessionReports {
  readonly #deps: SessionReportsDeps;
  /** Sessions parked since the link to a peer was lost, by its remote system. */
  readonly #parked = new Map<string, number>();

  constructor(deps: SessionReportsDeps) {
    this.#deps = deps;
  }

  about(record: SessionRecord): About {
    const resource = resourceOf(this.#deps.catalog, record);
    return { type: 'replication_session', id: record.half.id, name: resource?.name ?? record.localResourceId };
  }

  /** Tells operators, and brings the catalog in line with what has happened. */
  notice(notice: Notice, record: SessionRecord, half: Half): void {
    const { reporter } = this.#deps;
    const about = this.about(record);
    const tell = (name: OccurrenceName, detail = '') => reporter.tell(name, about, detail);
    switch (notice.kind) {
      case 'cycle_started':
        reporter.clear('session_parked', about);
        // What the schedule does all day is told by each session's history; telling it here would drive out what matters.
        return notice.trigger === 'schedule' ? undefined : tell('cycle_started', notice.trigger);
      case 'snapshots_left_out':
        return tell('snapshots_left_out', String(notice.count));
      case 'synchronized':
        reporter.clear('session_parked', about);
        return notice.trigger === 'schedule' ? undefined : tell('synchronized', String(notice.duration_ms));
      case 'parked':
        if (notice.fault.code === 'link_lost' && this.#isOneOfMany(record)) return;
        return tell('session_parked', notice.fault.message);
      case 'recovered':
        return reporter.clear('session_parked', about);
      case 'paused':
        return tell('session_paused', notice.scope === 'both' ? 'both sites' : 'this site only');
      case 'resumed':
        return tell('session_resumed');
      case 'suspended':
        return tell('session_suspended', notice.reason === 'ndu' ? 'a software upgrade' : 'a migration');
      case 'suspension_lifted':
        return tell('suspension_lifted');
      case 'failover_started':
        return tell('failover_started', notice.planned ? 'planned' : 'unplanned');
      case 'failed_over':
        this.#flag(record, half, false);
        reporter.clear('session_parked', about);
        return tell('failed_over', String(notice.generation));
      case 'test_started':
        this.#sizesFollow(half).catch(() => undefined);
        return tell('test_started');
      case 'test_stopped':
        if (notice.kept !== undefined) this.enterKept(record, notice.kept).catch(() => undefined);
        this.#sizesFollow(half).catch(() => undefined);
        return tell('test_stopped', notice.kept === undefined ? 'given up' : 'kept as a snapshot');
      case 'failover_aborted':
        return tell('failover_aborted', notice.message);
      case 'in_doubt':
        return tell('failover_in_doubt');
      case 'fenced':
        this.#flag(record, half, true);
        reporter.clear('failover_in_doubt', about);
        // The data plane may be away: the next start enters what was not.
        if (notice.diverged_bytes > 0) this.#enterDiverged(record, notice.diverged_bytes).catch(() => undefined);
        return tell('fenced', String(notice.diverged_bytes));
      case 'reprotected':
        return tell('reprotected');
      case 'base_lost':
        return tell('base_lost', notice.using === 'whole' ? 'whole volume' : 'difference to an older point');
      case 'deleted':
        return;
      case 'protection_lost':
        return tell('protection_lost');
      case 'split':
        return tell('session_split', notice.message);
      case 'fault':
        return tell('session_parked', notice.message);
    }
  }

  /** An outage parks all sessions with a peer: the first are told of one by one, the others by one alert about the remote system. */
  #isOneOfMany({ remoteSystemId }: SessionRecord): boolean {
    const { catalog, reporter } = this.#deps;
    const told = (this.#parked.get(remoteSystemId) ?? 0) + 1;
    this.#parked.set(remoteSystemId, told);
    if (told <= driverLimits.parkedTold) return false;
    const name = catalog.get('remote_system', remoteSystemId)?.name ?? remoteSystemId;
    // Raised once, with the first of them; the sessions themselves say which.
    if (told === driverLimits.parkedTold + 1)
      reporter.tell('sessions_parked', { type: 'remote_system', id: remoteSystemId, name });
    return true;
  }

  /** The peer can be reached again: its sessions go on by themselves. */
  linkBack(remoteSystemId: string): void {
    this.#parked.delete(remoteSystemId);
    this.#deps.reporter.clear('sessions_parked', { type: 'remote_system', id: remoteSystemId, name: '' });
  }

  /** Whether hosts can write here: of a group and all its members at once. */
  #flag(record: SessionRecord, half: Half, is_replication_destination: boolean): void {
    const { catalog } = this.#deps;
    catalog.eventually(() =>
      catalog.transaction(() => {
        for (const { local } of half.pairs) catalog.change('volume', local, { is_replication_destination });
        if (record.resourceKind === 'volume_group')
          catalog.change('volume_group', record.localResourceId, { is_replication_destination });
      }),
    );
  }

  /** Whether hosts can write here, as the engine knows it: a catalog that is an older copy may say another thing of a group [C7.2]. */
  followRole(record: SessionRecord): void {
    const isCopy = record.half.role === 'destination';
    if (resourceOf(this.#deps.catalog, record)?.is_replication_destination !== isCopy)
      this.#flag(record, record.half, isCopy);
    // A process may have died between a reprotection and the policy's becoming this cluster's own.
    if (!isCopy && !undecided.includes(record.half.state))
      this.#deps.catalog.eventually(() => void flipProtection(this.#deps.catalog, record, 'source'));
  }

  /** A copy's size follows what was committed, a tested one's its image: the engine knows, and is asked again where this fails. */
  async #sizesFollow(half: Half): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    for (const { local } of half.pairs) {
      const info = await dataPlane.volume(local).catch(() => undefined);
      const known = catalog.get('volume', local);
      if (info !== undefined && known !== undefined && info.size !== known.size)
        catalog.change('volume', local, { size: info.size });
    }
  }

  /**
   * Points that a session leaves for operators, what diverged [C2.4] and what failover tests have written, as snapshots in the
   * catalog: at the start, one after the other. What is there already is left alone.
   */
  async enterAllKept(records: readonly SessionRecord[]): Promise<void> {
    const bySession = new Map<unknown, SessionRecord>(records.map((record) => [record.half.id, record]));
    for (const point of await this.#deps.dataPlane.points()) {
      const record = bySession.get(point.tag.session);
      if (record !== undefined) this.#enter(record, point, {});
    }
  }

  /** What diverged has just been learned, and how much it was. */
  async #enterDiverged(record: SessionRecord, bytes: number): Promise<void> {
    for (const point of await this.#deps.dataPlane.points()) {
      if (point.kind === 'diverged' && point.tag.session === record.half.id)
        this.#enter(record, point, { description: `${bytes} bytes beyond the common base` });
    }
  }

  /** Enters one point; answers the id of its snapshot, or of its set where the session is a group's. */
  async enterKept(record: SessionRecord, id: PointId): Promise<string | undefined> {
    const { catalog, dataPlane } = this.#deps;
    const point = await dataPlane.point(id);
    if (point === undefined) return undefined;
    this.#enter(record, point, {});
    const [made] = catalog.listByPrivate(record.resourceKind ?? 'volume', 'point', id);
    return made?.id;
  }

  #enter(record: SessionRecord, point: PointInfo, also: Tag): void {
    if (point.kind !== 'diverged' && point.tag.purpose !== testPurpose) return;
    const group = record.resourceKind === 'volume_group' ? { group: this.about(record).name } : {};
    enterSnapshot(this.#deps, { ...point, tag: { ...point.tag, ...group, ...also } });
  }
}
