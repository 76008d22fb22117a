import { pointId } from '@antipode/base';
import { RestError, SessionFailover } from '@antipode/contract';
import type { Command } from '@antipode/replication';
import { type Static, Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { VolumePrivate } from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import type { Sessions } from './sessions.ts';

/** The verbs of a session. */
export function sessionHandlers(catalog: Catalog, sessions: Sessions): Handlers {
  const plain = (name: 'sync' | 'pause' | 'resume' | 'reprotect') =>
    handler(Type.Object({}), (_, id) => sessions.command(id, { name }));
  return {
    'replication_session.sync': plain('sync'),
    'replication_session.pause': plain('pause'),
    'replication_session.resume': plain('resume'),
    'replication_session.reprotect': plain('reprotect'),
    'replication_session.failover': handler(SessionFailover, (_, id, body) =>
      sessions.command(id, failover(catalog, body)),
    ),
  };
}

function failover(catalog: Catalog, body: Static<typeof SessionFailover>): Command {
  if (body.use_test_copy)
    throw new RestError('session_option', 'no failover test is running, so there is no test copy to use');
  if (body.is_planned ?? true) {
    if (body.force) throw new RestError('session_option', 'force is for unplanned failovers');
    if (body.failover_snapshot_id !== undefined)
      throw new RestError('session_option', 'failover_snapshot_id is for unplanned failovers');
    return { name: 'planned_failover', reverse: body.reverse ?? false };
  }
  if (body.reverse) throw new RestError('session_option', 'reverse is for planned failovers');
  const from =
    body.failover_snapshot_id === undefined
      ? undefined
      : catalog.private<VolumePrivate>('volume', body.failover_snapshot_id)?.point;
  if (body.failover_snapshot_id !== undefined && from === undefined)
    throw new RestError('volume_not_found', body.failover_snapshot_id);
  return {
    name: body.force ? 'forced_failover' : 'unplanned_failover',
    ...(from !== undefined && { from: pointId(from) }),
  };
}
