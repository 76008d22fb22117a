import type { Clock } from '@antipode/base';
import { JobError, messagesOf } from './errors.ts';
import { limits } from './limits.ts';
import type { Job } from './resources.ts';

const failures = new Set(['FAILED', 'UNRECOVERABLE_FAILED']);
const successes = new Set(['COMPLETED', 'SKIPPED']);

/** Asks for a job until it has ended. */
export async function waitForJob(
  ask: () => Promise<Job>,
  id: string,
  clock: Clock,
  { most_ms = limits.jobMost_ms, signal }: { readonly most_ms?: number; readonly signal?: AbortSignal },
): Promise<Job> {
  const until = clock.monotonic() + most_ms;
  let pause_ms: number = limits.jobPollFirst_ms;
  while (true) {
    const job = await ask();
    const state = job.state ?? '';
    if (successes.has(state)) return job;
    if (failures.has(state)) throw new JobError(id, state, messagesOf(job.response_body));
    if (clock.monotonic() >= until) throw new JobError(id, `${state} after ${most_ms} ms`, []);
    await clock.sleep(pause_ms, signal);
    pause_ms = Math.min(pause_ms * 2, limits.jobPollMost_ms);
  }
}
