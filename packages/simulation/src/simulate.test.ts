import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { regressions } from './regressions.ts';

/** A world takes the process's timers away: it gets a process of its own. */
function run(...given: readonly string[]): { readonly code: number | null; readonly out: string } {
  const main = join(import.meta.dirname, 'main.ts');
  const done = spawnSync(process.execPath, ['--conditions=source', main, ...given], { encoding: 'utf8' });
  return { code: done.status, out: `${done.stdout}${done.stderr}` };
}

const tracesOf = (out: string): readonly string[] =>
  [...out.matchAll(/trace ([0-9a-f]{16})/g)].map((match) => match[1]!);

/** Generous: nothing is timed, and machines are busy. */
const most_ms = 600_000;

describe('two clusters in one process, and everything that can go wrong between them', () => {
  it(
    'a seed is a history: run again it is the same to the last message [C10.1]',
    () => {
      const [once, again] = [run('--seed', '11', '--hours', '4'), run('--seed', '11', '--hours', '4')];
      expect(tracesOf(once.out), once.out).toHaveLength(1);
      expect(tracesOf(again.out)).toEqual(tracesOf(once.out));
      expect(tracesOf(run('--seed', '12', '--hours', '4').out)).not.toEqual(tracesOf(once.out));
    },
    most_ms,
  );

  it(
    'two and three clusters keep every promise through crashes, cuts and operators [C10.1]',
    () => {
      const { code, out } = run('--seed', '2', '--seeds', '2', '--hours', '8', '--trace', '100');
      expect(code, out).toBe(0);
    },
    most_ms,
  );

  it.each(regressions)(
    'what was found stays put right: $name, seed $seed [C10.1]',
    ({ seed, hours, calm, without = '' }) => {
      const given = Object.entries({ seed, hours, calm, without, trace: 100 }).flatMap(([name, value]) => [
        `--${name}`,
        `${value}`,
      ]);
      const { code, out } = run(...given);
      expect(code, out).toBe(0);
    },
    most_ms,
  );
});
