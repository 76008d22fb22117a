import type { Clock } from '@antipode/base';

/** What a command may use of the process it runs in. */
export interface CommandContext {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly clock: Clock;
  /** Aborted by SIGINT, SIGTERM or the end of the process that started this one: finish and stop. */
  readonly stop: AbortSignal;
  /** The module that the command line starts with. */
  readonly entry: string;
  /** Standard error is a terminal: progress can be drawn. */
  readonly isTerminal: boolean;
}

/** Runs to its end; answers the exit code. */
export type Command = (context: CommandContext) => Promise<number>;
