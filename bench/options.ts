import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { GroupName } from './groups/names.ts';
import { groupNames } from './groups/names.ts';

export interface Settings {
  readonly quick: boolean;
  /** Groups to measure, in the order of the report. */
  readonly groups: readonly GroupName[];
  /** Only cells whose title or id holds this, in lower case; undefined: all. */
  readonly work?: string;
  /** Leaves the peers out. */
  readonly oursOnly: boolean;
  /** Replication: beside the product, only what has this in its name, in lower case; undefined: all. */
  readonly against?: string;
  readonly json?: string;
  /** Where the temporary directory is made: the disk that is measured. */
  readonly dir: string;
  readonly rounds: number;
  /** Length of one measurement under load. */
  readonly seconds: number;
  /** Size of a volume, bytes, a whole number of MiB. */
  readonly size: number;
  /** Length of the overload of the memory group. */
  readonly minutes: number;
  /** The memory group runs the hour-long mixed load as well. */
  readonly hour: boolean;
}

export type Asked =
  | { readonly kind: 'run'; readonly settings: Settings }
  | { readonly kind: 'list' }
  | { readonly kind: 'help' };

/** What the user wrote cannot be done: its message names the option. */
export class UsageError extends Error {}

export const help = `Usage: npm run bench -- [options]

Measures Antipode and its peers side by side on this machine, over loopback addresses and in a temporary directory.

  --quick          under 3 minutes on a quiet machine: fewer cells, shorter and on smaller volumes
  --only GROUP     only this group; may be given again: ${groupNames.join(', ')}
  --work TEXT      only cells whose title or id holds TEXT, such as 'random read'
  --ours           without the peers
  --against TEXT   replication: beside the product, only what has TEXT in its name, such as rsync
  --list           print groups and their cells, and measure nothing
  --json FILE      also write everything as JSON
  --dir DIR        where the temporary directory is made. Default: beside the project, on the project's disk
  --rounds N       alternating rounds, 1 to 99. Default: 5, quick: 3
  --seconds S      length of one measurement, 0.05 to 600. Default: 3, quick: 0.3
  --size SIZE      size of a volume, 64MiB to 1TiB. Default: 4GiB, quick: 256MiB
  --minutes N      length of the memory group's overload, 0.05 to 600. Default: 10, quick: 0.25
  --hour           the memory group also runs a mixed load for an hour
`;

/** Reads the command line. @throws UsageError naming the option and what is allowed. */
export function readSettings(args: readonly string[]): Asked {
  const values = parsed(args);
  if (values.help === true) return { kind: 'help' };
  if (values.list === true) return { kind: 'list' };
  const quick = values.quick ?? false;
  const dir = resolve(values.dir ?? dirname(dirname(import.meta.dirname)));
  if (!isDirectory(dir)) throw new UsageError(`--dir must be a directory, not '${dir}'`);
  if (values.json !== undefined && !isDirectory(dirname(resolve(values.json))))
    throw new UsageError(`--json must be a file in a directory that exists, not '${values.json}'`);
  return {
    kind: 'run',
    settings: {
      quick,
      groups: groupsOf(values.only ?? []),
      ...(values.work === undefined ? {} : { work: values.work.toLowerCase() }),
      oursOnly: values.ours ?? false,
      ...(values.against === undefined ? {} : { against: values.against.toLowerCase() }),
      ...(values.json === undefined ? {} : { json: resolve(values.json) }),
      dir,
      rounds: wholeNumber('--rounds', values.rounds, quick ? 3 : 5, 1, 99),
      seconds: number('--seconds', values.seconds, quick ? 0.3 : 3, 0.05, 600),
      size: size('--size', values.size, quick ? 256 * 2 ** 20 : 4 * 2 ** 30),
      minutes: number('--minutes', values.minutes, quick ? 0.25 : 10, 0.05, 600),
      hour: values.hour ?? false,
    },
  };
}

function parsed(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      options: {
        ...{ quick: flag, ours: flag, list: flag, hour: flag, help: { type: 'boolean', short: 'h' } as const },
        ...{ only: { type: 'string', multiple: true } as const, work: text, against: text, json: text, dir: text },
        ...{ rounds: text, seconds: text, size: text, minutes: text },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function groupsOf(only: readonly string[]): readonly GroupName[] {
  const asked = only.flatMap((text) => text.split(','));
  for (const name of asked)
    if (!groupNames.some((known) => known === name))
      throw new UsageError(`--only must be one of ${groupNames.join(', ')}, not '${name}'`);
  return asked.length === 0 ? groupNames : groupNames.filter((name) => asked.includes(name));
}

function number(flag: string, text: string | undefined, fallback: number, least: number, most: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text.trim() === '' || !(value >= least && value <= most))
    throw new UsageError(`${flag} must be a number from ${least} to ${most}, not '${text}'`);
  return value;
}

function wholeNumber(flag: string, text: string | undefined, fallback: number, least: number, most: number): number {
  const value = number(flag, text, fallback, least, most);
  if (!Number.isInteger(value)) throw new UsageError(`${flag} must be a whole number, not '${text}'`);
  return value;
}

function size(flag: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const match = /^(\d{1,6})(MiB|GiB|TiB)$/.exec(text);
  const unit = { MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }[match?.[2] ?? ''] ?? Number.NaN;
  const value = Number(match?.[1]) * unit;
  if (!(value >= 64 * 2 ** 20 && value <= 2 ** 40))
    throw new UsageError(`${flag} must be a size from 64MiB to 1TiB, such as 4GiB, not '${text}'`);
  return value;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
