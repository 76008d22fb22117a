// Reached by its own path and not through the package's index: documentation needs it, a running cluster does not.
import { display } from '@antipode/contract';
import { suspendable } from './half.ts';
import { legalCommands, sideOf, testRule } from './legal-commands.ts';
import { type CommandName, commands, type Situation, states } from './states.ts';

const titles: Readonly<Record<CommandName, string>> = {
  sync: 'sync',
  pause: 'pause',
  resume: 'resume',
  planned_failover: 'failover, planned',
  unplanned_failover: 'failover, unplanned',
  forced_failover: 'failover with force',
  reprotect: 'reprotect',
  start_test: 'start a failover test',
  stop_test: 'stop it',
  test_copy_failover: 'failover to the test copy',
  delete: 'remove the policy',
};
const marks = {
  yes: 'yes',
  completes_pause: 'makes both sites Paused',
  joins: 'joins the one under way',
  no: '–',
} as const;

const testMarks = { needs: 'while one runs', forbids: 'not while one runs', either: 'either' } as const;

/** What the operations of the table lead to, for the diagram: which state is shown meanwhile, and where it ends. */
const leadsTo: Readonly<Partial<Record<CommandName, readonly (readonly [string, string])[]>>> = {
  sync: [['Synchronizing', 'OK']],
  pause: [['Pausing', 'Paused']],
  resume: [
    ['Resuming', 'OK'],
    ['Resuming', 'Synchronizing'],
  ],
  planned_failover: [['Failing_Over', 'Failed_Over']],
  unplanned_failover: [['Failing_Over_For_DR', 'Failed_Over']],
  reprotect: [['Reprotecting', 'Synchronizing']],
};

/** The table of legal commands as Markdown. */
export function tableOfCommands(): string {
  const situations: readonly Situation[] = states.flatMap((state): Situation[] =>
    state === 'Paused' ? ['Paused', 'Paused_Locally'] : [state],
  );
  const side = (command: CommandName) => (sideOf[command] === undefined ? 'either' : `${sideOf[command]}`);
  const rows = situations.map((situation) => {
    const name = situation === 'Paused_Locally' ? 'Paused, known to this side only' : display(situation);
    return `| ${name} | ${commands.map((command) => marks[legalCommands[situation][command]]).join(' | ')} |`;
  });
  return [
    `| state | ${commands.map((command) => titles[command]).join(' | ')} |`,
    `|---|${commands.map(() => '---').join('|')}|`,
    `| *failover test* | ${commands.map((command) => testMarks[testRule[command] ?? 'either']).join(' | ')} |`,
    `| *side* | ${commands.map((command) => `*${side(command)}*`).join(' | ')} |`,
    ...rows,
  ].join('\n');
}

/** The same table as a diagram (Mermaid): an arrow for each command that is legal in a state, and for what follows by itself. */
export function stateDiagram(): string {
  const lines = new Set<string>([
    '[*] --> Initializing',
    'Initializing --> Synchronizing: first copy',
    'Synchronizing --> OK: copy complete',
    'Synchronizing --> System_Paused: fault',
    'System_Paused --> Synchronizing: fault cleared',
    'OK --> Synchronizing: schedule',
  ]);
  for (const state of suspendable) {
    lines.add(`${state} --> Paused_For_NDU: software upgrade`);
    lines.add(`${state} --> Paused_For_Migration: migration`);
  }
  for (const state of states) {
    for (const command of commands) {
      const targets = leadsTo[command];
      if (legalCommands[state][command] !== 'yes' || targets === undefined) continue;
      for (const [meanwhile, end] of targets) {
        const through = meanwhile === state ? end : meanwhile;
        lines.add(`${state} --> ${through}: ${titles[command]}`);
        if (meanwhile !== state && meanwhile !== 'Synchronizing') lines.add(`${meanwhile} --> ${end}`);
      }
    }
  }
  return ['```mermaid', 'stateDiagram-v2', ...[...lines].map((line) => `  ${line}`), '```'].join('\n');
}
