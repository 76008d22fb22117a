import type { VolumeId } from '@antipode/base';
import { BLOCK_BYTES, type DamagedRange } from '@antipode/blocks';
import { durableBlocks, headerCopies } from '@antipode/blocks/testing';
import type { ProtectedVolumes, SideIndex } from './protected-volumes.ts';
import type { Site } from './site.ts';
import { markBytes } from './volumes.ts';
import type { World } from './world.ts';

/** Places that rot at once, at most. */
const placesMost = 3;
/** How often an operator looks for damage, and mends it, before it is one that does not go away. */
const roundsMost = 3;

/** Bits of some blocks turn on a disk: blocks that are needed and such that are not. */
export function rot(world: World): void {
  const { rotRandom: random, sites, trace } = world;
  const choice = (most: number) => Math.floor(random.fraction() * most);
  const site = sites[choice(sites.length)]!;
  const places = durableBlocks(site.disk);
  trace.count('evil rot');
  for (let left = 1 + choice(placesMost); left > 0 && places.length > 0; left--) {
    const { name, offset } = places[choice(places.length)]!;
    // Every other time where a block says what it is.
    site.disk.flip(name, offset + choice(choice(2) === 0 ? markBytes : BLOCK_BYTES), choice(8));
    site.rotten = true;
    world.tell(`evil rot at ${site.name}, in ${name} at ${offset}`);
    trace.count('blocks rotted');
  }
}

/** Bits turn in one of the two copies of a segment's header: nothing may come of it, and nothing is damaged. */
export function rotHeader(world: World): void {
  const { headerRandom: random, sites, trace } = world;
  const choice = (most: number) => Math.floor(random.fraction() * most);
  const site = sites[choice(sites.length)]!;
  const places = headerCopies(site.disk);
  const place = places[choice(places.length)];
  const at = choice(headerUsed_bytes);
  if (place === undefined) return;
  trace.count('evil rot_header');
  site.disk.flip(place.name, place.offset + at, choice(8));
  world.tell(`evil rot_header at ${site.name}, in ${place.name} at ${at}`);
}

/** Of a copy of a header, what says something. */
const headerUsed_bytes = 64;

/** Share of the reads that are wrong while a disk reads wrongly. */
const wrongReads = 0.01;

/** For a while a disk gives out wrong bytes now and then; what lies on it is whole, and has to be again. */
export function misread(world: World): void {
  const { rotRandom: random, sites, trace, scheduler } = world;
  const site = sites[Math.floor(random.fraction() * sites.length)]!;
  const lasting = (0.5 + random.fraction()) * longest_ms * random.fraction() ** 2;
  trace.count('evil misread');
  world.tell(`evil misread at ${site.name} for ${Math.round(lasting)}`);
  const read = (_name: string, _offset: number, target: Uint8Array) => {
    if (target.length > 0 && random.fraction() < wrongReads)
      target[Math.floor(random.fraction() * target.length)]! ^= 1 << Math.floor(random.fraction() * 8);
    return undefined;
  };
  site.disk.faults = { ...site.disk.faults, read };
  site.readsWrongly = true;
  scheduler.after(lasting, () => readsWell(site));
}

export function readsWell(site: Site): void {
  const { read: _, ...rest } = site.disk.faults;
  site.disk.faults = rest;
  site.readsWrongly = false;
}

/** What a scrub finds that somebody can see, by volume. */
type Found = readonly DamagedRange[];

