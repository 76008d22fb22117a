import { CheckFailed, Checks } from './check.ts';
import { cleanUp } from './cleanup.ts';
import { Drill, type DrillDeps } from './drill.ts';
import type { DrillFailure, DrillReport } from './report.ts';
import { type Step, story } from './story.ts';

export interface StepDone {
  readonly event: 'step';
  readonly number: number;
  readonly of: number;
  readonly name: string;
  readonly ok: boolean;
  readonly checks: number;
  readonly took_ms: number;
}

export interface RunOptions extends Omit<DrillDeps, 'checks'> {
  readonly keep: boolean;
  readonly onStep: (step: Step) => void;
  readonly onStepDone: (done: StepDone) => void;
  readonly onLeftBehind: (what: string) => void;
}

/** Goes through the story, stops at the first check that does not hold, and reports. */
export async function runDrill(options: RunOptions): Promise<DrillReport> {
  const { clock, keep, onStep, onStepDone, onLeftBehind } = options;
  const checks = new Checks();
  const drill = new Drill({ ...options, checks });
  const started_ms = clock.monotonic();
  let failure: DrillFailure | null = null;
  for (const [index, step] of story.entries()) {
    const stepStarted_ms = clock.monotonic();
    const before = checks.held;
    onStep(step);
    try {
      options.stop.throwIfAborted();
      await step.run(drill);
    } catch (error) {
      failure = failureOf(step, error);
    }
    onStepDone({
      event: 'step',
      number: index + 1,
      of: story.length,
      name: step.name,
      ok: failure === null,
      checks: checks.held - before,
      took_ms: Math.round(clock.monotonic() - stepStarted_ms),
    });
    if (failure !== null) break;
  }
  const shipped = drill.sessionId === '' ? 0 : await drill.shipped_bytes().catch(() => 0);
  if (!keep) for (const what of await cleanUp(drill)) onLeftBehind(what);
  else await drill.oldConnection?.close().catch(() => undefined);
  return {
    event: 'report',
    ok: failure === null,
    checks: checks.held,
    took_ms: Math.round(clock.monotonic() - started_ms),
    bytes_written: drill.written_bytes,
    bytes_shipped: shipped,
    rpo_ms: { planned: drill.plannedRto_ms === undefined ? null : 0, unplanned: drill.unplannedRpo_ms ?? null },
    rto_ms: { planned: drill.plannedRto_ms ?? null, unplanned: drill.unplannedRto_ms ?? null },
    sha256: { source: drill.sourceSha256, recovered: drill.recoveredSha256 },
    failure,
  };
}

function failureOf(step: Step, error: unknown): DrillFailure {
  if (error instanceof CheckFailed) return { step: step.name, expected: error.expected, seen: error.seen };
  const seen = error instanceof Error ? error.message : String(error);
  return { step: step.name, expected: 'the step to go through', seen };
}
