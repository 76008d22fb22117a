import { RestError } from '@antipode/contract';
import { isAway } from './away.ts';
import { choose } from './choose.ts';
import { ProcessDied } from './process-died.ts';
import type { ProtectedVolumes, SideIndex } from './protected-volumes.ts';
import type { World } from './world.ts';

/** What administrators make of the two sides of a session that is over, and how often against each other. */
const ways = {
  /** What is left at the other side becomes the copy again. */
  again: 4,
  /** What is left is deleted first. */
  fresh: 2,
  /** What is left is opened for hosts: a name in use is refused, until it is deleted. */
  opened: 1,
  /** What is left becomes the source, and what was the source is deleted. */
  turned: 1,
} as const;
type Way = keyof typeof ways;

const minute = 60_000;
/** How long the second half of a deleted session may stay once the sides can talk. */
const freed_ms = 20 * minute;

const other = (side: SideIndex): SideIndex => (side === 0 ? 1 : 0);

/** An administrator takes the policy away, mostly where that is allowed: the session is to go, whatever it is doing. */
export function unprotect(world: World, volumes: ProtectedVolumes, where: 'source' | 'either' = 'either'): void {
  const { endingRandom: random, without } = world;
  const source = ([0, 1] as const).find((side) => volumes.half(side)?.role === 'source') ?? 0;
  const side = where === 'source' || random.fraction() < 0.7 ? source : other(source);
  const force = random.fraction() < 0.3;
  if (without.has('unprotect')) return;
  tried(world, volumes, side, 'unprotect', () => takePolicy(world, volumes, side, force));
}

/** An administrator protects what is not protected any more, as it is. */
export function protectAgain(world: World, volumes: ProtectedVolumes): void {
  const side = world.endingRandom.fraction() < 0.5 ? 0 : 1;
  if (world.without.has('protect') || volumes.half(side) !== undefined) return;
  tried(world, volumes, side, 'protect', async () => {
    if (world.aimed.deletesCopies()) await deleteLeft(world, volumes, other(side));
    await protect(world, volumes, side);
  });
}

/** What a session has left at a side is deleted: copies that nobody has opened. */
async function deleteLeft(world: World, volumes: ProtectedVolumes, side: SideIndex): Promise<void> {
  const { site, volumes: own, buried } = volumes.sides[side];
  const resource = volumes.resource(side);
  const infos = own.map((id) => site.dataPlane?.engine.volume(id));
  const isLeft = infos.every((info) => info?.destination && info.session === undefined);
  if (resource === undefined || !isLeft) return;
  for (const { site: each } of volumes.sides) each.dropCopies();
  const body = volumes.kind === 'volume_group' ? { delete_members: true } : {};
  await world.call(site.index, `${volumes.kind}.delete`, resource, body);
  world.trace.count('copies deleted');
  world.aimed.copiesDeleted(site, buried);
  await world.scheduler.wait(minute);
}

function tried(
  world: World,
  volumes: ProtectedVolumes,
  side: SideIndex,
  what: string,
  work: () => Promise<unknown>,
): void {
  const { site } = volumes.sides[side];
  world.trace.count(`ordered ${what}`);
  world.tell(`${volumes.name}: ${what} at ${site.name}, ${volumes.half(side)?.role} ${volumes.half(side)?.state}`);
  world.onMoment('command', volumes);
  work().then(
    () => {
      world.trace.count(`${what} done`);
      world.tell(`${volumes.name}: ${what} at ${site.name} done`);
    },
    (error: unknown) => {
      if (error instanceof ProcessDied) return;
      world.tell(`${volumes.name}: ${what} refused: ${error instanceof Error ? error.message : String(error)}`);
      if (!(error instanceof RestError) && !isAway(error)) world.unheard(error);
    },
  );
}

/** Whether a session of the volumes has been deleted, or not come to be, and has to be begun again. */
export const isOver = (volumes: ProtectedVolumes): boolean => !volumes.isWhole;

/** Nothing goes wrong any more, and the session is over at one side at least: both sides are free of it in time, and a new one begins. */
export async function beginAgain(world: World, volumes: ProtectedVolumes): Promise<void> {
  const isFree = () => isFreeAt(volumes, 0) && isFreeAt(volumes, 1);
  await world.reached(() => isFree() || volumes.isWhole, freed_ms);
  if (volumes.isWhole) return;
  if (!isFree()) {
    const which = ([0, 1] as const).filter((side) => !isFreeAt(volumes, side));
    const states = which.map((side) => `${volumes.sides[side].site.name} (${JSON.stringify(volumes.half(side))})`);
    return world.violate('e-converges', `a deleted session of ${volumes.name} stays at ${states.join(' and ')}`);
  }
  world.trace.count('sessions gone at both sides');
  for (const side of [0, 1] as const) lookForRests(world, volumes, side);
  if (world.violation !== undefined) return;
  const way = choose<Way>(world.endingRandom, ways);
  const side = await prepared(world, volumes, way);
  for (let attempt = 1; !volumes.isWhole; attempt++) {
    try {
      await world.until(protect(world, volumes, side));
      break;
    } catch (error) {
      if (!(error instanceof RestError)) throw error;
      if (attempt === 5)
        return world.violate('e-converges', `${volumes.name} cannot be protected again (${way}): ${error.message}`);
      await world.pass(2 * minute);
    }
  }
  world.trace.count(`protected ${way}`);
}

