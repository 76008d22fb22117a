import type { Clock, Timer } from '@antipode/base';
import type { Catalog } from '../../catalog/catalog.ts';
import {
  type SnapshotRuleDocument,
  timestamp,
  type VolumeDocument,
  type VolumeGroupDocument,
} from '../../catalog/documents.ts';
import { isTaken } from '../../catalog/medium-errors.ts';
import type { About, Reporter } from '../occurrences.ts';
import type { SnapshotService } from '../snapshots.ts';
import { checkUnlocked } from '../volume-document.ts';
import { duesBetween, lastDue_ms, nextDue_ms } from './calendar.ts';
import { snapshotRuleLimits as limits } from './limits.ts';
import { scheduleOf } from './rule-schedule.ts';

export interface SnapshotSchedulerDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly reporter: Reporter;
  readonly snapshots: SnapshotService;
  /** How often rules are looked at at least, and how often for what has expired; absent: as the limits say. */
  readonly lookMost_ms?: number;
  readonly expireEvery_ms?: number;
}

/** Up to which moment a rule's runs are done or given up, and for which schedule that was worked out. */
interface RuleRun {
  readonly until_ms: number;
  readonly schedule: string;
}

interface Target {
  readonly kind: 'volume' | 'volume_group';
  readonly id: string;
}

interface Task extends Target {
  readonly rule: string;
  readonly due_ms: number;
}

/**
 * Takes the snapshots that rules ask for, and deletes what has expired.
 *
 * - A rule that was due takes one snapshot of everything its policies protect here; destinations and replicas are left alone, their
 *   snapshots come from the source.
 * - What was missed while the cluster was down, however often it was due, is one snapshot; an event says how many runs it stands for.
 *   A rule that is new or whose schedule was changed starts from then on.
 * - Snapshots are taken one after the other, at most so many a second; a volume stands in line once for each rule, so a line that is
 *   longer than the interval never grows.
 */
export class SnapshotScheduler {
  readonly #deps: SnapshotSchedulerDeps;
  /** In order; keyed by rule and target, so that nothing stands in line twice. */
  readonly #line = new Map<string, Task>();
  #started = false;
  #working = false;
  #stopped = false;
  #next: Timer | undefined;
  #expiry: Timer | undefined;

  constructor(deps: SnapshotSchedulerDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#started = true;
    this.#look();
    this.#expire();
  }

  stop(): void {
    this.#stopped = true;
    this.#next?.cancel();
    this.#expiry?.cancel();
  }

