import type { Report } from './campaign.ts';
import { pointNames } from './points.ts';

const counts = (row: Readonly<Record<string, number>>): string =>
  Object.entries(row)
    .sort(([, one], [, other]) => other - one)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');

/** What a campaign did, in lines. */
export function showReport(report: Report): string {
  const reached = Object.keys(report.byPoint);
  const unreached = pointNames.filter((name) => !reached.includes(name));
  return [
    `${report.kills} kills in ${report.rounds} rounds and ${Math.round(report.took_ms / 1000)} s; nothing lost, nothing mixed, everything recovered`,
    `who died: ${counts(report.byScope)}; power cuts with unsynced writes lost: ${report.powerCuts} (${report.sectorsLost} sectors)`,
    `processes stopped for a while: ${report.stops}`,
    `operations: ${counts(report.byOperation)}`,
    `at named points: ${Object.values(report.byPoint).reduce((sum, count) => sum + count, 0)}, ${reached.length} of ${pointNames.length} points`,
    `not reached: ${unreached.join(', ') || 'none'}`,
    `requests of hosts: ${report.requests}; changes looked for: ${report.changesChecked}`,
  ].join('\n');
}
