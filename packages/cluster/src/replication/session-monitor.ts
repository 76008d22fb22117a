import type { Clock, SessionId, Timer } from '@antipode/base';
import { complianceOf, type Half, lag_ms, type Notice } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import { type CycleDocument, timestamp } from '../catalog/documents.ts';
import type { About, Reporter } from '../services/occurrences.ts';
import { driverLimits } from './limits.ts';
import type { SessionRecord } from './session-store.ts';

export interface SessionMonitorDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly reporter: Reporter;
  readonly records: () => Iterable<SessionRecord>;
  readonly about: (record: SessionRecord) => About;
  /** How often objectives are looked at; absent: as the limit says. */
  readonly objectivesEvery_ms?: number;
}

/** What is known of a session at this moment; lost with the process, and no commit of the catalog [C7.3]. */
export interface SessionFigures {
  /** Cycles begun and completed since the process started. */
  cyclesStarted: number;
  cyclesDone: number;
  /** How far behind its schedule the newest scheduled cycle has started. */
  late_ms?: number;
  /** Recovery point achieved: the greatest age that the copy had reached before the newest cycle renewed it. */
  achieved_ms?: number;
  total_bytes: number;
  copied_bytes: number;
  /** Of `shippedTotal_bytes` when the newest cycle was done. */
  shippedBefore_bytes?: number;
}

/** Follows what sessions do: keeps a history of their cycles, and says when an objective is missed and met again. */
export class SessionMonitor {
  readonly #deps: SessionMonitorDeps;
  readonly #figures = new Map<SessionId, SessionFigures>();
  /** Sessions with an alert about their objective. */
  readonly #missed = new Set<SessionId>();
  #timer: Timer | undefined;

  constructor(deps: SessionMonitorDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { reporter } = this.#deps;
    for (const record of this.#deps.records())
      if (reporter.isRaised('rpo_missed', this.#deps.about(record))) this.#missed.add(record.half.id);
    this.#look();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  of(id: SessionId): SessionFigures {
    let known = this.#figures.get(id);
    if (known === undefined) {
      known = { cyclesStarted: 0, cyclesDone: 0, total_bytes: 0, copied_bytes: 0 };
      this.#figures.set(id, known);
    }
    return known;
  }

  progress(id: SessionId, progress: { readonly total_bytes: number; readonly copied_bytes: number }): void {
    const figures = this.of(id);
    figures.total_bytes = progress.total_bytes;
    figures.copied_bytes = progress.copied_bytes;
  }

  notice(notice: Notice, record: SessionRecord): void {
    const figures = this.of(record.half.id);
    if (notice.kind === 'cycle_started') {
      figures.cyclesStarted += 1;
      figures.shippedBefore_bytes ??= record.shippedTotal_bytes;
      if (notice.trigger === 'schedule') figures.late_ms = notice.late_ms;
    }
    if (notice.kind === 'synchronized') {
      figures.cyclesDone += 1;
      figures.total_bytes = 0;
      figures.copied_bytes = 0;
      if (notice.oldest_ms !== undefined) figures.achieved_ms = notice.oldest_ms;
      this.#keep(notice, record, figures);
    }
    this.#judge(record, this.#deps.clock.now());
  }

  removed(record: SessionRecord): void {
    this.#figures.delete(record.half.id);
    this.#missed.delete(record.half.id);
    this.#deps.reporter.clear('rpo_missed', this.#deps.about(record));
  }

  /** The newest cycles of a session, newest first. */
  history(id: string): readonly CycleDocument[] {
    return this.#deps.catalog.list('cycle_record', 'session_id', id).toReversed();
  }

  #keep(notice: Extract<Notice, { kind: 'synchronized' }>, record: SessionRecord, figures: SessionFigures): void {
    const { catalog, clock } = this.#deps;
    const shipped = record.shippedTotal_bytes - (figures.shippedBefore_bytes ?? record.shippedTotal_bytes);
    figures.shippedBefore_bytes = record.shippedTotal_bytes;
    const now_ms = clock.now();
    const cycle: CycleDocument = {
      id: `${record.half.id}.${now_ms}.${figures.cyclesDone}`,
      session_id: record.half.id,
      trigger: notice.trigger,
      instant_timestamp: timestamp(notice.instant_ms),
      completed_timestamp: timestamp(now_ms),
      duration_ms: notice.duration_ms,
      achieved_rpo_ms: notice.oldest_ms ?? null,
      rpo_ms: record.half.rpo_ms,
      shipped_bytes: shipped,
    };
    catalog.eventually(() =>
      catalog.transaction(() => {
        // What waited for the medium may come after the session's end.
        if (catalog.get('replication_session', cycle.session_id) === undefined) return;
        catalog.put('cycle_record', cycle);
        catalog.trimWhere('cycle_record', 'session_id', cycle.session_id, driverLimits.cyclesKept);
      }),
    );
  }

  #look(): void {
    const now_ms = this.#deps.clock.now();
    for (const record of this.#deps.records()) this.#judge(record, now_ms);
    this.#timer = this.#deps.clock.after(this.#deps.objectivesEvery_ms ?? driverLimits.complianceEvery_ms, () =>
      this.#look(),
    );
  }

  #judge(record: SessionRecord, now_ms: number): void {
    const { reporter, about } = this.#deps;
    const { half } = record;
    const compliance = complianceOf(half, now_ms);
    if (compliance === undefined || compliance.beyond_ms === 0) {
      if (!this.#missed.delete(half.id)) return;
      reporter.clear('rpo_missed', about(record));
      if (compliance !== undefined) reporter.tell('rpo_met', about(record), minutes(compliance.age_ms));
      return;
    }
    if (this.#missed.has(half.id) || compliance.beyond_ms < this.#threshold_ms(record)) return;
    this.#missed.add(half.id);
    reporter.tell('rpo_missed', about(record), `${minutes(compliance.age_ms)}, ${minutes(half.rpo_ms)}`);
  }

  /** Minutes beyond the objective that are put up with; an alert at once where the rule is not known. */
  #threshold_ms(record: SessionRecord): number {
    const rule = record.ruleId === undefined ? undefined : this.#deps.catalog.get('replication_rule', record.ruleId);
    return (rule?.alert_threshold ?? 0) * 60_000;
  }
}

const minutes = (ms: number): string => `${Math.round(ms / 6_000) / 10} minutes`;

/** Compliance and lag as the interface shows them, from one place. */
export function objectiveFigures(half: Half, now_ms: number) {
  const compliance = complianceOf(half, now_ms);
  return {
    lag_ms: lag_ms(half, now_ms) ?? null,
    rpo_ms: half.rpo_ms,
    is_rpo_met: compliance === undefined ? null : compliance.beyond_ms === 0,
  };
}
