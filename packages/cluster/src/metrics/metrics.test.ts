import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '@antipode/base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rolledUpFields, type Sums, shownOf, since } from './figures.ts';
import { type CopyRate, MetricsRecorder, type MetricsSources, underWay } from './recorder.ts';
import { MetricsStore, type SeriesKey } from './store.ts';

const start_ms = Date.UTC(2026, 0, 31);
const volume: SeriesKey = { family: 'performance', kind: 'volume', id: 'v' };
const group: SeriesKey = { family: 'performance', kind: 'vg', id: 'g' };
const session: SeriesKey = { family: 'copy', kind: 'replication_session', id: 's' };

let directory: string;
let store: MetricsStore;
let now: number;
let counters: Sums;
let other: Sums;
let space: number;
let asked: string[][];
let shipped: number;
let remaining: number;
let rates: readonly CopyRate[];
let recorder: MetricsRecorder;

const clock: Clock = {
  now: () => now,
  monotonic: () => now,
  after: () => ({ cancel: () => undefined }),
  sleep: async () => undefined,
};
const sources: MetricsSources = {
  io: async () => [
    { volume: 'v', counters },
    { volume: 'w', counters: other },
  ],
  hostIo: async () => [
    { names: ['db1', 'db1.example'], counters },
    { names: ['web1'], counters: other },
    { names: ['stranger'], counters },
  ],
  initiators: () => [
    { id: 'i1', host: 'h1', group: 'hg', names: ['iqn.x:db1', 'db1'] },
    { id: 'i2', host: 'h2', group: 'hg', names: ['web1'] },
    { id: 'i3', host: 'h2', group: 'hg', names: ['idle'] },
  ],
  volumes: () => [
    { id: 'v', group: 'g', appliance: 'A1' },
    { id: 'w', group: 'g', appliance: 'A1' },
  ],
  appliances: () => ['A1'],
  space: async (changed) => {
    asked.push([...changed]);
    return [
      [
        { family: 'space', kind: 'cluster', id: '0' },
        { physical_total: 100, physical_used: space },
      ],
    ];
  },
  spaceNow: async () => undefined,
  copies: async () => [
    {
      session: 's',
      remote: 'r',
      resource: { kind: 'volume', id: 'v' },
      appliance: 'A1',
      shipped_bytes: shipped,
      remaining_bytes: remaining,
    },
  ],
};
const opened = () =>
  new MetricsRecorder({
    store,
    sources,
    clock,
    onRates: (found) => (rates = found),
    onError: (error) => expect.fail(String(error)),
  });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'metrics-'));
  store = new MetricsStore(join(directory, 'metrics.db'));
  now = start_ms;
  counters = {};
  other = {};
  space = 10;
  asked = [];
  shipped = 0;
  remaining = 0;
  rates = [];
  recorder = opened();
  await recorder.start();
});
afterEach(() => {
  recorder.stop();
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Marks of the clock, one every twenty seconds. */
async function ticks(count: number, between: (n: number) => void = () => undefined): Promise<void> {
  for (let n = 0; n < count; n++) {
    between(n);
    now += 20_000;
    await recorder.tick(now);
  }
}
const reads = (ops: number): Sums => ({ read_ops: ops, read_bytes: ops * 4096, read_us: ops * 100 });

describe('a period', () => {
  it('shows rates, sizes and latencies of what was counted in it', async () => {
    counters = reads(200);
    await ticks(1);
    const [sample] = store.history(volume, 'Twenty_Sec');
    expect(shownOf('performance', sample!)).toMatchObject({
      read_iops: 10,
      read_bandwidth: 40_960,
      avg_read_latency: 100,
      avg_read_size: 4096,
      write_iops: 0,
      total_iops: 10,
      avg_latency: 100,
      avg_io_size: 4096,
    });
    expect(sample).toMatchObject({ at_ms: start_ms + 20_000, repeat: 1 });
  });

  it('of a group and of all is the sum of its volumes', async () => {
    counters = reads(200);
    other = { write_ops: 100, write_bytes: 819_200, write_us: 50_000 };
    await ticks(1);
    for (const key of [group, { family: 'performance', kind: 'cluster', id: '0' } as const])
      expect(shownOf('performance', store.history(key, 'Twenty_Sec')[0]!)).toMatchObject({
        total_iops: 15,
        avg_latency: 70_000 / 300,
      });
  });

  it('of an initiator, its host and the host’s group is what came in under its names; who did nothing has figures too', async () => {
    counters = reads(200);
    other = reads(100);
    await ticks(1);
    const iops = (kind: string, id: string) =>
      shownOf('performance', store.history({ family: 'performance', kind, id }, 'Twenty_Sec')[0]!).read_iops;
    expect([iops('initiator', 'i1'), iops('initiator', 'i2'), iops('initiator', 'i3')]).toEqual([10, 5, 0]);
    expect([iops('host', 'h1'), iops('host', 'h2'), iops('hg', 'hg')]).toEqual([10, 5, 15]);
  });

  it('counts on when a data plane began again at zero', async () => {
    expect(since({ a: 5, b: 3 }, { a: 9, b: 1 })).toEqual({ a: 5, b: 2 });
    counters = reads(1000);
    await ticks(1);
    counters = reads(20);
    await ticks(1);
    expect(shownOf('performance', store.history(volume, 'Twenty_Sec').at(-1)!).read_iops).toBe(1);
  });

  it('of replication shows what was shipped, and what is to go; the first look shows nothing of before', async () => {
    shipped = 2_000_000;
    remaining = 500;
    await ticks(1);
    shipped += 1_000_000;
    await ticks(1);
    const shown = store.history(session, 'Twenty_Sec').map((sample) => shownOf('copy', sample));
    expect(shown.at(-1)).toMatchObject({ data_transferred: 1_000_000, transfer_rate: 50_000, data_remaining: 500 });
    expect(rates).toEqual([{ volume: 'v', at_ms: now, bytes_per_s: 50_000, remaining_bytes: 500 }]);
  });
});

describe('longer periods', () => {
  it('are added up exactly, and keep the highest of the shorter ones', async () => {
    await ticks(15, (n) => {
      counters = reads(n < 14 ? n * 20 + 20 : 14 * 20 + 600);
    });
    const [sample] = store.history(volume, 'Five_Mins');
    const fields = rolledUpFields('performance', sample!);
    expect(sample?.at_ms).toBe(start_ms + 300_000);
    expect(fields.avg_read_iops).toBeCloseTo(880 / 300);
    expect(fields.max_read_iops).toBe(30);
    expect(fields.avg_read_latency).toBe(100);
    expect(fields.max_avg_read_latency).toBe(100);
  });

  it('of space show the last and the highest, and only volumes that were written are measured again', async () => {
    space = 60;
    await ticks(15, (n) => (counters = n === 3 ? { write_ops: 1, write_bytes: 4096, write_us: 1 } : counters));
    space = 40;
    await ticks(165);
    expect(asked[1]).toEqual(['v']);
    expect(asked[2]).toEqual([]);
    const sample = store.history({ family: 'space', kind: 'cluster', id: '0' }, 'One_Hour').at(-1);
    expect(rolledUpFields('space', sample!)).toMatchObject({ last_physical_used: 40, max_physical_used: 60 });
  });

  it('go on where they were after a restart, and catch up what was missed', async () => {
    counters = reads(100);
    await ticks(20);
    recorder.stop();
    store.close();
    store = new MetricsStore(join(directory, 'metrics.db'));
    now += 3 * 3_600_000;
    recorder = opened();
    await recorder.start();
    expect(store.history(volume, 'Five_Mins')).toHaveLength(1);
    recorder.rollUp(now);
    const hours = store.history(volume, 'One_Hour');
    expect(hours).toHaveLength(1);
    expect(rolledUpFields('performance', hours[0]!).max_read_iops).toBe(5);
  });

  it('that are under way are there before the first has ended', async () => {
    counters = reads(100);
    await ticks(2);
    expect(store.history(volume, 'One_Day')).toEqual([]);
    expect(underWay(store, volume, 'One_Day', now)?.sums.read_ops).toBe(100);
    expect(store.history({ family: 'space', kind: 'cluster', id: '0' }, 'Five_Mins')).toHaveLength(1);
  });
});

describe('what is kept', () => {
  it('of something idle is a row for each longer period, not for each period', async () => {
    await ticks(45);
    const rows = store.history(volume, 'Twenty_Sec');
    expect(rows.map(({ repeat }) => repeat)).toEqual([15, 15, 15]);
    expect(store.history(volume, 'Five_Mins').map(({ repeat }) => repeat)).toEqual([3]);
  });

  it('is bounded in time, and a series of which nothing is left goes', async () => {
    counters = reads(100);
    await ticks(200);
    expect(store.history(volume, 'Twenty_Sec')[0]?.at_ms).toBeGreaterThan(now - 3_700_000);
    expect(store.history(volume, 'Five_Mins')).toHaveLength(3);
    store.expire(now + 10 * 365 * 24 * 3_600_000);
    expect([...store.within('One_Hour', 0, Number.MAX_SAFE_INTEGER)]).toEqual([]);
    expect(store.history(volume, 'One_Hour')).toEqual([]);
  });
});
