import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@antipode/base';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import type { DataPlane, ScrubStatus } from '../local/api.ts';
import { JobRunner } from './jobs.ts';
import { Reporter } from './occurrences.ts';
import { ScrubService } from './scrubs.ts';

const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 200, signal) };
let directory: string;
let catalog: Catalog;
let status: ScrubStatus | 'away' | undefined;
let scrubs: ScrubService;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'scrubs-'));
  catalog = new Catalog(directory);
  status = undefined;
  scrubs = new ScrubService({
    dataPlane: {
      startScrub: async () => {
        status = running('first');
        return status;
      },
      scrubStatus: async () => {
        if (status === 'away') throw new Error('the data plane is restarting');
        return status;
      },
    } as unknown as DataPlane,
    jobs: new JobRunner(catalog, clock, systemRandom),
    reporter: new Reporter(catalog, clock, systemRandom),
    clock,
  });
});
afterEach(() => {
  scrubs.close();
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

const running = (id: string, verified_bytes = 0): ScrubStatus => ({
  id,
  state: 'running',
  started_ms: 1,
  rate_bytes_per_s: 1,
  verified_bytes,
  total_bytes: 100,
  damage_count: 0,
  damages: [],
});

const shown = (id: string | null): Record<string, unknown> =>
  JSON.parse(String(catalog.all('SELECT doc FROM rest_job WHERE id = ?', [id])[0]?.doc)) as Record<string, unknown>;
const becomes = async (id: string | null, wanted: object) => {
  const isSo = () => Object.entries(wanted).every(([name, value]) => shown(id)[name] === value);
  for (let look = 0; look < 20_000 && !isSo(); look++) await systemClock.sleep(2);
  expect(shown(id)).toMatchObject(wanted);
};

it('the job of a scrub shows how far it is, waits for a data plane that is started again, and ends with it', async () => {
  const { job_id } = await scrubs.start('admin', {});
  status = running('first', 40);
  await becomes(job_id, { state: 'IN_PROGRESS', progress_percentage: 40 });
  status = 'away';
  await systemClock.sleep(20);
  expect(shown(job_id)).toMatchObject({ state: 'IN_PROGRESS' });
  status = { ...running('first', 100), state: 'completed', ended_ms: 2 };
  await becomes(job_id, { state: 'COMPLETED', progress_percentage: 100 });
});

it.each([
  ['another one has begun since', () => running('second')],
  ['nothing is known of it any more', () => undefined],
])('the job of a scrub ends when %s', async (_, next) => {
  const { job_id } = await scrubs.start('admin', {});
  status = next();
  await becomes(job_id, { state: 'COMPLETED' });
  expect(shown(job_id).response_body).toMatchObject({ id: 'first', state: 'stopped' });
});
