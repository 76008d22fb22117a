import { systemClock } from '@antipode/base';
import { describe, expect, test } from 'vitest';
import { type Fault, ModelLab } from './model-lab.ts';
import { barText, ProgressBar } from './progress-bar.ts';
import { type DrillReport, showReport } from './report.ts';
import { runDrill, type StepDone } from './run-drill.ts';
import { story } from './story.ts';

async function drillOn(fault?: Fault): Promise<{ report: DrillReport; steps: StepDone[] }> {
  const lab = new ModelLab(fault);
  const steps: StepDone[] = [];
  const report = await runDrill({
    sites: lab.sites,
    control: lab.control,
    clock: systemClock,
    stop: new AbortController().signal,
    size_bytes: 16 * 2 ** 20,
    killClusters: false,
    keep: false,
    runName: 'test',
    stateWait_ms: 0,
    progress: () => undefined,
    onStep: () => undefined,
    onStepDone: (done) => steps.push(done),
    onLeftBehind: () => undefined,
  });
  return { report, steps };
}

describe('drill', () => {
  test('passes where everything is as it should be, and counts every check', async () => {
    const { report, steps } = await drillOn();
    expect(report.failure).toBeNull();
    expect(report.ok).toBe(true);
    expect(steps.map((step) => step.name)).toEqual(story.map((step) => step.name));
    expect(report.checks).toBe(steps.reduce((sum, step) => sum + step.checks, 0));
    expect(report.checks).toBeGreaterThan(40);
    expect(report.sha256.source).toMatch(/^[0-9a-f]{64}$/);
    expect(report.sha256.recovered).toBe(report.sha256.source);
    expect(report.bytes_shipped).toBeGreaterThan(0);
    expect(report.rpo_ms.planned).toBe(0);
    expect(showReport(report)).toContain(`PASSED: all ${report.checks} checks held`);
  });

  test.each<[Fault, RegExp]>([
    ['copy differs', /Initial synchronization/],
    ['destination writable', /Initial synchronization/],
    ['sync while paused', /^Pause$/],
    ['pause ships on', /Write while paused/],
    ['nothing accumulates', /Write while paused/],
    ['ships everything', /synchronize the change/],
    ['planned failover loses the last writes', /Planned failover to Osaka/],
    ['old source writes on', /Planned failover to Osaka/],
    ['old connection writes on', /Planned failover to Osaka/],
    ['reprotect ships nothing', /Reprotect towards London/],
    ['diverged writes vanish', /over what it had diverged to/],
  ])('%s: fails in that step, says what was expected and what was seen, and stops there', async (fault, step) => {
    const { report, steps } = await drillOn(fault);
    expect(report.ok).toBe(false);
    expect(report.failure?.step).toMatch(step);
    expect(report.failure?.expected).not.toBe('the step to go through');
    expect(report.failure?.seen).not.toBe('');
    expect(steps.at(-1)).toMatchObject({ ok: false, name: report.failure?.step });
    expect(showReport(report)).toContain('FAILED in step');
  });
});

test('the progress bar stays on one line and within its bounds', () => {
  expect(barText('Copy', 0.5, 'x')).toBe('[############............]  50 % Copy: x');
  expect(barText('Copy', 7, '')).toContain('100 %');
  expect(barText('Copy', -1, '')).toContain('  0 %');
  const written: string[] = [];
  const silent = new ProgressBar((text) => written.push(text), false);
  silent.begin('x');
  silent.show(0.3, 'y');
  silent.clear();
  expect(written).toEqual([]);
});
