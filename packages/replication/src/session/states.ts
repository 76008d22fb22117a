/** States of a session as the API shows them, for asynchronous sessions of volumes and groups (REPLICATION 1.2). */
export const states = [
  'Initializing',
  'OK',
  'Synchronizing',
  'System_Paused',
  'Paused',
  'Paused_For_NDU',
  'Paused_For_Migration',
  'Pausing',
  'Resuming',
  'Failing_Over',
  'Failing_Over_For_DR',
  'Failed_Over',
  'Reprotecting',
  'Deleting',
  'Error',
] as const;
export type State = (typeof states)[number];

/**
 * What the legal-command table is indexed by: the state, with one refinement that the API does not show: a pause that
 * only this side knows of (REPLICATION 2.5).
 */
export type Situation = State | 'Paused_Locally';

export const commands = [
  'sync',
  'pause',
  'resume',
  'planned_failover',
  'unplanned_failover',
  'forced_failover',
  'reprotect',
  'start_test',
  'stop_test',
  'test_copy_failover',
  'delete',
] as const;
export type CommandName = (typeof commands)[number];
