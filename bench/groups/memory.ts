import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Lab, startLab } from '../load/clusters.ts';
import { runFio, type Work } from '../load/fio.ts';
import { MemorySamples } from '../load/memory-samples.ts';
import { Antipode } from '../peers/antipode.ts';
import type { Bench } from '../runner/bench.ts';
import { pssOf_MiB } from '../runner/process-figures.ts';
import type { Figure, GroupResult, Series } from '../runner/results.ts';
import { missing } from '../runner/tools.ts';
import type { Group } from './group.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const TiB = 2 ** 40;
/** Below this the load is given up: other work on the machine needs the disk too. */
const diskLeast_bytes = 8 * GiB;
const snapshotsKept = 5;
const look_s = 1;

interface Measured {
  readonly figures: readonly Figure[];
  readonly series: readonly Series[];
}

interface Load {
  readonly id: string;
  readonly title: string;
  readonly minutes: number;
  readonly work: Work;
  /** Rate of the link between the clusters. */
  readonly rate: string;
  readonly snapshots: boolean;
}

const overload = (minutes: number): Load => ({
  ...{ id: 'overload', title: `fast writer, slow link, ${minutes} min`, minutes, rate: '50mbit', snapshots: false },
  work: { pattern: 'randwrite', block_bytes: 64 * 1024, depth: 32 },
});
const mixed: Load = {
  ...{ id: 'hour', title: 'mixed load for an hour', minutes: 60, rate: 'unlimited', snapshots: true },
  work: { pattern: 'randrw', reads_percent: 70, block_bytes: 4096, depth: 16 },
};

export const memory: Group = {
  name: 'memory',
  about:
    'memory over time of both clusters under overload (a writer without bounds, a slow link), and what an empty volume of 256 TiB costs',
  cells: ['an empty volume of 256 TiB', 'overload for --minutes', 'mixed load for an hour (--hour)'],
  async run(bench): Promise<GroupResult> {
    const nothing = { group: 'memory', notes: [], skipped: [], cells: [], figures: [] };
    const lacking = missing('memory', ['fio']);
    if (lacking !== undefined) return { ...nothing, skipped: [lacking] };
    const figures: Figure[] = [...(await emptyVolume(bench))];
    const { minutes, hour } = bench.settings;
    const loads = [overload(minutes), ...(hour ? [mixed] : [])];
    const series: Series[] = [];
    for (const load of loads) {
      const measured = await measureUnder(bench, load);
      figures.push(...measured.figures);
      series.push(...measured.series);
    }
    return {
      ...nothing,
      notes: [
        'proportional (PSS: a page that processes share counts once) and resident (RSS) memory, looked at every second',
        `overload: random writes of 64 KiB, QD 32, over a protected volume of ${volumeSize(bench) / MiB} MiB, cycles one after the other over a link of 50 Mbit/s`,
      ],
      skipped: hour ? [] : ['mixed load for an hour: ask for it with --hour'],
      figures,
      series,
    };
  },
};

const volumeSize = (bench: Bench): number => Math.min(bench.settings.size, GiB);

/** Memory and disk of a cluster before and after it has an empty volume of the largest size, which a host has opened. */
async function emptyVolume(bench: Bench): Promise<readonly Figure[]> {
  const cluster = await Antipode.start(bench, join(bench.dir, 'empty'));
  const disk = async (): Promise<number> =>
    Number((await bench.run('du', ['--summarize', '--block-size=1', cluster.dir])).split('\t')[0]) / MiB;
  const before = { memory: pssOf_MiB(cluster.pids), disk: await disk() };
  await cluster.createVolume('empty', 256 * TiB);
  const touch: Work = { pattern: 'randread', block_bytes: 4096, depth: 1 };
  await runFio(bench, cluster.uriOf('empty'), 256 * TiB, touch, { seconds: 0.2 });
  const after = { memory: pssOf_MiB(cluster.pids), disk: await disk() };
  await cluster.stop();
  return [
    { id: 'fresh-memory', title: 'fresh cluster: PSS', value: before.memory, unit: 'MiB' },
    {
      id: 'empty-memory',
      title: 'empty 256 TiB volume, read at random: PSS more',
      value: after.memory - before.memory,
      unit: 'MiB',
    },
    { id: 'empty-disk', title: 'empty 256 TiB volume: disk more', value: after.disk - before.disk, unit: 'MiB' },
  ];
}

