import type { CellResult, Figure, GroupResult } from '../runner/results.ts';
import { compare, type Line } from './compare.ts';
import type { Verdict } from './goals.ts';
import { show, showRatio, showSpread } from './numbers.ts';

/** A table with its columns under each other; the first is text, the others are figures. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((text, column) => (column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** One group for people: each cell with a line for each contender, then figures, notes and what was left out. */
export function groupText(result: GroupResult): string {
  const parts = [
    `── ${result.group} ──`,
    ...(result.cells.length === 0 ? [] : [cellsTable(result.cells)]),
    ...figuresTables(result.figures),
    ...result.skipped.map((line) => `skipped: ${line}`),
    ...result.notes.map((line) => `note: ${line}`),
  ];
  return `${parts.join('\n')}\n`;
}

/** Figures that have a place in a table by row and column, then those that stand alone. */
function figuresTables(figures: readonly Figure[]): readonly string[] {
  const placed = figures.filter((figure) => figure.place !== undefined);
  const alone = figures.filter((figure) => figure.place === undefined);
  const columns = [...new Set(placed.map(({ place }) => place?.column ?? ''))];
  const rows = [...new Set(placed.map(({ place }) => place?.row ?? ''))].map((row) => [
    row,
    ...columns.map((column) => {
      const figure = placed.find(({ place }) => place?.row === row && place.column === column);
      return figure === undefined ? '' : `${show(figure.value)} ${figure.unit}`;
    }),
  ]);
  return [
    ...(rows.length === 0 ? [] : [table(['over time', ...columns], rows)]),
    ...(alone.length === 0
      ? []
      : [
          table(
            ['figure', 'value', 'unit'],
            alone.map(({ title, value, unit }) => [title, show(value), unit]),
          ),
        ]),
  ];
}

function cellsTable(cells: readonly CellResult[]): string {
  const rows = cells.flatMap((cell) => compare(cell).map((line) => rowOf(cell, line)));
  return table(['work', 'median', 'unit', 'spread', 'ratio', 'least-most', 'cpu', 'p50 ms', 'p99 ms'], rows);
}

function rowOf(cell: CellResult, line: Line): readonly string[] {
  const title = line.role === 'ours' ? cell.title : `  ${line.role === 'peer' ? 'to' : 'of'} ${line.name}`;
  if (line.failure !== undefined && !Number.isFinite(line.median)) return [`${title}: failed: ${line.failure}`];
  return [
    title,
    show(line.median),
    cell.unit,
    showSpread(line.spread),
    line.ratio === undefined ? '' : showRatio(line.ratio),
    line.ratioLeast === undefined || line.ratioMost === undefined
      ? ''
      : `${line.ratioLeast.toFixed(2)}-${line.ratioMost.toFixed(2)}`,
    Number.isFinite(line.cpu) ? `${show(line.cpu)} ${cell.cpuUnit ?? ''}` : '',
    Number.isFinite(line.p50_ms) ? show(line.p50_ms) : '',
    Number.isFinite(line.p99_ms) ? show(line.p99_ms) : '',
  ];
}

/** The goals beside what was reached. */
export function goalsText(verdicts: readonly Verdict[]): string {
  if (verdicts.length === 0) return '';
  const rows = verdicts.map(({ title, goal, reached, met }) => [title, goal, reached, met ? 'met' : 'missed']);
  return `── goals ──\n${table(['goal', 'aim', 'reached', ''], rows)}\n`;
}

export const legend =
  "ratio: above 1.00 the product is better than the peer ('to'), or a variant better than the product measured plainly ('of'); median of the rounds' ratios\n";
