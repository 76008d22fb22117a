import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { flagOf, isSwitch, type Option, type Options, type Values, variableOf } from './option.ts';
import { commandTables } from './tables.ts';
import { UsageError } from './usage-error.ts';

/** Where a setting may come from. */
export interface Sources {
  /** Arguments after the command's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Read<T extends Options> {
  readonly values: Values<T>;
  /** Names of settings that were given, not left to their default. */
  readonly given: ReadonlySet<keyof T>;
  readonly help: boolean;
}

interface Given {
  readonly text: string;
  /** As the user wrote it: `--nbd`, `ANTIPODE_NBD`, `nbd in x.yaml`. */
  readonly where: string;
}

/**
 * Reads a command's settings: flag before variable before file before default.
 * @throws UsageError naming the setting and what is allowed.
 */
export function readOptions<T extends Options>(table: T, sources: Sources): Read<T> {
  const options = Object.entries(table);
  const flags = readArguments(Object.values(table), sources.args);
  if (flags === 'help') return { values: {} as Values<T>, given: new Set(), help: true };
  const variables = readVariables(Object.values(table), sources.env);
  const config = flags.get('config') ?? variables.get('config');
  const file = config === undefined ? new Map<string, Given>() : readFile(Object.values(table), config);
  const values: Record<string, unknown> = {};
  const given = new Set<keyof T>();
  for (const [key, option] of options) {
    const found = flags.get(option.name) ?? variables.get(option.name) ?? file.get(option.name);
    if (found !== undefined) given.add(key);
    const chosen =
      found ?? (option.fallback === undefined ? undefined : { text: option.fallback, where: flagOf(option) });
    values[key] = chosen === undefined ? undefined : parseOne(option, chosen);
  }
  return { values: values as Values<T>, given, help: false };
}

function parseOne(option: Option, { text, where }: Given): unknown {
  const parsed = option.parse(text);
  if (parsed.ok) return parsed.value;
  const seen = option.secret ? '' : `, not '${text}'`;
  throw new UsageError(`${where} must be ${parsed.error}${seen}`);
}

function readArguments(options: readonly Option[], args: readonly string[]): Map<string, Given> | 'help' {
  const found = new Map<string, Given>();
  for (let i = 0; i < args.length; i += 1) {
    const arg = args[i] ?? '';
    if (arg === '--help' || arg === '-h') return 'help';
    if (!arg.startsWith('--')) throw new UsageError(`unexpected argument '${arg}'`);
    const equals = arg.indexOf('=');
    const flag = equals < 0 ? arg : arg.slice(0, equals);
    const option = options.find((candidate) => !candidate.secret && flagOf(candidate) === flag);
    if (option === undefined) throw new UsageError(`unknown option '${flag}'${nearest(flag, options)}`);
    if (found.has(option.name)) throw new UsageError(`${flag} is given twice`);
    if (equals >= 0) found.set(option.name, { text: arg.slice(equals + 1), where: flag });
    else if (isSwitch(option)) found.set(option.name, { text: 'true', where: flag });
    else {
      const text = args[i + 1];
      if (text === undefined || text.startsWith('--'))
        throw new UsageError(`${flag} needs a value: ${flag} ${option.argument}`);
      found.set(option.name, { text, where: flag });
      i += 1;
    }
  }
  return found;
}

/** A mistyped variable would silently leave a default in force, so an `ANTIPODE_` name that no command knows is refused. */
function readVariables(options: readonly Option[], env: Sources['env']): Map<string, Given> {
  const found = new Map<string, Given>();
  const known = new Set(
    Object.values(commandTables).flatMap(({ options: all }) => Object.values<Option>(all).map(variableOf)),
  );
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('ANTIPODE_') || text === undefined) continue;
    const option = options.find((candidate) => variableOf(candidate) === name);
    if (option !== undefined) found.set(option.name, { text, where: name });
    else if (!known.has(name))
      throw new UsageError(`unknown variable ${name} (every flag has one: --log-level is ANTIPODE_LOG_LEVEL)`);
  }
  return found;
}

function readFile(options: readonly Option[], { text: path, where }: Given): Map<string, Given> {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(path, 'utf8'), { prettyErrors: true });
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0];
    throw new UsageError(`${where}: ${path}: ${reason}`);
  }
  const found = new Map<string, Given>();
  if (content === null || content === undefined) return found;
  if (typeof content !== 'object' || Array.isArray(content))
    throw new UsageError(`${where}: ${path} must hold 'key: value' lines`);
  for (const [key, value] of Object.entries(content)) {
    const option = options.find((candidate) => candidate.name === key && !candidate.flagOnly);
    if (option === undefined) throw new UsageError(`${path}: unknown key '${key}'${nearest(key, options)}`);
    if (!['string', 'number', 'boolean'].includes(typeof value))
      throw new UsageError(`${path}: '${key}' must be a single value`);
    found.set(key, { text: String(value), where: `'${key}' in ${path}` });
  }
  return found;
}

/** " (did you mean ...?)" for a name that is one or two letters off. */
function nearest(name: string, options: readonly Option[]): string {
  const bare = name.replace(/^--/, '');
  const close = options
    .map((option) => ({ option, distance: editDistance(bare, option.name) }))
    .filter(({ option, distance }) => !option.secret && distance <= 2)
    .sort((a, b) => a.distance - b.distance)[0];
  if (close === undefined) return '';
  return ` (did you mean ${name.startsWith('--') ? flagOf(close.option) : close.option.name}?)`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
