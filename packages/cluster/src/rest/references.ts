import { type ResourceSpec, RestError, resources } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import { findByName } from './query-sql.ts';

/** The refusal of an id that nothing has, with the code that clients know for it. */
export function notFound(resource: string, id: string): RestError {
  const short = id.length > 100 ? `${id.slice(0, 100)}…` : id;
  if (resource === 'volume') return new RestError('volume_not_found', short);
  if (resource === 'local_user') return new RestError('user_not_found', short);
  if (resource === 'role') return new RestError('role_not_found', short);
  if (resource === 'host') return new RestError('host_not_found', short);
  if (resource === 'volume_group') return new RestError('group_not_found', short);
  if (resource === 'policy') return new RestError('policy_not_found', short);
  if (resource === 'x509_certificate') return new RestError('certificate_not_found', short);
  if (resource === 'snapshot_rule') return new RestError('snapshot_rule_not_found', short);
  return new RestError('not_found', resource, short);
}

/** An id as it was given, or the one of the row whose name was given as `name:x`. */
export function resolveId(catalog: Catalog, resource: ResourceSpec, given: string): string {
  if (!given.startsWith('name:') || !resource.byName) return given;
  const name = given.slice('name:'.length);
  const id = findByName(catalog, resource, name);
  if (id === undefined) throw notFound(resource.name, given);
  return id;
}

/** Which resource an id in a body belongs to, so that `name:x` can be written instead. */
const references: Readonly<Record<string, string>> = {
  protection_policy_id: 'policy',
  qos_performance_policy_id: 'policy',
  io_limit_rule_id: 'io_limit_rule',
  appliance_id: 'appliance',
  role_id: 'role',
  host_id: 'host',
  host_ids: 'host',
  add_host_ids: 'host',
  remove_host_ids: 'host',
  host_group_id: 'host_group',
  volume_id: 'volume',
  base_snapshot_id: 'volume',
  remote_system_id: 'remote_system',
  volume_ids: 'volume',
  volume_group_id: 'volume_group',
  snapshot_rule_ids: 'snapshot_rule',
  add_snapshot_rule_ids: 'snapshot_rule',
  remove_snapshot_rule_ids: 'snapshot_rule',
  replication_rule_ids: 'replication_rule',
  add_replication_rule_ids: 'replication_rule',
  remove_replication_rule_ids: 'replication_rule',
};

/** These name another object of the resource that is acted on. */
const ofTheSameKind: readonly string[] = ['from_snap_id', 'from_object_id'];

/** A body whose references by name are ids. */
export function resolveReferences(catalog: Catalog, acted: ResourceSpec, body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return body;
  const resolveOne = (key: string, value: unknown): unknown => {
    const resource = ofTheSameKind.includes(key) ? acted : resources[references[key] ?? ''];
    return resource !== undefined && typeof value === 'string' ? resolveId(catalog, resource, value) : value;
  };
  return Object.fromEntries(
    Object.entries(body).map(([key, value]) => [
      key,
      Array.isArray(value) ? value.map((item) => resolveOne(key, item)) : resolveOne(key, value),
    ]),
  );
}
