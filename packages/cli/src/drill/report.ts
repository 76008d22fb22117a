import { showSize } from '../options/parsers.ts';

/** What a drill found, as data. */
export interface DrillReport {
  readonly event: 'report';
  readonly ok: boolean;
  readonly checks: number;
  readonly took_ms: number;
  readonly bytes_written: number;
  readonly bytes_shipped: number;
  /** Age of the recovered copy at the moment of the disaster; a planned failover loses nothing. */
  readonly rpo_ms: { readonly planned: number | null; readonly unplanned: number | null };
  /** From the command to the first write acknowledged at the other site. */
  readonly rto_ms: { readonly planned: number | null; readonly unplanned: number | null };
  readonly sha256: { readonly source: string; readonly recovered: string };
  readonly failure: DrillFailure | null;
}

export interface DrillFailure {
  readonly step: string;
  readonly expected: string;
  readonly seen: string;
}

const seconds = (value_ms: number | null): string =>
  value_ms === null ? 'not measured' : `${(value_ms / 1000).toFixed(2)} s`;

/** The report for people. */
export function showReport(report: DrillReport): string {
  const { rpo_ms, rto_ms, sha256, failure } = report;
  const verdict =
    failure === null
      ? `PASSED: all ${report.checks} checks held`
      : `FAILED in step '${failure.step}' after ${report.checks} checks that held\n  expected  ${failure.expected}\n  seen      ${failure.seen}`;
  return [
    '',
    `Written by hosts   ${showSize(report.bytes_written)}`,
    `Shipped            ${showSize(report.bytes_shipped)}`,
    `RPO measured       planned ${seconds(rpo_ms.planned)}, unplanned ${seconds(rpo_ms.unplanned)}`,
    `RTO measured       planned ${seconds(rto_ms.planned)}, unplanned ${seconds(rto_ms.unplanned)}`,
    `SHA-256 source     ${sha256.source}`,
    `SHA-256 recovered  ${sha256.recovered}`,
    `Time               ${seconds(report.took_ms)}`,
    '',
    verdict,
    '',
  ].join('\n');
}
