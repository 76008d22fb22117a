import { pointId, volumeId } from '@antipode/base';
import { isBlockError } from '@antipode/blocks';
import { type EnumValue, RestError } from '@antipode/contract';
import { timestamp, type VolumeDocument, type VolumePrivate } from '../catalog/documents.ts';
import { attachedTo } from './mappings.ts';
import { forgetVolume, type SnapshotDeps, type SnapshotService } from './snapshots.ts';
import { checkUnlocked, type NewVolume, newVolumeDocument, protectionOf } from './volume-document.ts';

/** An image that clones and restores are made from: a frozen point, and the volume whose part of it is meant. */
export interface Image {
  readonly point: string;
  readonly of: string;
}

type Hidden = VolumePrivate & { readonly fork?: Image };

const imagePurpose = 'image';

/** How volumes and clones come into being, are filled anew, and go: entered in the catalog before the engine hears of them [C7.3]. */
export class VolumeLife {
  readonly #deps: SnapshotDeps;
  readonly #snapshots: SnapshotService;

  constructor(deps: SnapshotDeps, snapshots: SnapshotService) {
    this.#deps = deps;
    this.#snapshots = snapshots;
  }

  /** Makes in the engine what the catalog says; also after a restart found it half-way. */
  async finish(volume: VolumeDocument): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    const hidden = catalog.private<Hidden>('volume', volume.id);
    const id = volumeId(volume.id);
    if (hidden?.fork !== undefined) {
      const { point, of } = hidden.fork;
      try {
        await dataPlane.fork({ id, name: volume.name, point: pointId(point), of: volumeId(of), tag: {} });
      } catch (error) {
        // Its image may have gone since: then it is whole already, or it will never be.
        if (!isBlockError(error) || error.code !== 'not_found') throw error;
        if ((await dataPlane.volume(id)) === undefined) {
          catalog.remove('volume', volume.id);
          throw error;
        }
      }
    } else if (volume.type === 'Clone') {
      // Killed before its image was frozen: an empty volume must not pass for it.
      return catalog.remove('volume', volume.id);
    } else if (volume.type !== 'Snapshot')
      await dataPlane.createVolume({
        id,
        name: volume.name,
        size: volume.size,
        destination: volume.is_replication_destination,
        tag: {},
      });
    else if (hidden?.point !== undefined && (await dataPlane.point(pointId(hidden.point))) === undefined) {
      // A snapshot that was never taken: nobody was told that it was.
      return catalog.remove('volume', volume.id);
    }
    catalog.change('volume', volume.id, { state: 'Ready' });
  }

  /** Removes a volume with its snapshots, or a snapshot; clones live on. */
  async destroy(volume: VolumeDocument): Promise<void> {
    if (volume.type === 'Snapshot') return this.#snapshots.destroy(volume);
    const { catalog, dataPlane } = this.#deps;
    for (const snapshot of this.snapshotsOf(volume.id)) await this.#snapshots.destroy(snapshot);
    await dataPlane.deleteVolume(volumeId(volume.id));
    forgetVolume(catalog, volume);
  }

  snapshotsOf(id: string): readonly VolumeDocument[] {
    return this.#deps.catalog.listByPrivate('volume', 'of', id).filter(({ type }) => type === 'Snapshot');
  }

  /** A document for a clone of `origin`. */
  cloneDocument(
    origin: VolumeDocument,
    given: Pick<NewVolume, 'name' | 'description' | 'group' | 'qosPolicy'>,
  ): VolumeDocument {
    const { random, clock } = this.#deps;
    return newVolumeDocument(this.#deps, {
      id: random.uuid(),
      size: origin.size,
      appliance: origin.appliance_id,
      type: 'Clone',
      protection: protectionOf(
        origin.protection_data.family_id,
        origin.id,
        origin.id,
        momentOf(origin, clock.now()),
        'User' satisfies EnumValue<'StorageCreatorType'>,
      ),
      ...given,
    });
  }

  /** Makes clones whose documents are in the catalog, all from one instant: `origins[n]` is what `clones[n]` is made of. */
  async clone(origins: readonly VolumeDocument[], clones: readonly VolumeDocument[]): Promise<void> {
    const { catalog } = this.#deps;
    await this.#withImages(origins, async (images) => {
      catalog.transaction(() => {
        clones.forEach((clone, index) => {
          catalog.put('volume', clone, { fork: images[index]! });
        });
      });
      for (const clone of clones) await this.finish(clone);
    });
  }

  /**
   * The content of volumes becomes that of others, all of one instant and all at one instant: one record of the engine. For more than one an
   * intent has the catalog say the same after a restart.
   */
  async replace(pairs: readonly { readonly volume: VolumeDocument; readonly origin: VolumeDocument }[]): Promise<void> {
    const { catalog, random, clock } = this.#deps;
    const moment = clock.now();
    await this.#withImages(
      pairs.map(({ origin }) => origin),
      async (images) => {
        const items = pairs.map(
          ({ volume, origin }, index): Replacement => ({
            volume: volume.id,
            ...images[index]!,
            source: origin.id,
            moment: momentOf(origin, moment),
          }),
        );
        const intent = { id: random.uuid(), kind: 'replace', data: { items } };
        if (items.length > 1) catalog.put('intent', intent);
        try {
          await this.#carryOut(items);
        } finally {
          catalog.remove('intent', intent.id);
        }
      },
    );
  }

  /** Ends replacements that a restart found half-way, and lets go of images that nobody needs any more. */
  async recover(): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    for (const intent of catalog.list('intent', 'kind', 'replace')) {
      await this.#carryOut(intent.data.items as readonly Replacement[]).catch(() => {
        // One of them is gone: there is nothing left to end.
      });
      catalog.remove('intent', intent.id);
    }
    for (const point of await dataPlane.points())
      if (point.kind === 'internal' && point.tag.purpose === imagePurpose && !point.dropped)
        await dataPlane.dropPoint(point.id);
  }

  async #carryOut(items: readonly Replacement[]): Promise<void> {
    const { catalog, dataPlane } = this.#deps;
    await dataPlane.restore(
      items.map(({ volume, point, of }) => ({ volume: volumeId(volume), point: pointId(point), of: volumeId(of) })),
    );
    for (const { volume, source, moment } of items) {
      const info = await dataPlane.volume(volumeId(volume));
      const present = catalog.get('volume', volume);
      if (info === undefined || present === undefined) continue;
      catalog.change('volume', volume, {
        size: info.size,
        protection_data: { ...present.protection_data, source_id: source, source_timestamp: moment },
      });
    }
  }

  /** Lends the frozen images of snapshots, or of volumes frozen together for the occasion. */
  async #withImages(
    origins: readonly VolumeDocument[],
    work: (images: readonly Image[]) => Promise<void>,
  ): Promise<void> {
    const { catalog, dataPlane, random, clock } = this.#deps;
    const live = origins.filter(({ type }) => type !== 'Snapshot').map(({ id }) => volumeId(id));
    const frozen = pointId(random.uuid());
    const images = origins.map((origin): Image => {
      if (origin.type !== 'Snapshot') return { point: frozen, of: origin.id };
      const hidden = catalog.private<VolumePrivate>('volume', origin.id);
      if (hidden?.point === undefined || hidden.of === undefined) throw new RestError('volume_not_found', origin.id);
      return { point: hidden.point, of: hidden.of };
    });
    if (live.length === 0) return work(images);
    const spec = { id: frozen, kind: 'internal', instant_ms: clock.now(), tag: { purpose: imagePurpose } } as const;
    await dataPlane.freeze(spec, live);
    try {
      await work(images);
    } finally {
      await dataPlane.dropPoint(frozen);
    }
  }
}

