import { type Clock, type VolumeId, volumeId } from '@antipode/base';
import { type BlockDevice, type BlockEngine, BlockError, type VolumeInfo } from '@antipode/blocks';
import { type ExportSource, isNbdError, type NbdClientIdentity, type OpenExport } from '@antipode/hosts';
import type { HostAccessTable } from './host-access.ts';
import type { IoStatistics } from './io-statistics.ts';
import { type Route, RoutedDevice, routing } from './routed-device.ts';
import type { Search, Siblings } from './siblings.ts';
import type { VolumeLimits } from './volume-limits.ts';

interface Parts {
  readonly engine: BlockEngine;
  readonly io: IoStatistics;
  readonly limits: VolumeLimits;
}

/** Volumes of this appliance, as the other ones of the cluster reach them: whom they let in, they have asked themselves. */
export const ownExports = (parts: Parts): ExportSource => ({
  list: () => servedHere(parts.engine).map(({ id, name }) => ({ name, aliases: [id] })),
  open(name) {
    const volume = findHere(parts.engine, name);
    return volume && opened(parts, volume, deviceHere(parts, volume.id));
  },
});

/** Every volume of the cluster that a client may open is an export, by name and by id, whichever appliance has it. */
export function clusterExports(
  parts: Parts & {
    readonly access: HostAccessTable;
    readonly siblings: Pick<Siblings, 'ids' | 'list' | 'find' | 'open'>;
    readonly clock: Clock;
  },
): ExportSource {
  const { engine, access, siblings, clock } = parts;
  const alone = siblings.ids.length === 0;
  const listed = (client: NbdClientIdentity, volumes: readonly { readonly id: string; readonly name: string }[]) =>
    volumes.filter(({ id }) => access.mayOpen(client, id)).map(({ id, name }) => ({ name, aliases: [id] }));
  // A host that was detached while its request waited is not served any more [C11.2].
  const refusalOf =
    (client: NbdClientIdentity, id: VolumeId): Refusal =>
    () =>
      access.mayOpen(client, id) ? undefined : new BlockError('read_only', 'the host was detached from the volume');
  return {
    list(client) {
      const here = listed(client, servedHere(engine));
      if (alone) return here;
      return siblings.list().then((others) => [...here, ...listed(client, others)]);
    },
    open(name, client) {
      const here = findHere(engine, name);
      if (here === undefined) return alone ? undefined : openElsewhere(name, client);
      if (!access.mayOpen(client, here.id)) return undefined;
      const refusal = refusalOf(client, here.id);
      const device = deviceHere(parts, here.id, refusal);
      return opened(parts, here, ofHost(parts, client, alone ? device : routed(parts, here.id, device, refusal)));
    },
  };

  /** Waits a little for a volume that is on its way. */
  async function openElsewhere(name: string, client: NbdClientIdentity): Promise<OpenExport | undefined> {
    const end = clock.monotonic() + routing.openMost_ms;
    for (;;) {
      const found = await search(parts, name);
      if (typeof found !== 'string') {
        if (!access.mayOpen(client, found.id)) return undefined;
        const id = volumeId(found.id);
        const refusal = refusalOf(client, id);
        const device = await routeOf(parts, id, refusal);
        if (typeof device !== 'string')
          return opened(parts, found, ofHost(parts, client, routed(parts, id, device, refusal)));
      } else if (found === 'nowhere') return undefined;
      if (clock.monotonic() > end) throw new BlockError('closed', 'the volume is served by no appliance now');
      await clock.sleep(routing.retry_ms);
    }
  }
}

type RoutingParts = Parts & { readonly siblings: Pick<Siblings, 'find' | 'open'>; readonly clock: Clock };

/** Why a request that had to wait is not served any more. */
type Refusal = () => BlockError | undefined;

const routed = (parts: RoutingParts, id: VolumeId, device: BlockDevice, refusal: Refusal): BlockDevice =>
  new RoutedDevice(device, () => routeOf(parts, id, refusal), parts.clock);

/** Where a volume is served now. */
async function routeOf(parts: RoutingParts, id: VolumeId, refusal: Refusal): Promise<Route> {
  const found = await search(parts, id);
  if (found === 'nowhere') return 'nowhere';
  if (found === 'away') return 'unknown';
  if (!('appliance' in found)) return deviceHere(parts, id, refusal);
  try {
    return await parts.siblings.open(found);
  } catch (error) {
    // It was there a moment ago: it is being started again, or the volume has moved on.
    if (isNbdError(error)) return 'unknown';
    throw error;
  }
}

/**
 * Who serves a volume of this id or name. One look may meet a move half-way: the new owner before it was one, and the old one when it
 * was one no more. The next look finds it.
 */
async function search({ engine, siblings }: RoutingParts, name: string): Promise<VolumeInfo | Search> {
  const look = async (): Promise<VolumeInfo | Search> => {
    const here = named(engine, name);
    if (here !== undefined && !here.departing) return here;
    const found = await siblings.find(name);
    return found === 'nowhere' && here !== undefined ? 'away' : found;
  };
  const found = await look();
  return found === 'nowhere' ? look() : found;
}

/** Hosts are counted, and held to their rates, where the volume is: however they come there. */
const deviceHere = ({ engine, io, limits }: Parts, id: VolumeId, refusal: Refusal = () => undefined): BlockDevice =>
  io.counted(id, limits.limited(id, engine.open(id), refusal));

/** A host that proves who it is is counted where it comes in. */
const ofHost = ({ io }: Parts, { auth }: NbdClientIdentity, device: BlockDevice): BlockDevice =>
  auth.kind === 'certificate' ? io.countedHost(auth.names, device) : device;

const opened = (
  { limits }: Parts,
  { id, name }: { readonly id: string; readonly name: string },
  device: BlockDevice,
): OpenExport => ({ name, id, device, inFlight_bytes: () => limits.inFlight_bytes(id) });

const servedHere = (engine: BlockEngine): readonly VolumeInfo[] =>
  engine.volumes().filter(({ departing }) => !departing);

function named(engine: BlockEngine, name: string): VolumeInfo | undefined {
  return engine.volume(volumeId(name)) ?? engine.volumes().find((known) => known.name === name);
}

function findHere(engine: BlockEngine, name: string): VolumeInfo | undefined {
  const volume = named(engine, name);
  return volume?.departing ? undefined : volume;
}
