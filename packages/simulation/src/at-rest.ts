import { type Image, unreadable } from './history.ts';
import type { ProtectedVolumes } from './protected-volumes.ts';
import { imageOf } from './volumes.ts';

/** Snapshots that are at both sides are the same at both, and each is one moment [a]; how a pair differs, or undefined. */
export async function snapshotsDiffer(watched: ProtectedVolumes, most: number): Promise<string | undefined> {
  const [a, b] = watched.sides.map(({ site, volumes }) => ({ engine: site.dataPlane?.engine, site, volumes }));
  if (a!.engine === undefined || b!.engine === undefined) return undefined;
  const shared = a!.engine
    .pointsOf(a!.volumes)
    .filter(({ id, kind }) => kind !== 'internal' && b!.engine!.point(id) !== undefined);
  for (const { id } of shared.slice(-most)) {
    const images: Image[] = [];
    for (const { engine, volumes, site } of [a!, b!]) {
      const members = engine!.point(id)!.members.map(({ volume }) => volume);
      if (!volumes.every((volume) => members.includes(volume))) break;
      const image = await watched.image(site, engine!, volumes, id);
      watched.momentOf(image, `a snapshot at ${site.name} shows`);
      images.push(image);
    }
    if (images.length < 2) continue;
    watched.count('snapshots compared');
    const differing = images[0]!.findIndex(
      (mark, block) => images[1]![block] !== mark && mark !== unreadable && images[1]![block] !== unreadable,
    );
    if (differing >= 0) return `snapshot ${id} differs at block ${differing}`;
  }
  return undefined;
}

/** How two sides at rest differ [e]; undefined: not at all. */
export async function sidesDiffer(watched: ProtectedVolumes): Promise<string | undefined> {
  const images: Image[] = [];
  for (const side of watched.sides) {
    const engine = side.site.dataPlane?.engine;
    if (engine === undefined) return `${side.site.name} is not running`;
    const image = await watched.stable(engine, side.volumes);
    if (image === undefined) return 'it moves';
    if (image.includes(unreadable)) return `a block cannot be read at ${side.site.name}`;
    images.push(image);
  }
  const differing = images[0]!.findIndex((mark, block) => images[1]![block] !== mark);
  if (differing < 0) return othersDiffer(watched);
  return `block ${differing} differs: ${images[0]![differing]}, ${images[1]![differing]}`;
}

/** How sizes, or members that hosts do not use, differ. */
async function othersDiffer({ sides, session, blocksEach }: ProtectedVolumes): Promise<string | undefined> {
  const [a, b] = sides.map(({ site }) => site.dataPlane?.engine);
  const pairs = a?.half(session)?.pairs ?? [];
  if (a === undefined || b === undefined) return 'one side is not running';
  if (pairs.length !== b.half(session)?.pairs.length) return 'one side has more members';
  for (const { local, remote } of pairs) {
    if (a.volume(local)?.size !== b.volume(remote)?.size) return `the sizes of ${local} and ${remote} differ`;
    if (sides[0].volumes.includes(local)) continue;
    const guests = await Promise.all([imageOf(a, [local], blocksEach), imageOf(b, [remote], blocksEach)]);
    if (guests[0].some((mark, block) => mark !== guests[1][block])) return `members ${local} and ${remote} differ`;
  }
  return undefined;
}
