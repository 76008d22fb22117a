import type { Report } from './report.ts';
import { type Setting, simulate } from './simulate.ts';

/** What a failure needs, and what it does without. */
export interface Minimised {
  readonly report: Report;
  readonly without: readonly string[];
}

/**
 * Leaves out kinds of faults and commands, many at once where that goes, as long as the same invariant still breaks, and no later than it
 * did. What is left is what the failure needs.
 */
export async function minimise(
  setting: Setting,
  first: Report,
  tell: (text: string) => void = () => undefined,
): Promise<Minimised> {
  let report = first;
  let without: readonly string[] = setting.without ?? [];
  const leaveOut = async (kinds: readonly string[]): Promise<void> => {
    if (kinds.length === 0) return;
    const fewer = [...without, ...kinds];
    const tried = await simulate({ ...setting, hours: report.hours + 1, without: fewer });
    if (tried.violation?.invariant === first.violation?.invariant && tried.hours <= report.hours) {
      tell(`not needed: ${kinds.join(', ')}`);
      report = tried;
      without = fewer;
      return;
    }
    if (kinds.length === 1) return tell(`needed: ${kinds[0]}`);
    const half = Math.ceil(kinds.length / 2);
    await leaveOut(kinds.slice(0, half));
    await leaveOut(kinds.slice(half));
  };
  await leaveOut(
    Object.keys(first.counts)
      .filter((what) => what.startsWith('evil ') || what.startsWith('ordered '))
      .map((what) => what.slice(what.indexOf(' ') + 1)),
  );
  return { report, without };
}
