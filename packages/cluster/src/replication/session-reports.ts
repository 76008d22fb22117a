import { type Clock, pointId, type Random } from '@antipode/base';
import type { Half, Notice } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import { type ProtectionData, timestamp } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import type { About, OccurrenceName, Reporter } from '../services/occurrences.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';
import { flipProtection } from './replica-policy.ts';
import { resourceOf, type SessionRecord } from './session-store.ts';

/** How long what an old source held beyond the common base is kept as a snapshot [C2.4]. */
const divergedKept_ms = 7 * 86_400_000;

export interface SessionReportsDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly random: Random;
  readonly reporter: Reporter;
}

/** What the state machine's notices mean for operators and for the catalog. */
export class SessionReports {
  readonly #deps: SessionReportsDeps;

  constructor(deps: SessionReportsDeps) {
    this.#deps = deps;
  }

  about(record: SessionRecord): About {
    const resource = resourceOf(this.#deps.catalog, record);
    return { type: 'replication_session', id: record.half.id, name: resource?.name ?? record.localResourceId };
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
      case 'failover_aborted':
        return tell('failover_aborted', notice.message);
      case 'in_doubt':
        return tell('failover_in_doubt');
      case 'fenced':
        for (const pair of half.pairs) catalog.change('volume', pair.local, { is_replication_destination: true });
        reporter.clear('failover_in_doubt', about);
        if (notice.diverged_bytes > 0) void this.#showDiverged(record, notice.diverged_bytes);
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

  /** What an old source held beyond the common base, as a snapshot that operators can see [C2.4]. */
  async #showDiverged(record: SessionRecord, bytes: number): Promise<void> {
    const { catalog, dataPlane, clock, random } = this.#deps;
    const points = await dataPlane.points().catch(() => []);
    for (const point of points) {
      if (point.kind !== 'diverged' || point.tag.session !== record.half.id) continue;
      if (catalog.listByPrivate('volume', 'point', point.id).length > 0) continue;
      for (const member of point.members) {
        const volume = catalog.get('volume', member.volume);
        if (volume === undefined) continue;
        const expires = timestamp(clock.now() + divergedKept_ms);
        const protection: ProtectionData = {
          ...protectionOf(
            volume.protection_data.family_id,
            volume.id,
            volume.id,
            timestamp(point.instant_ms),
            'System',
          ),
          expiration_timestamp: expires,
        };
        const document = newVolumeDocument(this.#deps, {
          id: random.uuid(),
          name: String(point.tag.name),
          size: member.size,
          type: 'Snapshot',
          protection,
          description: `${bytes} bytes beyond the common base`,
        });
        catalog.put('volume', { ...document, state: 'Ready' }, { point: pointId(point.id), of: volume.id });
      }
    }
  }
}
