import { parseArgs } from 'node:util';
import { minimise } from './minimise.ts';
import { simulate } from './simulate.ts';

/** `npm run simulate -- --seed N --hours H [--seeds COUNT] [--calm TIMES] [--without KIND,...] [--trace LINES] [--minimise]` */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    hours: { type: 'string', default: '48' },
    trace: { type: 'string', default: '0' },
    calm: { type: 'string', default: '1' },
    without: { type: 'string', default: '' },
    minimise: { type: 'boolean', default: false },
  },
});
const [first, count, hours, keep, calm] = [values.seed, values.seeds, values.hours, values.trace, values.calm].map(
  Number,
) as [number, number, number, number, number];
const without = values.without.split(',').filter((kind) => kind !== '');
const totals: Record<string, number> = {};
let simulated = 0;
const begun = performance.now();
for (let seed = first; seed < first + count; seed++) {
  const started = performance.now();
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
  const took_s = (performance.now() - started) / 1000;
  const rate = Math.round((report.hours / took_s) * 60);
  console.log(
    `seed ${seed}: ${report.hours.toFixed(1)} h, trace ${report.trace}, ${took_s.toFixed(1)} s, ${rate} h a minute`,
  );
  if (report.violation !== undefined) {
    for (const line of recent) console.log(line);
    const { invariant, at_ms, message } = report.violation;
    console.log(`VIOLATED ${invariant} after ${(at_ms / 3_600_000).toFixed(2)} h: ${message}`);
    process.exitCode = 1;
    if (values.minimise) {
      const least = await minimise(setting, report);
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
      seeds: count,
      simulated_hours: Math.round(simulated),
      wall_s: Math.round((performance.now() - begun) / 1000),
      ...totals,
    },
    undefined,
    1,
  ),
);
