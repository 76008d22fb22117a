import { join } from 'node:path';
import { type Export, fill, load, settleDisk, snapshotWhileWriting } from '../load/export-load.ts';
import type { Work } from '../load/fio.ts';
import { Antipode } from '../peers/antipode.ts';
import type { Bench } from '../runner/bench.ts';
import { pssOf_MiB } from '../runner/process-figures.ts';
import type { CellFacts, GroupResult, Sample } from '../runner/results.ts';
import type { Cell } from '../runner/rounds.ts';
import { alone } from '../runner/standstill.ts';
import { missing } from '../runner/tools.ts';
import { type Group, isWanted } from './group.ts';

/** The block group has ten snapshots in a quick run as well. */
const counts = { quick: [0, 256], full: [0, 10, 256] } as const;
const nameOf = (count: number): string => (count === 0 ? 'no snapshot' : `with ${count} snapshots`);

const read: Work = { pattern: 'randread', block_bytes: 4096, depth: 16 };
const write: Work = { pattern: 'randwrite', block_bytes: 4096, depth: 16 };

/** A cluster of its own for each number of snapshots, so that its memory is its own. */
interface Subject {
  readonly count: number;
  cluster: Antipode;
  volume: Export;
}

interface SubjectCell extends CellFacts {
  measure(bench: Bench, subject: Subject): Promise<Sample>;
}

const rate = { unit: 'ops/s', cpuUnit: 'µs/op', better: 'more' } as const;
const cells: readonly SubjectCell[] = [
  {
    ...{ id: 'layers-randread', title: '4 KiB random read, QD 16, after 1 MiB fill', ...rate },
    measure: (bench, { volume }) => load(bench, volume, read, { seconds: bench.settings.seconds }),
  },
  {
    ...{ id: 'layers-start', title: 'start after a stop, until hosts are served', unit: 's', better: 'less' },
    measure: restart,
  },
  {
    ...{ id: 'layers-cold', title: '4 KiB random read, QD 16, first reads after a start', ...rate },
    measure: (bench, { volume }) => load(bench, volume, read, { seconds: Math.min(0.5, bench.settings.seconds) }),
  },
  {
    ...{ id: 'layers-memory', title: 'memory (PSS) of the cluster after these reads', unit: 'MiB', better: 'less' },
    measure: async (_, { cluster }) => ({ value: pssOf_MiB(cluster.pids) }),
  },
  {
    ...{ id: 'layers-randwrite', title: '4 KiB random write, QD 16', ...rate },
    measure: (bench, { volume }) => load(bench, volume, write, { seconds: bench.settings.seconds }),
  },
];

export const snapshots: Group = {
  name: 'snapshots',
  about:
    'a volume with none, 10 and 256 snapshots with random writes between them: reads, writes, a cold start, memory',
  cells: cells.map(({ title }) => title),
  async run(bench): Promise<GroupResult> {
    const { size, quick } = bench.settings;
    const lacking = missing('snapshots', ['fio']);
    const wanted = cells.filter((cell) => isWanted(bench, cell));
    const nothing = { group: 'snapshots', notes: [], skipped: [], cells: [], figures: [] };
    if (lacking !== undefined) return { ...nothing, skipped: [lacking] };
    if (wanted.length === 0) return nothing;
    const subjects: Subject[] = [];
    for (const count of quick ? counts.quick : counts.full) subjects.push(await prepare(bench, count));
    const measured = wanted.map(
      ({ measure, ...facts }): Cell => ({
        ...facts,
        contenders: subjects.map((subject) => ({
          name: nameOf(subject.count),
          role: subject.count === 0 ? 'ours' : 'variant',
          async measure() {
            await settleDisk(bench);
            return await alone(
              subjects.map(({ cluster }) => cluster),
              subject.cluster,
              () => measure(bench, subject),
            );
          },
        })),
      }),
    );
    const results = await bench.measure(measured);
    await Promise.all(subjects.map(({ cluster }) => cluster.stop()));
    return {
      ...nothing,
      notes: [
        `${subjects.length} clusters, each with one volume of ${size / 2 ** 20} MiB written first; the snapshots were taken while a host wrote 4 KiB blocks at random`,
        'the page cache of the machine is warm; the index of a cluster that was started again is not',
      ],
      cells: results,
    };
  },
};

async function prepare(bench: Bench, count: number): Promise<Subject> {
  const { size } = bench.settings;
  const cluster = await Antipode.start(bench, join(bench.dir, `snapshots-${count}`));
  const id = await cluster.createVolume('layered', size);
  const volume = { server: cluster, uri: cluster.uriOf('layered'), size };
  bench.progress.say(`writing the volume ${nameOf(count)}`);
  await fill(bench, volume);
  if (count > 0) await snapshotWhileWriting(bench, volume, count, (name) => cluster.snapshot(id, name));
  return { count, cluster, volume };
}

/** Stops the cluster and starts it again; the subject goes on with the new one. */
async function restart(bench: Bench, subject: Subject): Promise<Sample> {
  const { dir } = subject.cluster;
  await subject.cluster.stop();
  const begin_ms = performance.now();
  subject.cluster = await Antipode.start(bench, dir);
  const value = (performance.now() - begin_ms) / 1000;
  subject.volume = { ...subject.volume, server: subject.cluster, uri: subject.cluster.uriOf('layered') };
  return { value };
}
