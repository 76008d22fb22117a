import { askLab } from '../lab/control-socket.ts';
import { runDemo } from '../lab/demo.ts';
import { type Lab, startLab } from '../lab/lab.ts';
import { readLabRecord } from '../lab/record.ts';
import { showLink, showStatus } from '../lab/show.ts';
import { commandHelp } from '../options/help.ts';
import { readOptions } from '../options/read.ts';
import { labLinkOptions, labOptions, labStatusOptions } from '../options/tables.ts';
import { UsageError } from '../options/usage-error.ts';
import type { Command, CommandContext } from './context.ts';

/** `antipode lab`, `antipode lab link` and `antipode lab status`. */
export const lab: Command = (context) => {
  const [first, ...rest] = context.args;
  if (first === 'link') return link({ ...context, args: rest });
  if (first === 'status') return status({ ...context, args: rest });
  return run(context);
};

async function run(context: CommandContext): Promise<number> {
  const { values, help } = readOptions(labOptions, context);
  if (help) {
    context.out(commandHelp('lab'));
    return 0;
  }
  const { dir, basePort, appliances, json, demo, logLevel, clockRate, takeoverWithin } = values;
  if (json && demo) throw new UsageError('--json and --demo exclude each other: with --json the lab starts empty');
  const log = (line: string): void => context.err(`${line}\n`);
  if (!json) log(`starting the lab in ${dir}`);
  const running = await startUnlessStopped(context, {
    dir,
    appliances,
    ...(basePort === undefined ? {} : { basePort }),
    logLevel,
    clockRate,
    takeoverWithin_ms: takeoverWithin,
    entry: context.entry,
    clock: context.clock,
    log,
  });
  if (running === undefined) return 0;
  try {
    const { sites } = running.record;
    if (json) context.out(`${JSON.stringify({ sites, link: running.status().link })}\n`);
    else if (demo) await runDemo(running.record, dir, context);
    else context.out(showStatus(running.status(), running.record));
    await stopped(context.stop);
    if (!json) log('stopping');
  } catch (error) {
    if (!context.stop.aborted) throw error;
  } finally {
    await running.stop();
  }
  return 0;
}

/** The lab, or nothing when the user stopped it while it started. */
async function startUnlessStopped(
  context: CommandContext,
  options: Parameters<typeof startLab>[0],
): Promise<Lab | undefined> {
  try {
    const lab = await startLab({ ...options, stop: context.stop });
    if (!context.stop.aborted) return lab;
    await lab.stop();
    return undefined;
  } catch (error) {
    if (context.stop.aborted) return undefined;
    throw error;
  }
}

async function link(context: CommandContext): Promise<number> {
  const { values, help } = readOptions(labLinkOptions, context);
  if (help) {
    context.out(commandHelp('lab link'));
    return 0;
  }
  const { dir, cut, heal, rate, delay, json } = values;
  if (cut && heal) throw new UsageError('--cut and --heal exclude each other');
  const changes = {
    ...(cut ? { cut: true } : {}),
    ...(heal ? { cut: false } : {}),
    ...(rate === undefined ? {} : { rate_bps: rate }),
    ...(delay === undefined ? {} : { delay_ms: delay }),
  };
  const { link: state } = await askLab(dir, { ask: 'link', ...changes });
  context.out(json ? `${JSON.stringify(state)}\n` : `${showLink(state)}\n`);
  return 0;
}

async function status(context: CommandContext): Promise<number> {
  const { values, help } = readOptions(labStatusOptions, context);
  if (help) {
    context.out(commandHelp('lab status'));
    return 0;
  }
  const answer = await askLab(values.dir, { ask: 'status' });
  context.out(values.json ? `${JSON.stringify(answer)}\n` : showStatus(answer, readLabRecord(values.dir)));
  return 0;
}

const stopped = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