/** Whether a side is up, and neither its catalog nor its engine knows of a session of the volumes. */
function isFreeAt(volumes: ProtectedVolumes, side: SideIndex): boolean {
  const { site, volumes: own } = volumes.sides[side];
  if (!site.isUp) return false;
  const known = site.management!.catalog.list('replication_session', 'local_resource_id', volumes.resource(side) ?? '');
  return known.length === 0 && own.every((id) => site.dataPlane!.engine.volume(id)?.session === undefined);
}

/** What a session leaves behind for good: nothing but an ordinary volume, or one that is flagged as a copy [h]. */
function lookForRests(world: World, volumes: ProtectedVolumes, side: SideIndex): void {
  const { site, volumes: own } = volumes.sides[side];
  const { catalog } = site.management!;
  const { engine } = site.dataPlane!;
  const points = engine.pointsOf(own).filter(({ kind }) => kind === 'internal');
  if (points.length > 0)
    world.violate('h-space', `${site.name} keeps ${points.length} internal points of ${volumes.name}, which is over`);
  const resource = volumes.resource(side);
  const held = resource === undefined ? undefined : catalog.get(volumes.kind, resource)?.protection_policy_id;
  if (held != null && catalog.get('policy', held)?.is_replica !== false)
    world.violate('h-space', `${volumes.name} has the copy of a policy at ${site.name}, and no session`);
}

/** Makes of the two sides what the way asks for; answers which is to be the source. */
async function prepared(world: World, volumes: ProtectedVolumes, way: Way): Promise<SideIndex> {
  const isOpen = (side: SideIndex) => {
    const { site, volumes: own } = volumes.sides[side];
    return own.every((id) => site.dataPlane?.engine.volume(id)?.destination === false);
  };
  world.tell(`${volumes.name}: protected ${way}`);
  if (!isOpen(0) && !isOpen(1)) await open(world, volumes, 0);
  const source: SideIndex = isOpen(0) && isOpen(1) ? (world.endingRandom.fraction() < 0.5 ? 0 : 1) : isOpen(0) ? 0 : 1;
  const copy = other(source);
  if (way === 'turned' && volumes.resource(copy) !== undefined) {
    if (!isOpen(copy)) await open(world, volumes, copy);
    await remove(world, volumes, source);
    return copy;
  }
  if (way === 'opened' && volumes.resource(copy) !== undefined) {
    if (!isOpen(copy)) await open(world, volumes, copy);
    await world.pass(5 * minute);
    await world.until(
      protect(world, volumes, source).then(
        () => world.violate('refused-changes-nothing', `${volumes.name} was copied over what hosts use`),
        (error: unknown) => {
          if (!(error instanceof RestError)) throw error;
        },
      ),
    );
  }
  if (way === 'fresh' || isOpen(copy)) await remove(world, volumes, copy);
  return source;
}

async function open(world: World, volumes: ProtectedVolumes, side: SideIndex): Promise<void> {
  await changed(world, volumes, side, { is_replication_destination: false });
}

async function remove(world: World, volumes: ProtectedVolumes, side: SideIndex): Promise<void> {
  const { site } = volumes.sides[side];
  const resource = volumes.resource(side);
  if (resource === undefined) return;
  await world.until(takePolicy(world, volumes, side, false));
  const body = volumes.kind === 'volume_group' ? { delete_members: true } : {};
  await world.until(world.call(site.index, `${volumes.kind}.delete`, resource, body));
  world.aimed.copiesDeleted(site, volumes.sides[side].buried);
}

async function changed(world: World, volumes: ProtectedVolumes, side: SideIndex, body: object): Promise<void> {
  const resource = volumes.resource(side);
  if (resource === undefined) return;
  await world.until(world.call(volumes.sides[side].site.index, `${volumes.kind}.modify`, resource, body));
}

async function takePolicy(world: World, volumes: ProtectedVolumes, side: SideIndex, force: boolean): Promise<void> {
  const resource = volumes.resource(side);
  if (resource === undefined) return;
  for (const { site } of volumes.sides) site.dropCopies();
  const body = { protection_policy_id: '', ...(force && { force }) };
  await world.call(volumes.sides[side].site.index, `${volumes.kind}.modify`, resource, body);
}

/** Gives the volumes at a side a policy of that side whose rule names the other; made where there is none. */
export async function protect(world: World, volumes: ProtectedVolumes, side: SideIndex): Promise<void> {
  const { site } = volumes.sides[side];
  const resource = volumes.resource(side);
  const catalog = site.management?.catalog;
  if (resource === undefined || catalog === undefined) return;
  for (const { site: each } of volumes.sides) each.dropCopies();
  const ask = (verb: string, id: string, body: unknown) => world.call(site.index, verb, id, body);
  const remote = world.remoteAt(site, volumes.sides[other(side)].site);
  const fits = (rules: readonly string[]) =>
    rules.some((rule) => catalog.get('replication_rule', rule)?.remote_system_id === remote);
  const held = catalog.get(volumes.kind, resource)?.protection_policy_id;
  const known =
    catalog.list('policy').find(({ id }) => id === held) ??
    catalog
      .list('policy')
      .find(
        ({ is_replica, name, replication_rule_ids }) =>
          !is_replica && name.startsWith(volumes.name) && fits(replication_rule_ids),
      );
  let policy = known?.id;
  if (policy === undefined) {
    const name = `${volumes.name}.${world.trace.counts['policies made'] ?? 0}`;
    world.trace.count('policies made');
    const rule = await ask('replication_rule.create', '', { name, rpo: volumes.rpo, remote_system_id: remote });
    policy = String((await ask('policy.create', '', { name, replication_rule_ids: [rule.id] })).id);
  }
  await ask(`${volumes.kind}.modify`, resource, { protection_policy_id: policy });
}
