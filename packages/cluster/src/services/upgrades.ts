import type { Random } from '@antipode/base';
import { RestError } from '@antipode/contract';
import type { Suspension } from '@antipode/replication';
import { Type } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { Sessions } from '../replication/sessions.ts';
import { type Handlers, handler, type RequestContext } from '../rest/handlers.ts';
import type { SupervisorLink } from '../supervisor/child.ts';
import type { SoftwareState, UpgradeStatus } from '../supervisor/messages.ts';
import type { UpgradeEnd } from '../supervisor/release-state.ts';
import { continuing, type JobRunner } from './jobs.ts';
import type { Reporter } from './occurrences.ts';
import type { SoftwarePackages } from './software-packages.ts';

export interface UpgradesDeps {
  readonly catalog: Catalog;
  readonly random: Random;
  readonly reporter: Reporter;
  readonly jobs: JobRunner;
  readonly packages: Pick<SoftwarePackages, 'need' | 'check' | 'look' | 'show' | 'remove'>;
  readonly sessions: Pick<Sessions, 'records' | 'pauseForSystem' | 'resumeFromSystem'>;
  readonly supervisor: SupervisorLink;
  /** What the supervisor said when this process was started. */
  readonly software: SoftwareState;
}

/** Parts of an upgrade's job, in their order. */
const parts = [
  { name: 'check', description: 'Look whether everything is ready' },
  { name: 'pause', description: 'Pause the replication sessions' },
  { name: 'management', description: 'Replace the management process' },
  { name: 'dataplane', description: 'Replace the data plane' },
  { name: 'resume', description: 'Resume the replication sessions' },
] as const;
type Part = (typeof parts)[number]['name'];

/** How far the whole is when a part begins. */
const percentAt = { check: 0, pause: 10, asked: 20, management: 30, dataplane: 60 } as const;

/** An upgrade that is under way. It outlives the management process that began it, and is kept in the catalog until its end. */
interface Running {
  readonly id: string;
  readonly package: string;
  readonly name: string;
  readonly job: string;
  readonly parts: Readonly<Record<Part, string>>;
}

const setting = 'upgrade';

/**
 * Upgrades as operators see them: the sessions of the cluster are paused, the supervisor exchanges one process after the other, and whichever
 * release runs in the end resumes the sessions and tells how it went. The supervisor alone decides that; what is here follows it, so
 * that nothing is left half done whoever is killed.
 */
export class Upgrades {
  readonly #deps: UpgradesDeps;

  constructor(deps: UpgradesDeps) {
    this.#deps = deps;
  }

  /** The job of an upgrade that goes on over the start of this process. */
  static jobOf(catalog: Catalog): string | undefined {
    return runningIn(catalog)?.job;
  }

  /** Whether a pause of sessions is for an upgrade that is still under way. */
  stands(suspension: Suspension): boolean {
    return suspension.reason === 'ndu' && suspension.by === this.#running()?.id;
  }

