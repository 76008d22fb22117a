import { pointId, sessionId } from '@antipode/base';
import type { Site } from './site.ts';

/**
 * What there must not be at a site whose sessions are all at rest [h]: halves and sessions without each other, births and assignments that
 * never end, copies of policies and volumes set aside that nobody needs, flags that say another thing than the engine.
 */
export function untidy(site: Site): string | undefined {
  const { management, dataPlane } = site;
  if (management === undefined || dataPlane === undefined) return undefined;
  const { catalog, services } = management;
  const { engine } = dataPlane;
  const { entries } = services.sessions;
  for (const { session, role } of engine.halves())
    if (!entries.has(session)) return `a half of ${session} (${role}) that no session knows of`;
  for (const [id, { record }] of entries) {
    const { half, resourceKind = 'volume', localResourceId } = record;
    if (engine.half(id) === undefined) return `session ${id} without a half`;
    const resource = catalog.get(resourceKind, localResourceId);
    const isCopy = half.role === 'destination';
    if (resource?.is_replication_destination !== isCopy)
      return `${resource?.name}, a ${half.role}, and the catalog says otherwise`;
    const policy = catalog.get('policy', resource.protection_policy_id ?? '');
    if (policy?.is_replica !== isCopy)
      return `${resource.name}, a ${half.role}, under a policy that is ${policy === undefined ? 'not there' : policy.is_replica ? 'a copy' : 'its own'}`;
  }
  const [intent] = catalog.list('intent');
  if (intent !== undefined) return `an intent that never ends: ${JSON.stringify(intent)}`;
  for (const { id, name, is_replica } of catalog.list('policy'))
    if (
      is_replica &&
      catalog.list('volume', 'protection_policy_id', id).length === 0 &&
      catalog.list('volume_group', 'protection_policy_id', id).length === 0
    )
      return `the copy of policy ${name}, which protects nothing`;
  for (const volume of catalog.list('volume')) {
    const joined = catalog.private<{ joined?: string }>('volume', volume.id)?.joined;
    if (joined !== undefined && !entries.has(sessionId(joined)))
      return `volume ${volume.name}, set aside for session ${joined}, which is over`;
  }
  for (const { id, name, destination } of engine.volumes())
    if ((catalog.get('volume', id)?.is_replication_destination ?? destination) !== destination)
      return `volume ${name}, which ${destination ? 'is a copy' : 'is open'}, and the catalog says otherwise`;
  return unlisted(site) ?? unended(site);
}

/**
 * Roles or generations that management does not have from the engine, after it has put catalog and engine together [C7.2]: what it would do next
 * rests on what is over.
 */
export function remembersOtherwise({ management, dataPlane }: Site): string | undefined {
  for (const [id, { record }] of management?.services.sessions.entries ?? []) {
    const held = dataPlane?.engine.half(id);
    const { role, generation, operation } = record.half;
    if (held === undefined || operation !== undefined) continue;
    if (held.role !== role || held.generation.number !== generation.number)
      return `session ${id} as ${role} of generation ${generation.number}; the engine has ${held.role} of ${held.generation.number}`;
  }
  return undefined;
}

/** Points that operators may see and no snapshot shows, and snapshots whose point is gone. */
function unlisted({ management, dataPlane }: Site): string | undefined {
  const { catalog } = management!;
  const { engine } = dataPlane!;
  for (const { id, kind, dropped, members } of engine.points()) {
    if (kind === 'internal' || dropped || members.every(({ volume }) => catalog.get('volume', volume) === undefined))
      continue;
    if (catalog.listByPrivate('volume', 'point', id).length === 0)
      return `a ${kind} point (${id}) that no snapshot shows`;
  }
  for (const { id, name } of catalog.list('volume', 'type', 'Snapshot')) {
    const point = catalog.private<{ readonly point?: string }>('volume', id)?.point;
    if (engine.point(pointId(point ?? '')) === undefined) return `snapshot ${name}, whose point is gone`;
  }
  return undefined;
}

function unended({ management }: Site): string | undefined {
  const { entries } = management!.services.sessions;
  const { reporter } = management!.services;
  for (const alert of ['session_parked', 'failover_in_doubt', 'session_split'] as const)
    for (const { resource_id } of reporter.active(alert))
      if (!entries.has(sessionId(String(resource_id)))) return `an alert (${alert}) about a session that is over`;
  return undefined;
}
