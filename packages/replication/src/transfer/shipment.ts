import type { Clock, PointId, VolumeId } from '@antipode/base';
import {
  BLOCK_BYTES,
  type BlockEngine,
  type CyclePlan,
  compareAddress,
  type DiffExtent,
  type Difference,
  type Digest,
  type RestartAddress,
} from '@antipode/blocks';
import { Batch } from './batch.ts';
import { BufferPool } from './buffer-pool.ts';
import { type Frame, frameBuffer_bytes } from './frame-codec.ts';
import { transferLimits } from './limits.ts';
import type { Link } from './link.ts';
import { LinkLost } from './link-lost.ts';
import { Pace } from './pace.ts';
import { receiveProof, sendPlan } from './plan-messages.ts';
import type { ChannelMessage, RefusalCode, WireRun } from './protocol.ts';
import type { ShipOrder, ShipProgress } from './types.ts';

/** The destination, or the proof, said no. */
export class ShipRefused extends Error {
  readonly code: RefusalCode | 'proof_mismatch';
  constructor(code: RefusalCode | 'proof_mismatch', message: string) {
    super(message);
    this.code = code;
  }
}

interface Image {
  readonly point: number;
  readonly pair: number;
  readonly volume: VolumeId;
  readonly to: PointId;
}

/** An image to read, and how it differs from the one before. */
interface Part extends Image {
  readonly difference: Difference;
}

/**
 * One cycle on its way: plans the differences, sends what the destination does not have durably, has it proven, and has it
 * committed. What is on its way above the durable address is bounded [C3.6].
 */
