import { passFaultPoint, type VolumeId } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockRun, Difference } from '../port/engine.ts';
import { BlockError } from '../port/errors.ts';
import type {
  Arrival,
  ArrivingImage,
  Departure,
  ImageId,
  Manifest,
  MovingEngine,
  MovingImage,
  MovingUnit,
} from '../port/moving.ts';
import type { Digest, PointSpec } from '../port/types.ts';
import type { Chain } from './chain.ts';
import type { EngineCore } from './core.ts';
import { differenceOf } from './difference.ts';
import type { Change } from './graph/changes.ts';
import {
  checkManifest,
  needArrival,
  needImage,
  planAdopt,
  planArrive,
  planArriveAnew,
  planDepart,
} from './graph/plan-moving.ts';
import { imagesOf, livingOf, manifestOf, unitOf } from './graph/unit.ts';
import type { LayerId } from './log/types.ts';
import { readBack, storeRuns } from './staging.ts';

/** Moves of units between engines: the embedded engine's part of {@link MovingEngine}. An image is a frozen layer with all below it. */
export class Moving implements MovingEngine {
  readonly #core: EngineCore;

  constructor(core: EngineCore) {
    this.#core = core;
  }

  unitOf(volumes: readonly VolumeId[]): MovingUnit {
    const { graph } = this.#core;
    for (const id of volumes)
      if (!graph.volumes.has(id)) throw new BlockError('not_found', `volume ${id} is not known`);
    const unit = unitOf(graph, volumes);
    return { volumes: livingOf(graph, unit), sessions: [...unit.halves] };
  }

  async images(volumes: readonly VolumeId[]): Promise<readonly MovingImage[]> {
    const { graph, log } = this.#core;
    const unit = unitOf(graph, volumes);
    // What the other engine could not take over is not copied either.
    checkManifest(manifestOf(graph, unit, '', undefined));
    const images = imagesOf(graph, unit);
    await log.durable();
    return images;
  }

