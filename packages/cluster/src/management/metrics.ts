import type { Clock } from '@antipode/base';
import type { EngineUsage } from '@antipode/blocks';
import { nextStart_ms } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import { objectiveFigures, type SessionFigures } from '../replication/session-monitor.ts';
import { resourceOf, type SessionRecord } from '../replication/session-store.ts';
import type { Sessions } from '../replication/sessions.ts';
import type { Metric, Sample } from './prometheus.ts';

export interface MetricsDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly sessions: Sessions;
}

type SessionValue = (record: SessionRecord, figures: SessionFigures, now_ms: number) => number | null | undefined;
const seconds = (ms: number | null | undefined): number | undefined => (ms == null ? undefined : ms / 1000);

/** One metric a line: name, kind, what it says, and where its value comes from; a session without a value has no sample. */
const ofSessions: readonly (readonly [string, Metric['type'], string, SessionValue])[] = [
  [
    'lag_seconds',
    'gauge',
    'Age of what the copy shows: what a failover now would lose.',
    ({ half }, _, now) => seconds(objectiveFigures(half, now).lag_ms),
  ],
  ['rpo_seconds', 'gauge', 'Recovery point objective.', ({ half }) => seconds(half.rpo_ms)],
  [
    'rpo_met',
    'gauge',
    '1 while the objective is met, 0 while it is not; at the source.',
    ({ half }, _, now) => {
      const met = objectiveFigures(half, now).is_rpo_met;
      return met === null ? undefined : Number(met);
    },
  ],
  [
    'rpo_achieved_seconds',
    'gauge',
    'Greatest age that the copy had reached before the newest cycle renewed it.',
    (_, { achieved_ms }) => seconds(achieved_ms),
  ],
  [
    'remaining_bytes',
    'gauge',
    'Bytes that the cycle under way has still to copy.',
    ({ half }, { total_bytes, copied_bytes }) => (half.role === 'source' ? total_bytes - copied_bytes : undefined),
  ],
  [
    'shipped_bytes_total',
    'counter',
    'Payload bytes that this side has put on the link.',
    ({ shippedTotal_bytes }) => shippedTotal_bytes,
  ],
  ['cycles_started_total', 'counter', 'Cycles begun.', (_, { cyclesStarted }) => cyclesStarted],
  ['cycles_completed_total', 'counter', 'Cycles completed.', (_, { cyclesDone }) => cyclesDone],
  [
    'cycle_late_seconds',
    'gauge',
    'How far behind its schedule the newest scheduled cycle has started.',
    (_, { late_ms }) => seconds(late_ms),
  ],
  [
    'last_cycle_duration_seconds',
    'gauge',
    'How long the newest cycle took.',
    ({ half }) => seconds(half.lastSync?.duration_ms),
  ],
  [
    'next_cycle_timestamp_seconds',
    'gauge',
    'When the next cycle starts by itself.',
    ({ half }) => seconds(nextStart_ms(half)),
  ],
];

/** What a monitoring system may want to know, gathered when it asks. */
export async function clusterMetrics({ catalog, dataPlane, clock, sessions }: MetricsDeps): Promise<readonly Metric[]> {
  const now_ms = clock.now();
  const records = sessions.records().map((record) => ({
    record,
    figures: sessions.monitor.of(record.half.id),
    labels: {
      session: record.half.id,
      resource: resourceOf(catalog, record)?.name ?? record.localResourceId,
      role: record.half.role,
    },
  }));
  const metrics: Metric[] = ofSessions.map(([name, type, help, read]) => ({
    name: `antipode_replication_${name}`,
    type,
    help,
    samples: records.flatMap(({ record, figures, labels }): Sample[] => {
      const value = read(record, figures, now_ms);
      return value == null ? [] : [{ labels, value }];
    }),
  }));
  metrics.push({
    name: 'antipode_replication_state',
    type: 'gauge',
    help: 'Always 1; the state is the label.',
    samples: records.map(({ record, labels }) => ({ labels: { ...labels, state: record.half.state }, value: 1 })),
  });
  return [
    ...metrics,
    ...linkMetrics(catalog, sessions),
    alertMetric(catalog),
    ...(await applianceMetrics(dataPlane)),
    ...processMetrics(),
  ];
}

function linkMetrics(catalog: Catalog, sessions: Sessions): Metric[] {
  const links = catalog.list('remote_system').map((remote) => ({
    labels: { remote_system: remote.name },
    gate: sessions.gateOf(remote.id),
  }));
  const gauge = (name: string, help: string, read: (link: (typeof links)[number]) => number): Metric => ({
    name: `antipode_link_${name}`,
    type: 'gauge',
    help,
    samples: links.map((link) => ({ labels: link.labels, value: read(link) })),
  });
  return [
    gauge('cycles_running', 'Cycles that run on the link now.', ({ gate }) => gate.running().length),
    gauge('cycles_waiting', 'Cycles that wait for a place on the link.', ({ gate }) => gate.waiting().length),
    gauge('cycles_most', 'Cycles that may run on the link at once.', ({ gate }) => gate.most),
  ];
}

function alertMetric(catalog: Catalog): Metric {
  const counts = new Map<string, number>(['Info', 'Minor', 'Major', 'Critical'].map((severity) => [severity, 0]));
  for (const { severity } of catalog.list('alert', 'state', 'ACTIVE'))
    counts.set(severity, (counts.get(severity) ?? 0) + 1);
  return {
    name: 'antipode_alerts_active',
    type: 'gauge',
    help: 'Alerts that have not been cleared.',
    samples: [...counts].map(([severity, value]) => ({ labels: { severity }, value })),
  };
}

async function applianceMetrics(dataPlane: DataPlane): Promise<Metric[]> {
  const appliances = await dataPlane.appliances().catch(() => []);
  const up: Metric = {
    name: 'antipode_data_plane_up',
    type: 'gauge',
    help: '1 while the data plane answers.',
    samples: appliances.map(({ id, usage }) => ({ labels: { appliance: id }, value: usage === undefined ? 0 : 1 })),
  };
  const names = Object.keys(appliances.find(({ usage }) => usage !== undefined)?.usage ?? {}) as (keyof EngineUsage)[];
  const sizes = names.map(
    (name): Metric => ({
      name: `antipode_appliance_${name}`,
      type: 'gauge',
      help: 'Bytes of the file system, free of it, occupied by the log, and referred to in it.',
      samples: appliances.flatMap(({ id, usage }) =>
        usage === undefined ? [] : [{ labels: { appliance: id }, value: usage[name] }],
      ),
    }),
  );
  return [up, ...sizes];
}

/** Of the management process. */
function processMetrics(): Metric[] {
  const cpu = process.cpuUsage();
  return [
    {
      name: 'process_cpu_seconds_total',
      type: 'counter',
      help: 'Processor time of the management process.',
      samples: [{ value: (cpu.user + cpu.system) / 1e6 }],
    },
    {
      name: 'process_resident_memory_bytes',
      type: 'gauge',
      help: 'Memory of the management process.',
      samples: [{ value: process.memoryUsage.rss() }],
    },
  ];
}
