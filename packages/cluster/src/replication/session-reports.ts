import type { Clock, PointId, Random } from '@antipode/base';
import type { PointInfo } from '@antipode/blocks';
import type { Half, Notice } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import { type ProtectionData, timestamp, type VolumePrivate } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import type { About, OccurrenceName, Reporter } from '../services/occurrences.ts';
import { protectionOf, type VolumeService } from '../services/volumes.ts';
import { flipProtection } from './replica-policy.ts';
import type { SessionRecord } from './session-store.ts';
import { testPurpose } from './step-runner.ts';

/** How long what an old source held beyond the common base [C2.4], or a test has written, is kept as a snapshot. */
const kept_ms = 7 * 86_400_000;

const testKept = 'written during a failover test';

export interface SessionReportsDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly random: Random;
  readonly reporter: Reporter;
  readonly volumes: () => VolumeService;
}

/** What the state machine's notices mean for operators and for the catalog. */
export class SessionReports {
  readonly #deps: SessionReportsDeps;

  constructor(deps: SessionReportsDeps) {
    this.#deps = deps;
  }

  about(record: SessionRecord): About {
    const volume = this.#deps.catalog.get('volume', record.localResourceId);
    return { type: 'replication_session', id: record.half.id, name: volume?.name ?? record.localResourceId };
  }

  /** Tells operators, and brings the catalog in line with what has happened. */
  notice(notice: Notice, record: SessionRecord, half: Half): void {
    const { reporter, catalog } = this.#deps;
    const about = this.about(record);
    const tell = (name: OccurrenceName, detail = '') => reporter.tell(name, about, detail);
    switch (notice.kind) {
      case 'cycle_started':
        reporter.clear('session_parked', about);
        return tell('cycle_started', notice.trigger);
      case 'synchronized':
        reporter.clear('session_parked', about);
        return tell('synchronized', String(notice.duration_ms));
      case 'parked':
        return tell('session_parked', notice.fault.message);
      case 'recovered':
        return reporter.clear('session_parked', about);
      case 'paused':
        return tell('session_paused', notice.scope === 'both' ? 'both sites' : 'this site only');
      case 'resumed':
        return tell('session_resumed');
      case 'failover_started':
        return tell('failover_started', notice.planned ? 'planned' : 'unplanned');
      case 'failed_over':
        for (const pair of half.pairs) catalog.change('volume', pair.local, { is_replication_destination: false });
        reporter.clear('session_parked', about);
        return tell('failed_over', String(notice.generation));
      case 'test_started':
        void this.sizesFollow(half);
        return tell('test_started');
      case 'test_stopped':
        if (notice.kept !== undefined) this.enterKept(notice.kept).catch(() => undefined);
        void this.sizesFollow(half);
        return tell('test_stopped', notice.kept === undefined ? 'given up' : 'kept as a snapshot');
      case 'failover_aborted':
        return tell('failover_aborted', notice.message);
      case 'in_doubt':
        return tell('failover_in_doubt');
      case 'fenced':
        for (const pair of half.pairs) catalog.change('volume', pair.local, { is_replication_destination: true });
        reporter.clear('failover_in_doubt', about);
        // The data plane may be away: the next start enters what was not.
        if (notice.diverged_bytes > 0) this.enterAllKept(notice.diverged_bytes).catch(() => undefined);
        return tell('fenced', String(notice.diverged_bytes));
      case 'reprotected':
        flipProtection(catalog, record, half.role);
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

  /** A copy's size follows what was committed, a tested one's its image: the engine knows. */
  async sizesFollow(half: Half): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    for (const { local } of half.pairs) {
      const info = await dataPlane.volume(local).catch(() => undefined);
      const known = catalog.get('volume', local);
      if (info !== undefined && known !== undefined && info.size !== known.size)
        catalog.change('volume', local, { size: info.size });
    }
  }

  /**
   * Points that sessions leave for operators, what diverged [C2.4] and what failover tests have written, as snapshots in the
   * catalog. What is there already is left alone. `diverged_bytes`: how much it was, where that has just been learned.
   */
  async enterAllKept(diverged_bytes?: number): Promise<void> {
    const beyond = diverged_bytes === undefined ? 'what was' : `${diverged_bytes} bytes`;
    for (const point of await this.#deps.dataPlane.points())
      this.#enter(point, point.kind === 'diverged' ? `${beyond} beyond the common base` : testKept);
  }

  /** The same for one point; answers the id of the first member's snapshot. */
  async enterKept(id: PointId): Promise<string | undefined> {
    const point = await this.#deps.dataPlane.point(id);
    return point && this.#enter(point, testKept);
  }

  #enter(point: PointInfo, description: string): string | undefined {
    const { catalog, clock, random } = this.#deps;
    const kept = point.kind === 'diverged' || point.tag.purpose === testPurpose;
    if (!kept || point.dropped) return undefined;
    const entered = new Map(
      catalog
        .list('volume', 'type', 'Snapshot')
        .filter((snapshot) => catalog.private<VolumePrivate>('volume', snapshot.id)?.point === point.id)
        .map((snapshot) => [snapshot.protection_data.parent_id, snapshot.id]),
    );
    for (const member of point.members) {
      const volume = catalog.get('volume', member.volume);
      if (volume === undefined || entered.has(volume.id)) continue;
      const protection: ProtectionData = {
        ...protectionOf(volume.protection_data.family_id, volume.id, volume.id, timestamp(point.instant_ms), 'System'),
        expiration_timestamp: timestamp(clock.now() + kept_ms),
      };
      const document = this.#deps.volumes().newDocument({
        id: random.uuid(),
        name: String(point.tag.name),
        size: member.size,
        type: 'Snapshot',
        protection,
        description,
      });
      catalog.put('volume', { ...document, state: 'Ready' }, { point: point.id, of: volume.id });
      entered.set(volume.id, document.id);
    }
    return entered.get(point.members[0]?.volume ?? '');
  }
}
