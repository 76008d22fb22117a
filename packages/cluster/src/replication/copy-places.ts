import { volumeId } from '@antipode/base';
import { RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { VolumeDocument } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import { Turns } from '../services/turns.ts';
import { refusedBy } from './offers.ts';
import type { PeerAnswer } from './peer-wire.ts';

type Named = { readonly name: string };
type Refused = Extract<PeerAnswer, { kind: 'refused' }>;

/** Where copies are kept at a destination: under the names that their volumes have at the source. */
export class CopyPlaces {
  readonly #catalog: Catalog;
  readonly #dataPlane: DataPlane;
  readonly #turns = new Turns<string>();

  constructor({ catalog, dataPlane }: { readonly catalog: Catalog; readonly dataPlane: DataPlane }) {
    this.#catalog = catalog;
    this.#dataPlane = dataPlane;
  }

  /**
   * Whoever looks for places and takes them does so alone, name by name: of two sources that want one name at once the second finds it
   * taken. What the catalog refuses all the same is the source's answer.
   */
  async take(volumes: readonly Named[], work: () => Promise<PeerAnswer>, group?: Named): Promise<PeerAnswer> {
    const names = volumes.map(({ name }) => `volume ${name}`);
    if (group !== undefined) names.push(`group ${group.name.toLowerCase()}`);
    // In one order for all: nobody holds what another one waits for.
    const ordered = [...new Set(names)].sort();
    try {
      return await ordered.reduceRight((inner, name) => () => this.#turns.take(name, inner), work)();
    } catch (error) {
      if (error instanceof RestError) return refusedBy(this.#catalog, error);
      throw error;
    }
  }

  /** A flagged leftover of the same name that no session uses; a name that is in use otherwise refuses all. */
  async find(
    volumes: readonly Named[],
  ): Promise<{ readonly kind: 'found'; readonly leftovers: ReadonlyMap<string, VolumeDocument> } | Refused> {
    const catalog = this.#catalog;
    const leftovers = new Map<string, VolumeDocument>();
    for (const { name } of volumes) {
      const named = catalog.list('volume', 'name', name).find((volume) => volume.type !== 'Snapshot');
      if (named === undefined) continue;
      const info = await this.#dataPlane.volume(volumeId(named.id));
      const owner = named.group_id == null ? undefined : catalog.get('volume_group', named.group_id);
      const isFree = named.is_replication_destination && info?.session === undefined;
      if (!isFree || (owner !== undefined && !owner.is_replication_destination))
        return refusedBy(catalog, new RestError('name_in_use', name));
      leftovers.set(name, named);
    }
    const [first, ...others] = leftovers.values();
    const apart = others.find(({ appliance_id }) => appliance_id !== first?.appliance_id);
    if (first !== undefined && apart !== undefined)
      return refusedBy(catalog, new RestError('other_appliance', apart.name, apart.appliance_id, first.appliance_id));
    return { kind: 'found', leftovers };
  }
}
