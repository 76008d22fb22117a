import type { Report } from './report.ts';
import { type Setting, simulate } from './simulate.ts';

/** What a failure needs, and what it does without. */
export interface Minimised {
  readonly report: Report;
  readonly without: readonly string[];
}

/**
 * Leaves out one kind of fault or command after another as long as the same invariant still breaks, and no later than it did. What is left
 * is what the failure needs.
 */
export async function minimise(setting: Setting, first: Report): Promise<Minimised> {
  const kinds = Object.keys(first.counts)
    .filter((what) => what.startsWith('evil ') || what.startsWith('ordered '))
    .map((what) => what.slice(what.indexOf(' ') + 1));
  let report = first;
  let without: readonly string[] = setting.without ?? [];
  for (const kind of kinds) {
    const fewer = [...without, kind];
    const tried = await simulate({ ...setting, hours: report.hours + 1, without: fewer });
    if (tried.violation?.invariant !== first.violation?.invariant || tried.hours > report.hours) continue;
    report = tried;
    without = fewer;
  }
  return { report, without };
}
