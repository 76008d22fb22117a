import { setTimeout as pause } from 'node:timers/promises';
import type { Server } from '../peers/server.ts';
import type { Bench } from '../runner/bench.ts';
import type { Sample } from '../runner/results.ts';
import { type Extent, type FioResult, runFio, type Work } from './fio.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** A volume as a host sees it: the server it is on, and where. */
export interface Export {
  readonly server: Server;
  readonly uri: string;
  readonly size: number;
}

/** Loads an export for a time. Value and processor time: operations a second and µs each, or for large blocks MiB/s and s/GiB. */
export async function load(bench: Bench, { server, uri, size }: Export, work: Work, extent: Extent): Promise<Sample> {
  const before_ms = server.cpu_ms;
  const result = await runFio(bench, uri, size, work, extent);
  const used_ms = server.cpu_ms - before_ms;
  return { ...rateOf(result, work, used_ms), p50_ms: result.p50_ms, p99_ms: result.p99_ms };
}

const rateOf = ({ ops, bytes, seconds }: FioResult, work: Work, cpu_ms: number): Sample =>
  work.block_bytes >= MiB
    ? { value: bytes / MiB / seconds, cpu: cpu_ms / 1000 / (bytes / GiB) }
    : { value: ops / seconds, cpu: (cpu_ms * 1000) / ops };

/** Writes an export whole, 1 MiB at a time. */
export async function fill(bench: Bench, { uri, size }: Export): Promise<void> {
  await runFio(bench, uri, size, { pattern: 'write', block_bytes: MiB, depth: 4 }, { bytes: size });
}

/** Rewrites a share (0 to 1) of an export in 4 KiB blocks at random, so that its layout is that of a volume in use. */
export async function scatter(bench: Bench, { uri, size }: Export, share: number): Promise<void> {
  const bytes = Math.max(4096, Math.floor((size * share) / 4096) * 4096);
  await runFio(bench, uri, size, { pattern: 'randwrite', block_bytes: 4096, depth: 32 }, { bytes });
}

/** Has the kernel write to the disk what it holds of the measured directory, so that no contender pays for another's writes. */
export async function settleDisk(bench: Bench): Promise<void> {
  await bench.run('sync', ['-f', bench.dir]);
}

/** A server that woke up is given this long to do what it would have done while it was idle. */
const awaken = { most_ms: 1_000, look_ms: 50, idle_ms: 10 } as const;

/**
 * Runs one measurement while every other server stands still. The chosen one is first left alone until it is idle, or for a second:
 * timers that came due while it stood still are not the load's cost; background work that goes on longer is.
 */
export async function alone<T>(servers: readonly Server[], chosen: Server, measure: () => Promise<T>): Promise<T> {
  for (const server of servers) if (server !== chosen) server.freeze();
  chosen.thaw();
  try {
    const until_ms = performance.now() + awaken.most_ms;
    for (let before_ms = chosen.cpu_ms; performance.now() < until_ms; ) {
      await pause(awaken.look_ms);
      const now_ms = chosen.cpu_ms;
      if (now_ms - before_ms <= awaken.idle_ms) break;
      before_ms = now_ms;
    }
    return await measure();
  } finally {
    for (const server of servers) server.thaw();
  }
}