interface Replacement extends Image {
  readonly volume: string;
  readonly source: string;
  readonly moment: string | null;
}

/** The moment that a copy of `origin` shows. */
export const momentOf = (
  origin: { readonly type: string; readonly protection_data: { readonly source_timestamp: string | null } },
  now_ms: number,
): string | null => (origin.type === 'Snapshot' ? origin.protection_data.source_timestamp : timestamp(now_ms));

/** Refuses to remove a volume that a host reaches, or whose snapshots may not go with it: secure ones, and those that belong to a set. */
export function checkRemovable(
  { catalog, clock, life }: Pick<SnapshotDeps, 'catalog' | 'clock'> & { readonly life: VolumeLife },
  volume: VolumeDocument,
  exceptSetsOf?: string,
): void {
  const host = attachedTo(catalog, volume.id);
  if (host !== undefined) throw new RestError('volume_attached', volume.name, host);
  for (const snapshot of life.snapshotsOf(volume.id)) {
    checkUnlocked(snapshot, clock.now());
    const set = snapshot.group_id == null ? undefined : catalog.get('volume_group', snapshot.group_id);
    if (set !== undefined && (exceptSetsOf === undefined || set.protection_data.parent_id !== exceptSetsOf))
      throw new RestError('in_snapshot_set', volume.name, set.name);
  }
}
