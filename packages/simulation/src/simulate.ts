import type { Random } from '@antipode/base';
import { spaceErrors } from '@antipode/blocks/testing';
import { sidesDiffer, snapshotsDiffer } from './at-rest.ts';
import { chore } from './chores.ts';
import { beginAgain, isOver, protectAgain, unprotect } from './endings.ts';
import { loseWholeCatalog, madeAnew, protectedAnew } from './lost-catalog.ts';
import { Nemesis } from './nemesis.ts';
import { onlySimulated } from './only-simulated.ts';
import { makeWay, operate, order } from './operators.ts';
import type { ProtectedVolumes, SideIndex } from './protected-volumes.ts';
import { type Report, Violated } from './report.ts';
import { mended, misread, readsWell, rot, rotHeader, treat } from './rot.ts';
import { untidy } from './tidiness.ts';
import { topologyOf } from './topology.ts';
import { World } from './world.ts';

export interface Setting {
  readonly seed: number;
  readonly hours: number;
  /** Newest lines of the trace that are kept. */
  readonly keep?: number;
  /** Kinds of faults and commands that do not happen. */
  readonly without?: readonly string[];
  /**
   * More than 1: rough hours alternate with many calm ones, in which this much less happens and objectives are longer, so that more hours
   * pass; 1 if absent: every hour is rough.
   */
  readonly calm?: number;
  readonly onEnd?: (world: World) => void;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

const pace = {
  /** Something goes wrong this often, and operators and hosts do something, on average. */
  evil_ms: 25 * minute,
  command_ms: 20 * minute,
  chore_ms: 30 * minute,
  copy_ms: 90 * minute,
  rot_ms: 90 * minute,
  /** Share of the cycles in which a command is given. */
  inCycle: 0.1,
  /** A session is ended; one that is over is begun again. */
  end_ms: 8 * hour,
  /** A whole catalog is lost. */
  loss_ms: 8 * hour,
  begin_ms: hour,
  host_ms: 60 * second,
  /** How long everything goes wrong before it is left alone to heal. */
  episode_ms: 6 * hour,
  /** The same between long calm times. */
  rough_ms: 3 * hour,
  /** What a healed pair has to come to rest: heartbeats, back-offs, two objectives. */
  heal_ms: 45 * minute,
} as const;

/** How often what happens makes an administrator end the session, seconds later. */
const endings = {
  openStage: 0.004,
  seal: 0.03,
  promote: 0.03,
  demote: 0.05,
  resetBase: 0.05,
  startTest: 0.03,
  createHalf: 0.1,
} as const;

/** Simulates one world from a seed. The same seed gives the same report. */
export function simulate(setting: Setting): Promise<Report> {
  return onlySimulated(Date.parse('2026-06-01T00:00:00Z'), async (scheduler) => {
    const sites = setting.seed % 4 === 3 ? 3 : 2;
    const { seed, keep = 0, without = [] } = setting;
    const world = new World(scheduler, { seed, sites, keep, without: new Set(without) });
    const unheard = (error: unknown) => world.unheard(error);
    process.on('unhandledRejection', unheard);
    try {
      await run(world, setting);
    } catch (error) {
      if (!(error instanceof Violated))
        world.violate('no-failure-unheard', error instanceof Error ? error.stack! : String(error));
    } finally {
      process.off('unhandledRejection', unheard);
      setting.onEnd?.(world);
      world.stop();
    }
    const { counts, digest } = world.trace;
    return {
      seed: setting.seed,
      hours: world.passed_ms / hour,
      trace: digest,
      ...(world.violation && { violation: world.violation }),
      counts: { ...counts, events: scheduler.events, ...world.network.counts },
    };
  });
}

async function run(world: World, { hours, calm = 1, seed }: Setting): Promise<void> {
  const nemesis = new Nemesis(world);
  nemesis.heal();
  const { pairs, plans } = topologyOf(world.sites.length, seed);
  for (const [a, b] of pairs) await world.pair(a, b);
  for (const plan of plans) await world.protect({ ...plan, rpo: plan.rpo[calm < 2 ? 0 : 1] });
  for (const volumes of world.protectedVolumes) hosts(world, volumes);
  watchHealth(world);
  await world.pass(10 * minute);
  const until_ms = hours * hour;
  for (let episode = 0; world.passed_ms < until_ms && world.violation === undefined; episode++) {
    const rough = calm === 1 || episode % 2 === 0;
    world.calm = rough ? 1 : calm * 2;
    const episode_ms = calm === 1 ? pace.episode_ms : rough ? pace.rough_ms : pace.episode_ms * calm;
    await trouble(world, nemesis, Math.min(episode_ms, until_ms - world.passed_ms));
    world.calm = calm;
    await healed(world, nemesis);
  }
}

/** Hosts use the volumes at both sides, where they may and where they may not. */
function hosts(world: World, volumes: ProtectedVolumes): void {
  const { random, scheduler } = world;
  const next = (side: SideIndex, ms: number) =>
    scheduler.after(-Math.log(1 - random.fraction()) * ms, () => {
      volumes.hostTurn(side).catch((error: unknown) => world.unheard(error));
      // Hosts come in bursts, close enough to fall into what is under way.
      next(side, random.fraction() < 0.7 ? 50 : pace.host_ms * 3 * world.calm);
    });
  next(0, pace.host_ms);
  next(1, pace.host_ms);
}

/** Knows since when two sides could talk to each other without hindrance. */
function watchHealth(world: World): void {
  const { scheduler, network } = world;
  const look = () => {
    for (const volumes of world.protectedVolumes) {
      const [a, b] = volumes.sides.map(({ site }) => site);
      const paths = [network.path(a!.index, b!.index), network.path(b!.index, a!.index)];
      const well =
        a!.isUp && b!.isUp && paths.every(({ faults }) => !faults.cut && faults.drop === 0 && faults.delay_ms < 100);
      volumes.healthySince_ms = well ? (volumes.healthySince_ms ?? scheduler.now_ms) : undefined;
    }
    scheduler.after(minute, look);
  };
  look();
}

async function trouble(world: World, nemesis: Nemesis, ms: number): Promise<void> {
  const { evilRandom, operatorRandom, endingRandom, scheduler, calm } = world;
  let over = false;
  nemesis.awake = true;
  world.aimed.awake = true;
  world.onMoment = (what, volumes) => {
    nemesis.moment(
      what,
      volumes.sides.map(({ site }) => site),
    );
    // Operators do not wait for a cycle to end.
    if (what === 'openStage' && operatorRandom.fraction() < pace.inCycle)
      scheduler.after(operatorRandom.fraction() ** 2 * 5 * second, () => !over && operate(world, volumes));
    if (endingRandom.fraction() < (endings[what as keyof typeof endings] ?? 0))
      scheduler.after(endingRandom.fraction() ** 2 * 5 * second, () => !over && unprotect(world, volumes));
  };
  const again = (mean_ms: number, random: Random, work: () => void) => {
    const next = () =>
      scheduler.after(-Math.log(1 - random.fraction()) * mean_ms * calm, () => {
        if (over) return;
        work();
        next();
      });
    next();
  };
  again(pace.evil_ms, evilRandom, () => nemesis.strike());
  again(pace.command_ms, operatorRandom, () => {
    const all = world.protectedVolumes;
    operate(world, all[Math.floor(operatorRandom.fraction() * all.length)]!);
  });
  again(pace.copy_ms, operatorRandom, () => {
    for (const site of world.sites) site.copyCatalog();
  });
  again(pace.chore_ms, operatorRandom, () => {
    const all = world.protectedVolumes;
    chore(world, all[Math.floor(operatorRandom.fraction() * all.length)]!);
  });
  again(pace.end_ms, endingRandom, () => {
    const all = world.protectedVolumes;
    unprotect(world, all[Math.floor(endingRandom.fraction() * all.length)]!);
  });
  again(pace.begin_ms, endingRandom, () => {
    for (const volumes of world.protectedVolumes) if (isOver(volumes)) protectAgain(world, volumes);
  });
  if (!world.without.has('rot')) again(pace.rot_ms, world.rotRandom, () => rot(world));
  if (!world.without.has('misread')) again(pace.rot_ms, world.rotRandom, () => misread(world));
  if (!world.without.has('rot_header')) again(pace.rot_ms, world.headerRandom, () => rotHeader(world));
  if (!world.without.has('lose_whole_catalog')) again(pace.loss_ms, world.lossRandom, () => loseWholeCatalog(world));
  again(10 * minute, operatorRandom, () => {
    for (const volumes of world.protectedVolumes)
      for (const side of [0, 1] as const)
        volumes.checkDestination(side).catch((error: unknown) => world.unheard(error));
  });
  await world.pass(ms);
  over = true;
}

/** Nothing goes wrong any more: each session comes to rest by itself, or by what the guide asks of operators. */
async function healed(world: World, nemesis: Nemesis): Promise<void> {
  world.aimed.awake = false;
  nemesis.heal();
  for (const site of world.sites) readsWell(site);
  for (const site of world.sites) await madeAnew(world, site);
  if (!(await world.reached(() => world.sites.every(({ isUp }) => isUp), 10 * minute)))
    return world.violate('e-converges', 'a site does not come up again');
  await world.pass(pace.heal_ms);
  for (const site of world.sites) await protectedAnew(world, site);
  for (const volumes of world.protectedVolumes) {
    if (world.violation !== undefined) return;
    if (isOver(volumes)) await beginAgain(world, volumes);
    if (world.violation === undefined) await settle(world, volumes);
  }
  for (const site of world.sites) {
    const what = untidy(site);
    if (what !== undefined) world.violate('h-space', `${site.name} keeps ${what}`);
  }
  for (const site of world.sites) if (site.rotten && world.violation === undefined) await mended(world, site, settle);
  await weighed(world);
}

async function settle(world: World, volumes: ProtectedVolumes): Promise<void> {
  const states = () => ([0, 1] as const).map((side) => `${volumes.half(side)?.role} ${volumes.half(side)?.state}`);
  const tested = () => ([0, 1] as const).some((side) => volumes.half(side)?.test !== undefined);
  const atRest = () => states().sort().join() === 'destination OK,source OK' && !tested();
  // What a person has to do; each may need the one before.
  for (let attempt = 0; attempt < 6 && !atRest(); attempt++) {
    await treat(world, volumes);
    await makeWay(world, volumes);
    const wanted = remedy(volumes);
    if (wanted === undefined) {
      if (await world.reached(atRest, 20 * minute)) break;
      continue;
    }
    order(world, volumes, wanted.side, wanted.command);
    await world.reached(atRest, 20 * minute);
  }
  if (!atRest())
    return world.violate(
      'e-converges',
      `${volumes.name} stays ${states().join(' and ')}: ${JSON.stringify(([0, 1] as const).map((side) => ({ fault: volumes.half(side)?.fault, operation: volumes.half(side)?.operation })))}`,
    );
  await treat(world, volumes);
  volumes.quiet = true;
  const source = ([0, 1] as const).find((side) => volumes.half(side)?.role === 'source')!;
  order(world, volumes, source, { name: 'sync' });
  await world.reached(() => !atRest(), 5 * second);
  await world.reached(atRest, 20 * minute);
  const differing = await world.until(sidesDiffer(volumes));
  if (differing !== undefined)
    return world.violate(
      'e-converges',
      `${volumes.name} is at rest (${states().join(' and ')}) and not equal: ${differing}`,
    );
  const snapshots = await world.until(snapshotsDiffer(volumes, 4));
  if (snapshots !== undefined) return world.violate('a-one-moment', `${volumes.name} is at rest, and ${snapshots}`);
  await accounts(world, volumes);
  world.trace.count('convergences');
  volumes.quiet = false;
}

/** Once nobody does anything, the engines' counts are what lies on the disks, to the byte [h]. */
async function weighed(world: World): Promise<void> {
  for (const volumes of world.protectedVolumes) volumes.quiet = true;
  await world.pass(5 * second);
  for (const { name, dataPlane, disk } of world.sites) {
    const errors = dataPlane === undefined ? [] : spaceErrors(dataPlane.engine, disk);
    if (errors.length > 0) return world.violate('h-space', `${name}: ${errors.slice(0, 5).join('; ')}`);
    world.trace.count('disks weighed');
  }
  for (const volumes of world.protectedVolumes) volumes.quiet = false;
}

/** What is kept for a session that is at rest [h]. */
async function accounts(world: World, volumes: ProtectedVolumes): Promise<void> {
  for (const { site } of volumes.sides) {
    const engine = site.dataPlane?.engine;
    if (engine === undefined) continue;
    const half = engine.half(volumes.session);
    if (half?.stage !== undefined) return world.violate('h-space', `${site.name} keeps a stage of ${volumes.name}`);
    const own = engine
      .points()
      .filter(
        ({ kind, members }) =>
          kind === 'internal' && members.some(({ volume }) => half?.pairs.some(({ local }) => local === volume)),
      );
    if (own.length > 2)
      return world.violate('h-space', `${site.name} keeps ${own.length} internal points of ${volumes.name}`);
  }
}

/** What the guide asks of a person in such a pair of states; undefined: nothing. */
function remedy(volumes: ProtectedVolumes) {
  const [a, b] = ([0, 1] as const).map((side) => volumes.half(side));
  const at = (side: SideIndex, name: 'resume' | 'reprotect' | 'stop_test' | 'sync') =>
    ({ side, command: name === 'stop_test' ? ({ name, force: true } as const) : ({ name } as const) }) as const;
  for (const side of [0, 1] as const) {
    const half = side === 0 ? a : b;
    if (half?.test !== undefined) return at(side, 'stop_test');
  }
  const source = ([0, 1] as const).find((side) => (side === 0 ? a : b)?.role === 'source');
  if (source !== undefined && (source === 0 ? a : b)?.state === 'Failed_Over') return at(source, 'reprotect');
  const locally = ([0, 1] as const).find((side) => {
    const half = side === 0 ? a : b;
    return half?.state === 'Paused' && half.paused?.scope === 'local';
  });
  if (locally !== undefined) return at(locally, 'resume');
  if (a?.state === 'Paused') return at(0, 'resume');
  if (b?.state === 'Paused') return at(1, 'resume');
  // What is not tried again by itself waits for who has put right what its alert names.
  const stopped = source === undefined ? undefined : source === 0 ? a : b;
  if (stopped?.state === 'System_Paused' && stopped.fault?.retry === false) return at(source!, 'sync');
  return undefined;
}
