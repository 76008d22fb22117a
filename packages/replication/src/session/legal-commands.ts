import type { Role } from '@antipode/blocks';
import type { CommandName, Situation, State } from './states.ts';
import { states } from './states.ts';

/**
 * The one table of what an operator may do when (REPLICATION 2.2). The REST errors, the page, the documentation's diagram
 * and the simulator's model all read it.
 *
 * - `yes`: accepted.
 * - `completes_pause`: accepted; it does not do what its name says but makes both sites Paused (REPLICATION 2.5, A1).
 * - `joins`: the operation is under way already; the call joins it and gets its answer (A27).
 * - `no`: refused before anything changes.
 */
export type Verdict = 'yes' | 'completes_pause' | 'joins' | 'no';

/** Which side a command is for. Absent: either. */
export const sideOf: Readonly<Partial<Record<CommandName, Role>>> = {
  sync: 'source',
  planned_failover: 'source',
  unplanned_failover: 'destination',
  forced_failover: 'destination',
  reprotect: 'source',
  start_test: 'destination',
  stop_test: 'destination',
  test_copy_failover: 'destination',
};

/**
 * What a failover test has to say, in whatever state: `forbids` while it runs, `needs` one that runs. Commands that are not named
 * here do not care (REPLICATION 2.11).
 */
export const testRule: Readonly<Partial<Record<CommandName, 'forbids' | 'needs'>>> = {
  planned_failover: 'forbids',
  unplanned_failover: 'forbids',
  forced_failover: 'forbids',
  start_test: 'forbids',
  stop_test: 'needs',
  test_copy_failover: 'needs',
};

const row = (verdicts: Partial<Record<CommandName, Verdict>>): Readonly<Record<CommandName, Verdict>> => ({
  sync: 'no',
  pause: 'no',
  resume: 'no',
  planned_failover: 'no',
  unplanned_failover: 'no',
  forced_failover: 'no',
  reprotect: 'no',
  start_test: 'no',
  stop_test: 'yes',
  test_copy_failover: 'no',
  delete: 'yes',
  ...verdicts,
});

/** What a destination may do by itself, as long as its session is neither changing direction nor going. */
const localFailover = { unplanned_failover: 'yes', forced_failover: 'yes', test_copy_failover: 'yes' } as const;

export const legalCommands: Readonly<Record<Situation, Readonly<Record<CommandName, Verdict>>>> = {
  Initializing: row({}),
  OK: row({ sync: 'yes', pause: 'yes', planned_failover: 'yes', start_test: 'yes', ...localFailover }),
  Synchronizing: row({ pause: 'yes', planned_failover: 'yes', start_test: 'yes', ...localFailover }),
  System_Paused: row({ sync: 'yes', pause: 'yes', planned_failover: 'yes', start_test: 'yes', ...localFailover }),
  Paused: row({ resume: 'yes', start_test: 'yes', ...localFailover }),
  Paused_Locally: row({ pause: 'completes_pause', resume: 'completes_pause', start_test: 'yes', ...localFailover }),
  Paused_For_NDU: row(localFailover),
  Paused_For_Migration: row(localFailover),
  Pausing: row({ pause: 'joins' }),
  Resuming: row({ resume: 'joins' }),
  Failing_Over: row({ planned_failover: 'joins', ...localFailover }),
  Failing_Over_For_DR: row({
    unplanned_failover: 'joins',
    forced_failover: 'joins',
    test_copy_failover: 'joins',
    stop_test: 'no',
  }),
  Failed_Over: row({ forced_failover: 'yes', reprotect: 'yes', stop_test: 'no' }),
  Reprotecting: row({ reprotect: 'joins', stop_test: 'no' }),
  Deleting: row({ delete: 'joins', stop_test: 'no' }),
  Error: row(localFailover),
};

/** States in which a command is accepted, for the text of a refusal and for the documentation. */
export const statesThatAllow = (command: CommandName): readonly State[] =>
  states.filter((state) => legalCommands[state][command] === 'yes');