export class Shipment {
  readonly #engine: BlockEngine;
  readonly #clock: Clock;
  readonly #order: ShipOrder;
  readonly #onProgress: ((progress: ShipProgress) => void) | undefined;
  #progress: ShipProgress = {
    total_bytes: 0,
    copied_bytes: 0,
    shipped_bytes: 0,
    address: { point: 0, pair: 0, block: 0 },
    phase: 'planning',
  };
  #told = Number.NEGATIVE_INFINITY;
  readonly #stop = new AbortController();
  readonly #pace: Pace;
  /** Buffers of frames: given back when the link has taken what is in them. */
  readonly #pool = new BufferPool(frameBuffer_bytes(), transferLimits.spareBuffers);
  /** Syncs asked for and not yet acknowledged, oldest first. */
  #windows: { readonly address: RestartAddress; readonly bytes: number }[] = [];
  #unacknowledged = 0;
  #sinceSync = 0;
  #budget = 0;
  #budgetAt: number;

  constructor(
    options: { readonly engine: BlockEngine; readonly clock: Clock },
    order: ShipOrder,
    onProgress?: (progress: ShipProgress) => void,
  ) {
    this.#engine = options.engine;
    this.#clock = options.clock;
    this.#order = order;
    this.#onProgress = onProgress;
    this.#budgetAt = options.clock.monotonic();
    this.#pace = new Pace(options.clock);
  }

  get progress(): ShipProgress {
    return this.#progress;
  }

  /** Aborted once the shipment is cancelled. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  cancel(): void {
    this.#stop.abort(new LinkLost('the cycle was stopped'));
  }

  /** Runs the cycle to its end over a fresh link; the digests of the pairs at the target. */
  async run(link: Link): Promise<readonly Digest[]> {
    this.signal.throwIfAborted();
    this.signal.addEventListener('abort', () => link.close(this.signal.reason as Error), { once: true });
    const { plan, end } = this.#order;
    const mirrored: CyclePlan = {
      ...plan,
      pairs: plan.pairs.map(({ local, remote, ...rest }) => ({ local: remote, remote: local, ...rest })),
    };
    await sendPlan(link, mirrored);
    const opened = await this.#answer(link, 'opened', 'committed');
    if (opened.type === 'committed') return opened.digests;
    const parts = await this.#plan(opened.address);
    this.#tell({ phase: 'copying' });
    for (const part of parts) await this.#copy(link, part, opened.address);
    await this.#sync(link, { point: plan.points.length, pair: 0, block: 0 });
    while (this.#windows.length > 0) await this.#acknowledge(link);
    this.#tell({ phase: 'proving' }, true);
    const digests = await this.#prove(link);
    if (end === 'prove') return digests;
    this.#tell({ phase: 'committing' }, true);
    await link.send({ type: 'commit', digests });
    await this.#answer(link, 'committed');
    return digests;
  }

  // --- planning -----------------------------------------------------------------------------------------------------

  async #plan(address: RestartAddress): Promise<readonly Part[]> {
    const { plan } = this.#order;
    const parts: Part[] = [];
    let total = 0;
    let copied = 0;
    // Each pair goes from the base, if it has an image there, through the points that it is in.
    const from = plan.pairs.map((pair) => (pair.whole ? undefined : plan.base));
    for (const [point, target] of plan.points.entries()) {
      for (const [pair, { local }] of plan.pairs.entries()) {
        if (target.sizes[pair] === 0) continue;
        this.signal.throwIfAborted();
        const difference = await this.#engine.difference(local, from[pair], target.id);
        from[pair] = target.id;
        parts.push({ point, pair, volume: local, to: target.id, difference });
        total += difference.summary.data_blocks;
        copied += await blocksBefore(difference, { point, pair }, address);
      }
    }
    this.#progress = {
      ...this.#progress,
      total_bytes: total * BLOCK_BYTES,
      copied_bytes: copied * BLOCK_BYTES,
      address,
    };
    return parts;
  }

  // --- copying ------------------------------------------------------------------------------------------------------

  async #copy(link: Link, part: Part, address: RestartAddress): Promise<void> {
    const { point, pair } = part;
    const start =
      compareAddress({ point, pair, block: 0 }, address) >= 0
        ? 0
        : address.point === point && address.pair === pair
          ? address.block
          : undefined;
    if (start === undefined) return;
    // Reading goes on while what was read before is encrypted and sent: neither waits for the other.
    const ahead: Reading[] = [];
    const take = async (batch: Batch): Promise<void> => {
      ahead.push(this.#startReading(part, batch));
      if (ahead.length > transferLimits.readAhead) await this.#send(link, part, ahead.shift()!);
    };
    try {
      let batch = new Batch();
      for await (const extent of part.difference.extents(start)) {
        for (let rest: DiffExtent | undefined = extent; rest !== undefined; ) {
          rest = batch.add(rest);
          if (rest === undefined && !batch.full) break;
          await take(batch);
          batch = new Batch();
        }
      }
      if (batch.runs.length > 0) await take(batch);
      while (ahead.length > 0) await this.#send(link, part, ahead.shift()!);
    } finally {
      // Whatever ended the copy: nobody lets go of the image while it is being read.
      await Promise.allSettled(ahead.map(({ payload }) => payload));
    }
  }

  #startReading(part: Part, batch: Batch): Reading {
    const buffer = this.#pool.take(batch.blocks * (BLOCK_BYTES + 8));
    const payload = this.#read(part, batch.runs, batch.blocks, buffer);
    // Heard where it is awaited; until then it is not a failure that nobody knows of.
    payload.catch(() => undefined);
    return { batch, buffer, payload };
  }

  async #send(link: Link, part: Part, { batch, buffer, payload: reading }: Reading): Promise<void> {
    const { point, pair } = part;
    const payload = await reading;
    await this.#throttle(payload.length);
    await this.#room(link, part, batch);
    await link.send({ type: 'runs', point, pair, runs: batch.runs }, payload, () => this.#pool.give(buffer));
    const bytes = batch.blocks * BLOCK_BYTES;
    this.#sinceSync += bytes;
    this.#unacknowledged += bytes;
    this.#tell({ shipped_bytes: this.#progress.shipped_bytes + bytes });
    if (this.#sinceSync >= this.#pace.window_bytes) await this.#sync(link, { point, pair, block: batch.end });
    // Only runs that carry bytes are windowed; a cycle of zeros alone syncs at its end.
    while (link.waiting) await this.#acknowledge(link);
  }

  /** Waits until the frame fits into what may be on its way above the durable address [C3.6]. */
  async #room(link: Link, { point, pair }: Part, batch: Batch): Promise<void> {
    const bytes = batch.blocks * BLOCK_BYTES;
    while (this.#unacknowledged > 0 && this.#unacknowledged + bytes > this.#pace.inFlight_bytes) {
      if (this.#windows.length === 0) await this.#sync(link, { point, pair, block: batch.start });
      await this.#acknowledge(link);
    }
  }

  /** Checksums of all data runs, then their bytes: as they lie in the log, verified, never computed again [C8.1]. */
  async #read(part: Image, runs: readonly WireRun[], blocks: number, buffer: Uint8Array): Promise<Uint8Array> {
    const payload = buffer.subarray(0, blocks * (BLOCK_BYTES + 8));
    let sumAt = 0;
    let at = blocks * 8;
    for (const [block, count, zero] of runs) {
      if (zero === 1) continue;
      const bytes = payload.subarray(at, at + count * BLOCK_BYTES);
      await this.#engine.readBlocks(
        part.volume,
        part.to,
        block,
        count,
        bytes,
        payload.subarray(sumAt, sumAt + count * 8),
      );
      sumAt += count * 8;
      at += count * BLOCK_BYTES;
    }
    return payload;
  }

  async #sync(link: Link, address: RestartAddress): Promise<void> {
    this.#windows.push({ address, bytes: this.#sinceSync });
    this.#sinceSync = 0;
    await link.send({ type: 'sync', address });
  }

  /** Waits for the destination's next word that a window is durable. */
  async #acknowledge(link: Link): Promise<void> {
    this.#acknowledged((await this.#answer(link, 'durable')).address);
  }

  /** One word may cover several windows: the destination says how far it is, not which question it answers. */
  #acknowledged(address: RestartAddress): void {
    let bytes = 0;
    while (this.#windows.length > 0 && compareAddress(this.#windows[0]!.address, address) <= 0)
      bytes += this.#windows.shift()!.bytes;
    this.#unacknowledged -= bytes;
    this.#pace.acknowledged(bytes);
    this.#tell({ address, copied_bytes: this.#progress.copied_bytes + bytes });
  }

  /** Keeps to the order's rate: a bucket of a quarter of a second. */
  async #throttle(bytes: number): Promise<void> {
    const rate = this.#order.rate_bytes_s;
    if (rate === undefined) return;
    const now = this.#clock.monotonic();
    this.#budget = Math.min(rate / 4, this.#budget + ((now - this.#budgetAt) * rate) / 1000);
    this.#budgetAt = now;
    this.#budget -= bytes;
    if (this.#budget < 0) await this.#clock.sleep((-this.#budget * 1000) / rate, this.signal);
  }

  // --- proof --------------------------------------------------------------------------------------------------------

  /** Both sides compute the roots of every image; a difference is named by page, shipped once more and proven again [C8.4]. */
  async #prove(link: Link): Promise<readonly Digest[]> {
    const { plan } = this.#order;
    for (let attempt = 0; ; attempt++) {
      await link.send({ type: 'prove' });
      // This side looks at its own while the destination reads back; whichever fails, neither goes on behind the end of the cycle.
      const [proof, own] = await Promise.allSettled([
        receiveProof(plan.points.length, () => this.#answer(link, 'proved')),
        this.#digests(),
      ]);
      if (proof.status === 'rejected') throw proof.reason;
      if (own.status === 'rejected') throw own.reason;
      const [theirs, mine] = [proof.value, own.value];
      if (theirs === undefined) throw new LinkLost('the peer proved something else than this cycle');
      const wrong = mine
        .flatMap((row, point) =>
          row.map((digest, pair) => ({ point, pair, equal: digest === '' || theirs[point]?.[pair] === digest })),
        )
        .filter((image) => !image.equal);
      if (wrong.length === 0) return mine.at(-1)!;
      let where = '';
      for (const { point, pair } of wrong) where = await this.#repair(link, point, pair, attempt === 0);
      if (attempt > 0) throw new ShipRefused('proof_mismatch', `the copy is not equal to its source: ${where}`);
    }
  }

  /** Digests of the pairs at each point, as they are here; empty where a pair has no image. */
  async #digests(): Promise<readonly (readonly Digest[])[]> {
    const { plan } = this.#order;
    const rows: Digest[][] = [];
    for (const point of plan.points) {
      const row: Digest[] = [];
      for (const [pair, { local }] of plan.pairs.entries())
        row.push(point.sizes[pair] === 0 ? '' : await this.#engine.digest(local, point.id));
      rows.push(row);
    }
    return rows;
  }

  /** Finds the pages that differ and, if wanted, ships them once more. */
  async #repair(link: Link, point: number, pair: number, ship: boolean): Promise<string> {
    const { plan } = this.#order;
    const target = plan.points[point]!;
    const volume = plan.pairs[pair]!.local;
    const blocks = target.sizes[pair]! / BLOCK_BYTES;
    const pages = Math.ceil(blocks / pageBlocks);
    const differing: number[] = [];
    for (
      let page = 0;
      page < pages && differing.length <= transferLimits.repairPages;
      page += transferLimits.comparePages
    ) {
      const count = Math.min(transferLimits.comparePages, pages - page);
      await link.send({ type: 'pages', point, pair, page, count });
      const theirs = (await this.#answer(link, 'page_digests')).digests;
      const mine = await this.#engine.pageDigests(volume, target.id, page, count);
      mine.forEach((digest, index) => {
        if (theirs[index] !== digest) differing.push(page + index);
      });
    }
    const where =
      differing.length === 0
        ? `volume ${volume} (size)`
        : `volume ${volume}, 1 MiB page ${differing[0]} of the destination and ${differing.length - 1} more`;
    if (!ship || differing.length > transferLimits.repairPages) return where;
    for (const page of differing) {
      const block = page * pageBlocks;
      const count = Math.min(pageBlocks, blocks - block);
      const runs: WireRun[] = [[block, count, 0]];
      const buffer = this.#pool.take(count * (BLOCK_BYTES + 8));
      const payload = await this.#read({ point, pair, volume, to: target.id }, runs, count, buffer);
      await link.send({ type: 'runs', point, pair, runs, repair: true }, payload, () => this.#pool.give(buffer));
      this.#tell({ shipped_bytes: this.#progress.shipped_bytes + count * BLOCK_BYTES });
    }
    return where;
  }

  // --- words --------------------------------------------------------------------------------------------------------

  async #answer<T extends ChannelMessage['type']>(
    link: Link,
    ...types: readonly T[]
  ): Promise<Extract<ChannelMessage, { type: T }>> {
    for (;;) {
      const { message }: Frame = await this.#next(link);
      if (message.type === 'refused') throw new ShipRefused(message.code, message.message);
      if (message.type === 'proving') {
        this.#tell({});
        continue;
      }
      if ((types as readonly string[]).includes(message.type)) return message as Extract<ChannelMessage, { type: T }>;
      if (message.type === 'durable') {
        this.#acknowledged(message.address);
        continue;
      }
      throw new LinkLost(`the peer answered ${message.type} where ${types.join(' or ')} was due`);
    }
  }

  /** The peer's next word. A proof that takes long says how far it is, so silence means that nothing moves. */
  async #next(link: Link): Promise<Frame> {
    const timer = this.#clock.after(transferLimits.answer_ms, () =>
      link.close(new LinkLost('the peer is there and does not answer')),
    );
    try {
      return await link.next();
    } finally {
      timer.cancel();
    }
  }

  #tell(change: Partial<ShipProgress>, now = false): void {
    this.#progress = { ...this.#progress, ...change };
    const at = this.#clock.monotonic();
    if (!now && at - this.#told < transferLimits.progress_ms) return;
    this.#told = at;
    this.#onProgress?.(this.#progress);
  }
}

/** Blocks a page of the digest tree [C8.2]. */
const pageBlocks = 256;

/** A frame's content on its way from the log. */
interface Reading {
  readonly batch: Batch;
  readonly buffer: Uint8Array;
  readonly payload: Promise<Uint8Array>;
}

/** Data blocks of a difference that lie before the restart address. */
async function blocksBefore(
  difference: Difference,
  at: { readonly point: number; readonly pair: number },
  address: RestartAddress,
): Promise<number> {
  const order = compareAddress({ ...at, block: 0 }, { ...address, block: 0 });
  if (order > 0) return 0;
  if (order < 0) return difference.summary.data_blocks;
  let blocks = 0;
  for await (const extent of difference.extents(0)) {
    if (extent.block >= address.block) break;
    if (extent.kind === 'data') blocks += Math.min(extent.count, address.block - extent.block);
  }
  return blocks;
}
