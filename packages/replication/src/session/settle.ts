import { err, ok, type Result } from '@antipode/base';
import type { Command } from './accept-command.ts';
import type { Half } from './half.ts';
import type { Rejection } from './rejection.ts';
import type { CommandName } from './states.ts';

/**
 * When a verb may be answered (REPLICATION A27): undefined while it is under way; then done, or why it failed. The new
 * state is visible by then.
 */
export function settled(command: Command, half: Half): Result<void, Rejection> | undefined {
  const operation = half.operation?.kind;
  switch (command.name) {
    case 'sync':
      return ok(undefined);
    case 'pause':
      if (operation === 'pause' || operation === 'complete_pause') return undefined;
      return failureOf(half, ['pause']) ?? ok(undefined);
    case 'resume':
      if (operation === 'resume' || operation === 'complete_pause') return undefined;
      return failureOf(half, ['resume', 'pause'], 'resume') ?? ok(undefined);
    case 'planned_failover': {
      if (operation === 'planned_failover' || operation === 'demote' || operation === 'reverse') return undefined;
      const failed = failureOf(half, ['planned_failover']);
      if (failed !== undefined) return failed;
      return command.reverse && half.state === 'Failed_Over' ? undefined : ok(undefined);
    }
    case 'unplanned_failover':
    case 'forced_failover':
    case 'test_copy_failover':
      if (operation === 'promote') return undefined;
      return failureOf(half, ['unplanned_failover'], command.name) ?? ok(undefined);
    case 'start_test':
    case 'stop_test':
      if (operation === command.name) return undefined;
      return failureOf(half, [command.name]) ?? ok(undefined);
    case 'reprotect':
      if (operation === 'reprotect') return undefined;
      return failureOf(half, ['reprotect']) ?? ok(undefined);
    case 'delete':
      return undefined;
  }
}

/**
 * What is left of a verb is the peer's to do, and nothing here moves until it has: it says whether it took over, or turns the session round.
 * A peer that is away leaves it so for as long as it is.
 */
export function awaitsPeer(command: Command, half: Half): boolean {
  if (command.name !== 'planned_failover') return false;
  const { operation } = half;
  if (operation?.kind === 'planned_failover') return operation.phase === 'promoting';
  return command.reverse && half.state === 'Failed_Over';
}

function failureOf(half: Half, of: readonly string[], shown?: CommandName): Result<void, Rejection> | undefined {
  const failure = half.lastFailure;
  if (failure === undefined || !of.includes(failure.command)) return undefined;
  const command = shown ?? (failure.command as CommandName);
  if (failure.code === 'peer_unreachable') return err({ kind: 'peer_unreachable', command });
  if (failure.code === 'peer_busy') return err({ kind: 'peer_busy', command, message: failure.message });
  return err({ kind: 'operation_failed', command, code: failure.code, message: failure.message });
}
