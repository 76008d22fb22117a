import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@antipode/base';
import { BlockError } from '@antipode/blocks';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import { JobRunner } from './jobs.ts';

let directory: string;
let catalog: Catalog;
let jobs: JobRunner;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'jobs-'));
  catalog = new Catalog(directory);
  jobs = new JobRunner(catalog, systemClock, systemRandom);
});
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

const begin = () => jobs.begin({ resource: 'volume', action: 'create', id: null, user: 'admin' });
const shown = (id: string): Record<string, unknown> =>
  JSON.parse(String(catalog.all('SELECT doc FROM rest_job WHERE id = ?', [id])[0]?.doc)) as Record<string, unknown>;

it('a job shows how far it is, then how it ended', async () => {
  const job = begin();
  job.progress(41.7);
  expect(shown(job.id)).toMatchObject({ state: 'IN_PROGRESS', progress_percentage: 41 });
  await job.run(async () => ({ id: 'v' }), 201);
  expect(shown(job.id)).toMatchObject({
    state: 'COMPLETED',
    progress_percentage: 100,
    resource_id: 'v',
    response_status: '201',
    response_body: { id: 'v' },
  });
});

it('a job that failed says why, as the request would have', async () => {
  const job = begin();
  await expect(
    job.run(async () => {
      throw new BlockError('no_space', 'full');
    }, 201),
  ).rejects.toThrow('no space left on appliance A1');
  expect(shown(job.id)).toMatchObject({ state: 'FAILED', phase: 'Failed', response_status: '422' });
  expect(JSON.stringify(shown(job.id).response_body)).toContain('0xE0A080010030');
});

it('what nobody foresaw is told without its inside', async () => {
  const job = begin();
  await expect(
    job.run(async () => {
      throw new Error('secret detail');
    }, 201),
  ).rejects.toThrow('secret detail');
  expect(shown(job.id)).toMatchObject({ state: 'FAILED', response_status: '500' });
  expect(JSON.stringify(shown(job.id))).not.toContain('secret');
});

it('a job that a restart cut off has failed and says so [C7.3]', () => {
  const { id } = begin();
  catalog.close();
  catalog = new Catalog(directory);
  jobs = new JobRunner(catalog, systemClock, systemRandom);
  jobs.recover();
  expect(shown(id)).toMatchObject({ state: 'FAILED' });
  expect(shown(id).end_time).not.toBeNull();
  expect(JSON.stringify(shown(id).response_body)).toContain('restarted');
});

it('after a restart no job of any kind is still open, but those of the work that goes on [C7.3]', () => {
  const open = () =>
    catalog
      .list('job')
      .filter(({ end_time }) => end_time === null)
      .map(({ id }) => id)
      .sort();
  const plain = begin();
  plain.progress(40);
  const cut = begin();
  jobs.plan(cut.id, [
    { id: 'cut-1', description: 'first' },
    { id: 'cut-2', description: 'second' },
  ]);
  jobs.show('cut-1', 'running');
  const goesOn = begin();
  jobs.plan(goesOn.id, [{ id: 'on-1', description: 'first' }]);
  expect(open()).toHaveLength(6);
  catalog.close();
  catalog = new Catalog(directory);
  jobs = new JobRunner(catalog, systemClock, systemRandom);
  jobs.recover(goesOn.id);
  expect(open()).toEqual([goesOn.id, 'on-1'].sort());
  expect(shown('cut-1')).toMatchObject({ state: 'FAILED' });
  expect(shown('cut-2')).toMatchObject({ state: 'SKIPPED' });
  // What was shown while it ran does not stand before how it ended.
  expect(shown(plain.id)).toMatchObject({ state: 'FAILED', progress_percentage: 0 });
});
