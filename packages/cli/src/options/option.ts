import { err, ok, type Result } from '@antipode/base';

/** Why a text is not a value of an option: what would have been allowed, as the end of "must be ...". */
export type Allowed = string;
export type Parser<T> = (text: string) => Result<T, Allowed>;

/**
 * One setting. The command line (`--name`), the environment (`ANTIPODE_NAME`), the YAML key (`name`), the help text and the
 * documentation are all read from this record.
 */
export interface Option<T = unknown> {
  /** Lower case words with hyphens. */
  readonly name: string;
  /** What stands for the value in help texts; absent for a switch. */
  readonly argument?: string;
  readonly parse: Parser<T>;
  /** As a user would write it; absent: the setting stays unset. */
  readonly fallback?: string;
  /** One sentence for the help text. */
  readonly help: string;
  /** Secrets have no flag: a command line is readable by every user of the machine. */
  readonly secret?: boolean;
  /** Names the configuration file, so it cannot stand in one. */
  readonly flagOnly?: boolean;
}

export type Options = Readonly<Record<string, Option>>;
type ValueOf<O> = O extends { readonly parse: Parser<infer T> }
  ? O extends { readonly fallback: string }
    ? T
    : T | undefined
  : never;
/** The values of a table of options, by its keys. */
export type Values<T extends Options> = { readonly [K in keyof T]: ValueOf<T[K]> };

export const option = <T, const O extends Omit<Option<T>, 'parse'>>(
  parse: Parser<T>,
  rest: O,
): O & { readonly parse: Parser<T> } => ({ ...rest, parse });

export const flagOf = (option: Option): string => `--${option.name}`;
export const variableOf = (option: Option): string => `ANTIPODE_${option.name.toUpperCase().replaceAll('-', '_')}`;
export const isSwitch = (option: Option): boolean => option.argument === undefined && !option.secret;

const trueWords = new Set(['true', '1', 'yes', 'on']);
const falseWords = new Set(['false', '0', 'no', 'off']);

/** A switch: present on the command line, `true` or `false` elsewhere. */
export const parseSwitch: Parser<boolean> = (text) => {
  const word = text.trim().toLowerCase();
  if (trueWords.has(word)) return ok(true);
  if (falseWords.has(word)) return ok(false);
  return err('true or false');
};
