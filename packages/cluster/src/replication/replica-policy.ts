import type { Random } from '@antipode/base';
import type { Role } from '@antipode/blocks';
import type { EnumValue } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type {
  ManagedDocument,
  PolicyDocument,
  ReplicationRuleDocument,
  SnapshotRuleDocument,
} from '../catalog/documents.ts';
import { assigneesOf } from '../services/assignments.ts';
import type { PolicyCopy, SnapshotRuleCopy } from './peer-wire.ts';
import type { RemoteRecord } from './remote-systems.ts';
import { resourceOf, type SessionRecord } from './session-store.ts';

type RuleTable = 'replication_rule' | 'snapshot_rule';

/** Kept with a replica and never shown: what it is a copy of, by its id at the peer. Names may change, and be others here. */
interface CopyOf {
  readonly of: string;
}

/** A policy as it is sent to the cluster that keeps the copy. */
export function policyCopyOf(catalog: Catalog, policy: PolicyDocument): PolicyCopy {
  const rule = catalog.get('replication_rule', policy.replication_rule_ids[0] ?? '');
  return {
    id: policy.id,
    name: policy.name,
    description: policy.description,
    replicationRule: {
      id: rule?.id ?? '',
      name: rule?.name ?? policy.name,
      rpo: rule?.rpo ?? 'One_Hour',
      alertThreshold: rule?.alert_threshold ?? 60,
    },
    snapshotRules: policy.snapshot_rule_ids.flatMap((id) => {
      const found = catalog.get('snapshot_rule', id);
      return found === undefined ? [] : [snapshotRuleCopyOf(found)];
    }),
  };
}

const snapshotRuleCopyOf = (rule: SnapshotRuleDocument): SnapshotRuleCopy => ({
  id: rule.id,
  name: rule.name,
  interval: rule.interval,
  timeOfDay: rule.time_of_day,
  timezone: rule.timezone,
  daysOfWeek: rule.days_of_week,
  retention_h: rule.desired_retention,
  isSecure: rule.is_secure,
});

const replicaOf = (remote: string): ManagedDocument => ({
  managed_by: 'Replication',
  managed_by_id: remote,
  is_read_only: true,
  is_replica: true,
});
const own: ManagedDocument = { managed_by: 'User', managed_by_id: null, is_read_only: false, is_replica: false };

/** Rules that a copy has brought, changed or taken with it. */
export interface KeptPolicy {
  readonly policy: PolicyDocument;
  readonly snapshotRulesGone: readonly string[];
}

/**
 * The destination's read-only copy of a source's policy: one for each policy of each peer. Its replication rule points back at the peer,
 * its snapshot rules fire here when what they protect is the source here. `held`: what the session's volume or group has here.
 */
export function keepReplicaPolicy(
  catalog: Catalog,
  random: Random,
  remote: RemoteRecord,
  copy: PolicyCopy,
  held?: PolicyDocument,
): KeptPolicy {
  return catalog.transaction(() => {
    const known = knownReplica(catalog, remote, copy, held);
    const { id: of, name, rpo, alertThreshold } = copy.replicationRule;
    const ruleId = placeOfRule(catalog, random, 'replication_rule', remote, of, known?.replication_rule_ids ?? []);
    const rule: ReplicationRuleDocument = {
      ...replicaOf(remote.id),
      id: ruleId,
      name: freeName(catalog, 'replication_rule', name, remote.name, ruleId),
      rpo: rpo as EnumValue<'RPO'>,
      remote_system_id: remote.id,
      alert_threshold: alertThreshold,
    };
    catalog.put('replication_rule', rule, { of } satisfies CopyOf);
    const snapshotRules = copy.snapshotRules.map((one) => keepSnapshotRule(catalog, random, remote, one, known));
    const id = known?.id ?? random.uuid();
    const policy: PolicyDocument = {
      ...replicaOf(remote.id),
      id,
      name: freeName(catalog, 'policy', copy.name, remote.name, id),
      description: copy.description,
      type: 'Protection',
      snapshot_rule_ids: snapshotRules,
      replication_rule_ids: [rule.id],
    };
    catalog.put('policy', policy, { of: copy.id } satisfies CopyOf);
    dropUnusedRules(catalog, 'replication_rule', known?.replication_rule_ids ?? []);
    return { policy, snapshotRulesGone: dropUnusedRules(catalog, 'snapshot_rule', known?.snapshot_rule_ids ?? []) };
  });
}

/** The replica by what it is a copy of; one that was this cluster's own before the direction changed is known by who holds it. */
function knownReplica(
  catalog: Catalog,
  remote: RemoteRecord,
  copy: PolicyCopy,
  held: PolicyDocument | undefined,
): PolicyDocument | undefined {
  const replicas = catalog.list('policy').filter((policy) => policy.is_replica && policy.managed_by_id === remote.id);
  const isOf = ({ id }: PolicyDocument) => catalog.private<CopyOf>('policy', id)?.of;
  return (
    replicas.find((policy) => isOf(policy) === copy.id) ??
    replicas.find((policy) => policy.id === held?.id) ??
    replicas.find((policy) => isOf(policy) === undefined && policy.name === copy.name)
  );
}

