import type { Random } from '@antipode/base';
import { RestError, RuleClone } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type {
  ManagedDocument,
  PolicyDocument,
  ReplicationRuleDocument,
  SnapshotRuleDocument,
} from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import { notFound } from '../rest/references.ts';

type Cloned = PolicyDocument | ReplicationRuleDocument | SnapshotRuleDocument;

/** Copies of policies and rules under new names: the user's own, also of one that came from a peer; nothing is assigned to them. */
export function cloneHandlers(catalog: Catalog, random: Random): Handlers {
  const own: ManagedDocument = { managed_by: 'User', managed_by_id: null, is_read_only: false, is_replica: false };
  const cloning = (table: 'policy' | 'replication_rule' | 'snapshot_rule') =>
    handler(RuleClone, async (_, id, { name }) => {
      const origin: Cloned | undefined = catalog.get(table, id);
      if (origin === undefined) throw notFound(table, id);
      if (catalog.list(table, 'name', name).length > 0)
        throw new RestError(table === 'policy' ? 'policy_name_in_use' : 'rule_name_in_use', name);
      const clone: Cloned = { ...origin, ...own, id: random.uuid(), name };
      catalog.put(table, clone);
      return { id: clone.id };
    });
  return {
    'policy.clone': cloning('policy'),
    'replication_rule.clone': cloning('replication_rule'),
    'snapshot_rule.clone': cloning('snapshot_rule'),
  };
}
