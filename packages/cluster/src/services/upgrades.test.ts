import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@antipode/base';
import { RestError } from '@antipode/contract';
import type { Suspension } from '@antipode/replication';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import type { RequestContext } from '../rest/handlers.ts';
import { builtInSoftware } from '../software/version.ts';
import type { SoftwareState, UpgradeRequest, UpgradeStatus } from '../supervisor/messages.ts';
import { JobRunner } from './jobs.ts';
import { Reporter } from './occurrences.ts';
import { Upgrades } from './upgrades.ts';

const software: SoftwareState = { release: 'installed', software: builtInSoftware };
let directory: string;
let catalog: Catalog;
/** Who holds sessions paused: durable in their own records, so it outlives management. */
let paused: Set<string>;
let states: string[];
let requested: UpgradeRequest | undefined;
let refuse: { check?: Error; pause?: Error };
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'upgrades-'));
  catalog = new Catalog(directory);
  paused = new Set();
  states = [];
  requested = undefined;
  refuse = {};
});
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A management process: what it is told by its supervisor, and the verbs that it takes. */
function management(of: SoftwareState = software) {
  const jobs = new JobRunner(catalog, systemClock, systemRandom);
  jobs.recover(Upgrades.jobOf(catalog));
  let follow: (status: UpgradeStatus) => void = () => undefined;
  const upgrades = new Upgrades({
    catalog,
    random: systemRandom,
    reporter: new Reporter(catalog, systemClock, systemRandom),
    jobs,
    packages: {
      need: () => ({ name: 'release 2', software_package_state: 'Downloaded' }) as never,
      check: async () => {
        if (refuse.check !== undefined) throw refuse.check;
        return [];
      },
      look: async () => undefined,
      remove: async () => undefined,
      show: (_, state) => void states.push(state),
    },
    sessions: {
      records: () => [],
      pauseForSystem: async (_: readonly unknown[], { by }: Suspension) => {
        if (refuse.pause !== undefined) throw refuse.pause;
        paused.add(by);
      },
      resumeFromSystem: (by: string) => void paused.delete(by),
    },
    supervisor: {
      requestUpgrade: (request) => {
        requested = request;
      },
      onUpgradeStatus: (listener) => {
        follow = listener;
      },
    },
    software: of,
  });
  upgrades.start();
  const install = async (): Promise<string> => {
    const job = jobs.begin({ resource: 'software_package', action: 'install', id: 'p', user: 'admin' });
    const context = { job: job.id, progress: job.progress } as RequestContext;
    await job.run(() => upgrades.handlers()['software_package.install']!(context, 'p', {}), 204).catch(() => undefined);
    return job.id;
  };
  return { upgrades, install, say: (status: UpgradeStatus) => follow(status) };
}

const open = () => catalog.list('job').filter(({ end_time }) => end_time === null);
const ended = (outcome: 'done' | 'rolled_back') =>
  ({ id: requested!.id, release: 'p', outcome, reason: 'why' }) as const;

const percentOf = (job: string): number =>
  Number(JSON.parse(String(catalog.all('SELECT doc FROM rest_job WHERE id = ?', [job])[0]?.doc)).progress_percentage);

describe('an upgrade as operators see it', () => {
  it.each(['done', 'rolled_back'] as const)(
    'ends %s: no session stays paused for it, no job stays open',
    async (how) => {
      const { install, say } = management();
      const job = await install();
      expect(paused).toEqual(new Set([requested!.id]));
      expect(percentOf(job)).toBe(20);
      say({ id: requested!.id, kind: 'replacing', what: 'management' });
      say({ id: requested!.id, kind: 'replacing', what: 'dataplane' });
      expect(open().length).toBeGreaterThan(0);
      expect(percentOf(job)).toBe(60);
      say({ kind: 'ended', ...ended(how) });
      expect([...paused]).toEqual([]);
      expect(open()).toEqual([]);
      expect(catalog.get('job', job)?.state).toBe(how === 'done' ? 'COMPLETED' : 'FAILED');
      expect(states.at(-1)).toBe(how === 'done' ? 'Installed' : 'Install_Failed');
      expect(Upgrades.jobOf(catalog)).toBeUndefined();
    },
  );

  it.each([
    ['done', () => ({ ...software, last: ended('done') })],
    ['rolled_back', () => ({ ...software, last: ended('rolled_back') })],
    ['never begun', () => software],
  ] as const)('whose management was killed meanwhile ends as the supervisor says: %s', async (how, told) => {
    const job = await management().install();
    const { upgrades } = management(told());
    expect(upgrades.stands({ reason: 'ndu', by: requested!.id })).toBe(false);
    expect([...paused]).toEqual([]);
    expect(open()).toEqual([]);
    expect(catalog.get('job', job)?.state).toBe(how === 'done' ? 'COMPLETED' : 'FAILED');
  });

  it('that goes on while management is exchanged keeps its sessions paused and its job open until its end', async () => {
    const job = await management().install();
    const { upgrades, say } = management({ ...software, upgrade: requested! });
    expect(upgrades.stands({ reason: 'ndu', by: requested!.id })).toBe(true);
    expect(paused.size).toBe(1);
    expect(catalog.get('job', job)?.end_time).toBeNull();
    expect(percentOf(job)).toBe(30);
    say({ id: requested!.id, kind: 'replacing', what: 'dataplane' });
    expect(percentOf(job)).toBe(60);
    say({ kind: 'ended', ...ended('done') });
    expect([paused.size, open().length]).toEqual([0, 0]);
  });

  it.each(['check', 'pause'] as const)(
    'that is refused at its %s was never begun, and leaves nothing',
    async (part) => {
      refuse[part] = new RestError('unavailable', 'not now');
      const { install } = management();
      const job = await install();
      expect(requested).toBeUndefined();
      expect([paused.size, open().length]).toEqual([0, 0]);
      expect(catalog.get('job', job)?.state).toBe('FAILED');
      expect(states.at(-1)).toBe('Downloaded');
      refuse = {};
      await install();
      expect(requested).toBeDefined();
    },
  );
});
