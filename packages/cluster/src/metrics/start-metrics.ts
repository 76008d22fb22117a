import { renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '@antipode/base';
import type { Catalog } from '../catalog/catalog.ts';
import { timestamp } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { type CopyRate, MetricsRecorder, type MetricsSources } from './recorder.ts';
import { metricsSources } from './sources.ts';
import { MetricsStore } from './store.ts';

/** Opens the history, one that cannot be read put aside for a new one, and begins to measure. */
export async function startMetrics(options: {
  readonly directory: string;
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  readonly clock: Clock;
  readonly figures: (session: string) => Promise<Readonly<Record<string, unknown>> | undefined>;
  readonly onError: (error: unknown) => void;
}): Promise<{ readonly store: MetricsStore; readonly spaceNow: MetricsSources['spaceNow']; stop(): void }> {
  const { catalog, dataPlane, clock, figures, onError } = options;
  const store = openStore(join(options.directory, 'metrics.db'), onError);
  const onRates = (rates: readonly CopyRate[]) =>
    catalog.setRates(
      rates.map(({ volume, at_ms, bytes_per_s, remaining_bytes }) => ({
        id: volume,
        timestamp: timestamp(at_ms),
        synchronization_bandwidth: Math.round(bytes_per_s),
        mirror_bandwidth: 0,
        data_remaining: remaining_bytes,
      })),
    );
  const sources = metricsSources(catalog, dataPlane, figures);
  const recorder = new MetricsRecorder({ store, sources, clock, onRates, onError });
  await recorder.start();
  return {
    store,
    spaceNow: sources.spaceNow,
    stop() {
      recorder.stop();
      store.close();
    },
  };
}

function openStore(path: string, onError: (error: unknown) => void): MetricsStore {
  try {
    return new MetricsStore(path);
  } catch (error) {
    onError(error);
    renameSync(path, `${path}.unreadable`);
    for (const suffix of ['-wal', '-shm']) {
      try {
        renameSync(`${path}${suffix}`, `${path}.unreadable${suffix}`);
      } catch {
        // There was none.
      }
    }
    return new MetricsStore(path);
  }
}