  /** A rule was made or changed: its runs count from now on, if its schedule is another one. */
  ruleChanged(id: string): void {
    const rule = this.#deps.catalog.get('snapshot_rule', id);
    if (rule !== undefined && this.#run(rule) === undefined) this.#done(rule, this.#deps.clock.now());
    this.#look();
  }

  /** A rule is deleted: what it has taken stays, or goes as well. Refused before anything changes where some of it is secure. */
  async ruleDeleted(id: string, deleteSnapshots: boolean): Promise<void> {
    const { catalog, clock, snapshots } = this.#deps;
    if (deleteSnapshots) {
      const sets = catalog.list('volume_group', 'type', 'Snapshot').filter((set) => madeBy(set, id));
      const single = catalog
        .list('volume', 'type', 'Snapshot')
        .filter((snapshot) => madeBy(snapshot, id) && snapshot.group_id == null);
      for (const snapshot of [...sets, ...single]) checkUnlocked(snapshot, clock.now());
      for (const set of sets) await snapshots.removeSet(set);
      for (const snapshot of single) await snapshots.remove(snapshot);
    }
    this.ruleGone(id);
  }

  /** A rule that came with a peer's policy went with it; what it has taken stays. */
  ruleGone(id: string): void {
    this.#deps.catalog.remove('setting', runId(id));
  }

  /** How many snapshots wait to be taken. */
  get waiting(): number {
    return this.#line.size;
  }

  #look(): void {
    if (this.#stopped || !this.#started) return;
    const { catalog, clock } = this.#deps;
    const now_ms = clock.now();
    let next_ms = now_ms + (this.#deps.lookMost_ms ?? limits.lookMost_ms);
    for (const rule of catalog.list('snapshot_rule')) {
      this.#lookAt(rule, now_ms);
      next_ms = Math.min(next_ms, nextDue_ms(scheduleOf(rule), now_ms));
    }
    this.#next?.cancel();
    this.#next = clock.after(Math.max(1, next_ms - now_ms), () => this.#look());
    void this.#work();
  }

  #lookAt(rule: SnapshotRuleDocument, now_ms: number): void {
    const run = this.#run(rule);
    if (run === undefined) return this.#done(rule, now_ms);
    // Its last run is still in line: what is due meanwhile is one run when that is over.
    if (this.#inLine(rule.id)) return;
    const schedule = scheduleOf(rule);
    const due_ms = lastDue_ms(schedule, now_ms);
    if (due_ms <= run.until_ms) return;
    const missed = duesBetween(schedule, run.until_ms, due_ms, limits.missedCounted) - 1;
    const targets = this.#targets(rule);
    if (missed > 0 && targets.length > 0) this.#deps.reporter.tell('snapshots_missed', aboutRule(rule), String(missed));
    // A run that a restart cut short goes on: what it has taken already is not taken again.
    for (const target of targets)
      if (!this.#taken(rule, target, due_ms)) this.#enqueue({ ...target, rule: rule.id, due_ms });
    if (!this.#inLine(rule.id)) this.#done(rule, due_ms);
  }

  #inLine(rule: string): boolean {
    for (const task of this.#line.values()) if (task.rule === rule) return true;
    return false;
  }

  #enqueue(task: Task): void {
    const key = `${task.rule} ${task.id}`;
    if (!this.#line.has(key)) this.#line.set(key, task);
  }

  /** What the rule's policies protect here and may be changed here. */
  #targets(rule: SnapshotRuleDocument): readonly Target[] {
    const { catalog } = this.#deps;
    return catalog
      .list('policy')
      .filter((policy) => policy.snapshot_rule_ids.includes(rule.id))
      .flatMap((policy) => [
        ...catalog
          .list('volume', 'protection_policy_id', policy.id)
          .filter(
            (volume) => volume.type !== 'Snapshot' && volume.state === 'Ready' && !volume.is_replication_destination,
          )
          .map(({ id }): Target => ({ kind: 'volume', id })),
        ...catalog
          .list('volume_group', 'protection_policy_id', policy.id)
          .filter((group) => group.type !== 'Snapshot' && !group.is_replication_destination && group.is_protectable)
          .map(({ id }): Target => ({ kind: 'volume_group', id })),
      ]);
  }

  #taken(rule: SnapshotRuleDocument, target: Target, due_ms: number): boolean {
    const { catalog } = this.#deps;
    const since = timestamp(due_ms);
    const those =
      target.kind === 'volume'
        ? catalog.listByPrivate('volume', 'of', target.id)
        : catalog.list('volume_group', 'type', 'Snapshot').filter((set) => set.protection_data.parent_id === target.id);
    return those.some((one) => madeBy(one, rule.id) && (one.protection_data.source_timestamp ?? '') >= since);
  }

  /** Works the line off, spread over time. */
  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    try {
      for (let entry = first(this.#line); entry !== undefined && !this.#stopped; entry = first(this.#line)) {
        const [key, task] = entry;
        await this.#take(task);
        this.#line.delete(key);
        this.#ruleDone(task);
        await this.#deps.clock.sleep(1000 / limits.perSecond);
      }
    } finally {
      this.#working = false;
    }
  }

  #ruleDone(task: Task): void {
    if (this.#inLine(task.rule)) return;
    const rule = this.#deps.catalog.get('snapshot_rule', task.rule);
    const run = rule && this.#run(rule);
    if (rule !== undefined && run !== undefined && task.due_ms > run.until_ms) this.#done(rule, task.due_ms);
  }

  async #take(task: Task): Promise<void> {
    const { catalog, clock, reporter, snapshots } = this.#deps;
    const rule = catalog.get('snapshot_rule', task.rule);
    const target = catalog.get(task.kind, task.id);
    // Rule, volume or assignment may have gone while it stood in line.
    if (rule === undefined || target === undefined || !this.#targets(rule).some(({ id }) => id === task.id)) return;
    const about: About = { type: task.kind, id: target.id, name: target.name };
    const wish = {
      name: snapshotName(rule.name, target.name, clock.now()),
      expiration_timestamp: timestamp(clock.now() + rule.desired_retention * 3_600_000),
      is_secure: rule.is_secure,
      creator: 'Scheduler',
      rule: { id: rule.id, name: rule.name },
    } as const;
    try {
      if (task.kind === 'volume') await snapshots.take(target as VolumeDocument, wish);
      else await snapshots.takeSet(target as VolumeGroupDocument, wish);
      reporter.clear('snapshot_failed', about);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      reporter.tell('snapshot_failed', about, `${rule.name}: ${reason}`);
    }
  }

  #expire(): void {
    if (this.#stopped) return;
    // What could not be deleted now, because the data plane is away, is found again.
    void this.#deps.snapshots
      .expire()
      .catch(() => 0)
      .then(() => {
        if (this.#stopped) return;
        this.#expiry = this.#deps.clock.after(this.#deps.expireEvery_ms ?? limits.expireEvery_ms, () => this.#expire());
      });
  }

  /** Undefined for a rule that is new, or has another schedule than the one its runs were counted for. */
  #run(rule: SnapshotRuleDocument): RuleRun | undefined {
    const run = this.#deps.catalog.get('setting', runId(rule.id))?.value as RuleRun | undefined;
    return run?.schedule === scheduleText(rule) ? run : undefined;
  }

  /** What cannot be stored now is found done at a later look. */
  #done(rule: SnapshotRuleDocument, until_ms: number): void {
    const value: RuleRun = { until_ms, schedule: scheduleText(rule) };
    isTaken(() => this.#deps.catalog.put('setting', { id: runId(rule.id), value }));
  }
}

const runId = (rule: string): string => `snapshot_rule_run.${rule}`;
const scheduleText = ({ interval, time_of_day, timezone, days_of_week }: SnapshotRuleDocument): string =>
  JSON.stringify([interval, time_of_day, timezone, days_of_week]);
const aboutRule = ({ id, name }: SnapshotRuleDocument): About => ({ type: 'snapshot_rule', id, name });
const madeBy = (one: VolumeDocument | VolumeGroupDocument, rule: string): boolean =>
  one.protection_data.created_by_rule_id === rule;
const first = <K, V>(map: Map<K, V>): [K, V] | undefined => {
  for (const entry of map) return entry;
  return undefined;
};

/** Rule, what it is of, and when: unique, and within the length of a name. */
const snapshotName = (rule: string, of: string, now_ms: number): string =>
  `${rule.slice(0, 48)}.${of.slice(0, 48)}.${timestamp(now_ms)}`;
