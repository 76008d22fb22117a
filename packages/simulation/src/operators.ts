import { RestError } from '@antipode/contract';
import { type Command, type CommandName, legalCommands, situationOf } from '@antipode/replication';
import { choose } from './choose.ts';
import { ProcessDied } from './process-died.ts';
import type { ProtectedVolumes, SideIndex } from './protected-volumes.ts';
import type { World } from './world.ts';

/** What operators choose from, and how often against each other; a deletion ends a session and is not among them. */
const weights: Readonly<Partial<Record<CommandName, number>>> = {
  sync: 6,
  pause: 2,
  resume: 4,
  planned_failover: 2,
  unplanned_failover: 1,
  forced_failover: 0.5,
  reprotect: 4,
  start_test: 1,
  stop_test: 2,
  test_copy_failover: 0.5,
};

const parsed = (name: CommandName, random: { fraction(): number }): Command => {
  switch (name) {
    case 'planned_failover':
      return { name, reverse: random.fraction() < 0.5 };
    case 'stop_test':
      return { name, force: random.fraction() < 0.3 };
    default:
      return { name } as Command;
  }
};

/** An operator at one of the two sides does something, whether that is wise or not. */
export function operate(world: World, volumes: ProtectedVolumes): void {
  const { operatorRandom: random, without } = world;
  const name = choose<CommandName>(random, weights);
  const side = random.fraction() < 0.5 ? 0 : 1;
  const command = parsed(name, random);
  if (without.has(name)) return;
  world.trace.count(`ordered ${name}`);
  order(world, volumes, side, command);
}

/** Gives a command to a side; what it comes to is told. What the table refuses must change nothing. */
export function order(world: World, volumes: ProtectedVolumes, side: SideIndex, command: Command): void {
  const { site } = volumes.sides[side];
  const services = site.management?.services;
  const half = volumes.half(side);
  if (services === undefined || half === undefined) return;
  const verdict = legalCommands[situationOf(half)][command.name];
  world.tell(`${volumes.name}: ${command.name} at ${site.name}, ${half.role}, ${half.state}: ${verdict}`);
  world.trace.count(`commands ${verdict}`);
  world.onMoment(half.state === 'Synchronizing' ? 'command_in_cycle' : 'command', volumes);
  const before = JSON.stringify(half);
  const work = services.sessions.command(volumes.session, command);
  if (verdict === 'no' && JSON.stringify(volumes.half(side)) !== before)
    world.violate('refused-changes-nothing', `${command.name} in ${half.state} at ${site.name} changed the session`);
  work.then(
    () => {
      world.tell(`${volumes.name}: ${command.name} at ${site.name} done`);
      world.trace.count('commands done');
    },
    (error: unknown) => {
      if (error instanceof ProcessDied) return;
      const known = error instanceof RestError;
      world.tell(
        `${volumes.name}: ${command.name} at ${site.name} refused: ${error instanceof Error ? error.message : ''}`,
      );
      if (!known) world.unheard(error);
    },
  );
}

/** A volume that stands where the copy of a member is to come is named otherwise: the session's alert says which, and at which side. */
export async function makeWay(world: World, volumes: ProtectedVolumes): Promise<void> {
  for (const side of [0, 1] as const) {
    const { code, message = '' } = volumes.half(side)?.fault ?? {};
    const name = code === 'member_refused' ? /at the peer: The name (\S+) is in use/.exec(message)?.[1] : undefined;
    const { site } = volumes.sides[side === 0 ? 1 : 0];
    const found = site.management?.catalog.list('volume').find((volume) => volume.name === name);
    if (found === undefined) continue;
    world.trace.count('volumes named otherwise');
    const renamed = { name: `${found.name}.${world.trace.counts['volumes named otherwise']}` };
    // A process that ends meanwhile never answers: the next attempt asks again.
    world.call(site.index, 'volume.modify', found.id, renamed).catch(() => undefined);
    await world.pass(60_000);
  }
}
