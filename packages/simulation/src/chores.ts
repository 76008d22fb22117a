import { type VolumeId, volumeId } from '@antipode/base';
import { BLOCK_BYTES } from '@antipode/blocks';
import { RestError } from '@antipode/contract';
import { isAway } from './away.ts';
import { choose } from './choose.ts';
import { ProcessDied } from './process-died.ts';
import type { ProtectedVolumes, SideIndex } from './protected-volumes.ts';
import { marked } from './volumes.ts';
import { blocksEach, type World } from './world.ts';

/** What administrators do with protected volumes besides commands to their sessions, and how often against each other. */
const chores = {
  snapshot: 6,
  drop_snapshot: 4,
  clone: 2,
  grow: 1,
  add_member: 2,
  remove_member: 2,
} as const;
type Chore = keyof typeof chores;

const sizeMost = 6 * 2 ** 20;
/** Members beyond those that hosts use. */
const guestsMost = 3;

/** An administrator of the side that is the source, or now and then of the other one, does something. */
export function chore(world: World, volumes: ProtectedVolumes): void {
  const { operatorRandom: random, without } = world;
  const what = choose<Chore>(random, chores);
  const source = ([0, 1] as const).find((side) => volumes.half(side)?.role === 'source') ?? 0;
  const side = random.fraction() < 0.85 ? source : source === 0 ? 1 : 0;
  const at = random.fraction();
  if (without.has(what)) return;
  world.trace.count(`ordered ${what}`);
  world.tell(`${volumes.name}: ${what} at ${volumes.sides[side].site.name}`);
  world.onMoment('command', volumes);
  doIt(world, volumes, side, what, at).then(
    () => world.trace.count('chores done'),
    (error: unknown) => {
      if (error instanceof ProcessDied) return;
      world.tell(`${volumes.name}: ${what} refused: ${error instanceof Error ? error.message : String(error)}`);
      // A cluster that goes away in the middle is no answer of its own.
      if (!(error instanceof RestError) && !isAway(error)) world.unheard(error);
    },
  );
}

async function doIt(world: World, volumes: ProtectedVolumes, side: SideIndex, what: Chore, at: number): Promise<void> {
  const { site, volumes: own } = volumes.sides[side];
  const running = site.management;
  const resource = volumes.resource(side);
  if (running === undefined || resource === undefined) return;
  const ask = (verb: string, id: string, body: unknown = {}) => world.call(site.index, verb, id, body);
  const kind = own.length > 1 ? 'volume_group' : 'volume';
  const name = `${volumes.name}.${what}.${world.trace.counts[`ordered ${what}`]}`;
  switch (what) {
    case 'snapshot':
      return void (await ask(`${kind}.snapshot`, resource, { name }));
    case 'drop_snapshot': {
      const taken = running.catalog
        .list(kind, 'type', 'Snapshot')
        .filter(({ protection_data }) => protection_data.parent_id === resource);
      const one = taken[Math.floor(at * taken.length)];
      if (one !== undefined) await ask(`${kind}.delete`, one.id);
      return;
    }
    case 'clone': {
      if (kind === 'volume_group') return;
      const { id } = await ask('volume.clone', resource, { name });
      const engine = site.dataPlane?.engine;
      if (engine?.volume(id as VolumeId) !== undefined)
        await volumes.checkImage(engine, [id as VolumeId], 'a clone at');
      return void (await ask('volume.delete', String(id)));
    }
    case 'grow': {
      dropCopies(volumes);
      const id = own[Math.floor(at * own.length)]!;
      const { size } = running.catalog.get('volume', id)!;
      if (size < sizeMost) await ask('volume.modify', id, { size: size + 2 ** 20 });
      return;
    }
    case 'add_member': {
      if (kind === 'volume' || guestsAt(volumes, side).length >= guestsMost) return;
      dropCopies(volumes);
      const { id } = await ask('volume.create', '', { name, size: blocksEach * BLOCK_BYTES });
      const device = site.dataPlane?.engine.open(id as VolumeId);
      await device?.write(Math.floor(at * 100) * BLOCK_BYTES, marked(1, 0, 3), false);
      return void (await ask('volume_group.add_members', resource, { volume_ids: [id] }));
    }
    case 'remove_member': {
      const guests = guestsAt(volumes, side);
      const one = guests[Math.floor(at * guests.length)];
      if (kind === 'volume' || one === undefined) return;
      dropCopies(volumes);
      await ask('volume_group.remove_members', resource, { volume_ids: [one] });
      return void (await ask('volume.delete', one));
    }
  }
}

function dropCopies(volumes: ProtectedVolumes): void {
  for (const { site } of volumes.sides) site.dropCopies();
}

/** Members at a side besides those that hosts use. */
function guestsAt(volumes: ProtectedVolumes, side: SideIndex): readonly VolumeId[] {
  const { site, volumes: own } = volumes.sides[side];
  const pairs = site.dataPlane?.engine.half(volumes.session)?.pairs;
  const group = volumes.resource(side) ?? '';
  const members =
    pairs?.map(({ local }) => local) ??
    site.management?.catalog.list('volume', 'group_id', group).map(({ id }) => volumeId(id));
  return members?.filter((id) => !own.includes(id)) ?? [];
}
