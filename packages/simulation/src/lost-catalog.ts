import { RestError } from '@antipode/contract';
import { isAway } from './away.ts';
import { protect } from './endings.ts';
import { ProcessDied } from './process-died.ts';
import type { ProtectedVolumes, SideIndex } from './protected-volumes.ts';
import type { Site } from './site.ts';
import type { World } from './world.ts';

const minute = 60_000;
/** How often an administrator tries again what could not be done. */
const again_ms = 10 * minute;
/** What a rebuilt cluster has to be a pair again, once nothing is in its way. */
const paired_ms = 30 * minute;

/** A site's whole catalog is lost, with all copies of it. An administrator hears of it and does what the guide asks. */
export function loseWholeCatalog(world: World): void {
  const { lossRandom: random, sites, trace, scheduler } = world;
  const site = sites[Math.floor(random.fraction() * sites.length)]!;
  const heard_ms = (0.5 + random.fraction() * 5) * minute;
  if (site.hasLostCatalog || !site.eraseCatalog()) return;
  trace.count('evil lose_whole_catalog');
  world.tell(`evil lose_whole_catalog at ${site.name}`);
  const attend = () => {
    if (!site.hasLostCatalog) return;
    site.askRebuild();
    attended(world, site).catch((error: unknown) => {
      if (!isRefusal(error)) world.unheard(error);
    });
    scheduler.after(again_ms, attend);
  };
  scheduler.after(heard_ms, attend);
}

const isRefusal = (error: unknown): boolean =>
  error instanceof RestError || error instanceof ProcessDied || isAway(error);

async function attended(world: World, site: Site): Promise<void> {
  await pairedAnew(world, site);
  for (const { volumes, side } of unprotectedAt(world, site)) await protect(world, volumes, side);
}

/** Peers whose certificate and entry went with the catalog are exchanged and entered again. */
async function pairedAnew(world: World, site: Site): Promise<void> {
  for (const peer of world.peersOf(site)) {
    if (!site.isUp || knows(site, peer)) continue;
    await world.pairNow(site, peer);
    world.trace.count('paired anew');
  }
}

const knows = (site: Site, peer: Site): boolean =>
  (site.management?.catalog.list('remote_system', 'serial_number', peer.serial).length ?? 0) > 0;

/** Sources here whose policy went with the catalog. */
function unprotectedAt(
  world: World,
  site: Site,
): readonly { readonly volumes: ProtectedVolumes; readonly side: SideIndex }[] {
  return world.protectedVolumes.flatMap((volumes) => {
    const side = volumes.sideOf(site);
    const half = side === undefined ? undefined : volumes.half(side);
    if (side === undefined || half?.role !== 'source' || half.state === 'Deleting') return [];
    const resource = site.management?.catalog.get(volumes.kind, volumes.resource(side) ?? '');
    return resource?.protection_policy_id === null ? [{ volumes, side }] : [];
  });
}

/** Nothing goes wrong any more: the cluster has its catalog and its peers again. */
export async function madeAnew(world: World, site: Site): Promise<void> {
  if (!site.hasLostCatalog) return;
  site.askRebuild();
  await world.reached(() => world.sites.every(({ isUp }) => isUp), 10 * minute);
  for (let attempt = 0; attempt < 3 && !world.peersOf(site).every((peer) => knows(site, peer)); attempt++) {
    await world.until(
      pairedAnew(world, site).catch((error: unknown) => {
        if (!isRefusal(error)) throw error;
      }),
    );
    await world.reached(() => world.peersOf(site).every((peer) => knows(site, peer)), paired_ms / 3);
  }
  if (!world.peersOf(site).every((peer) => knows(site, peer)))
    world.violate('e-converges', `${site.name} cannot be paired again after the loss of its catalog`);
}

/** What the guide asks for last, when sessions are what they are: policies. */
export async function protectedAnew(world: World, site: Site): Promise<void> {
  if (!site.hasLostCatalog || world.violation !== undefined) return;
  for (const { volumes, side } of unprotectedAt(world, site)) {
    world.tell(`${volumes.name}: protected anew at ${site.name}`);
    await world.until(protect(world, volumes, side));
    world.trace.count('protected anew');
  }
  site.hasLostCatalog = false;
  world.trace.count('lost catalogs made anew');
}
