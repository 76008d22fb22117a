import { err, ok, type PointId, pointId, proposalId, type Result, testId } from '@antipode/base';
import { type Change, type Context, unchanged, without } from './change.ts';
import { startCycle } from './cycle.ts';
import type { Half, Remembered } from './half.ts';
import { legalCommands, sideOf, testRule } from './legal-commands.ts';
import { type Rejection, wrongSide, wrongState } from './rejection.ts';
import type { CommandName, Situation } from './states.ts';

/** An operator's command, parsed. */
export type Command =
  | { readonly name: 'sync' | 'pause' | 'resume' | 'reprotect' | 'delete' }
  | { readonly name: 'planned_failover'; readonly reverse: boolean }
  | { readonly name: 'unplanned_failover' | 'forced_failover'; readonly from?: PointId }
  | { readonly name: 'test_copy_failover' }
  /** `from`: another point than the newest complete copy. */
  | { readonly name: 'start_test'; readonly from?: PointId }
  /** `keep`: the id under which what the test has written becomes a snapshot. `force`: although the peer cannot be told. */
  | { readonly name: 'stop_test'; readonly keep?: PointId; readonly force: boolean };

/** Whether a failover test runs, as far as this side knows. */
export const isTested = (half: Half): boolean => half.test !== undefined || half.peer.testing === true;

export const situationOf = (half: Half): Situation =>
  half.state === 'Paused' && half.paused?.scope === 'local' ? 'Paused_Locally' : half.state;

/**
 * Whether a command is legal now: the same answer for the API, the page and the documentation, from the one table.
 * Checked before anything changes [S7].
 */
export function checkCommand(
  half: Half,
  command: CommandName,
  localPauseResume: Context['localPauseResume'] = 'pause_both',
): Result<'start' | 'join', Rejection> {
  const situation = situationOf(half);
  // A test begins and ends in a moment, whatever the state: nothing else is begun meanwhile [S1].
  const test = half.operation?.kind;
  if ((test === 'start_test' || test === 'stop_test') && command !== 'delete')
    return command === test ? ok('join') : err({ kind: 'already_running', command: test });
  const isFailover =
    command === 'planned_failover' || command === 'unplanned_failover' || command === 'test_copy_failover';
  if (half.state === 'Failed_Over' && isFailover) return err({ kind: 'already_failed_over' });
  const verdict = legalCommands[situation][command];
  const needed = sideOf[command];
  if (verdict === 'joins') return ok('join');
  if (needed !== undefined && needed !== half.role) return err(wrongSide(command, half.role));
  if (situation === 'Paused_Locally' && command === 'resume' && localPauseResume === 'refuse')
    return err(wrongState(command, situation));
  const rule = testRule[command];
  if (verdict !== 'no' && rule === 'forbids' && isTested(half)) return err({ kind: 'test_running', command });
  if (rule === 'needs' && half.test === undefined) return err({ kind: 'no_test_running', command });
  if (verdict === 'no') {
    const bySystem =
      half.state === 'System_Paused' || half.state === 'Paused_For_NDU' || half.state === 'Paused_For_Migration';
    if (command === 'resume' && bySystem) return err({ kind: 'system_paused', command, state: half.state });
    if (command === 'sync' && half.state === 'Synchronizing') return err({ kind: 'already_running', command });
    return err(wrongState(command, situation));
  }
  return ok('start');
}

/** Takes a command: checks it against the table and sets the operation in motion. */
export function acceptCommand(half: Half, command: Command, context: Context): Result<Change, Rejection> {
  const legal = checkCommand(half, command.name, context.localPauseResume);
  if (!legal.ok) return legal;
  if (legal.value === 'join') return ok(unchanged(half));
  const clean = without(half, 'lastFailure');
  switch (command.name) {
    case 'sync':
      return ok(startCycle(without(clean, 'fault'), 'user', context));
    case 'pause':
      if (half.paused?.scope === 'local') return ok(unchanged({ ...clean, operation: { kind: 'complete_pause' } }));
      return ok(unchanged({ ...clean, state: 'Pausing', operation: { kind: 'pause', remembered: remember(half) } }));
    case 'resume':
      if (half.paused?.scope === 'local') return ok(unchanged({ ...clean, operation: { kind: 'complete_pause' } }));
      return ok(unchanged({ ...clean, state: 'Resuming', operation: { kind: 'resume' } }));
    case 'planned_failover':
      return ok({
        half: {
          ...without(clean, 'fault'),
          state: 'Failing_Over',
          operation: {
            kind: 'planned_failover',
            proposal: proposalId(context.fresh.a),
            phase: 'catch_up',
            rounds: 0,
            sealPoint: pointId(context.fresh.b),
            reverse: command.reverse,
          },
        },
        notices: [{ kind: 'failover_started', planned: true }],
      });
    case 'unplanned_failover':
    case 'forced_failover':
    case 'test_copy_failover':
      return ok({
        half: {
          ...without(clean, 'fault'),
          state: 'Failing_Over_For_DR',
          operation: {
            kind: 'promote',
            next: { number: half.generation.number + 1, site: context.site, nonce: context.fresh.nonce },
            ...('from' in command && command.from !== undefined && { from: command.from }),
            ...(command.name === 'test_copy_failover' && { testCopy: true as const }),
          },
        },
        notices: [{ kind: 'failover_started', planned: false }],
      });
    case 'start_test': {
      const from = command.from && { from: command.from };
      return ok(unchanged({ ...clean, operation: { kind: 'start_test', test: testId(context.fresh.a), ...from } }));
    }
    case 'stop_test':
      return stopTest(clean, command, context);
    case 'reprotect':
      return ok(unchanged({ ...clean, state: 'Reprotecting', operation: { kind: 'reprotect', phase: 'contact' } }));
    case 'delete':
      return ok(unchanged({ ...clean, state: 'Deleting', operation: { kind: 'delete', phase: 'tell', tell: true } }));
  }
}

function stopTest(
  half: Half,
  command: Extract<Command, { name: 'stop_test' }>,
  context: Context,
): Result<Change, Rejection> {
  if (half.test === undefined) return err({ kind: 'no_test_running', command: 'stop_test' });
  if (!context.linkUp && !command.force) return err({ kind: 'peer_unreachable', command: 'stop_test' });
  const keep = command.keep && { keep: command.keep };
  const operation = { kind: 'stop_test', test: half.test.id, keep_ms: context.now_ms, ...keep } as const;
  return ok(unchanged({ ...half, operation }));
}

const remember = (half: Half): Remembered =>
  half.state === 'Synchronizing' || half.state === 'System_Paused' ? half.state : 'OK';
