import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@antipode/client';
import { openHostVolume } from '../drill/host-volume.ts';
import { ProgressBar } from '../drill/progress-bar.ts';
import { showReport } from '../drill/report.ts';
import { runDrill } from '../drill/run-drill.ts';
import type { DrillSite } from '../drill/site.ts';
import { askLab, isLabRunning } from '../lab/control-socket.ts';
import { type Lab, startLab } from '../lab/lab.ts';
import type { SiteName } from '../lab/layout.ts';
import { type LabRecord, readLabRecord } from '../lab/record.ts';
import { connectSite } from '../lab/site-client.ts';
import { limits } from '../limits.ts';
import { commandHelp } from '../options/help.ts';
import { readOptions } from '../options/read.ts';
import { drillOptions } from '../options/tables.ts';
import { CommandError } from '../options/usage-error.ts';
import type { Command, CommandContext } from './context.ts';

/** Goes through the whole story on a lab. Exit code 0 only when every check held. */
export const drill: Command = async (context) => {
  const { values, help } = readOptions(drillOptions, context);
  if (help) {
    context.out(commandHelp('drill'));
    return 0;
  }
  const ownDir = values.dir === undefined;
  const dir = values.dir ?? mkdtempSync(join(tmpdir(), 'antipode-drill-'));
  const log = (line: string): void => context.err(`${line}\n`);
  let lab: Lab | undefined;
  let passed = false;
  try {
    if (ownDir || !(await isLabRunning(dir))) {
      if (!values.json) log(`starting a lab in ${dir}`);
      lab = await startLab({
        dir,
        logLevel: 'info',
        entry: context.entry,
        clock: context.clock,
        log,
        stop: context.stop,
      });
    }
    if (lab === undefined) await untilReady(dir, context);
    const record = lab?.record ?? readLabRecord(dir);
    if (record === undefined) throw new CommandError(`the lab in ${dir} has lost its lab.json`);
    passed = await run(context, dir, record, values);
    return passed ? 0 : 1;
  } finally {
    await lab?.stop();
    // After a failure the logs and volumes are what one wants to see.
    if (ownDir && passed && !values.keep) rmSync(dir, { recursive: true, force: true });
    else if (ownDir && !values.json) log(`the lab's directory is kept: ${dir}`);
  }
};

/** Waits for a lab that somebody else is starting just now. */
async function untilReady(dir: string, { clock, stop }: CommandContext): Promise<void> {
  const until_ms = clock.monotonic() + limits.siteStart_ms;
  while (!(await askLab(dir, { ask: 'status' })).ready) {
    if (clock.monotonic() > until_ms) throw new CommandError(`the lab in ${dir} does not become ready`);
    await clock.sleep(limits.poll_ms, stop);
  }
}

interface DrillValues {
  readonly json: boolean;
  readonly keep: boolean;
  readonly size: number;
  readonly killClusters: boolean;
}

async function run(context: CommandContext, dir: string, record: LabRecord, values: DrillValues): Promise<boolean> {
  const { json, keep, size, killClusters } = values;
  const bar = new ProgressBar(context.err, context.isTerminal && !json);
  const clients: Client[] = [];
  try {
    const sites: Partial<Record<SiteName, DrillSite>> = {};
    for (const site of record.sites) {
      const client = await connectSite(site, record.fingerprints[site.name]);
      clients.push(client);
      sites[site.name] = { name: site.name, client, open: (volume) => openHostVolume(site.nbd, volume) };
    }
    const { London, Osaka } = sites;
    if (London === undefined || Osaka === undefined)
      throw new CommandError(`the lab in ${dir} does not have its two sites`);
    const report = await runDrill({
      sites: { London, Osaka },
      control: (request) => askLab(dir, request),
      clock: context.clock,
      stop: context.stop,
      stateWait_ms: limits.stateWait_ms,
      size_bytes: size,
      killClusters,
      keep,
      runName: new Date(context.clock.now()).toISOString().replaceAll(/[-:]|\..*$/g, ''),
      progress: (fraction, what) => bar.show(fraction, what),
      onStep: (step) => bar.begin(step.name),
      onStepDone: (done) => {
        bar.clear();
        if (json) return context.out(`${JSON.stringify(done)}\n`);
        const place = `${done.number}/${done.of}`.padStart(5);
        const verdict = done.ok ? `ok      ${done.checks} checks` : 'FAILED';
        context.out(
          `${place}  ${done.name.padEnd(54)} ${(done.took_ms / 1000).toFixed(1).padStart(6)} s  ${verdict}\n`,
        );
      },
      onLeftBehind: (what) => context.err(`left behind: ${what}\n`),
    });
    context.out(json ? `${JSON.stringify(report)}\n` : showReport(report));
    return report.ok;
  } finally {
    bar.clear();
    await Promise.all(clients.map((client) => client.close()));
  }
}
