import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from '../runner/bench.ts';
import type { Sample } from '../runner/results.ts';
import type { Party } from '../runner/standstill.ts';
import { type Extent, type FioResult, runFio, type Work } from './fio.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** A volume as a host sees it: the server it is on, and where. */
export interface Export {
  readonly server: Party;
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
export async function fill(
  bench: Bench,
  { uri, size }: Omit<Export, 'server'>,
  how: Pick<Work, 'compressible_percent'> = {},
): Promise<void> {
  await runFio(bench, uri, size, { pattern: 'write', block_bytes: MiB, depth: 4, ...how }, { bytes: size });
}

/** Rewrites a share (0 to 1) of an export in 4 KiB blocks at random, so that its layout is that of a volume in use. */
export async function scatter(bench: Bench, { uri, size }: Omit<Export, 'server'>, share: number): Promise<void> {
  const bytes = Math.max(4096, Math.floor((size * share) / 4096) * 4096);
  await runFio(bench, uri, size, { pattern: 'randwrite', block_bytes: 4096, depth: 32 }, { bytes });
}

/** Has the kernel write to the disk what it holds of the measured directory, so that no contender pays for another's writes. */
export async function settleDisk(bench: Bench): Promise<void> {
  await bench.run('sync', ['-f', bench.dir]);
}

/** Writes between one snapshot and the next go on for this long. */
const between_ms = { few: 200, many: 20 } as const;

/** Takes snapshots one after the other while a host rewrites the volume at random in 4 KiB blocks. */
export async function snapshotWhileWriting(
  bench: Bench,
  volume: Export,
  count: number,
  take: (name: string) => Promise<void>,
): Promise<void> {
  const enough = new AbortController();
  const writer = runFio(
    bench,
    volume.uri,
    volume.size,
    { pattern: 'randwrite', block_bytes: 4096, depth: 4 },
    { seconds: 3600 },
    enough.signal,
  ).catch((error: unknown) => {
    if (!enough.signal.aborted) throw error;
  });
  const snapshots = (async () => {
    for (let number = 1; number <= count; number += 1) {
      bench.progress.say(`snapshot ${number} of ${count} while writing`);
      await pause(count > 32 ? between_ms.many : between_ms.few, undefined, { signal: bench.signal });
      await take(`snapshot-${number}`);
    }
  })().finally(() => enough.abort());
  await Promise.all([snapshots, writer]);
}
