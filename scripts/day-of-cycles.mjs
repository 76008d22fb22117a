// A day of cycles of a thousand sessions on a clock that jumps: `npm run build && node_modules/.bin/node scripts/day-of-cycles.mjs [sessions] [hours] [cycles at once]`.
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dayOfCycles } from '../packages/cluster/dist/replication/testing/day-of-cycles.js';

const [sessions = 1000, hours = 24, cyclesAtOnce = 8] = process.argv.slice(2).map(Number);
const mix = [
  ['Five_Minutes', 20],
  ['Fifteen_Minutes', 40],
  ['One_Hour', 30],
  ['Six_Hours', 10],
];
const MiB = (bytes) => Math.round(bytes / 2 ** 20);
console.log(
  `${sessions} sessions, ${hours} hours, ${cyclesAtOnce} cycles at once on the link; objectives: ${mix.map(([rpo, share]) => `${share} % ${rpo}`).join(', ')}`,
);
console.log(
  '| hour | cycles | late p50 / p95 / p99 / most, s | starts in one second, most | at once, most | waiting, most | beyond objective | alerts raised so far | alerts at its end | processor, s | heap, MiB | resident, MiB |',
);
console.log('|---|---|---|---|---|---|---|---|---|---|---|---|');
const begun = performance.now();
let cycles = 0;
await dayOfCycles({
  sessions,
  hours,
  cyclesAtOnce,
  schedule: 'share_of_rpo',
  mix,
  ...(hours > 12 && { outage: { atHour: 12, minutes: 20 } }),
  directory: existsSync('/dev/shm') ? '/dev/shm' : tmpdir(),
  tell(hour) {
    cycles += hour.cycles;
    globalThis.gc?.();
    const { p50, p95, p99, most } = hour.late_ms;
    const late = [p50, p95, p99, most].map((ms) => (ms / 1000).toFixed(2)).join(' / ');
    const { heapUsed, rss } = process.memoryUsage();
    console.log(
      `| ${hour.hour} | ${hour.cycles} | ${late} | ${hour.startsInASecond_most} | ${hour.atOnce_most} | ${hour.waiting_most} | ${hour.sessionsBeyondObjective} | ${hour.alertsRaised} | ${hour.alertsActive} | ${hour.cpu_s.toFixed(1)} | ${MiB(heapUsed)} | ${MiB(rss)} |`,
    );
  },
});
console.log(`${cycles} cycles in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
