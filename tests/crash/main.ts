// `npm run crash -- --kills 500 --seed 1`: kills real clusters at named points and at random moments, and looks for what hosts wrote.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LoopDisk, whyNoLoopDisk } from '../integration/loop-disk.ts';
import { runCampaign } from './campaign.ts';
import { seeded } from './chance.ts';
import { movingNames, type OperationName, operationNames } from './operations.ts';
import { pointNames } from './points.ts';
import type { Known } from './rounds.ts';
import { showReport, tableOf } from './show-report.ts';
import { whyNoWriteLoss } from './write-loss.ts';

const help = `npm run crash -- [options]

  --kills N      kills at points and moments that chance chooses (default 500, with --walk 0)
  --seed N       decides operations, victims, moments and what hosts write (default: the present time)
  --aimed SHARE  share of kills at named points, 0 to 1 (default 0.6)
  --more SHARE   how likely one more death follows while a site comes back, 0 to 0.95 (default 0.8; low: points are reached sooner)
  --walk         first, whatever it takes: a death at each named point at each site at which nobody has died there yet, two appliances each
  --stops N      rounds in which processes are stopped by SIGSTOP: each kind at each site in turn (default 0)
  --stop MS      how long they are stopped (default 120000)
  --fulls N      rounds in which the disk of a site is full; needs root for loop devices (default 0)
  --census       every operation once in peace first, to see which points it passes
  --appliances N appliances of each cluster (default 1, with --walk 2); volumes move between them when there are more
  --operations A,B  only these operations
  --dir DIR      where both clusters live; kept (default: a temporary directory, removed when nothing was found)
  --known FILE   deaths of earlier runs, which are not walked to, and aimed at last; those of this one are added to it
  --table FILE   where the tables of deaths go to, as Markdown: by point, site and operation; by operation, process and site
`;

/** Room for everything that a run writes, and small enough to be filled in a moment. */
const disk_bytes = 3 * 1024 ** 3;

const without: Readonly<Record<string, number>> = { kills: 500, appliances: 1 };
const withWalk: Readonly<Record<string, number>> = { kills: 0, appliances: 2 };

const values = asked();
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
if (!existsSync(join(import.meta.dirname, '../../packages/cli/dist/main.js'))) {
  console.error('the product is not built: run `npm run build` first');
  process.exit(2);
}
const number = (
  name: 'kills' | 'seed' | 'aimed' | 'more' | 'stop' | 'stops' | 'fulls' | 'appliances',
  most: number,
): number => {
  const value = Number(values[name] ?? (values.walk ? withWalk : without)[name]);
  if (Number.isFinite(value) && value >= 0 && value <= most) return value;
  console.error(`--${name} is a number from 0 to ${most}`);
  process.exit(2);
};
const seed = number('seed', 2 ** 32 - 1);
const settings = {
  kills: number('kills', 1e6),
  aimed: number('aimed', 1),
  more: number('more', 0.95),
  stop_ms: number('stop', 3_600_000),
  stops: number('stops', 1e4),
  fulls: number('fulls', 1e4),
  appliances: number('appliances', 4),
};
const possible = operationNames.filter((name) => !movingNames.includes(name) || settings.appliances > 1);
const operations = (values.operations?.split(',') as OperationName[] | undefined) ?? possible;
if (!operations.every((name) => possible.includes(name))) {
  console.error(`--operations is a list of ${possible.join(', ')}`);
  process.exit(2);
}
if (values.dir !== undefined) mkdirSync(values.dir, { recursive: true });
const directory = values.dir ?? mkdtempSync(join(tmpdir(), 'antipode-crash-'));
const whyNoLoss = whyNoWriteLoss();
console.log(`seed ${seed}, ${values.walk ? 'a walk, ' : ''}${settings.kills} kills, in ${directory}`);
console.log(whyNoLoss === undefined ? 'unsynced writes are lost at power cuts' : `no write is lost: ${whyNoLoss}`);
const whyNoDisk = settings.fulls === 0 ? 'none was asked for' : whyNoLoopDisk();
if (settings.fulls > 0 && whyNoDisk !== undefined) {
  console.error(`--fulls needs a loop file system: ${whyNoDisk}`);
  process.exit(2);
}
const disks = whyNoDisk === undefined ? ([new LoopDisk(disk_bytes), new LoopDisk(disk_bytes)] as const) : undefined;
console.log(
  disks === undefined ? `no disk is filled: ${whyNoDisk}` : `disks in ${disks.map(({ path }) => path).join(', ')}`,
);
try {
  const report = await runCampaign({
    ...settings,
    directory,
    chance: seeded(seed),
    loss: whyNoLoss === undefined,
    stopEvery: 12,
    fullEvery: 9,
    census: values.census,
    operations,
    ...(values.walk && { walk: pointNames }),
    ...(values.known !== undefined &&
      existsSync(values.known) && { earlier: JSON.parse(readFileSync(values.known, 'utf8')) as Known }),
    ...(disks && { disks }),
    say: (line) => console.log(line),
    after: (soFar) => {
      const { points, deaths } = soFar;
      const known: Known = { points, deaths };
      if (values.known !== undefined) writeFileSync(values.known, `${JSON.stringify(known, undefined, 1)}\n`);
      if (values.table !== undefined) writeFileSync(values.table, tableOf(soFar));
    },
  });
  console.log(showReport(report));
  // A walk that did not get everywhere has not shown what it was for.
  if (report.missed.length > 0) process.exitCode = 1;
  for (const disk of disks ?? []) disk.remove();
  if (values.dir === undefined) rmSync(directory, { recursive: true, force: true });
} catch (error) {
  console.error(`FOUND with seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  console.error(`everything is left as it is in ${[directory, ...(disks ?? []).map(({ path }) => path)].join(', ')}`);
  process.exit(1);
}

function asked() {
  try {
    return parseArgs({
      options: {
        kills: { type: 'string' },
        walk: { type: 'boolean', default: false },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        aimed: { type: 'string', default: '0.6' },
        more: { type: 'string', default: '0.8' },
        stop: { type: 'string', default: '120000' },
        stops: { type: 'string', default: '0' },
        fulls: { type: 'string', default: '0' },
        appliances: { type: 'string' },
        operations: { type: 'string' },
        known: { type: 'string' },
        table: { type: 'string' },
        census: { type: 'boolean', default: false },
        dir: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message.split('. ')[0]}; --help lists the options`);
    process.exit(2);
  }
}
