import { randomFillSync } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cycleId, pointId, sessionId, volumeId } from '@antipode/base';
import { BLOCK_BYTES, type BlockEngine, type BlockRun, type CyclePlan, openEmbeddedEngine } from '@antipode/blocks';

const piece = 2 ** 20;
const pieceBlocks = piece / BLOCK_BYTES;
const checksumBytes = 8;

const [from, to] = [volumeId('from'), volumeId('to')];
const session = sessionId('stages');
const generation = { number: 1, site: 'A', nonce: 'stages' };

/** One cycle between two engines, taken apart: each method is one stage and is called once, in the order in which they are here. */
export class EngineStages {
  readonly #dir: string;
  readonly #bytes: number;
  readonly #source: BlockEngine;
  readonly #target: BlockEngine;
  readonly #plan: CyclePlan;
  /** What the source has read: the stages after it start from memory. */
  readonly #runs: BlockRun[] = [];

  private constructor(dir: string, bytes: number, source: BlockEngine, target: BlockEngine) {
    this.#dir = dir;
    this.#bytes = bytes;
    this.#source = source;
    this.#target = target;
    this.#plan = {
      ...{ session, generation, cycle: cycleId('first'), pairs: [{ local: from, remote: to }] },
      points: [{ id: pointId('point'), kind: 'internal', instant_ms: 1, tag: { session }, sizes: [bytes] }],
    };
  }

  /** Two new engines in a directory. `bytes`: a whole number of MiB. */
  static async open(dir: string, bytes: number): Promise<EngineStages> {
    const source = await openEmbeddedEngine({ directory: join(dir, 'source') });
    const target = await openEmbeddedEngine({ directory: join(dir, 'target') });
    await source.createVolume({ id: from, name: 'from', size: bytes, tag: {} });
    await target.createVolume({ id: to, name: 'to', size: bytes, destination: true, tag: {} });
    const pairs = [{ local: from, remote: to }];
    await source.createHalf({ session, role: 'source', generation, pairs, tag: {} });
    await target.createHalf({ session, role: 'destination', generation, pairs: mirrored(pairs), tag: {} });
    return new EngineStages(dir, bytes, source, target);
  }

  async append(): Promise<void> {
    const device = this.#source.open(from);
    const bytes = randomFillSync(new Uint8Array(piece));
    for (let at = 0; at < this.#bytes; at += piece) {
      new DataView(bytes.buffer).setFloat64(0, at);
      await device.write(at, bytes, false);
    }
    device.close();
  }

  async sync(): Promise<void> {
    const [point] = this.#plan.points;
    if (point !== undefined) await this.#source.freeze(point, [from], 'stages');
  }

  async read(): Promise<void> {
    const point = pointId('point');
    const difference = await this.#source.difference(from, undefined, point);
    for await (const { kind, block, count } of difference.extents(0)) {
      if (kind === 'zero') continue;
      for (let first = block; first < block + count; first += pieceBlocks) {
        const length = Math.min(pieceBlocks, block + count - first);
        const payload = new Uint8Array(length * BLOCK_BYTES);
        const checksums = new Uint8Array(length * checksumBytes);
        await this.#source.readBlocks(from, point, first, length, payload, checksums);
        this.#runs.push({ block: first, count: length, payload, checksums });
      }
    }
  }

  async stage(): Promise<void> {
    await this.#target.openStage({ ...this.#plan, pairs: mirrored(this.#plan.pairs) });
    for (const run of this.#runs) await this.#target.writeStage(session, this.#plan.cycle, 0, 0, [run]);
    this.#runs.length = 0;
  }

  async syncStage(): Promise<void> {
    await this.#target.syncStage(session, this.#plan.cycle, { point: 1, pair: 0, block: 0 });
  }

  async readBack(): Promise<void> {
    await this.#target.verifyStage(session, this.#plan.cycle, () => undefined);
  }

  async close(): Promise<void> {
    await this.#source.close();
    await this.#target.close();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

const mirrored = (pairs: CyclePlan['pairs']): CyclePlan['pairs'] =>
  pairs.map(({ local, remote }) => ({ local: remote, remote: local }));
