import { systemClock } from '@antipode/base';
import { minimise } from './minimise.ts';
import { help, readSettings, type Settings, UsageError } from './options.ts';
import { simulate } from './simulate.ts';

const asked = settingsOf(process.argv.slice(2));
const { first, seeds: count, hours, calm, minutes, trace: keep, without } = asked;
// Most errors of a simulated world are answers: what their makers' callers were is of interest to who looks for something.
if (keep === 0) Error.stackTraceLimit = 0;
const totals: Record<string, number> = {};
let simulated = 0;
let seeds = 0;
const begun = performance.now();
/** Of one core: what other programs take of the machine is no part of it. */
const processor_s = () => (process.cpuUsage().user + process.cpuUsage().system) / 1e6;
const isOver = () => minutes > 0 && performance.now() - begun > minutes * 60_000;
for (let seed = first; seed < first + count && !isOver(); seed++) {
  const started_s = processor_s();
  seeds += 1;
  let recent: readonly string[] = [];
  const setting = { seed, hours, calm, without };
  const report = await simulate({
    ...setting,
    keep,
    onEnd: (world) => {
      recent = world.trace.recent;
    },
  });
  simulated += report.hours;
  for (const [what, number] of Object.entries(report.counts)) totals[what] = (totals[what] ?? 0) + number;
  const took_s = processor_s() - started_s;
  const rate = Math.round((report.hours / took_s) * 60);
  console.log(
    `seed ${seed}: ${report.hours.toFixed(1)} h, trace ${report.trace}, ${took_s.toFixed(1)} s of a core, ${rate} h a minute`,
  );
  if (report.violation !== undefined) {
    for (const line of recent) console.log(line);
    const { invariant, at_ms, message } = report.violation;
    console.log(`VIOLATED ${invariant} after ${(at_ms / 3_600_000).toFixed(2)} h: ${message}`);
    process.exitCode = 1;
    if (asked.minimise) {
      const least = await minimise(setting, report, (text) => console.log(text));
      const { invariant: what, at_ms: when } = least.report.violation!;
      console.log(
        `still ${what} after ${(when / 3_600_000).toFixed(2)} h: --seed ${seed} --hours ${Math.ceil(least.report.hours)} --without ${least.without.join(',')}`,
      );
    }
  }
}
console.log(
  JSON.stringify(
    {
      seeds,
      simulated_hours: Math.round(simulated),
      wall_s: Math.round((performance.now() - begun) / 1000),
      processor_s: Math.round(processor_s()),
      hours_a_minute_of_a_core: Math.round((simulated / processor_s()) * 60),
      ...totals,
    },
    undefined,
    1,
  ),
);

function settingsOf(args: readonly string[]): Settings {
  try {
    const settings = readSettings(args, systemClock.now());
    if (settings !== 'help') return settings;
    process.stdout.write(help);
    process.exit(0);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    process.exit(2);
  }
}
