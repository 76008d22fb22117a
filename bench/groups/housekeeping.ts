import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Export, fill, load, settleDisk, snapshotWhileWriting } from '../load/export-load.ts';
import { type FioResult, runFio, type Work } from '../load/fio.ts';
import { Antipode } from '../peers/antipode.ts';
import type { Bench } from '../runner/bench.ts';
import type { Figure, GroupResult } from '../runner/results.ts';
import { missing } from '../runner/tools.ts';
import type { Group } from './group.ts';

const MiB = 2 ** 20;
const mix: Work = { pattern: 'randrw', reads_percent: 70, block_bytes: 4096, depth: 16 };
const smallReads: Work = { pattern: 'randread', block_bytes: 4096, depth: 16 };
const largeReads: Work = { pattern: 'read', block_bytes: MiB, depth: 4 };
/** Half of each 4 KiB written to the volume that is packed. */
const compressible_percent = 50;
/** Data left alone counts as cold after this, so that packing begins while it is measured. */
const packAfter = ['--pack-after', '1s'];
const snapshotsTaken = { quick: 64, full: 256 } as const;
const sizeMost = { quick: 128 * MiB, full: 1024 * MiB } as const;
/** A percentile of one in a thousand needs thousands of requests. */
const secondsLeast = 1;
/** It is seen at one look that nobody touches a segment, and packed at the next. */
const packingBegins_ms = 2_500;
const scrubPath = '/api/antipode/v1/scrub';
const scrubRate_bytes_per_s = 1024 * MiB;
/** What is kept does not get smaller for so long: packing has ended. */
const packingEnds_ms = 2_000;
const packingMost_ms = { quick: 6_000, full: 300_000 } as const;

/** A volume that a host works at, beside one that is left alone. */
interface Subject {
  cluster: Antipode;
  readonly hotId: string;
  hot: Export;
  cold: Export;
}

/** What is kept, and what of the log it takes. */
interface Space {
  readonly data_bytes: number;
  readonly live_bytes: number;
}

/** One part of the group: what it found. */
interface Part {
  readonly title: string;
  run(bench: Bench, subject: Subject): Promise<readonly Figure[]>;
}

const parts: readonly Part[] = [
  { title: 'with nothing else', run: (bench, subject) => measured(bench, subject, 'alone', 'with nothing else') },
  { title: 'while snapshots are deleted', run: deleting },
  { title: 'while a scrub runs', run: scrubbing },
  { title: 'while cold data is packed, and what is packed', run: packing },
];

export const housekeeping: Group = {
  name: 'housekeeping',
  about:
    "the slowest of a host's requests while cold data is packed, 256 snapshots are deleted, a scrub runs; what packing gains, and reads of what is packed",
  cells: parts.map(({ title }) => title),
  async run(bench): Promise<GroupResult> {
    const nothing = { group: 'housekeeping', notes: [], skipped: [], cells: [], figures: [] };
    const lacking = missing('housekeeping', ['fio']);
    if (lacking !== undefined) return { ...nothing, skipped: [lacking] };
    const subject = await prepare(bench);
    const figures: Figure[] = [];
    const skipped: string[] = [];
    for (const { title, run } of parts)
      if (performance.now() > bench.deadline_ms) skipped.push(`${title}: a quick run has no time left`);
      else figures.push(...(await run(bench, subject)));
    await subject.cluster.stop();
    return {
      ...nothing,
      notes: [
        `one host, 4 KiB 70/30 random mix, QD 16, over ${subject.hot.size / MiB} MiB; beside it a volume of ${subject.cold.size / MiB} MiB that is left alone, half of each of its blocks compressible`,
        'the deletion of a snapshot folds its blocks into what is above, in the background; the scrub reads at up to 1 GiB/s',
      ],
      skipped,
      figures,
    };
  },
};

async function prepare(bench: Bench): Promise<Subject> {
  const { quick, size: asked } = bench.settings;
  const size = Math.min(asked, quick ? sizeMost.quick : sizeMost.full);
  const cluster = await Antipode.start(bench, join(bench.dir, 'housekeeping'));
  const hotId = await cluster.createVolume('hot', size);
  await cluster.createVolume('cold', size);
  const exportOf = (name: string): Export => ({ server: cluster, uri: cluster.uriOf(name), size });
  const subject = { cluster, hotId, hot: exportOf('hot'), cold: exportOf('cold') };
  bench.progress.say('writing two volumes');
  await fill(bench, subject.cold, { compressible_percent });
  await fill(bench, subject.hot);
  await settleDisk(bench);
  return subject;
}

/** A host at work: a row of the table. */
async function measured(bench: Bench, subject: Subject, id: string, title: string): Promise<readonly Figure[]> {
  bench.progress.say(`a host's requests ${title}`);
  return slowest(id, title, await host(bench, subject));
}

async function deleting(bench: Bench, subject: Subject): Promise<readonly Figure[]> {
  const { cluster, hot, hotId } = subject;
  const count = bench.settings.quick ? snapshotsTaken.quick : snapshotsTaken.full;
  await snapshotWhileWriting(bench, hot, count, (name) => cluster.snapshot(hotId, name));
  const [rows, seconds] = await Promise.all([
    measured(bench, subject, 'while-deleting', `while ${count} snapshots are deleted`),
    deleteSnapshots(subject),
  ]);
  return [...rows, { id: 'deleting', title: `${count} snapshots deleted through REST in`, value: seconds, unit: 's' }];
}

