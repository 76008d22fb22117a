import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '@antipode/client';
import { type PairedClusters, startDirectPair } from '../load/clusters.ts';
import { fill } from '../load/export-load.ts';
import { runFio } from '../load/fio.ts';
import { loadRequests } from '../load/requests.ts';
import type { Bench } from '../runner/bench.ts';
import type { CellFacts, Figure, GroupResult, Sample } from '../runner/results.ts';
import type { Cell } from '../runner/rounds.ts';
import { median } from '../runner/statistics.ts';
import { missing } from '../runner/tools.ts';
import { type Group, isWanted } from './group.ts';

const MiB = 2 ** 20;
const volumes = 1000;
/** A percentile needs some requests. */
const secondsLeast = 1;
/** fio has started and worked for a while when requests begin. */
const lead_ms = 800;

interface Subject {
  readonly client: Client;
  readonly sessionId: string;
}

interface RequestCell extends CellFacts {
  readonly inFlight: number;
  request(subject: Subject): Promise<unknown>;
}

const rate = { unit: 'requests/s', better: 'more' } as const;
const cells: readonly RequestCell[] = [
  {
    ...{ id: 'session-get', title: 'GET of a replication session, 1 in flight', ...rate, inFlight: 1 },
    request: ({ client, sessionId }) => client.get('replication_session', sessionId),
  },
  {
    ...{ id: 'session-get-8', title: 'GET of a replication session, 8 in flight', ...rate, inFlight: 8 },
    request: ({ client, sessionId }) => client.get('replication_session', sessionId),
  },
  {
    ...{ id: 'collection', title: `GET of 20 of ${volumes} volumes by a filter`, ...rate, inFlight: 1 },
    request: ({ client }) =>
      client.all('volume', {
        select: ['id', 'name', 'size', 'state'],
        filter: { name: 'like.listed-77*' },
        order: 'name',
      }),
  },
  {
    ...{ id: 'pause-resume', title: 'pause and resume of a session', unit: 'pairs/s', better: 'more', inFlight: 1 },
    async request({ client, sessionId }) {
      await client.action('replication_session', sessionId, 'pause');
      await client.action('replication_session', sessionId, 'resume');
      while ((await client.get('replication_session', sessionId)).state !== 'OK') await pause(5);
    },
  },
];

export const rest: Group = {
  name: 'rest',
  about: `requests a second and their latencies, alone and while a host works at the same cluster, which has ${volumes} volumes`,
  cells: cells.map(({ title }) => title),
  async run(bench): Promise<GroupResult> {
    const nothing = { group: 'rest', notes: [], skipped: [], cells: [], figures: [] };
    const lacking = missing('rest', ['fio']);
    if (lacking !== undefined) return { ...nothing, skipped: [lacking] };
    const wanted = cells.filter((cell) => isWanted(bench, cell));
    if (wanted.length === 0) return nothing;
    const clusters = await startDirectPair(bench);
    const subject = await prepare(bench, clusters);
    const busy = { uri: clusters.source.uriOf('busy'), size: busySize(bench) };
    const measured = wanted.map(({ inFlight, request, ...facts }): Cell => {
      const measure = (): Promise<Sample> =>
        loadRequests(Math.max(secondsLeast, bench.settings.seconds), inFlight, bench.signal, () => request(subject));
      return {
        ...facts,
        contenders: [
          { name: 'antipode', role: 'ours', measure },
          { name: 'the same under host load', role: 'variant', measure: () => underLoad(bench, busy, measure) },
        ],
      };
    });
    const results = await bench.measure(measured);
    await clusters.stop();
    const figures = results.flatMap(({ id, title, contenders }): readonly Figure[] => {
      const p99s = contenders.find(({ role }) => role === 'variant')?.samples.map(({ p99_ms }) => p99_ms ?? Number.NaN);
      if (p99s === undefined || p99s.length === 0) return [];
      return [{ id: `${id}-loaded-p99`, title: `${title}: p99 under host load`, value: median(p99s), unit: 'ms' }];
    });
    return {
      ...nothing,
      notes: [
        'one client over HTTPS with its connections kept; host load: 4 KiB 70/30 random mix, QD 16, on another volume of the cluster',
      ],
      cells: results,
      figures,
    };
  },
};

const busySize = (bench: Bench): number => Math.min(bench.settings.size, 1024 * MiB);

/** A thousand volumes, one to be worked on, and one that is protected. */
async function prepare(bench: Bench, { source }: PairedClusters): Promise<Subject> {
  const { client } = source;
  const numbers = Array.from({ length: volumes }, (_, index) => index);
  bench.progress.say(`creating ${volumes} volumes`);
  for (let first = 0; first < numbers.length; first += 16) {
    bench.signal.throwIfAborted();
    await Promise.all(
      numbers
        .slice(first, first + 16)
        .map((number) => client.create('volume', { name: `listed-${String(number).padStart(3, '0')}`, size: 8 * MiB })),
    );
  }
  const size = busySize(bench);
  await client.create('volume', { name: 'busy', size });
  await fill(bench, { uri: source.uriOf('busy'), size });
  const remote = await client.first('remote_system', { select: 'id' });
  const rule = await client.create('replication_rule', {
    name: 'kept',
    rpo: 'One_Day',
    remote_system_id: String(remote?.id),
  });
  const policy = await client.create('policy', { name: 'kept', replication_rule_ids: [rule] });
  await client.create('volume', { name: 'kept', size: 64 * MiB, protection_policy_id: policy });
  for (;;) {
    bench.signal.throwIfAborted();
    const session = await client.first('replication_session', { select: ['id', 'state'] });
    if (session?.id !== undefined && session.state === 'OK') return { client, sessionId: session.id };
    await pause(50);
  }
}

/** Measures while a host works as fast as it can. */
async function underLoad(
  bench: Bench,
  { uri, size }: { readonly uri: string; readonly size: number },
  measure: () => Promise<Sample>,
): Promise<Sample> {
  const enough = new AbortController();
  const host = runFio(
    bench,
    uri,
    size,
    { pattern: 'randrw', reads_percent: 70, block_bytes: 4096, depth: 16 },
    { seconds: 3600 },
    enough.signal,
  ).catch((error: unknown) => {
    if (!enough.signal.aborted) throw error;
  });
  const requests = (async () => {
    await pause(lead_ms, undefined, { signal: bench.signal });
    return await measure();
  })().finally(() => enough.abort());
  const [sample] = await Promise.all([requests, host]);
  return sample;
}