  /** Goes on with what was under way when this process was started, or ends it as the supervisor did. */
  start(): void {
    const { catalog, software, supervisor } = this.#deps;
    const running = this.#running();
    if (running !== undefined && software.upgrade?.id !== running.id) {
      const last = software.last?.id === running.id ? software.last : undefined;
      const end = last ?? { ...gone(running), reason: 'the cluster was restarted before it had begun' };
      catalog.eventually(() => this.#end(end));
    } else if (running !== undefined) {
      catalog.eventually(() => this.#deps.packages.show(running.package, 'Installing'));
      catalog.live('job', running.job, { progress_percentage: percentAt.management });
    }
    supervisor.onUpgradeStatus((status) => catalog.eventually(() => this.#follow(status)));
  }

  handlers(): Handlers {
    const { packages } = this.#deps;
    const empty = Type.Object({});
    return {
      'software_package.delete': handler(empty, (_, id) => packages.remove(id)),
      'software_package.puhc': handler(empty, (_, id) => packages.look(id)),
      'software_package.install': handler(empty, (context, id) => this.#install(context, id)),
    };
  }

  /** Answers when the upgrade is on its way: the process that answers is one of those that are replaced. */
  async #install(context: RequestContext, id: string): Promise<typeof continuing> {
    const { catalog, packages, jobs, reporter, sessions, supervisor, random } = this.#deps;
    if (this.#running() !== undefined) throw new RestError('upgrade_running');
    const { name, software_package_state: before } = packages.need(id);
    const ids = Object.fromEntries(parts.map((part) => [part.name, random.uuid()])) as Record<Part, string>;
    const running: Running = { id: random.uuid(), package: id, name, job: context.job, parts: ids };
    catalog.put('setting', { id: setting, value: running });
    jobs.plan(
      context.job,
      parts.map((part) => ({ id: ids[part.name], description: part.description })),
    );
    try {
      await this.#part('check', context, percentAt.check, () => packages.check(id));
      packages.show(id, 'Installing');
      reporter.tell('upgrade_started', { type: 'software_package', id, name });
      await this.#part('pause', context, percentAt.pause, () =>
        sessions.pauseForSystem(
          sessions.records().map(({ half }) => half.id),
          { reason: 'ndu', by: running.id },
        ),
      );
    } catch (error) {
      packages.show(id, before);
      this.#end(gone(running), error);
      throw error;
    }
    context.progress(percentAt.asked);
    supervisor.requestUpgrade({ id: running.id, release: id });
    return continuing;
  }

  async #part(part: Part, context: RequestContext, percent: number, work: () => Promise<unknown>): Promise<void> {
    const { jobs } = this.#deps;
    const id = this.#running()?.parts[part];
    if (id === undefined) return;
    jobs.show(id, 'running');
    context.progress(percent);
    await work();
    jobs.show(id, 'done');
  }

  /** What the supervisor says. */
  #follow(status: UpgradeStatus): void {
    const running = this.#running();
    if (running === undefined || running.id !== status.id) return;
    if (status.kind === 'ended') return this.#end(status);
    const { catalog, jobs } = this.#deps;
    if (status.what === 'dataplane') jobs.show(running.parts.management, 'done');
    jobs.show(running.parts[status.what], 'running');
    catalog.live('job', running.job, { progress_percentage: percentAt[status.what] });
  }

  /** `refusal`: it was not even begun, and whoever asked is told why; that is no alert. */
  #end(end: UpgradeEnd, refusal?: unknown): void {
    const running = this.#running();
    if (running === undefined) return;
    const { catalog, jobs, packages, reporter, sessions } = this.#deps;
    const about = { type: 'software_package', id: running.package, name: running.name };
    sessions.resumeFromSystem(running.id);
    if (end.outcome === 'done') {
      for (const { name } of parts) jobs.show(running.parts[name], 'done');
      jobs.show(running.job, 'done');
      packages.show(running.package, 'Installed');
      for (const { resource_id } of reporter.active('upgrade_failed'))
        reporter.clear('upgrade_failed', { ...about, id: resource_id ?? running.package });
      reporter.tell('upgraded', about);
    } else {
      const error = refusal instanceof RestError ? refusal : new RestError('upgrade_failed', end.reason ?? '');
      const open = parts.filter(({ name }) => catalog.get('job', running.parts[name])?.end_time === null);
      const failed = open.find(({ name }) => catalog.get('job', running.parts[name])?.state === 'IN_PROGRESS');
      for (const { name } of open) jobs.show(running.parts[name], name === failed?.name ? error : 'skipped');
      jobs.show(running.job, error);
      if (refusal === undefined) {
        packages.show(running.package, 'Install_Failed');
        reporter.tell('upgrade_failed', about, end.reason);
      }
    }
    // Last: until here everything is done again by the next start.
    catalog.remove('setting', setting);
  }

  #running(): Running | undefined {
    return runningIn(this.#deps.catalog);
  }
}

const gone = (running: Running): UpgradeEnd => ({ id: running.id, release: running.package, outcome: 'rolled_back' });

const runningIn = (catalog: Catalog): Running | undefined =>
  catalog.get('setting', setting)?.value as Running | undefined;
