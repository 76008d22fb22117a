import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type OccurrenceName, occurrences } from './occurrences.ts';

const source = join(import.meta.dirname, '..');

function* texts(directory: string): Generator<string> {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) yield* texts(path);
    else if (path.endsWith('.ts') && !path.endsWith('.test.ts') && name !== 'occurrences.ts')
      yield readFileSync(path, 'utf8');
  }
}

describe('what operators are told', () => {
  const names = Object.keys(occurrences) as OccurrenceName[];
  const all = [...texts(source)].join('\n');

  it('has a code of its own for each thing', () => {
    const codes = names.map((name) => occurrences[name].code);
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) expect(code).toMatch(/^0x02[0-9A-F]{6}$/);
  });

  it('is told somewhere, every one of it', () => {
    expect(names.filter((name) => !all.includes(`'${name}'`))).toEqual([]);
  });

  it('ends when it is over: every alert is cleared somewhere', () => {
    const alerts = names.filter((name) => 'alert' in occurrences[name]);
    // What only a human can end: the session of a split, and damage, whose alerts a scrub clears one by one.
    const cleared = (name: string) =>
      new RegExp(`clear\\(\\s*'${name}'`).test(all) || new RegExp(`'${name}'[^;]*\\]( as const)?\\)`).test(all);
    const byHand = ['damage', 'unexplained', 'protection_lost'];
    expect(alerts.filter((name) => !cleared(name) && !byHand.includes(name))).toEqual([]);
  });

  it('says what to do about every alert and everything severe', () => {
    for (const name of names) {
      const entry: { readonly severity: string; readonly remedy: string; readonly impact: string } = occurrences[name];
      if ('alert' in entry || entry.severity === 'Critical' || entry.severity === 'Major')
        expect(entry.remedy.length * entry.impact.length, name).toBeGreaterThan(0);
    }
  });
});
