import { runSupervisor } from '@antipode/cluster';
import type { ReadyMessage } from '../lab/site-process.ts';
import { commandHelp } from '../options/help.ts';
import { showAddress } from '../options/parsers.ts';
import { readOptions } from '../options/read.ts';
import { serveOptions } from '../options/tables.ts';
import { CommandError } from '../options/usage-error.ts';
import { clusterConfig } from './cluster-config.ts';
import type { Command } from './context.ts';

/** Runs one cluster until it is told to stop. */
export const serve: Command = async (context) => {
  const { values, help } = readOptions(serveOptions, context);
  if (help) {
    context.out(commandHelp('serve'));
    return 0;
  }
  const config = clusterConfig(values);
  const running = runSupervisor(config, {
    signal: context.stop,
    log: (line) => context.err(`${line}\n`),
    onReady: (ready) => {
      // A lab, or whatever else started this process with a channel, is told by message.
      process.send?.({ kind: 'ready', ready } satisfies ReadyMessage);
      context.out(`${config.name} is ready\n  REST  ${ready.url}\n  NBD   nbd://${showAddress(ready.nbd)}\n`);
      if (ready.generatedPassword !== undefined)
        context.out(`  User  ${ready.username}\n  Password (shown this once)  ${ready.generatedPassword}\n`);
    },
  });
  await running.catch((error: unknown) => {
    // Why a cluster does not start is for its operator: a port in use, a directory in use, a file that cannot be read.
    throw new CommandError(error instanceof Error ? error.message : String(error), { cause: error });
  });
  return 0;
};
