/**
 * Loaded into the processes of a cluster (`node --import`): notes each call that names a file, runs SQL or starts a program with a text
 * that holds the mark, and which kinds of calls there were at all. MARK_TO_WATCH, MARKS_SEEN (a file; one JSON value a line).
 */
import childProcess from 'node:child_process';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';

const { MARK_TO_WATCH: mark, MARKS_SEEN: target } = process.env;
const append = fs.appendFileSync;
const called = new Set<string>();

function look(call: string, texts: readonly unknown[]): void {
  if (mark === undefined || target === undefined) return;
  if (!called.has(call)) {
    called.add(call);
    append(target, `${JSON.stringify({ call })}\n`);
  }
  for (const text of texts.map((one) => (typeof one === 'string' ? one : one instanceof URL ? one.href : '')))
    if (text.includes(mark)) append(target, `${JSON.stringify({ call, text: text.slice(0, 400) })}\n`);
}

type Calls = Record<string, unknown>;

/** Wraps every function of an object; `texts` says which of its arguments are names. */
function watch(
  name: string,
  object: Calls,
  texts: (call: string, args: readonly unknown[]) => readonly unknown[],
): void {
  for (const call of Object.keys(object)) {
    const real = object[call];
    // Classes are called with `new`, and nobody names a file to them here.
    if (typeof real !== 'function' || /^[A-Z_]/.test(call)) continue;
    const wrapped = function (this: unknown, ...args: unknown[]): unknown {
      look(`${name}.${call}`, texts(call, args));
      return Reflect.apply(real, this, args);
    };
    object[call] = Object.assign(wrapped, real);
  }
}

/** The second argument of these is a name as well; of others it is content. */
const twoNames = /^(rename|copyFile|link|symlink|cp)/;
const namesOf = (call: string, args: readonly unknown[]) => args.slice(0, twoNames.test(call) ? 2 : 1);
watch('fs', fs as unknown as Calls, namesOf);
watch('fs.promises', fsPromises as unknown as Calls, namesOf);
watch('child_process', childProcess as unknown as Calls, (_, args) => args.slice(0, 2).flat());
for (const call of ['prepare', 'exec'] as const) {
  const real = DatabaseSync.prototype[call] as (this: DatabaseSync, sql: string) => unknown;
  DatabaseSync.prototype[call] = function (this: DatabaseSync, sql: string): never {
    look(`sqlite.${call}`, [sql]);
    return Reflect.apply(real, this, [sql]) as never;
  };
}
syncBuiltinESMExports();
