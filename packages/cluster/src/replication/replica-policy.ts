import type { Random } from '@antipode/base';
import type { Role } from '@antipode/blocks';
import type { EnumValue } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { ManagedDocument, PolicyDocument, ReplicationRuleDocument } from '../catalog/documents.ts';
import { assigneesOf } from '../services/assignments.ts';
import type { PolicyCopy } from './peer-wire.ts';
import type { RemoteRecord } from './remote-systems.ts';
import { resourceOf, type SessionRecord } from './session-store.ts';

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
    snapshotRules: [],
  };
}

const replicaOf = (remote: string): ManagedDocument => ({
  managed_by: 'Replication',
  managed_by_id: remote,
  is_read_only: true,
  is_replica: true,
});
const own: ManagedDocument = { managed_by: 'User', managed_by_id: null, is_read_only: false, is_replica: false };

/** The destination's read-only copy of a source's policy: one for each policy of each peer. Its rule points back at the peer. */
export function keepReplicaPolicy(
  catalog: Catalog,
  random: Random,
  remote: RemoteRecord,
  copy: PolicyCopy,
): PolicyDocument {
  return catalog.transaction(() => {
    const known = catalog
      .list('policy')
      .find((policy) => policy.managed_by_id === remote.id && policy.name.startsWith(copy.name) && policy.is_replica);
    const rule: ReplicationRuleDocument = {
      ...replicaOf(remote.id),
      id: known?.replication_rule_ids[0] ?? random.uuid(),
      name: freeName(
        catalog,
        'replication_rule',
        copy.replicationRule.name,
        remote.name,
        known?.replication_rule_ids[0],
      ),
      rpo: copy.replicationRule.rpo as EnumValue<'RPO'>,
      remote_system_id: remote.id,
      alert_threshold: copy.replicationRule.alertThreshold,
    };
    catalog.put('replication_rule', rule);
    const policy: PolicyDocument = {
      ...replicaOf(remote.id),
      id: known?.id ?? random.uuid(),
      name: freeName(catalog, 'policy', copy.name, remote.name, known?.id),
      description: copy.description,
      type: 'Protection',
      snapshot_rule_ids: [],
      replication_rule_ids: [rule.id],
    };
    catalog.put('policy', policy);
    return policy;
  });
}

/** The same name as at the source where it is free here, else one that says where it comes from. */
function freeName(
  catalog: Catalog,
  table: 'policy' | 'replication_rule',
  name: string,
  peer: string,
  self: string | undefined,
): string {
  for (let attempt = 0; ; attempt++) {
    const candidate = attempt === 0 ? name : attempt === 1 ? `${name} (${peer})` : `${name} (${peer} ${attempt})`;
    const holder = catalog.list(table, 'name', candidate)[0];
    if (holder === undefined || holder.id === self) return candidate;
  }
}

/**
 * After a change of direction the policy follows the role (REPLICATION A29): where the volume is the source it can be edited, on the
 * other side it is the replica. A policy that other volumes use as well stays what it is for them.
 */
export function flipProtection(catalog: Catalog, record: SessionRecord, role: Role): void {
  const held = resourceOf(catalog, record)?.protection_policy_id;
  const policy = held == null ? undefined : catalog.get('policy', held);
  if (policy === undefined || policy.is_replica === (role === 'destination')) return;
  if (assigneesOf(catalog, policy.id).length > 1) return;
  const managed = role === 'source' ? own : replicaOf(record.remoteSystemId);
  catalog.transaction(() => {
    catalog.put('policy', { ...policy, ...managed });
    for (const id of policy.replication_rule_ids) {
      const rule = catalog.get('replication_rule', id);
      if (rule !== undefined)
        catalog.put('replication_rule', { ...rule, ...managed, remote_system_id: record.remoteSystemId });
    }
  });
}

/** A replica that protects nothing here any more goes, with its rules: nobody could ever need or change it. */
export function dropUnusedReplica(catalog: Catalog, policy: PolicyDocument): void {
  if (!policy.is_replica || assigneesOf(catalog, policy.id).length > 0) return;
  catalog.remove('policy', policy.id);
  for (const id of policy.replication_rule_ids) {
    const inUse = catalog.list('policy').some((other) => other.replication_rule_ids.includes(id));
    if (!inUse && catalog.get('replication_rule', id)?.is_replica) catalog.remove('replication_rule', id);
  }
}
