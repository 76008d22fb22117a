import type { Clock, Random } from '@antipode/base';
import { isBlockError } from '@antipode/blocks';
import { RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import { type JobDocument, timestamp } from '../catalog/documents.ts';
import { DataPlaneAway } from '../local/client.ts';
import { restLimits } from '../rest/limits.ts';

export interface RunningJob {
  readonly id: string;
  readonly progress: (percent: number) => void;
  /** Does the work and enters how it ended. */
  run<T>(work: () => Promise<T>, success: number): Promise<T>;
}

/** Answered by work whose job is ended by whoever goes on with it. */
export const continuing = Symbol('continuing');

/** Every changing request is a job, asynchronous or not: what was asked, by whom, and how it ended. */
export class JobRunner {
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(catalog: Catalog, clock: Clock, random: Random) {
    this.#catalog = catalog;
    this.#clock = clock;
    this.#random = random;
  }

  /** What was running when the process ended did not end well, as far as its job goes; but for one that outlives processes. */
  recover(goesOn?: string): void {
    for (const job of this.#catalog.list('job', 'state', 'IN_PROGRESS')) {
      if (job.root_id === goesOn) continue;
      const error = new RestError(
        'unavailable',
        'the management process was restarted while this ran; what had become durable is finished by itself',
      );
      this.#catalog.tell('job', this.#ended(job, error));
    }
    // Parts that never began: nobody else ends them.
    for (const { id, root_id } of this.#catalog.list('job', 'state', 'QUEUED'))
      if (root_id !== goesOn) this.show(id, 'skipped');
  }

  begin(what: {
    readonly resource: string;
    readonly action: string;
    readonly id: string | null;
    readonly user: string;
  }): RunningJob {
    const id = this.#random.uuid();
    const name =
      what.id === null
        ? null
        : ((this.#catalog.get(what.resource as 'volume', what.id) as { name?: string } | undefined)?.name ?? null);
    const job: JobDocument = {
      id,
      resource_action: what.action,
      resource_type: what.resource,
      resource_id: what.id,
      resource_name: name,
      description_l10n: `${what.action.replaceAll('_', ' ')} ${what.resource.replaceAll('_', ' ')}`,
      state: 'IN_PROGRESS',
      phase: 'In_Progress',
      start_time: timestamp(this.#clock.now()),
      end_time: null,
      estimated_completion_time: null,
      progress_percentage: 0,
      parent_id: null,
      root_id: id,
      user: what.user,
      response_body: null,
      response_status: null,
      step_order: 0,
    };
    this.#catalog.tell('job', job);
    this.#catalog.trim('job', restLimits.jobs);
    return {
      id,
      progress: (percent) =>
        this.#catalog.live('job', id, { progress_percentage: Math.max(0, Math.min(100, Math.floor(percent))) }),
      run: async (work, success) => {
        let goesOn = false;
        try {
          const result = await work();
          goesOn = result === continuing;
          if (goesOn) return undefined as typeof result;
          const made = (result as { id?: unknown } | undefined)?.id;
          const status = success === 200 && result === undefined ? 204 : success;
          this.#catalog.tell('job', {
            ...job,
            resource_id: job.resource_id ?? (typeof made === 'string' ? made : null),
            state: 'COMPLETED',
            phase: 'Completed',
            end_time: timestamp(this.#clock.now()),
            progress_percentage: 100,
            response_body:
              result === undefined
                ? null
                : { response_type: `${what.resource}_${what.action}_response`, ...(result as object) },
            response_status: String(status) as JobDocument['response_status'],
          });
          return result;
        } catch (error) {
          const known = toRestError(error);
          this.#catalog.tell('job', this.#ended(job, known ?? new RestError('internal', id)));
          throw known ?? error;
        } finally {
          // The progress shown while it ran would stand before how it ended.
          if (!goesOn) this.#catalog.still('job', id);
        }
      },
    };
  }

  /** Enters the parts of a job that are to come, in their order. */
  plan(root: string, parts: readonly { readonly id: string; readonly description: string }[]): void {
    const job = this.#catalog.get('job', root);
    if (job === undefined) return;
    for (const [index, { id, description }] of parts.entries()) {
      this.#catalog.tell('job', {
        ...job,
        id,
        description_l10n: description,
        state: 'QUEUED',
        phase: 'Queued',
        parent_id: root,
        root_id: root,
        leaf_of: root,
        step_order: index + 1,
      });
    }
  }

  /** How a job, or a part of one, that outlives the request which began it goes on. */
  show(id: string, state: 'running' | 'done' | 'skipped' | RestError): void {
    const job = this.#catalog.get('job', id);
    if (job === undefined || job.end_time !== null) return;
    const ended = { end_time: timestamp(this.#clock.now()), progress_percentage: 100 };
    if (state instanceof RestError) this.#catalog.tell('job', this.#ended(job, state));
    else if (state === 'running') this.#catalog.tell('job', { ...job, state: 'IN_PROGRESS', phase: 'In_Progress' });
    else if (state === 'skipped') this.#catalog.tell('job', { ...job, ...ended, state: 'SKIPPED', phase: 'Skipped' });
    else
      this.#catalog.tell('job', {
        ...job,
        ...ended,
        state: 'COMPLETED',
        phase: 'Completed',
        response_status: '204' as JobDocument['response_status'],
      });
    if (state !== 'running') this.#catalog.still('job', id);
  }

  #ended(job: JobDocument, error: RestError): JobDocument {
    return {
      ...job,
      state: 'FAILED',
      phase: 'Failed',
      end_time: timestamp(this.#clock.now()),
      response_body: { response_type: 'error_response', ...error.body() },
      response_status: String(error.status) as JobDocument['response_status'],
    };
  }
}

/** What work comes to; what an engine or a data plane refuses becomes the caller's refusal. */
export async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toRestError(error) ?? error;
  }
}

/** What an engine's or data plane's refusal is to a caller. */
function toRestError(error: unknown): RestError | undefined {
  if (error instanceof RestError) return error;
  if (error instanceof DataPlaneAway) return new RestError('unavailable', error.message);
  if (!isBlockError(error)) return undefined;
  if (error.code === 'no_space') return new RestError('no_space', 'A1');
  if (error.code === 'io_error' || error.code === 'closed') return new RestError('unavailable', error.message);
  return new RestError('invalid_request', error.message);
}
