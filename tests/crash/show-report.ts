import type { Phase, PointRow } from './coverage.ts';
import { type Scope, scopes } from './crash-site.ts';
import type { DeathRow } from './deaths.ts';
import { operationNames } from './operations.ts';
import { pointsOfMoves } from './points.ts';
import type { Report } from './rounds.ts';

const counts = (row: Readonly<Record<string, number>>): string =>
  Object.entries(row)
    .sort(([, one], [, other]) => other - one)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
const killsAt = ({ kills }: PointRow, site?: string): number =>
  sum(Object.values(kills).flatMap((sites) => (site === undefined ? Object.values(sites) : [sites[site] ?? 0])));
const sites = ['London', 'Osaka'] as const;

/** What a campaign did, in lines. */
export function showReport(report: Report): string {
  const { points } = report;
  const reached = points.filter((row) => killsAt(row) > 0);
  const unreached = points.filter((row) => killsAt(row) === 0).map(({ point }) => point);
  const atBoth = reached.filter((row) => sites.every((site) => killsAt(row, site) > 0));
  const oneSided = reached.filter((row) => !atBoth.includes(row)).map(({ point }) => point);
  return [
    `${report.kills} kills in ${report.rounds} rounds and ${Math.round(report.took_ms / 1000)} s; nothing lost, nothing mixed, everything recovered`,
    `who died: ${counts(report.byScope)}; power cuts with unsynced writes lost: ${report.powerCuts} (${report.sectorsLost} sectors)`,
    `stopped for a while: ${counts(report.stops) || 'none'}; rounds with a full disk: ${report.fulls}`,
    `operations: ${counts(report.byOperation)}`,
    `at named points: ${sum(points.map((row) => killsAt(row)))}, ${reached.length} of ${points.length} points, ${atBoth.length} of them at both sites`,
    `not reached: ${unreached.join(', ') || 'none'}`,
    `at one site only: ${oneSided.join(', ') || 'none'}`,
    ...(report.missed.length === 0
      ? []
      : [`not led to: ${report.missed.map(({ point, site, why }) => `${point} at ${site} (${why})`).join('; ')}`]),
    `who died during what, ${sites.join('+')} (by this run and those that it knew of):`,
    ...tableOfDeaths(report.deaths),
    `requests of hosts: ${report.requests}; changes looked for: ${report.changesChecked}`,
  ].join('\n');
}

/** Deaths by operation and by who died: each cell has those at the first site and those at the second. */
function tableOfDeaths(deaths: readonly DeathRow[]): string[] {
  const phases = [...new Set<Phase>([...operationNames, ...deaths.map(({ phase }) => phase)])].sort();
  const cell = (phase: Phase, scope: Scope): string =>
    sites
      .map((site) => deaths.find((row) => row.phase === phase && row.scope === scope && row.site === site)?.count ?? 0)
      .join('+');
  return [
    `| during | ${scopes.join(' | ')} |`,
    `|---|${scopes.map(() => '---|').join('')}`,
    ...phases.map((phase) => `| ${phase} | ${scopes.map((scope) => cell(phase, scope)).join(' | ')} |`),
  ];
}

/** Deaths by point, operation and site, as a table: each cell has those at the first site and those at the second. */
export function tableOf({ points, deaths }: Report): string {
  const phases = [...new Set(points.flatMap(({ kills }) => Object.keys(kills)))].sort();
  const cell = (row: PointRow, phase: string): string => {
    const at = row.kills[phase];
    return at === undefined ? '' : sites.map((site) => at[site] ?? 0).join('+');
  };
  return [
    `| point | ${sites.join(' + ')} | ${phases.join(' | ')} |`,
    `|---|---|${phases.map(() => '---|').join('')}`,
    ...points
      .filter((row) => killsAt(row) > 0 || !pointsOfMoves.includes(row.point))
      .map(
        (row) =>
          `| ${row.point} | ${sites.map((site) => killsAt(row, site)).join(' + ')} | ${phases.map((phase) => cell(row, phase)).join(' | ')} |`,
      ),
    '',
    ...tableOfDeaths(deaths),
    '',
  ].join('\n');
}
