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
};

const row = (verdicts: Partial<Record<CommandName, Verdict>>): Readonly<Record<CommandName, Verdict>> => ({
  sync: 'no',
  pause: 'no',
  resume: 'no',
  planned_failover: 'no',
  unplanned_failover: 'no',
  forced_failover: 'no',
  reprotect: 'no',
  delete: 'yes',
  ...verdicts,
});

export const legalCommands: Readonly<Record<Situation, Readonly<Record<CommandName, Verdict>>>> = {
  Initializing: row({}),
  OK: row({ sync: 'yes', pause: 'yes', planned_failover: 'yes', unplanned_failover: 'yes', forced_failover: 'yes' }),
  Synchronizing: row({ pause: 'yes', planned_failover: 'yes', unplanned_failover: 'yes', forced_failover: 'yes' }),
  System_Paused: row({
    sync: 'yes',
    pause: 'yes',
    planned_failover: 'yes',
    unplanned_failover: 'yes',
    forced_failover: 'yes',
  }),
  Paused: row({ resume: 'yes', unplanned_failover: 'yes', forced_failover: 'yes' }),
  Paused_Locally: row({
    pause: 'completes_pause',
    resume: 'completes_pause',
    unplanned_failover: 'yes',
    forced_failover: 'yes',
  }),
  Paused_For_NDU: row({ unplanned_failover: 'yes', forced_failover: 'yes' }),
  Paused_For_Migration: row({ unplanned_failover: 'yes', forced_failover: 'yes' }),
  Pausing: row({ pause: 'joins' }),
  Resuming: row({ resume: 'joins' }),
  Failing_Over: row({ planned_failover: 'joins', unplanned_failover: 'yes', forced_failover: 'yes' }),
  Failing_Over_For_DR: row({ unplanned_failover: 'joins', forced_failover: 'joins' }),
  Failed_Over: row({ forced_failover: 'yes', reprotect: 'yes' }),
  Reprotecting: row({ reprotect: 'joins' }),
  Deleting: row({ delete: 'joins' }),
  Error: row({ unplanned_failover: 'yes', forced_failover: 'yes' }),
};

/** States in which a command is accepted, for the text of a refusal and for the documentation. */
export const statesThatAllow = (command: CommandName): readonly State[] =>
  states.filter((state) => legalCommands[state][command] === 'yes');
