import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildPackage, newPackageKeys, packageOf, trustKey } from '@antipode/cluster';
import { commandHelp } from '../options/help.ts';
import { showSize } from '../options/parsers.ts';
import { readOptions } from '../options/read.ts';
import { packageBuildOptions, packageKeyOptions, packageTrustOptions } from '../options/tables.ts';
import { CommandError, UsageError } from '../options/usage-error.ts';
import type { Command } from './context.ts';

/** `antipode package new-key`, `antipode package build` and `antipode package trust`. */
export const packages: Command = (context) => {
  const [first, ...rest] = context.args;
  const command = first === undefined ? undefined : commands[first];
  if (command === undefined)
    throw new UsageError(`a command is needed: ${Object.keys(commands).join(', ')} (package COMMAND --help explains)`);
  return command({ ...context, args: rest });
};

const newKey: Command = async (context) => {
  const { values, help } = readOptions(packageKeyOptions, context);
  if (help) {
    context.out(commandHelp('package new-key'));
    return 0;
  }
  const { out } = values;
  if (out === undefined) throw new UsageError('--out is required: where the private key goes');
  const { privateKey, publicKey } = newPackageKeys();
  // A key that is there already may have signed what clusters run.
  writeFileSync(out, privateKey, { mode: 0o600, flag: 'wx' });
  writeFileSync(`${out}.pub`, publicKey, { mode: 0o644, flag: 'wx' });
  context.out(`private key  ${out}\npublic key   ${out}.pub\n`);
  return 0;
};

const build: Command = async (context) => {
  const { values, help } = readOptions(packageBuildOptions, context);
  if (help) {
    context.out(commandHelp('package build'));
    return 0;
  }
  const { out, key, version, minimum, description } = values;
  if (out === undefined || key === undefined) throw new UsageError('--out and --key are required');
  if (!context.entry.endsWith('.js')) throw new UsageError('a package is made of what is built: run the built program');
  const manifest = await asUsage('--key', key, () =>
    buildPackage({
      root: packageOf(context.entry),
      key: readFileSync(key, 'utf8'),
      out,
      now_ms: context.clock.now(),
      ...(version !== undefined && { version }),
      ...(minimum !== undefined && { minimum }),
      ...(description !== undefined && { description }),
    }),
  );
  const { files, build_version, platform, arch } = manifest;
  context.out(
    `${out}: version ${build_version} for ${platform}-${arch}, ${files.length} files, ${showSize(statSync(out).size)}\n`,
  );
  return 0;
};

const trust: Command = async (context) => {
  const { values, help } = readOptions(packageTrustOptions, context);
  if (help) {
    context.out(commandHelp('package trust'));
    return 0;
  }
  const { data, key } = values;
  if (data === undefined || key === undefined) throw new UsageError('--data and --key are required');
  if (!existsSync(join(data, 'appliances'))) throw new UsageError(`${data} is no directory of a cluster`);
  const path = await asUsage('--key', key, async () => trustKey(data, readFileSync(key, 'utf8')));
  context.out(`trusted from now on: ${path}\n`);
  return 0;
};

const commands: Readonly<Record<string, Command>> = { 'new-key': newKey, build, trust };

/** What is wrong with a key, or with the place of the result, is for the user. */
async function asUsage<T>(flag: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('ERR_OSSL')) throw new CommandError(`${flag} ${path}: it is no key in PEM`);
    throw new CommandError(code === undefined ? `${flag} ${path}: ${message}` : message, { cause: error });
  }
}