/** Memory of both clusters while a host, cycles and perhaps snapshots keep them busy. */
async function measureUnder(bench: Bench, load: Load): Promise<Measured> {
  bench.progress.say(`starting a lab for: ${load.title}`);
  const lab = await startLab(bench);
  const { client } = lab.source;
  const size = volumeSize(bench);
  const remote = await client.first('remote_system', { select: 'id' });
  const rule = await client.create('replication_rule', {
    name: 'loaded',
    rpo: 'One_Day',
    remote_system_id: String(remote?.id),
  });
  const policy = await client.create('policy', { name: 'loaded', replication_rule_ids: [rule] });
  const volumeId = await client.create('volume', { name: 'loaded', size, protection_policy_id: policy });
  await lab.link('--rate', load.rate);
  const over = new AbortController();
  const both = [lab.source, lab.destination].map((site) => ({ site, samples: new MemorySamples(site) }));
  const host = runFio(bench, lab.source.uriOf('loaded'), size, load.work, { seconds: load.minutes * 60 }).finally(() =>
    over.abort(),
  );
  const background = [
    keepCycling(bench, lab, over.signal),
    ...(load.snapshots ? [keepSnapshots(lab, volumeId, over.signal)] : []),
    watchDisk(bench, load, over),
  ];
  const [result] = await Promise.all([
    ...both.map(({ samples }) => samples.during(host, look_s * 1000)),
    ...background,
  ]);
  await lab.stop();
  const series = both.map(
    ({ site, samples }): Series => ({
      ...{ id: `${load.id}-${site.name}-all-pss`, unit: 'MiB', every_s: look_s, values: samples.series_MiB },
    }),
  );
  const figures = both.flatMap(({ site, samples }) =>
    samples.figures(`${load.id}-${site.name}`, `${load.title}: ${site.name}`),
  );
  const host_MiB_s = result === undefined ? Number.NaN : result.bytes / MiB / result.seconds;
  const acknowledged: Figure[] = [
    { id: `${load.id}-rate`, title: `${load.title}: served to the host`, value: host_MiB_s, unit: 'MiB/s' },
    {
      id: `${load.id}-p99`,
      title: `${load.title}: p99 of the host's requests`,
      value: result?.p99_ms ?? Number.NaN,
      unit: 'ms',
    },
  ];
  return { figures: [...figures, ...acknowledged], series };
}

/** One cycle after the other. */
async function keepCycling(bench: Bench, { source: { client } }: Lab, over: AbortSignal): Promise<undefined> {
  while (!over.aborted) {
    const session = await client.first('replication_session', { select: ['id', 'state'] });
    // A cycle that began meanwhile is as good.
    if (session?.id !== undefined && session.state === 'OK')
      await client.action('replication_session', session.id, 'sync').catch(() => undefined);
    bench.signal.throwIfAborted();
    await pause(500, undefined, { signal: over }).catch(() => undefined);
  }
  return undefined;
}

/** A snapshot a minute; the oldest goes. */
async function keepSnapshots({ source: { client } }: Lab, volumeId: string, over: AbortSignal): Promise<undefined> {
  const kept: string[] = [];
  for (let number = 1; !over.aborted; number += 1) {
    const answer = await client.action('volume', volumeId, 'snapshot', { name: `kept-${number}` });
    if (typeof answer === 'object' && answer !== null && 'id' in answer) kept.push(String(answer.id));
    const oldest = kept.length > snapshotsKept ? kept.shift() : undefined;
    if (oldest !== undefined) await client.remove('volume', oldest);
    await pause(60_000, undefined, { signal: over }).catch(() => undefined);
  }
  return undefined;
}

/** Shows how far the load is, and gives up before the disk is full. */
async function watchDisk(bench: Bench, load: Load, over: AbortController): Promise<undefined> {
  const begin_ms = performance.now();
  while (!over.signal.aborted) {
    const { bavail, bsize } = statfsSync(bench.dir);
    if (bavail * bsize < diskLeast_bytes) throw new Error(`${load.title}: the disk has less than 8 GiB left`);
    bench.progress.say(`${load.title}: ${Math.round((performance.now() - begin_ms) / 1000)} s`);
    await pause(1000, undefined, { signal: over.signal }).catch(() => undefined);
  }
  return undefined;
}