/** An operator has a site verified, again where that was interrupted; undefined: it could not be done. */
async function scrubbed(world: World, site: Site): Promise<Found | undefined> {
  for (let attempt = 0; attempt < roundsMost; attempt++) {
    await world.reached(() => site.isUp, 10 * 60 * second);
    const found = await scrubbedOnce(world, site);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What is asked of a process that ends meanwhile is never answered: whoever asks gives up. */
const answered = <T>(world: World, work: Promise<T>): Promise<T | undefined> =>
  world.until(Promise.race([work.catch(() => undefined), world.scheduler.wait(patience_ms).then(() => undefined)]));

async function scrubbedOnce(world: World, site: Site): Promise<Found | undefined> {
  const services = site.management?.services;
  if (services === undefined) return undefined;
  const plane = services.storage.dataPlane;
  const ended = async () => {
    const status = await answered(world, plane.scrubStatus());
    return status?.state !== 'running' ? (status ?? 'none') : undefined;
  };
  // One that runs may have passed what has rotted since.
  for (let wait = 0; (await ended()) === undefined && wait < 60; wait++) await world.pass(second);
  if ((await answered(world, services.scrubs.start('admin', {}))) === undefined) return undefined;
  for (let wait = 0; wait < 600; wait++) {
    const status = await ended();
    if (status === 'none') return undefined;
    if (status === undefined) {
      await world.pass(second);
      continue;
    }
    world.trace.count('scrubs');
    // Its alerts are entered.
    await world.pass(second);
    return status.damages.flatMap(({ seen }) => seen);
  }
  return undefined;
}

/** Of what is damaged, what a session's members at a site show. */
function membersAmong(volumes: ProtectedVolumes, side: SideIndex, found: Found): Found {
  const pairs = volumes.half(side)?.pairs ?? [];
  return found.filter(({ volume }) => pairs.some(({ local }) => local === volume));
}

/**
 * An operator does what the guide asks where stored data is damaged: blocks are written again at the source, whichever side has lost them,
 * and snapshots that show them are deleted.
 */
export async function treat(world: World, volumes: ProtectedVolumes): Promise<void> {
  for (const side of [0, 1] as const) {
    const { site } = volumes.sides[side];
    if (!site.rotten || world.violation !== undefined) continue;
    const found = await scrubbed(world, site);
    if (found === undefined) continue;
    const seen = membersAmong(volumes, side, found);
    for (const { volume } of seen)
      if (!isTold(site, volume))
        world.violate('b-flushed-survives', `${site.name} has damaged blocks of ${volume}, and no alert says so`);
    await writtenAgain(world, volumes, side, seen);
    if (seen.some(({ points }) => points.some(({ id }) => site.dataPlane?.engine.point(id)?.kind !== 'internal')))
      await dropSnapshots(world, volumes, side, seen);
  }
}

const isTold = ({ management }: Site, volume: VolumeId): boolean =>
  management === undefined ||
  management.services.reporter.active('damage').some(({ resource_id }) => resource_id === volume);

async function writtenAgain(world: World, volumes: ProtectedVolumes, side: SideIndex, seen: Found): Promise<void> {
  const source = ([0, 1] as const).find((index) => volumes.half(index)?.role === 'source');
  if (source === undefined) return;
  for (const { volume, offset, length } of seen) {
    const pair = volumes.half(side)!.pairs.find(({ local }) => local === volume)!;
    const there = source === side ? pair.local : pair.remote;
    await answered(world, volumes.rewrite(source, there, offset / BLOCK_BYTES, length / BLOCK_BYTES));
  }
}

/** Those of the session's resource, and those that show what is damaged: of a group that was there before, say. */
async function dropSnapshots(world: World, volumes: ProtectedVolumes, side: SideIndex, seen: Found): Promise<void> {
  const { site } = volumes.sides[side];
  const resource = volumes.resource(side);
  const showing = new Set<string>(seen.flatMap(({ points }) => points.map(({ id }) => id)));
  const catalog = site.management?.catalog;
  for (const kind of ['volume_group', 'volume'] as const) {
    const taken = catalog
      ?.list(kind, 'type', 'Snapshot')
      .filter(
        ({ id, protection_data }) =>
          protection_data.parent_id === resource ||
          showing.has(catalog.private<{ readonly point?: string }>(kind, id)?.point ?? ''),
      );
    for (const { id } of taken ?? []) await answered(world, world.call(site.index, `${kind}.delete`, id, {}));
  }
}

/** After all that, nothing is damaged that a member of a session shows, and nothing says so any more. */
export async function mended(
  world: World,
  site: Site,
  settle: (world: World, volumes: ProtectedVolumes) => Promise<void>,
): Promise<void> {
  for (let round = 0; world.violation === undefined; round++) {
    const found = await scrubbed(world, site);
    if (found === undefined) return;
    const concerned = world.protectedVolumes.filter((volumes) => {
      const side = volumes.sideOf(site);
      return side !== undefined && membersAmong(volumes, side, found).length > 0;
    });
    if (concerned.length === 0) {
      const told = world.protectedVolumes.find(({ sides }) =>
        sides.some((side) => side.site === site && side.volumes.some((volume) => isTold(site, volume))),
      );
      if (told !== undefined && site.management !== undefined)
        return world.violate('e-converges', `${site.name} still says that ${told.name} is damaged, and it is whole`);
      site.rotten = found.length > 0;
      return world.trace.count('sites mended');
    }
    if (round === roundsMost)
      return world.violate(
        'e-converges',
        `${concerned[0]!.name} stays damaged at ${site.name}: ${JSON.stringify(found)}`,
      );
    for (const volumes of concerned) await settle(world, volumes);
  }
}

const second = 1000;
const patience_ms = 60 * second;
const longest_ms = 30 * 60 * second;
