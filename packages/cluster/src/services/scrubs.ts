import type { Clock } from '@antipode/base';
import { RestError } from '@antipode/contract';
import { Type } from 'typebox';
import { timestamp } from '../catalog/documents.ts';
import type { DataPlane, DataPlaneEvent, ScrubStatus } from '../local/api.ts';
import { checkBody } from '../rest/check-body.ts';
import type { JobRunner } from './jobs.ts';
import type { Reporter } from './occurrences.ts';

/** How often a job's progress is brought up to date. */
const follow_ms = 1_000;

const startBody = Type.Object(
  { rate_bytes_per_s: Type.Optional(Type.Integer({ minimum: 1024 * 1024, maximum: 2 ** 40 })) },
  { additionalProperties: false },
);

/** What is shown of a scrub, times as elsewhere in the interface. */
function shown({ started_ms, ended_ms, ...rest }: ScrubStatus, jobId: string | null) {
  const ended = ended_ms === undefined ? null : timestamp(ended_ms);
  return { ...rest, started_timestamp: timestamp(started_ms), ended_timestamp: ended, job_id: jobId };
}

/** Scrubs as management sees them: a job each, alerts that a clean pass clears. */
export class ScrubService {
  readonly #dataPlane: DataPlane;
  readonly #jobs: JobRunner;
  readonly #reporter: Reporter;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  /** The job of a scrub, by the scrub's id. */
  readonly #jobOf = new Map<string, string>();

  constructor(parts: {
    readonly dataPlane: DataPlane;
    readonly jobs: JobRunner;
    readonly reporter: Reporter;
    readonly clock: Clock;
  }) {
    this.#dataPlane = parts.dataPlane;
    this.#jobs = parts.jobs;
    this.#reporter = parts.reporter;
    this.#clock = parts.clock;
  }

  /** Starts one, or joins the one that runs. */
  async start(user: string, body: unknown) {
    const options = checkBody(startBody, body) as { rate_bytes_per_s?: number };
    const status = await this.#dataPlane.startScrub(options);
    if (!this.#jobOf.has(status.id)) this.#follow(status, user);
    return shown(status, this.#jobOf.get(status.id) ?? null);
  }

  async status() {
    const status = await this.#dataPlane.scrubStatus();
    if (status === undefined) throw new RestError('not_found', 'scrub', 'A1');
    return shown(status, this.#jobOf.get(status.id) ?? null);
  }

  async stop() {
    await this.#dataPlane.stopScrub();
    return this.status();
  }

  event(event: DataPlaneEvent): void {
    if (event.kind === 'scrub_ended') this.#clearAlerts(event.status);
    // One may have ended while nobody listened.
    if (event.kind === 'up')
      this.#dataPlane
        .scrubStatus()
        .then((status) => status && this.#clearAlerts(status))
        .catch(() => undefined);
  }

  close(): void {
    this.#stop.abort();
  }

  #follow({ id }: ScrubStatus, user: string): void {
    const job = this.#jobs.begin({ resource: 'appliance', action: 'scrub', id: 'A1', user });
    this.#jobOf.clear();
    this.#jobOf.set(id, job.id);
    const ended = async (): Promise<object> => {
      for (;;) {
        // A process that ends leaves its jobs to the next one.
        await this.#clock.sleep(follow_ms, this.#stop.signal).catch(() => new Promise<never>(() => undefined));
        // A data plane that is being started again goes on with it.
        const now = await this.#dataPlane.scrubStatus().catch(() => 'away' as const);
        if (now === 'away') continue;
        // It was stopped and another one begun between two looks, or a power cut took what was kept of it.
        if (now?.id !== id) return { id, state: 'stopped' };
        if (now.state !== 'running') return { id, state: now.state, damage_count: now.damage_count };
        job.progress((100 * now.verified_bytes) / Math.max(1, now.total_bytes));
      }
    };
    job.run(ended, 200).catch(() => undefined);
  }

  /** A complete pass has seen everything: alerts from before it about what it found whole are over. */
  #clearAlerts(status: ScrubStatus): void {
    if (status.state !== 'completed') return;
    const damaged = new Set(status.damages.flatMap(({ seen }) => seen.map(({ volume }) => volume as string)));
    if (status.damages.some(({ seen }) => seen.length === 0)) damaged.add('A1');
    if (status.damage_count > status.damages.length) return;
    const before = timestamp(status.started_ms);
    for (const alert of this.#reporter.active('damage'))
      if (!damaged.has(alert.resource_id ?? '') && alert.raised_timestamp < before) this.#reporter.clearOne(alert.id);
  }
}