async function scrubbing(bench: Bench, subject: Subject): Promise<readonly Figure[]> {
  const { client } = subject.cluster;
  await client.request('POST', scrubPath, { rate_bytes_per_s: scrubRate_bytes_per_s });
  const rows = await measured(bench, subject, 'while-scrub', 'while a scrub runs');
  await client.request('POST', `${scrubPath}/stop`, {});
  return rows;
}

async function packing(bench: Bench, subject: Subject): Promise<readonly Figure[]> {
  const plain = await readsOfCold(bench, subject);
  await startAgain(bench, subject, packAfter);
  await pause(packingBegins_ms, undefined, { signal: bench.signal });
  const rows = await measured(bench, subject, 'while-packing', 'while cold data is packed');
  const space = await restWhilePacking(bench, subject);
  // With the default settings: what is packed is not unpacked again because it is read a few seconds later.
  await startAgain(bench, subject);
  return [...rows, ...gain(subject, space, plain, await readsOfCold(bench, subject))];
}

const host = (bench: Bench, { hot }: Subject): Promise<FioResult> =>
  runFio(bench, hot.uri, hot.size, mix, { seconds: Math.max(secondsLeast, 3 * bench.settings.seconds) });

/** A row of the table: rate and slowest requests. */
function slowest(id: string, title: string, { ops, seconds, reads, writes }: FioResult): readonly Figure[] {
  const figure = (part: string, column: string, value: number | undefined, unit: string): readonly Figure[] =>
    value === undefined
      ? []
      : [{ id: `${id}-${part}`, title: `${title}: ${column}`, value, unit, place: { row: title, column } }];
  return [
    ...figure('rate', 'rate', ops / seconds, 'ops/s'),
    ...figure('reads-p999', 'reads p99.9', reads?.p999_ms, 'ms'),
    ...figure('reads-most', 'reads most', reads?.most_ms, 'ms'),
    ...figure('writes-p999', 'writes p99.9', writes?.p999_ms, 'ms'),
    ...figure('writes-most', 'writes most', writes?.most_ms, 'ms'),
  ];
}

/** Rates of small reads at random and of large ones in sequence, of the volume that is left alone. */
async function readsOfCold(
  bench: Bench,
  { cold }: Subject,
): Promise<{ readonly small: number; readonly large: number }> {
  const extent = { seconds: bench.settings.seconds };
  const small = await load(bench, cold, smallReads, extent);
  const large = await load(bench, cold, largeReads, extent);
  return { small: small.value, large: large.value };
}

/** Leaves the cluster alone until it has packed what it will; answers what is kept then. */
async function restWhilePacking(bench: Bench, { cluster }: Subject): Promise<Space> {
  const end_ms = performance.now() + (bench.settings.quick ? packingMost_ms.quick : packingMost_ms.full);
  let space = await spaceOf(cluster);
  let changed_ms = performance.now();
  while (performance.now() < end_ms && performance.now() - changed_ms < packingEnds_ms) {
    bench.progress.say('cold data is packed');
    await pause(250, undefined, { signal: bench.signal });
    const now = await spaceOf(cluster);
    if (now.live_bytes !== space.live_bytes) changed_ms = performance.now();
    space = now;
  }
  return space;
}

/** Stops the cluster and starts it again with other settings. */
async function startAgain(bench: Bench, subject: Subject, settings: readonly string[] = []): Promise<void> {
  const { dir } = subject.cluster;
  await subject.cluster.stop();
  subject.cluster = await Antipode.start(bench, dir, 'Bench', settings);
  const server = subject.cluster;
  subject.hot = { ...subject.hot, server, uri: server.uriOf('hot') };
  subject.cold = { ...subject.cold, server, uri: server.uriOf('cold') };
}

type Reads = Awaited<ReturnType<typeof readsOfCold>>;

function gain({ cold }: Subject, { data_bytes, live_bytes }: Space, plain: Reads, packed: Reads): readonly Figure[] {
  const figure = (id: string, title: string, value: number, unit: string): Figure => ({ id, title, value, unit });
  const gained_bytes = data_bytes - live_bytes;
  return [
    figure('reduction', 'data reduction of the volume left alone', cold.size / (cold.size - gained_bytes), 'x'),
    figure('plain-small', 'its 4 KiB random reads, QD 16, before', plain.small, 'ops/s'),
    figure('packed-small', 'its 4 KiB random reads, QD 16, packed', packed.small, 'ops/s'),
    figure('plain-large', 'its 1 MiB sequential reads, QD 4, before', plain.large, 'MiB/s'),
    figure('packed-large', 'its 1 MiB sequential reads, QD 4, packed', packed.large, 'MiB/s'),
  ];
}

/** Deletes all snapshots of the volume, one after the other, as a script does; answers the seconds that took. */
async function deleteSnapshots({ cluster: { client } }: Subject): Promise<number> {
  const begin_ms = performance.now();
  for (const { id } of await client.all('volume', { select: ['id'], filter: { type: 'eq.Snapshot' } }))
    await client.remove('volume', String(id));
  return (performance.now() - begin_ms) / 1000;
}

async function spaceOf({ client }: Antipode): Promise<Space> {
  const { body } = await client.request('GET', '/api/antipode/v1/appliances');
  const space = Array.isArray(body) ? body.map(usageOf).find((usage) => usage !== undefined) : undefined;
  if (space === undefined) throw new Error('the appliance does not tell its usage');
  return space;
}

function usageOf(appliance: unknown): Space | undefined {
  if (typeof appliance !== 'object' || appliance === null || !('usage' in appliance)) return undefined;
  const { usage } = appliance;
  if (typeof usage !== 'object' || usage === null || !('data_bytes' in usage) || !('live_bytes' in usage))
    return undefined;
  return { data_bytes: Number(usage.data_bytes), live_bytes: Number(usage.live_bytes) };
}
