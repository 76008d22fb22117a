// `npm run bench`: measures the built product and its peers on this machine.
import { writeFileSync } from 'node:fs';
import { groups } from './groups/index.ts';
import { quick_ms, quickLeast_ms, quickTime_ms } from './groups/names.ts';
import { help, readSettings, type Settings, UsageError } from './options.ts';
import { isBuilt } from './peers/antipode.ts';
import { compare } from './report/compare.ts';
import { judge } from './report/goals.ts';
import { describeMachine, machineText } from './report/machine.ts';
import { goalsText, groupText, legend } from './report/text.ts';
import { Bench } from './runner/bench.ts';
import type { GroupResult } from './runner/results.ts';

/** Runs the command line; answers its exit code: 0, 1 when something could not be measured, 2 for a wrong option. */
async function main(args: readonly string[]): Promise<number> {
  const asked = readSettings(args);
  switch (asked.kind) {
    case 'help':
      process.stdout.write(help);
      return 0;
    case 'list':
      for (const { name, about, cells } of Object.values(groups))
        process.stdout.write(`${name}: ${about}\n${cells.map((cell) => `  ${cell}\n`).join('')}`);
      return 0;
    case 'run':
      return await measure(asked.settings, args);
  }
}

async function measure(settings: Settings, args: readonly string[]): Promise<number> {
  if (!isBuilt()) throw new UsageError('the product is not built: run `npm run build` first');
  const stop = new AbortController();
  // Kept until all is cleaned up: npm passes on a Ctrl-C that the terminal has sent already.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => stop.abort(new Interrupted(`stopped by ${name}`)));
  const machine = describeMachine(settings.dir);
  process.stdout.write(machineText(machine));
  const results: GroupResult[] = [];
  const failed: string[] = [];
  const begun = new Date();
  {
    await using bench = await Bench.open(settings, stop.signal);
    const end_ms = settings.quick ? performance.now() + quick_ms : Number.POSITIVE_INFINITY;
    for (const [index, name] of settings.groups.entries()) {
      const group = groups[name];
      const left_ms = end_ms - performance.now();
      if (left_ms < quickLeast_ms) {
        process.stdout.write(
          `\n── ${name} ──\nskipped: a quick run has no time left: npm run bench -- --quick --only ${name}\n`,
        );
        continue;
      }
      bench.progress.begin(name);
      if (settings.quick) bench.deadline_ms = performance.now() + quickTime_ms(settings.groups.slice(index), left_ms);
      try {
        const measured = await group.run(bench);
        const unreached = bench.takeUnreached().map((title) => `${title}: a quick run has no time left`);
        const result = { ...measured, skipped: [...measured.skipped, ...unreached] };
        results.push(result);
        bench.progress.end();
        process.stdout.write(`\n${groupText(result)}`);
      } catch (error) {
        stop.signal.throwIfAborted();
        failed.push(name);
        bench.progress.end();
        process.stdout.write(`\n── ${name} ──\nfailed: ${error instanceof Error ? error.message : String(error)}\n`);
        await bench.children.stopAll();
      }
    }
  }
  const verdicts = judge(results);
  process.stdout.write(`\n${goalsText(verdicts)}${legend}`);
  if (settings.json !== undefined) {
    const lines = results.map((group) => ({
      ...group,
      cells: group.cells.map((cell) => ({ ...cell, summary: compare(cell) })),
    }));
    const report = { command: ['npm run bench --', ...args].join(' '), date: begun.toISOString(), machine, settings };
    writeFileSync(settings.json, `${JSON.stringify({ ...report, groups: lines, failed, goals: verdicts }, null, 2)}\n`);
  }
  const incomplete = results.some(({ cells }) =>
    cells.some(({ contenders }) => contenders.some(({ failure }) => failure !== undefined)),
  );
  return failed.length > 0 || incomplete ? 1 : 0;
}

/** The user has had enough. */
class Interrupted extends Error {}

// A reader that has gone away, such as `head`, must not keep the bench from cleaning up.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const isExpected = error instanceof UsageError || error instanceof Interrupted;
  process.stderr.write(`bench: ${isExpected ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = error instanceof UsageError ? 2 : error instanceof Interrupted ? 130 : 1;
}
