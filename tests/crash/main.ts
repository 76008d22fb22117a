// `npm run crash -- --kills 500 --seed 1`: kills real clusters at named points and at random moments, and looks for what hosts wrote.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCampaign } from './campaign.ts';
import { seeded } from './chance.ts';
import { points } from './points.ts';
import { showReport } from './show-report.ts';
import { whyNoWriteLoss } from './write-loss.ts';

const help = `npm run crash -- [options]

  --kills N      kills (default 500)
  --seed N       decides operations, victims, moments and what hosts write (default: the present time)
  --aimed SHARE  share of kills at named points, 0 to 1 (default 0.6)
  --stop MS      how long a process is stopped by SIGSTOP, in every 25th round (default 60000)
  --dir DIR      where both clusters live; kept (default: a temporary directory, removed when nothing was found)
`;

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '500' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    aimed: { type: 'string', default: '0.6' },
    stop: { type: 'string', default: '60000' },
    dir: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
if (!existsSync(join(import.meta.dirname, '../../packages/cli/dist/main.js'))) {
  console.error('the product is not built: run `npm run build` first');
  process.exit(2);
}
const number = (name: 'kills' | 'seed' | 'aimed' | 'stop', most: number): number => {
  const value = Number(values[name]);
  if (Number.isFinite(value) && value >= 0 && value <= most) return value;
  console.error(`--${name} is a number from 0 to ${most}`);
  process.exit(2);
};
const seed = number('seed', 2 ** 32 - 1);
const settings = { kills: number('kills', 1e6), aimed: number('aimed', 1), stop_ms: number('stop', 3_600_000) };
if (values.dir !== undefined) mkdirSync(values.dir, { recursive: true });
const directory = values.dir ?? mkdtempSync(join(tmpdir(), 'antipode-crash-'));
const whyNoLoss = whyNoWriteLoss();
console.log(`seed ${seed}, ${settings.kills} kills, in ${directory}`);
console.log(whyNoLoss === undefined ? 'unsynced writes are lost at power cuts' : `no write is lost: ${whyNoLoss}`);
try {
  const report = await runCampaign({
    ...settings,
    directory,
    chance: seeded(seed),
    loss: whyNoLoss === undefined,
    stopEvery: 25,
    firstPoint: seed % points.length,
    say: (line) => console.log(line),
  });
  console.log(showReport(report));
  if (values.dir === undefined) rmSync(directory, { recursive: true, force: true });
} catch (error) {
  console.error(`FOUND with seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  console.error(`everything is left as it is in ${directory}`);
  process.exit(1);
}
