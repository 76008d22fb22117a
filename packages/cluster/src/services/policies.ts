import type { Random } from '@antipode/base';
import {
  type EnumValue,
  PolicyCreate,
  PolicyModify,
  ReplicationRuleCreate,
  ReplicationRuleModify,
  RestError,
  SnapshotRuleCreate,
  SnapshotRuleDelete,
  SnapshotRuleModify,
} from '@antipode/contract';
import { type Static, Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type {
  ManagedDocument,
  PolicyDocument,
  ReplicationRuleDocument,
  SnapshotRuleDocument,
} from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import { assigneesOf } from './assignments.ts';
import { limitedBy } from './io-limits.ts';
import type { ReplicationHooks } from './replication-hooks.ts';
import type { UnfinishedAssignments } from './unfinished-assignments.ts';

const minute_ms = 60_000;

/** Recovery point objectives in milliseconds. */
export const rpo_ms: Readonly<Record<EnumValue<'RPO'>, number>> = {
  Five_Minutes: 5 * minute_ms,
  Fifteen_Minutes: 15 * minute_ms,
  Thirty_Minutes: 30 * minute_ms,
  One_Hour: 60 * minute_ms,
  Six_Hours: 360 * minute_ms,
  Twelve_Hours: 720 * minute_ms,
  One_Day: 1440 * minute_ms,
  Zero: 0,
};

/** Longest that snapshots of this cluster's own rules are kept. */
const localRetentionMost_h = 8_760;
const rulesMost = { snapshot: 4, replication: 1 } as const;
const userManaged: ManagedDocument = {
  managed_by: 'User',
  managed_by_id: null,
  is_read_only: false,
  is_replica: false,
};

/** What changes of snapshot rules mean to what takes their snapshots. */
export interface SnapshotRuleHooks {
  /** A rule was made or changed. */
  ruleChanged(id: string): void;
  /** A rule is about to go, with what it has taken or without. Rejects before anything has changed. */
  ruleDeleted(id: string, deleteSnapshots: boolean): Promise<void>;
}
const noSchedule: SnapshotRuleHooks = { ruleChanged: () => undefined, ruleDeleted: async () => undefined };

/** Policies and their rules. */
export class PolicyService {
  readonly #catalog: Catalog;
  readonly #random: Random;
  readonly #replication: ReplicationHooks;
  readonly #schedule: SnapshotRuleHooks;
  readonly #unfinished: UnfinishedAssignments;

  constructor(
    catalog: Catalog,
    random: Random,
    replication: ReplicationHooks,
    unfinished: UnfinishedAssignments,
    schedule: SnapshotRuleHooks = noSchedule,
  ) {
    this.#unfinished = unfinished;
    this.#schedule = schedule;
    this.#catalog = catalog;
    this.#random = random;
    this.#replication = replication;
  }

  handlers(): Handlers {
    return {
      'policy.create': handler(PolicyCreate, async (_, __, body) => this.#createPolicy(body)),
      'policy.modify': handler(PolicyModify, (_, id, body) => this.#modifyPolicy(id, body)),
      'policy.delete': handler(Type.Object({}), async (_, id) => this.#deletePolicy(id)),
      'replication_rule.create': handler(ReplicationRuleCreate, async (_, __, body) => this.#createRule(body)),
      'replication_rule.modify': handler(ReplicationRuleModify, async (_, id, body) => this.#modifyRule(id, body)),
      'replication_rule.delete': handler(Type.Object({}), async (_, id) => this.#deleteRule('replication_rule', id)),
      'snapshot_rule.create': handler(SnapshotRuleCreate, async (_, __, body) => this.#createSnapshotRule(body)),
      'snapshot_rule.modify': handler(SnapshotRuleModify, async (_, id, body) => this.#modifySnapshotRule(id, body)),
      'snapshot_rule.delete': handler(SnapshotRuleDelete, async (_, id, body) => {
        const rule = this.#deletable('snapshot_rule', id);
        await this.#schedule.ruleDeleted(rule.id, body.delete_snaps ?? false);
        this.#deleteRule('snapshot_rule', id);
      }),
    };
  }

  #createPolicy(body: Static<typeof PolicyCreate>): { id: string } {
    if (body.file_io_limit_rule_id !== undefined)
      throw new RestError('not_found', 'file_io_limit_rule', body.file_io_limit_rule_id);
    const policy: PolicyDocument = {
      id: this.#random.uuid(),
      name: body.name,
      description: body.description ?? null,
      type: body.io_limit_rule_id === undefined ? 'Protection' : 'QoS',
      snapshot_rule_ids: unique(body.snapshot_rule_ids),
      replication_rule_ids: unique(body.replication_rule_ids),
      io_limit_rule_id: body.io_limit_rule_id ?? null,
      ...userManaged,
    };
    this.#checkRules(policy);
    this.#catalog.put('policy', policy);
    return { id: policy.id };
  }

  async #modifyPolicy(id: string, body: Static<typeof PolicyModify>): Promise<void> {
    const present = this.#policy(id);
    this.#editable('policy', present);
    if (body.file_io_limit_rule_id != null)
      throw new RestError('not_found', 'file_io_limit_rule', body.file_io_limit_rule_id);
    const next: PolicyDocument = {
      ...present,
      ...(body.io_limit_rule_id !== undefined && { io_limit_rule_id: body.io_limit_rule_id }),
      ...(body.name !== undefined && { name: body.name }),
      ...(body.description !== undefined && { description: body.description }),
      snapshot_rule_ids: edited(
        present.snapshot_rule_ids,
        body.snapshot_rule_ids,
        body.add_snapshot_rule_ids,
        body.remove_snapshot_rule_ids,
      ),
      replication_rule_ids: edited(
        present.replication_rule_ids,
        body.replication_rule_ids,
        body.add_replication_rule_ids,
        body.remove_replication_rule_ids,
      ),
    };
    this.#checkRules(next);
    // The database decides; this is asked first because sessions change before the row does.
    if (this.#catalog.list('policy', 'name', next.name).some((other) => other.id !== id))
      throw new RestError('policy_name_in_use', next.name);
    const before = present.replication_rule_ids[0];
    const after = next.replication_rule_ids[0];
    if (before !== after) {
      const unfinished = this.#unfinished;
      unfinished.wantPolicy(next);
      try {
        for (const user of assigneesOf(this.#catalog, id))
          await unfinished.inTurn(user, async () => {
            // Another request may have given it something else while the one before was changed.
            if (this.#catalog.get(user.kind, user.id)?.protection_policy_id !== id) return;
            if (before !== undefined) await this.#replication.unprotect(user.id);
            if (after !== undefined) await this.#replication.protect(user, next);
          });
      } catch (error) {
        // The policy stays as it was; sessions that follow it no longer are brought back to it when they can be.
        this.#catalog.transaction(() => {
          unfinished.policyDone(present);
          unfinished.usersWait(id);
        });
        await unfinished.retry();
        throw error;
      }
      unfinished.policyDone(next);
    } else this.#catalog.put('policy', next);
    this.#replication.policyChanged(id);
  }

  #deletePolicy(id: string): void {
    const policy = this.#policy(id);
    const limited = limitedBy(this.#catalog, id)[0];
    if (limited !== undefined) throw new RestError('policy_in_use', policy.name, limited);
    const user = assigneesOf(this.#catalog, id)[0];
    if (user !== undefined)
      throw new RestError(
        'policy_in_use',
        policy.name,
        `${user.kind === 'volume' ? 'volume' : 'volume group'} ${user.name}`,
      );
    // A replica that no session needs any more is nobody's: it may go.
    if (policy.is_read_only && !policy.is_replica) this.#editable('policy', policy);
    this.#catalog.remove('policy', id);
  }

  #createRule(body: Static<typeof ReplicationRuleCreate>): { id: string } {
    this.#checkTarget(body.remote_system_id, body.rpo);
    const rule: ReplicationRuleDocument = {
      ...userManaged,
      id: this.#random.uuid(),
      name: body.name,
      rpo: body.rpo,
      remote_system_id: body.remote_system_id,
      alert_threshold: body.alert_threshold ?? rpo_ms[body.rpo] / minute_ms,
      is_read_only: body.is_read_only ?? false,
    };
    this.#catalog.put('replication_rule', rule);
    return { id: rule.id };
  }

  #modifyRule(id: string, body: Static<typeof ReplicationRuleModify>): void {
    const present = this.#catalog.get('replication_rule', id);
    if (present === undefined) throw new RestError('not_found', 'replication_rule', id);
    this.#editable('replication_rule', present);
    const moves = body.remote_system_id !== undefined && body.remote_system_id !== present.remote_system_id;
    if (moves && this.#ruleUsers('replication_rule', id).length > 0)
      throw new RestError('rule_remote_frozen', present.name);
    const next: ReplicationRuleDocument = {
      ...present,
      ...(body.name !== undefined && { name: body.name }),
      ...(body.rpo !== undefined && { rpo: body.rpo }),
      ...(body.remote_system_id !== undefined && { remote_system_id: body.remote_system_id }),
      ...(body.alert_threshold !== undefined && { alert_threshold: body.alert_threshold }),
    };
    this.#checkTarget(next.remote_system_id, next.rpo);
    this.#catalog.put('replication_rule', next);
    this.#replication.ruleChanged(id);
    this.#copiesFollow('replication_rule_ids', id);
  }

  #deleteRule(table: 'replication_rule' | 'snapshot_rule', id: string): void {
    this.#deletable(table, id);
    this.#catalog.transaction(() => {
      const list = table === 'replication_rule' ? 'replication_rule_ids' : 'snapshot_rule_ids';
      for (const policy of this.#catalog.list('policy')) {
        if (policy[list].includes(id))
          this.#catalog.put('policy', { ...policy, [list]: policy[list].filter((rule) => rule !== id) });
      }
      this.#catalog.remove(table, id);
    });
  }

  #deletable(table: 'replication_rule' | 'snapshot_rule', id: string) {
    const rule = this.#catalog.get(table, id);
    if (rule === undefined) throw new RestError('not_found', table, id);
    if (this.#ruleUsers(table, id).length > 0) throw new RestError('rule_in_use', rule.name);
    if (!rule.is_replica) this.#editable(table, rule);
    return rule;
  }

  #createSnapshotRule(body: Static<typeof SnapshotRuleCreate>): { id: string } {
    const rule: SnapshotRuleDocument = {
      ...userManaged,
      id: this.#random.uuid(),
      name: body.name,
      remote_system_id: body.remote_system_id ?? null,
      interval: body.interval ?? null,
      time_of_day: body.time_of_day ?? null,
      timezone: body.timezone ?? null,
      days_of_week: body.days_of_week ?? ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'],
      desired_retention: body.desired_retention,
      nas_access_type: body.nas_access_type ?? null,
      is_secure: body.is_secure ?? false,
      is_read_only: body.is_read_only ?? false,
    };
    this.#checkSchedule(rule);
    this.#catalog.put('snapshot_rule', rule);
    this.#schedule.ruleChanged(rule.id);
    return { id: rule.id };
  }

  #modifySnapshotRule(id: string, body: Static<typeof SnapshotRuleModify>): void {
    const present = this.#catalog.get('snapshot_rule', id);
    if (present === undefined) throw new RestError('snapshot_rule_not_found', id);
    this.#editable('snapshot_rule', present);
    // Naming one kind of schedule takes the other away.
    const schedule =
      body.interval !== undefined
        ? { interval: body.interval, time_of_day: null }
        : body.time_of_day !== undefined
          ? { interval: null, time_of_day: body.time_of_day }
          : {};
    const { interval: _, time_of_day: __, ...rest } = body;
    const next: SnapshotRuleDocument = { ...present, ...rest, ...schedule };
    if (body.interval !== undefined && body.time_of_day !== undefined) throw new RestError('bad_snapshot_schedule');
    this.#checkSchedule(next);
    this.#catalog.put('snapshot_rule', next);
    this.#schedule.ruleChanged(id);
    this.#copiesFollow('snapshot_rule_ids', id);
  }

  #copiesFollow(list: 'replication_rule_ids' | 'snapshot_rule_ids', rule: string): void {
    for (const policy of this.#catalog.list('policy'))
      if (policy[list].includes(rule)) this.#replication.policyChanged(policy.id);
  }

  #checkSchedule(rule: SnapshotRuleDocument): void {
    if ((rule.interval === null) === (rule.time_of_day === null)) throw new RestError('bad_snapshot_schedule');
    if (rule.timezone !== null && rule.time_of_day === null) throw new RestError('bad_snapshot_schedule');
    if (rule.remote_system_id !== null)
      throw new RestError('schema_violation', '/remote_system_id', 'no system that takes remote snapshots is known');
    if (rule.desired_retention > localRetentionMost_h)
      throw new RestError('schema_violation', '/desired_retention', `at most ${localRetentionMost_h} hours, a year`);
  }

  #checkTarget(remoteId: string, rpo: EnumValue<'RPO'>): void {
    if (this.#catalog.get('remote_system', remoteId) === undefined)
      throw new RestError('not_found', 'remote_system', remoteId);
    if (rpo === 'Zero') throw new RestError('rpo_not_supported', rpo);
  }

  #checkRules(policy: PolicyDocument): void {
    const protecting = policy.snapshot_rule_ids.length + policy.replication_rule_ids.length;
    const limiting = policy.io_limit_rule_id ?? null;
    // What a policy is for is what it was made for: it may be assigned already.
    if (policy.type === 'QoS' ? protecting > 0 : limiting !== null) throw new RestError('policy_mixes_kinds');
    if (limiting !== null && this.#catalog.get('io_limit_rule', limiting) === undefined)
      throw new RestError('not_found', 'io_limit_rule', limiting);
    for (const id of policy.snapshot_rule_ids)
      if (this.#catalog.get('snapshot_rule', id) === undefined) throw new RestError('snapshot_rule_not_found', id);
    for (const id of policy.replication_rule_ids)
      if (this.#catalog.get('replication_rule', id) === undefined)
        throw new RestError('not_found', 'replication_rule', id);
    if (protecting === 0 && limiting === null) throw new RestError('policy_without_rules');
    if (policy.snapshot_rule_ids.length > rulesMost.snapshot)
      throw new RestError('too_many_rules', String(rulesMost.snapshot), 'snapshot rules');
    if (policy.replication_rule_ids.length > rulesMost.replication)
      throw new RestError('too_many_rules', String(rulesMost.replication), 'replication rule');
  }

  #ruleUsers(table: 'replication_rule' | 'snapshot_rule', id: string): readonly PolicyDocument[] {
    const list = table === 'replication_rule' ? 'replication_rule_ids' : 'snapshot_rule_ids';
    return this.#catalog
      .list('policy')
      .filter((policy) => policy[list].includes(id) && assigneesOf(this.#catalog, policy.id).length > 0);
  }

  #editable(kind: string, object: ManagedDocument & { readonly name: string }): void {
    if (object.is_replica || object.is_read_only)
      throw new RestError('read_only_object', kind, object.name, object.managed_by);
  }

  #policy(id: string): PolicyDocument {
    const policy = this.#catalog.get('policy', id);
    if (policy === undefined) throw new RestError('policy_not_found', id);
    return policy;
  }
}

const unique = (ids: readonly string[] | undefined): readonly string[] => [...new Set(ids ?? [])];

function edited(
  present: readonly string[],
  whole: readonly string[] | undefined,
  add: readonly string[] | undefined,
  remove: readonly string[] | undefined,
): readonly string[] {
  const missing = remove?.find((id) => !present.includes(id));
  if (missing !== undefined) throw new RestError('rule_not_in_policy', missing);
  return unique([...(whole ?? present), ...(add ?? [])]).filter((id) => !(remove ?? []).includes(id));
}
