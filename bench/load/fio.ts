import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../runner/bench.ts';
import { findTool } from '../runner/tools.ts';

/** What fio is to do. */
export interface Work {
  readonly pattern: 'read' | 'write' | 'randread' | 'randwrite' | 'randrw';
  /** Share of reads of `randrw`, percent. */
  readonly reads_percent?: number;
  readonly block_bytes: number;
  /** Requests in flight. */
  readonly depth: number;
  /** A flush after each write, as a database commits. */
  readonly flushEach?: boolean;
  /** Share of each 4 KiB written that compresses to nothing, percent; absent: bytes that do not compress. */
  readonly compressible_percent?: number;
}

/** How long the slowest requests of one kind took. */
export interface Tail {
  readonly p999_ms: number;
  readonly most_ms: number;
}

/** How long fio works: for a time, or until so many bytes are moved. */
export type Extent = { readonly seconds: number } | { readonly bytes: number };

export interface FioResult {
  readonly ops: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** Absent where there were none. */
  readonly reads?: Tail;
  readonly writes?: Tail;
}

let runs = 0;

/** The arguments of fio for a work on an export: one process, one connection. */
export function fioArguments(uri: string, volume_bytes: number, work: Work, extent: Extent): readonly string[] {
  return [
    ...['--name=bench', '--ioengine=nbd', `--uri=${uri}`, `--size=${volume_bytes}`],
    ...[`--rw=${work.pattern}`, `--bs=${work.block_bytes}`, `--iodepth=${work.depth}`],
    ...(work.reads_percent === undefined ? [] : [`--rwmixread=${work.reads_percent}`]),
    ...(work.flushEach === true ? ['--fsync=1'] : []),
    ...(work.compressible_percent === undefined
      ? []
      : [
          '--refill_buffers',
          '--buffer_compress_chunk=4k',
          `--buffer_compress_percentage=${work.compressible_percent}`,
        ]),
    ...('seconds' in extent
      ? ['--time_based', `--runtime=${Math.round(extent.seconds * 1000)}ms`]
      : [`--io_size=${extent.bytes}`]),
    ...['--randrepeat=0', '--norandommap', '--random_generator=tausworthe64'],
    ...['--thread', '--disk_util=0', '--eta=never', '--clocksource=clock_gettime'],
  ];
}

/** Runs fio against an NBD export, to its end or until there is `enough` of it. */
export async function runFio(
  bench: Bench,
  uri: string,
  volume_bytes: number,
  work: Work,
  extent: Extent,
  enough?: AbortSignal,
): Promise<FioResult> {
  runs += 1;
  const output = join(bench.dir, `fio-${runs}.json`);
  try {
    await bench.run(
      findTool('fio') ?? 'fio',
      [...fioArguments(uri, volume_bytes, work, extent), '--output-format=json', `--output=${output}`],
      enough,
    );
    return parseFio(readFileSync(output, 'utf8'));
  } finally {
    rmSync(output, { force: true });
  }
}

/** Reads fio's JSON. @throws for anything else. */
export function parseFio(text: string): FioResult {
  const job = at(at(parsed(text), 'jobs'), 0);
  const [reads, writes] = [at(job, 'read'), at(job, 'write')].map((side) =>
    numberAt(side, 'total_ios') > 0 ? side : undefined,
  );
  const sides = [reads, writes].filter((side) => side !== undefined);
  if (sides.length === 0) throw new Error('fio did nothing');
  const sum = (name: string): number => sides.reduce<number>((total, side) => total + numberAt(side, name), 0);
  // Where there are both reads and writes, the latency is that of the slower kind.
  const slowest = (percent: string): number =>
    Math.max(...sides.map((side) => numberAt(at(at(side, 'clat_ns'), 'percentile'), percent))) / 1e6;
  return {
    ops: sum('total_ios'),
    bytes: sum('io_bytes'),
    seconds: Math.max(...sides.map((side) => numberAt(side, 'runtime'))) / 1000,
    p50_ms: slowest('50.000000'),
    p99_ms: slowest('99.000000'),
    ...(reads === undefined ? {} : { reads: tailOf(reads) }),
    ...(writes === undefined ? {} : { writes: tailOf(writes) }),
  };
}

function tailOf(side: unknown): Tail {
  const latency = at(side, 'clat_ns');
  return { p999_ms: numberAt(at(latency, 'percentile'), '99.900000') / 1e6, most_ms: numberAt(latency, 'max') / 1e6 };
}

/** Lines such as those of its engine may come before the JSON. */
function parsed(text: string): unknown {
  const begin = text.indexOf('{');
  if (begin < 0) throw new Error('fio printed no JSON');
  return JSON.parse(text.slice(begin));
}

function at(value: unknown, key: string | number): unknown {
  if (typeof value !== 'object' || value === null || !(key in value)) throw new Error(`fio's JSON lacks '${key}'`);
  return (value as Record<string | number, unknown>)[key];
}

function numberAt(value: unknown, key: string): number {
  const found = at(value, key);
  if (typeof found !== 'number') throw new Error(`fio's '${key}' is not a number`);
  return found;
}
