import type { Catalog } from '../catalog/catalog.ts';
import type { VolumeDocument, VolumePrivate } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { type Move, moveOf } from './move.ts';

/** Appliances by id. */
export type Planes = ReadonlyMap<string, DataPlane>;

/** A move that the engines know of: where it goes from and to, as far as that is known. */
interface Stray {
  from?: string;
  to?: string;
}

/**
 * Makes an end of moves that the engines know of and the catalog does not, because it is an older one or was lost: whoever has the unit
 * serves it, and nothing of the move is left. Without it what was leaving would be served by nobody for ever.
 */
export async function endStrayMoves(
  planes: Planes,
  isKnown: (move: string) => boolean,
  moveBetween: (move: string, from: string, to: string) => Pick<Move, 'settle' | 'forget'>,
): Promise<void> {
  const strays = new Map<string, Stray>();
  const note = (move: string, stray: Stray) => {
    if (!isKnown(move)) strays.set(move, { ...strays.get(move), ...stray });
  };
  for (const [appliance, plane] of planes) {
    for (const { move } of await plane.departures()) note(move, { from: appliance });
    for (const { holds } of await plane.points())
      for (const hold of holds) {
        const move = moveOf(hold);
        if (move !== undefined) note(move, { from: appliance });
      }
    for (const { move } of await plane.arrivals()) note(move, { to: appliance });
  }
  for (const [move, stray] of strays) {
    // An end at which nothing is known of it may be any other: it is asked for nothing that it has.
    const other = [...planes.keys()].find((id) => id !== stray.from && id !== stray.to);
    const from = stray.from ?? other;
    const to = stray.to ?? other ?? from;
    if (from === undefined || to === undefined) continue;
    const found = moveBetween(move, from, to);
    await found.settle();
    await found.forget();
  }
}

/** Volumes and their snapshots are where the engines have them, whatever an older catalog says. */
export async function followPlaces(catalog: Catalog, planes: Planes): Promise<void> {
  const places = new Map<string, string>();
  for (const [appliance, plane] of planes)
    for (const { id, departing } of await plane.volumes()) if (!departing) places.set(id, appliance);
  catalog.transaction(() => {
    for (const volume of catalog.list('volume')) {
      const place = places.get(headOf(catalog, volume) ?? '');
      if (place !== undefined && place !== volume.appliance_id)
        catalog.change('volume', volume.id, { appliance_id: place });
    }
  });
}

/** The volume itself, or the one that a snapshot is of. */
export const headOf = (catalog: Catalog, volume: VolumeDocument): string | undefined =>
  volume.type === 'Snapshot' ? catalog.private<VolumePrivate>('volume', volume.id)?.of : volume.id;