  imageDifference(from: ImageId | undefined, to: ImageId): Promise<Difference> {
    return differenceOf(from === undefined ? undefined : this.#image(from), this.#image(to), this.#core.pages);
  }

  async readImage(
    image: ImageId,
    block: number,
    count: number,
    payload: Uint8Array,
    checksums: Uint8Array,
  ): Promise<void> {
    const chain = this.#image(image);
    if (block < 0 || count < 1 || (block + count) * BLOCK_BYTES > chain.size || checksums.length !== count * 8)
      throw new BlockError('out_of_range', `blocks ${block} to ${block + count} are outside of the image`);
    const sums = new BigUint64Array(count);
    await this.#core.read(chain, block, count, payload, sums, this.#volumeOf(image));
    checksums.set(new Uint8Array(sums.buffer));
  }

  imageDigest(image: ImageId): Promise<Digest> {
    return this.#core.digests.root(this.#image(image));
  }

  async depart(move: string, volumes: readonly VolumeId[], point: PointSpec): Promise<Manifest> {
    const { graph } = this.#core;
    // What the other engine could not take over stays.
    checkManifest(manifestOf(graph, unitOf(graph, volumes), move, undefined));
    await this.#do(planDepart(graph, move, volumes, point));
    const departure = graph.departures.get(move);
    if (departure === undefined) throw new BlockError('stale', `migration ${move} was given up meanwhile`);
    return manifestOf(graph, unitOf(graph, departure.volumes), move, departure.point);
  }

  async stay(move: string): Promise<void> {
    await this.#do(this.#core.graph.departures.has(move) ? { op: 'stay', move } : undefined);
  }

  async departed(move: string): Promise<void> {
    await this.#do(this.#core.graph.departures.has(move) ? { op: 'departed', move } : undefined);
  }

  departures(): readonly Departure[] {
    return [...this.#core.graph.departures.values()].map(({ move, volumes }) => ({ move, volumes }));
  }

  async openImage(move: string, image: MovingImage): Promise<ArrivingImage> {
    await this.#do(planArrive(this.#core.graph, move, image));
    const { next, complete } = needImage(this.#core.graph, move, image.image);
    return { next, complete };
  }

  writeImage(move: string, image: ImageId, runs: readonly BlockRun[]): void | Promise<void> {
    const { graph } = this.#core;
    const { layer, next, complete } = needImage(graph, move, image);
    if (complete) throw new BlockError('stale', `image ${image} is complete`);
    storeRuns(this.#core, layer, graph.layers.get(layer)!.size, next, runs);
    return this.#core.log.written();
  }

  async syncImage(move: string, image: ImageId, next: number): Promise<void> {
    const known = needImage(this.#core.graph, move, image);
    if (next > known.next) this.#core.order({ op: 'image_address', move, image, next });
    await this.#core.log.durable();
  }

  async closeImage(move: string, image: ImageId): Promise<Digest> {
    const core = this.#core;
    const { layer, complete } = needImage(core.graph, move, image);
    if (!complete) {
      await readBack(core, layer, undefined, () => undefined);
      core.digests.forget(layer);
    }
    return core.digests.root(core.chains.of(layer));
  }

  async proveImage(move: string, image: ImageId, digest: Digest): Promise<ArrivingImage> {
    const { graph, chains, digests } = this.#core;
    const { layer } = needImage(graph, move, image);
    const equal = (await digests.root(chains.of(layer))) === digest;
    // Meanwhile it may have begun anew, or have been proven by another connection.
    const now = needImage(graph, move, image);
    if (now.layer === layer && !now.complete) {
      const next = graph.layers.get(layer)!.size / BLOCK_BYTES;
      await this.#do(
        equal ? { op: 'image_address', move, image, next, complete: true } : planArriveAnew(graph, move, image),
      );
    }
    const { next, complete } = needImage(graph, move, image);
    return { next, complete };
  }

  async adopt(move: string, epoch: number, manifest: Manifest): Promise<void> {
    await this.#do(planAdopt(this.#core.graph, move, epoch, manifest));
    for (const { id } of manifest.volumes) this.#core.emit({ kind: 'access_changed', volume: id });
  }

  async settleArrival(move: string): Promise<Arrival> {
    const { graph } = this.#core;
    const known = graph.arrivals.get(move);
    const open = known !== undefined && !known.adopted;
    await this.#do(open ? { op: 'arrival_epoch', move, epoch: known.epoch + 1 } : undefined);
    return known === undefined ? { move, epoch: 1, adopted: false } : arrivalOf(needArrival(graph, move));
  }

  async forgetArrival(move: string): Promise<void> {
    await this.#do(this.#core.graph.arrivals.has(move) ? { op: 'forget_arrival', move } : undefined);
  }

  arrivals(): readonly Arrival[] {
    return [...this.#core.graph.arrivals.values()].map(arrivalOf);
  }

  #image(image: ImageId): Chain {
    const layer = Number(image) as LayerId;
    if (!this.#core.graph.layers.has(layer)) throw new BlockError('not_found', `image ${image} is not known`);
    return this.#core.chains.of(layer);
  }

  /** A volume that shows the image, for whoever hears of damage in it. */
  #volumeOf(image: ImageId): VolumeId | undefined {
    const { points, volumes } = this.#core.graph;
    const layer = Number(image) as LayerId;
    for (const { members } of points.values())
      for (const member of members) if (member.layer === layer) return member.volume;
    for (const { id, top } of volumes.values()) if (top === layer) return id;
    return undefined;
  }

  async #do(change: Change | undefined): Promise<void> {
    if (change !== undefined) {
      this.#core.order(change);
      passFaultPoint(`engine.${change.op}.ordered`);
    }
    await this.#core.log.durable();
    if (change !== undefined) passFaultPoint(`engine.${change.op}.durable`);
  }
}

const arrivalOf = ({ move, epoch, adopted }: Arrival): Arrival => ({ move, epoch, adopted });
