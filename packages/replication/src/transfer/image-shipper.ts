import type { Clock, VolumeId } from '@antipode/base';
import { BLOCK_BYTES, type BlockEngine, type DiffExtent, type Difference, type MovingImage } from '@antipode/blocks';
import { Batch } from './batch.ts';
import type { PeerSocket } from './data-network.ts';
import { transferLimits } from './limits.ts';
import type { Link } from './link.ts';
import { LinkLost } from './link-lost.ts';
import type { ChannelMessage } from './protocol.ts';
import { greet } from './relay.ts';
import { ShipRefused } from './shipment.ts';

export interface MoveOrder {
  readonly move: string;
  /** The appliance that the unit goes to. */
  readonly to: string;
  readonly volumes: readonly VolumeId[];
}

/** Bytes of data blocks. */
export interface MoveProgress {
  /** What this order found to do: exact once it has planned. */
  readonly total_bytes: number;
  readonly copied_bytes: number;
}

export interface ImageShipper {
  /** Ships every frozen image of the unit that is not there yet; all of them are proven there when it resolves. One order a move at a time. */
  move(order: MoveOrder): Promise<MoveProgress>;
  progress(move: string): MoveProgress | undefined;
  /** Resolves when nothing of the move is running. */
  cancel(move: string): Promise<void>;
}

/** The sending end of migrations within a cluster. */
export function createImageShipper(parts: {
  readonly engine: BlockEngine;
  readonly clock: Clock;
  readonly localSerial: string;
  readonly connect: (appliance: string) => Promise<PeerSocket>;
}): ImageShipper {
  const running = new Map<string, { readonly shipment: ImageShipment; readonly ended: Promise<MoveProgress> }>();
  return {
    async move(order) {
      const before = running.get(order.move);
      if (before !== undefined) {
        before.shipment.cancel();
        await before.ended.catch(() => undefined);
      }
      const shipment = new ImageShipment(parts.engine, order);
      const ended = shipment
        .run(async () => greet(await parts.connect(order.to), parts.localSerial, parts.clock))
        .finally(() => running.delete(order.move));
      running.set(order.move, { shipment, ended });
      return ended;
    },
    progress: (move) => running.get(move)?.shipment.progress,
    async cancel(move) {
      const entry = running.get(move);
      entry?.shipment.cancel();
      await entry?.ended.catch(() => undefined);
    },
  };
}

class ImageShipment {
  readonly #engine: BlockEngine;
  readonly #order: MoveOrder;
  readonly #stop = new AbortController();
  progress: MoveProgress = { total_bytes: 0, copied_bytes: 0 };

  constructor(engine: BlockEngine, order: MoveOrder) {
    this.#engine = engine;
    this.#order = order;
  }

  cancel(): void {
    this.#stop.abort(new LinkLost('the migration was stopped'));
  }

  async run(connect: () => Promise<Link>): Promise<MoveProgress> {
    const { signal } = this.#stop;
    const { moving } = this.#engine;
    const images = await moving.images(this.#order.volumes);
    const differences: Difference[] = [];
    for (const { image, parent } of images) {
      signal.throwIfAborted();
      differences.push(await moving.imageDifference(parent, image));
    }
    const blocks = differences.reduce((sum, { summary }) => sum + summary.data_blocks, 0);
    this.progress = { total_bytes: blocks * BLOCK_BYTES, copied_bytes: 0 };
    const link = await connect();
    const abort = () => link.close(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      for (const [index, image] of images.entries()) await this.#ship(link, image, differences[index]!);
      return this.progress;
    } finally {
      signal.removeEventListener('abort', abort);
      link.close();
    }
  }

  async #ship(link: Link, image: MovingImage, difference: Difference): Promise<void> {
    const { move } = this.#order;
    await link.send({ type: 'image', move, image });
    const { next, complete } = await answer(link, 'arriving');
    const { data_blocks } = difference.summary;
    if (complete) return this.#copied(data_blocks * BLOCK_BYTES);
    let batch = new Batch();
    let sinceSync = 0;
    let unanswered = 0;
    let shipped = 0;
    const send = async (): Promise<void> => {
      const payload = await this.#read(image.image, batch);
      await link.send({ type: 'runs', point: 0, pair: 0, runs: batch.runs }, payload);
      sinceSync += payload.length;
      shipped += batch.blocks;
      this.#copied(batch.blocks * BLOCK_BYTES);
      if (sinceSync >= transferLimits.window_bytes) {
        sinceSync = 0;
        unanswered += 1;
        await link.send({ type: 'sync', address: { point: 0, pair: 0, block: batch.end } });
      }
      // So much may be on its way above what is durable there.
      while (unanswered > transferLimits.inFlight_bytes / transferLimits.window_bytes) {
        await answer(link, 'durable');
        unanswered -= 1;
      }
      batch = new Batch();
    };
    for await (const extent of difference.extents(next)) {
      for (let rest: DiffExtent | undefined = extent; rest !== undefined; ) {
        rest = batch.add(rest);
        if (rest !== undefined || batch.full) await send();
      }
    }
    if (batch.runs.length > 0) await send();
    for (; unanswered > 0; unanswered -= 1) await answer(link, 'durable');
    // What an order before this one has brought.
    this.#copied((data_blocks - shipped) * BLOCK_BYTES);
    // Both read at the same time; what is not the same is not kept there.
    await link.send({ type: 'close_image' });
    const [digest] = await Promise.all([this.#engine.moving.imageDigest(image.image), answer(link, 'image_closed')]);
    await link.send({ type: 'image_proof', digest });
    const proven = await answer(link, 'arriving');
    if (!proven.complete)
      throw new ShipRefused('proof_mismatch', `image ${image.image} is not at the other appliance what it is here`);
  }

  /** Checksums of the data runs, then their bytes. */
  async #read(image: string, batch: Batch): Promise<Uint8Array> {
    const payload = new Uint8Array(batch.blocks * (BLOCK_BYTES + 8));
    let sumAt = 0;
    let at = batch.blocks * 8;
    for (const [block, count, zero] of batch.runs) {
      if (zero === 1) continue;
      const bytes = payload.subarray(at, at + count * BLOCK_BYTES);
      await this.#engine.moving.readImage(image, block, count, bytes, payload.subarray(sumAt, sumAt + count * 8));
      sumAt += count * 8;
      at += count * BLOCK_BYTES;
    }
    return payload;
  }

  #copied(bytes: number): void {
    this.progress = { ...this.progress, copied_bytes: this.progress.copied_bytes + bytes };
  }
}

async function answer<T extends ChannelMessage['type']>(
  link: Link,
  type: T,
): Promise<Extract<ChannelMessage, { type: T }>> {
  const { message } = await link.next();
  if (message.type === 'refused') throw new ShipRefused(message.code, message.message);
  if (message.type !== type) throw new LinkLost(`the other appliance answered ${message.type}, not ${type}`);
  return message as Extract<ChannelMessage, { type: T }>;
}
