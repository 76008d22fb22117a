import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { requestRebuild } from '@antipode/cluster';
import { commandHelp } from '../options/help.ts';
import { readOptions } from '../options/read.ts';
import { recoverOptions } from '../options/tables.ts';
import { UsageError } from '../options/usage-error.ts';
import type { Command } from './context.ts';

/** Asks for a lost catalog to be rebuilt from the log when the cluster starts next. */
export const recover: Command = async (context) => {
  const { values, help } = readOptions(recoverOptions, context);
  if (help) {
    context.out(commandHelp('recover'));
    return 0;
  }
  if (values.data === undefined) throw new UsageError('--data is required: the directory of the cluster');
  if (!existsSync(join(values.data, 'appliances'))) throw new UsageError(`${values.data} is no directory of a cluster`);
  requestRebuild(values.data);
  context.out(
    'The catalog is rebuilt from the log at the next start of "antipode serve"; users, policies and pairings are made anew.\n',
  );
  return 0;
};
