import { type PointId, pointId } from '@antipode/base';
import { RestError, SessionFailover, StartFailoverTest, StopFailoverTest } from '@antipode/contract';
import type { Command } from '@antipode/replication';
import { type Static, Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { VolumePrivate } from '../catalog/documents.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import type { Sessions } from './sessions.ts';

/** The verbs of a session. */
export function sessionHandlers(catalog: Catalog, sessions: Sessions): Handlers {
  const plain = (name: 'sync' | 'pause' | 'resume' | 'reprotect') =>
    handler(Type.Object({}), ({ progress }, id) => sessions.command(id, { name }, progress));
  return {
    'replication_session.sync': plain('sync'),
    'replication_session.pause': plain('pause'),
    'replication_session.resume': plain('resume'),
    'replication_session.reprotect': plain('reprotect'),
    'replication_session.failover': handler(SessionFailover, ({ progress }, id, body) =>
      sessions.command(id, failover(catalog, body), progress),
    ),
    'replication_session.start_failover_test': handler(StartFailoverTest, (_, id, body) => {
      const from = pointOf(catalog, body.snapshot_id);
      return sessions.command(id, { name: 'start_test', ...(from && { from }) });
    }),
    'replication_session.stop_failover_test': handler(StopFailoverTest, (_, id, body) =>
      sessions.stopTest(id, { keep: body.create_end_of_test_snapshot ?? false, force: body.force ?? false }),
    ),
  };
}

/** The point of a snapshot that a caller names. */
function pointOf(catalog: Catalog, snapshot: string | undefined): PointId | undefined {
  if (snapshot === undefined) return undefined;
  // Of a group's session: a set.
  const point = (['volume', 'volume_group'] as const)
    .map((kind) => catalog.private<VolumePrivate>(kind, snapshot)?.point)
    .find((found) => found !== undefined);
  if (point === undefined) throw new RestError('volume_not_found', snapshot);
  return pointId(point);
}

function failover(catalog: Catalog, body: Static<typeof SessionFailover>): Command {
  if (body.is_planned ?? true) {
    if (body.use_test_copy) throw new RestError('session_option', 'use_test_copy is for unplanned failovers');
    if (body.force) throw new RestError('session_option', 'force is for unplanned failovers');
    if (body.failover_snapshot_id !== undefined)
      throw new RestError('session_option', 'failover_snapshot_id is for unplanned failovers');
    return { name: 'planned_failover', reverse: body.reverse ?? false };
  }
  if (body.reverse) throw new RestError('session_option', 'reverse is for planned failovers');
  const from = pointOf(catalog, body.failover_snapshot_id);
  if (body.use_test_copy) {
    if (from !== undefined)
      throw new RestError('session_option', 'use_test_copy takes what the test has made, not failover_snapshot_id');
    return { name: 'test_copy_failover' };
  }
  return { name: body.force ? 'forced_failover' : 'unplanned_failover', ...(from && { from }) };
}
