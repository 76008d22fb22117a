import type { Scope } from './crash-site.ts';
import type { OperationName } from './operations.ts';

/** A place where a process is made to die, and the operation and side that lead there. */
export interface Point {
  readonly name: string;
  readonly operation: OperationName;
  readonly side: 'source' | 'destination';
  /** Passed only by what follows on a death at this point, at the same site. */
  readonly after?: string;
}

const both = (name: string): string[] => [`${name}.ordered`, `${name}.durable`];
const step = (kind: string): string[] => [`session.${kind}.begun`, `session.${kind}.done`];
const at = (operation: OperationName, side: Point['side'], ...names: readonly string[]): Point[] =>
  names.map((name) => ({ name, operation, side }));
const following = (after: string, ways: readonly Point[]): Point[] => ways.map((way) => ({ ...way, after }));

/** The steps of an upgrade, at which the supervisor dies. */
export const upgradePoints = [
  'upgrade.begun',
  'upgrade.management.replaced',
  'upgrade.data_plane.replaced',
  'upgrade.committed',
] as const;
const rollbackPoints = ['upgrade.data_planes.reverted', 'upgrade.rolled_back'];
/** Where a process may die while it starts; one of a new release while it takes over. */
export const takingOverPoints = ['management', 'dataplane'].flatMap((name) =>
  ['loaded', 'ready', 'checked'].map((when) => `process.${name}.${when}`),
);
const startingPoints = takingOverPoints.filter((name) => !name.endsWith('.checked'));

/** Every fault point of the product; a test compares this list with the sources. */
export const points: readonly Point[] = [
  ...at('sync', 'source', 'log.group.written', 'log.group.synced'),
  ...at('bulk', 'source', 'log.segment.full'),
  ...at('sync', 'destination', 'log.group.written', 'log.group.synced'),
  ...at('churn', 'source', 'checkpoint.recorded', 'checkpoint.stored', 'folding.folded', 'compaction.relocated'),
  ...at('churn', 'source', 'housekeeping.give_back.recorded', 'housekeeping.give_back.removed'),
  ...at('sync', 'destination', 'checkpoint.recorded', 'checkpoint.stored', 'folding.folded'),
  ...at(
    'churn',
    'source',
    ...['create_volume', 'delete_volume', 'resize_volume', 'change_volume'].flatMap((op) => both(`engine.${op}`)),
  ),
  ...at(
    'churn',
    'source',
    ...['freeze', 'change_point', 'drop_point', 'fork', 'restore'].flatMap((op) => both(`engine.${op}`)),
  ),
  ...at('churn', 'source', 'catalog.commit.ready', 'catalog.commit.durable'),
  ...at('restore', 'source', ...both('engine.restore_all')),
  ...at(
    'move',
    'source',
    ...['depart', 'departed', 'arrive', 'image_address', 'adopt', 'forget_arrival', 'release'].flatMap((op) =>
      both(`engine.${op}`),
    ),
    'migration.sessions.paused',
    'migration.unit.departed',
    'migration.images.shipped',
    'migration.unit.adopted',
    'migration.unit.settled',
    'migration.catalog.followed',
  ),
  ...following('engine.depart.durable', [
    ...at('move', 'source', ...['stay', 'arrival_epoch'].flatMap((op) => both(`engine.${op}`))),
  ]),
  ...at('protection', 'source', ...['create_half', 'remove_half'].flatMap((op) => both(`engine.${op}`))),
  ...at('protection', 'destination', ...['create_half', 'remove_half'].flatMap((op) => both(`engine.${op}`))),
  ...at('protection', 'source', ...['tell_delete', 'remove'].flatMap(step), 'assignment.session.changed'),
  ...at('protection', 'destination', 'peer.delete.decided', ...step('remove')),
  ...at('protection', 'source', 'catalog.commit.ready', 'catalog.commit.durable'),
  ...at('sync', 'source', ...['freeze', 'advance_base'].flatMap((op) => both(`engine.${op}`))),
  ...at('snapshots', 'source', ...both('engine.hold')),
  ...at(
    'sync',
    'destination',
    ...['open_stage', 'stage_address', 'commit_stage'].flatMap((op) => both(`engine.${op}`)),
  ),
  ...at(
    'sync',
    'destination',
    'receiver.runs.staged',
    'receiver.address.durable',
    'receiver.cycle.proved',
    'receiver.cycle.committed',
  ),
  ...at('sync', 'source', ...['contact', 'freeze', 'ship', 'advance_base'].flatMap(step), 'session.decision.durable'),
  ...at('sync', 'destination', 'peer.contact.decided', 'session.decision.durable'),
  ...at('pause', 'source', ...['tell_pause', 'tell_resume'].flatMap(step), 'session.decision.durable'),
  ...at('pause', 'destination', 'peer.pause.decided', 'peer.resume.decided', 'session.decision.durable'),
  ...at('members', 'source', ...step('members'), ...both('engine.change_half')),
  ...at('members', 'destination', ...both('engine.change_half'), ...both('engine.commit_stage')),
  ...at(
    'planned',
    'source',
    ...both('engine.seal'),
    ...step('measure'),
    ...step('seal'),
    ...step('send_promote'),
    'session.decision.durable',
  ),
  ...at(
    'planned',
    'destination',
    ...both('engine.promote'),
    ...step('promote'),
    'peer.promote.decided',
    'receiver.cycle.proved',
  ),
  ...at('planned', 'source', ...both('engine.demote'), ...step('demote')),
  ...at('planned', 'destination', ...step('tell_reprotect'), ...step('tell_activate'), ...step('reset_base')),
  ...at('planned', 'source', 'peer.activate.decided', ...step('reset_base')),
  ...at('reversed', 'source', ...step('tell_reprotect'), ...both('engine.demote')),
  ...at('reversed', 'destination', 'peer.reprotect.decided', ...both('engine.promote')),
  ...at('refused', 'source', ...both('engine.unseal'), ...step('unseal')),
  ...at('declined', 'source', ...both('engine.unseal'), ...step('unseal')),
  ...at('declined', 'destination', ...both('engine.refuse_proposal'), ...step('refuse_proposal')),
  ...at('unplanned', 'destination', ...both('engine.promote'), ...step('promote')),
  ...at('unplanned', 'source', ...both('engine.demote'), ...step('demote')),
  ...at('damaged', 'destination', ...both('engine.abandon_stage')),
  ...at('older_catalog', 'source', ...both('engine.reset_base')),
  ...at('older_catalog', 'destination', ...both('engine.reset_base')),
  ...at('restart', 'source', ...startingPoints),
  ...at('upgrade', 'source', ...takingOverPoints.filter((name) => !startingPoints.includes(name)), ...upgradePoints),
  ...following('process.dataplane.checked', at('upgrade', 'source', ...rollbackPoints)),
  ...at(
    'test',
    'destination',
    ...both('engine.start_test'),
    ...both('engine.stop_test'),
    ...step('start_test'),
    ...step('stop_test'),
  ),
];

/** Names of all points, each once. */
export const pointNames: readonly string[] = [...new Set(points.map(({ name }) => name))].sort();

/** Points that only a cluster of several appliances passes. */
export const pointsOfMoves: readonly string[] = points
  .filter(({ operation }) => operation === 'move')
  .map(({ name }) => name);

/** Which process passes a point. */
export const processOf = (point: string): Scope =>
  point.startsWith('upgrade.')
    ? 'supervisor'
    : /^(session|peer|catalog|assignment|migration|process\.management)\./.test(point)
      ? 'management'
      : 'dataplane';