function keepSnapshotRule(
  catalog: Catalog,
  random: Random,
  remote: RemoteRecord,
  copy: SnapshotRuleCopy,
  known: PolicyDocument | undefined,
): string {
  const before = (known?.snapshot_rule_ids ?? []).filter((id) => catalog.get('snapshot_rule', id)?.name === copy.name);
  const id = placeOfRule(catalog, random, 'snapshot_rule', remote, copy.id, before);
  const rule: SnapshotRuleDocument = {
    ...replicaOf(remote.id),
    id,
    name: freeName(catalog, 'snapshot_rule', copy.name, remote.name, id),
    remote_system_id: null,
    interval: copy.interval,
    time_of_day: copy.timeOfDay,
    timezone: copy.timezone,
    days_of_week: copy.daysOfWeek,
    desired_retention: copy.retention_h,
    nas_access_type: null,
    is_secure: copy.isSecure,
  };
  catalog.put('snapshot_rule', rule, { of: copy.id } satisfies CopyOf);
  return id;
}

/** The id under which a peer's rule is kept here: as before, as one of those that were this cluster's own, or a new one. */
function placeOfRule(
  catalog: Catalog,
  random: Random,
  table: RuleTable,
  remote: RemoteRecord,
  of: string,
  before: readonly string[],
): string {
  const replicas = catalog.list(table).filter((rule) => rule.is_replica && rule.managed_by_id === remote.id);
  const isOf = (id: string) => catalog.private<CopyOf>(table, id)?.of;
  const known =
    replicas.find(({ id }) => isOf(id) === of) ??
    replicas.find(({ id }) => before.includes(id) && isOf(id) === undefined);
  return known?.id ?? random.uuid();
}

/** The same name as at the source where it is free here, else one that says where it comes from. */
function freeName(catalog: Catalog, table: 'policy' | RuleTable, name: string, peer: string, self: string): string {
  for (let attempt = 0; ; attempt++) {
    const candidate = attempt === 0 ? name : attempt === 1 ? `${name} (${peer})` : `${name} (${peer} ${attempt})`;
    const holder = catalog.list(table, 'name', candidate)[0];
    if (holder === undefined || holder.id === self) return candidate;
  }
}

/**
 * After a change of direction the policy follows the role (REPLICATION A29): where what it protects is the source it can be edited, on the
 * other side it is the replica. While it protects something on either side it stays where it was; so does a rule that another policy
 * there uses. Answers whether it has become this cluster's own.
 */
export function flipProtection(catalog: Catalog, record: SessionRecord, role: Role): boolean {
  const held = resourceOf(catalog, record)?.protection_policy_id;
  const policy = held == null ? undefined : catalog.get('policy', held);
  const isDestination = role === 'destination';
  if (policy === undefined || policy.is_replica === isDestination) return false;
  const stays = assigneesOf(catalog, policy.id).some(
    ({ kind, id }) => catalog.get(kind, id)?.is_replication_destination !== isDestination,
  );
  if (stays) return false;
  const managed = isDestination ? replicaOf(record.remoteSystemId) : own;
  catalog.transaction(() => {
    // What it was a copy of is no more than history.
    catalog.put('policy', { ...policy, ...managed }, {});
    const others = catalog
      .list('policy')
      .filter(({ id, is_replica }) => id !== policy.id && is_replica !== isDestination);
    for (const id of policy.replication_rule_ids) {
      const rule = catalog.get('replication_rule', id);
      if (rule === undefined || others.some((other) => other.replication_rule_ids.includes(id))) continue;
      catalog.put('replication_rule', { ...rule, ...managed, remote_system_id: record.remoteSystemId }, {});
    }
    for (const id of policy.snapshot_rule_ids) {
      const rule = catalog.get('snapshot_rule', id);
      if (rule === undefined || others.some((other) => other.snapshot_rule_ids.includes(id))) continue;
      catalog.put('snapshot_rule', { ...rule, ...managed }, {});
    }
  });
  return !isDestination;
}

/** A replica that protects nothing here any more goes, with its rules: nobody could ever need or change it. */
export function dropUnusedReplica(catalog: Catalog, policy: PolicyDocument): readonly string[] {
  if (!policy.is_replica || assigneesOf(catalog, policy.id).length > 0) return [];
  catalog.remove('policy', policy.id);
  dropUnusedRules(catalog, 'replication_rule', policy.replication_rule_ids);
  return dropUnusedRules(catalog, 'snapshot_rule', policy.snapshot_rule_ids);
}

/**
 * A session lets go of the copy of another policy than the one that its source has; the snapshot rules that went with it. Undefined: it is
 * the copy of that one, or was this cluster's own, which makes it one.
 */
export function letGoOfAnother(
  catalog: Catalog,
  { resourceKind = 'volume', localResourceId }: SessionRecord,
  held: PolicyDocument,
  copy: PolicyCopy,
): readonly string[] | undefined {
  const of = catalog.private<Partial<CopyOf>>('policy', held.id)?.of;
  if (of === undefined || of === copy.id) return undefined;
  catalog.change(resourceKind, localResourceId, { protection_policy_id: null });
  return dropUnusedReplica(catalog, held);
}

/** Those of the rules that are replicas and in no policy any more go; answers which. */
function dropUnusedRules(catalog: Catalog, table: RuleTable, rules: readonly string[]): readonly string[] {
  const list = table === 'replication_rule' ? 'replication_rule_ids' : 'snapshot_rule_ids';
  const policies = catalog.list('policy');
  const unused = rules.filter(
    (id) => catalog.get(table, id)?.is_replica === true && !policies.some((policy) => policy[list].includes(id)),
  );
  for (const id of unused) catalog.remove(table, id);
  return unused;
}
