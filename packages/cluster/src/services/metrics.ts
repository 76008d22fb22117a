import type { Clock } from '@antipode/base';
import { display, MetricsGenerate, RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import { timestamp } from '../catalog/documents.ts';
import { type Family, rolledUpFields, shownOf } from '../metrics/figures.ts';
import { endOf, type Interval, intervals, shortestOf } from '../metrics/periods.ts';
import { type MetricsSources, underWay } from '../metrics/recorder.ts';
import type { KeptSample, MetricsStore, SeriesKey } from '../metrics/store.ts';
import { type Handlers, handler } from '../rest/handlers.ts';
import { notFound } from '../rest/references.ts';

/** Kinds of things that have metrics: which table they are in, and the attribute that names them in a row. */
const kinds: Readonly<
  Record<string, { readonly table: string; readonly attribute: string; readonly families: readonly Family[] }>
> = {
  volume: { table: 'volume', attribute: 'volume_id', families: ['performance', 'space', 'copy'] },
  volume_family: { table: 'volume', attribute: 'family_id', families: ['space'] },
  vg: { table: 'volume_group', attribute: 'vg_id', families: ['performance', 'space', 'copy'] },
  appliance: { table: 'appliance', attribute: 'appliance_id', families: ['performance', 'space', 'copy'] },
  node: { table: 'node', attribute: 'node_id', families: ['performance'] },
  cluster: { table: 'cluster', attribute: 'cluster_id', families: ['performance', 'space', 'copy'] },
  initiator: { table: 'initiator', attribute: 'initiator_id', families: ['performance'] },
  host: { table: 'host', attribute: 'host_id', families: ['performance'] },
  hg: { table: 'host_group', attribute: 'hg_id', families: ['performance'] },
  remote_system: { table: 'remote_system', attribute: 'remote_system_id', families: ['copy'] },
  // The published shape of a session's metrics names the remote system.
  replication_session: { table: 'replication_session', attribute: 'remote_system_id', families: ['copy'] },
};

/** Whether there are figures of what an entity names. */
export function measured(entity: string): { readonly family: Family; readonly kind: string } | undefined {
  const match = /^(performance|space|copy)_metrics_by_([a-z_]+)$/.exec(entity);
  const family = match?.[1] as Family | undefined;
  const kind = match?.[2] ?? '';
  return family !== undefined && kinds[kind]?.families.includes(family) ? { family, kind } : undefined;
}

/** `metrics/generate`: the history of figures of one thing, oldest first. */
export const metricsHandlers = (
  catalog: Catalog,
  { store, spaceNow }: { readonly store: MetricsStore; readonly spaceNow: MetricsSources['spaceNow'] },
  clock: Clock,
): Handlers => ({
  'metrics.generate': handler(MetricsGenerate, async (_, __, { entity, entity_id, interval: wanted }) => {
    const what = measured(entity);
    if (what === undefined) throw new RestError('metrics_absent', entity);
    const { family, kind } = what;
    const { table, attribute } = kinds[kind]!;
    const isThere =
      kind === 'volume_family'
        ? catalog.listFamily(entity_id).length > 0
        : catalog.get(table as 'volume', entity_id) !== undefined;
    if (!isThere) throw notFound(table, entity_id);
    const interval = intervalOf(wanted ?? 'Best_Available', family);
    const key = { family, kind, id: entity_id };
    const history = store.history(key, interval);
    const begun =
      history.length > 0
        ? undefined
        : (underWay(store, key, interval, clock.now()) ?? (await presentSpace(spaceNow, key, interval, clock.now())));
    const owner = owners(catalog, kind, entity_id, attribute);
    const rolled = interval !== shortestOf(family);
    return (begun === undefined ? history : [begun]).map((sample: KeptSample) => ({
      entity,
      entity_l10n: display(entity),
      timestamp: timestamp(sample.at_ms),
      ...(sample.repeat > 1 && { repeat_count: sample.repeat }),
      ...owner,
      ...(family === 'copy' && { session_type: 'replication_session' }),
      ...published(kind, whole(rolled ? rolledUpFields(family, sample) : shownOf(family, sample))),
    }));
  }),
});

/** What is newer than the last mark of five minutes has no history yet: what it takes now stands for the period under way. */
async function presentSpace(
  spaceNow: MetricsSources['spaceNow'],
  { family, kind, id }: SeriesKey,
  interval: Interval,
  now_ms: number,
): Promise<KeptSample | undefined> {
  const last = family === 'space' ? await spaceNow(kind, id) : undefined;
  return last && { seconds: 0, sums: {}, last, at_ms: endOf(interval, now_ms), repeat: 1 };
}

/** The interval that is kept for what was asked. */
function intervalOf(wanted: string, family: Family): Interval {
  const shortest = shortestOf(family);
  const asked = intervals.find((interval) => interval === wanted) ?? shortest;
  return intervals.indexOf(asked) < intervals.indexOf(shortest) ? shortest : asked;
}

function owners(
  catalog: Catalog,
  kind: string,
  id: string,
  attribute: string,
): Readonly<Record<string, string | null>> {
  if (kind === 'replication_session')
    return { [attribute]: catalog.get('replication_session', id)?.remote_system_id ?? null };
  if (kind === 'volume') return { volume_id: id, appliance_id: catalog.get('volume', id)?.appliance_id ?? null };
  return kind === 'node' ? { node_id: id, appliance_id: `A${id.slice(1)}` } : { [attribute]: id };
}

/** Trims and zeroes are told of hosts and of wholes, not of volumes and groups; a family is not said to be thin. */
const unpublished: Readonly<Record<string, RegExp>> = {
  volume: /(unmap|zero)_/,
  vg: /(unmap|zero)_/,
  volume_family: /thin_savings$/,
};
const published = (kind: string, fields: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !unpublished[kind]?.test(name)));

const integers = /_(bytes|used|provisioned|total|space|remaining|transferred|time)$|_physical_/;
/** Bytes and counts are whole numbers; rates are not. */
const whole = (fields: Readonly<Record<string, number>>) =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, integers.test(name) ? Math.round(value) : value]),
  );
