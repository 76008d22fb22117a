import type { VolumeId } from '@antipode/base';
import { type Access, BLOCK_BYTES, type BlockDevice, type StatusExtent } from '../port/device.ts';
import { BlockError } from '../port/errors.ts';
import { type Chain, pagesAt, resolve } from './chain.ts';
import type { EngineCore } from './core.ts';
import type { VolumeNode } from './graph/graph.ts';
import { canWrite } from './graph/plan.ts';
import { isDeparting } from './graph/unit.ts';
import { pageBlocks, pageOf } from './index/page.ts';

/** A device on a volume's head. Whether it may be written is asked of the graph at every operation, so a change of role acts on open devices at once [C4.3, C11.2]. */
export class VolumeDevice implements BlockDevice {
  readonly #core: EngineCore;
  readonly #id: VolumeId;
  #closed = false;

  constructor(core: EngineCore, id: VolumeId) {
    this.#core = core;
    this.#id = id;
  }

  size(): number {
    return this.#chain(this.#volume()).size;
  }

  access(): Access {
    return canWrite(this.#core.graph, this.#volume()) ? 'read_write' : 'read_only';
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    return readBytes(this.#core, this.#chain(this.#volume()), this.#id, offset, target);
  }

  write(offset: number, data: Uint8Array, fua: boolean): void | Promise<void> {
    const volume = this.#writable(offset, data.length);
    if (data.length === 0) return;
    if (offset % BLOCK_BYTES === 0 && data.length % BLOCK_BYTES === 0) {
      this.#core.orderData(volume.top, offset / BLOCK_BYTES, data);
      return this.#settle(fua);
    }
    return this.#writeParts(offset, data, fua);
  }

  writeZeroes(offset: number, length: number, fua: boolean): void | Promise<void> {
    const volume = this.#writable(offset, length);
    if (length === 0) return;
    const first = Math.ceil(offset / BLOCK_BYTES);
    const end = Math.floor((offset + length) / BLOCK_BYTES);
    if (offset % BLOCK_BYTES === 0 && (offset + length) % BLOCK_BYTES === 0) {
      this.#core.orderZero(volume.top, first, end - first);
      return this.#settle(fua);
    }
    return this.#zeroParts(offset, length, fua);
  }

  trim(offset: number, length: number, fua: boolean): void | Promise<void> {
    return this.writeZeroes(offset, length, fua);
  }

  async flush(): Promise<void> {
    this.#volume();
    await this.#core.log.durable();
  }

  async status(offset: number, length: number, limit: number): Promise<readonly StatusExtent[]> {
    const chain = this.#chain(this.#volume());
    checkRange(offset, length, chain.size);
    return statusOf(this.#core, chain, offset, length, limit);
  }

  close(): void {
    this.#closed = true;
  }

  #volume(): VolumeNode {
    if (this.#closed || this.#core.closed) throw new BlockError('closed', 'the device is closed');
    const volume = this.#core.graph.volumes.get(this.#id);
    if (volume === undefined) throw new BlockError('closed', 'the volume was deleted');
    if (isDeparting(this.#core.graph, this.#id)) throw new BlockError('moved', 'the volume moves to another appliance');
    return volume;
  }

  #chain(volume: VolumeNode): Chain {
    return this.#core.chains.of(volume.top);
  }

  #writable(offset: number, length: number): VolumeNode {
    const volume = this.#volume();
    if (!canWrite(this.#core.graph, volume)) throw new BlockError('read_only', 'the volume does not take writes now');
    checkRange(offset, length, this.#chain(volume).size);
    return volume;
  }

  async #settle(fua: boolean): Promise<void> {
    await (fua ? this.#core.log.durable() : this.#core.log.written());
  }

  async #writeParts(offset: number, data: Uint8Array, fua: boolean): Promise<void> {
    const headEnd = Math.min(Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES, offset + data.length);
    const bodyEnd = Math.max(Math.floor((offset + data.length) / BLOCK_BYTES) * BLOCK_BYTES, headEnd);
    const body = data.subarray(headEnd - offset, bodyEnd - offset);
    if (body.length > 0) this.#core.orderData(this.#writable(headEnd, body.length).top, headEnd / BLOCK_BYTES, body);
    if (headEnd > offset) await this.#merge(offset, data.subarray(0, headEnd - offset));
    if (offset + data.length > bodyEnd) await this.#merge(bodyEnd, data.subarray(bodyEnd - offset));
    await this.#settle(fua);
  }

  async #zeroParts(offset: number, length: number, fua: boolean): Promise<void> {
    const end = offset + length;
    const headEnd = Math.min(Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES, end);
    const bodyEnd = Math.max(Math.floor(end / BLOCK_BYTES) * BLOCK_BYTES, headEnd);
    if (bodyEnd > headEnd)
      this.#core.orderZero(
        this.#writable(headEnd, bodyEnd - headEnd).top,
        headEnd / BLOCK_BYTES,
        (bodyEnd - headEnd) / BLOCK_BYTES,
      );
    if (headEnd > offset) await this.#merge(offset, new Uint8Array(headEnd - offset));
    if (end > bodyEnd) await this.#merge(bodyEnd, new Uint8Array(end - bodyEnd));
    await this.#settle(fua);
  }

  /**
   * A piece of one block: read, merged and ordered in one turn. If the read had to wait and the block was written meanwhile,
   * the merge starts over, so that no neighbour's bytes are lost.
   */
  async #merge(offset: number, piece: Uint8Array): Promise<void> {
    const block = Math.floor(offset / BLOCK_BYTES);
    const bytes = new Uint8Array(BLOCK_BYTES);
    const sums = new BigUint64Array(1);
    for (;;) {
      const volume = this.#writable(offset, piece.length);
      const before = this.#identity(volume, block);
      const reading = this.#core.read(this.#chain(volume), block, 1, bytes, sums, this.#id);
      if (reading !== undefined) {
        await reading;
        if (this.#identity(this.#writable(offset, piece.length), block) !== before) continue;
      }
      bytes.set(piece, offset - block * BLOCK_BYTES);
      this.#core.orderData(this.#volume().top, block, bytes);
      return;
    }
  }

  /** Names what a block resolves to now. */
  #identity(volume: VolumeNode, block: number): number {
    const number = pageOf(block);
    const index = block - number * pageBlocks;
    return resolve(pagesAt(this.#chain(volume), number, this.#core.pages), block, index)?.sequence[index] ?? 0;
  }
}

/** A read-only device on a frozen image. */
export class PointDevice implements BlockDevice {
  readonly #core: EngineCore;
  readonly #chain: () => Chain;
  readonly #volume: VolumeId;

  constructor(core: EngineCore, volume: VolumeId, chain: () => Chain) {
    this.#core = core;
    this.#volume = volume;
    this.#chain = chain;
  }

  size(): number {
    return this.#chain().size;
  }

  access(): Access {
    return 'read_only';
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    return readBytes(this.#core, this.#chain(), this.#volume, offset, target);
  }

  write(): never {
    throw new BlockError('read_only', 'a point in time does not take writes');
  }

  writeZeroes(): never {
    return this.write();
  }

  trim(): never {
    return this.write();
  }

  async flush(): Promise<void> {
    await this.#core.log.durable();
  }

  async status(offset: number, length: number, limit: number): Promise<readonly StatusExtent[]> {
    checkRange(offset, length, this.size());
    return statusOf(this.#core, this.#chain(), offset, length, limit);
  }

  close(): void {
    // Nothing is kept: the chain is looked up at every operation.
  }
}

function checkRange(offset: number, length: number, size: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!whole || offset + length > size)
    throw new BlockError('out_of_range', `bytes ${offset} to ${offset + length} are outside of ${size}`);
}

function readBytes(
  core: EngineCore,
  chain: Chain,
  volume: VolumeId,
  offset: number,
  target: Uint8Array,
): void | Promise<void> {
  checkRange(offset, target.length, chain.size);
  if (target.length === 0) return;
  const block = Math.floor(offset / BLOCK_BYTES);
  const count = Math.ceil((offset + target.length) / BLOCK_BYTES) - block;
  const sums = new BigUint64Array(count);
  if (offset % BLOCK_BYTES === 0 && target.length % BLOCK_BYTES === 0)
    return core.read(chain, block, count, target, sums, volume);
  const whole = new Uint8Array(count * BLOCK_BYTES);
  const cut = () =>
    target.set(whole.subarray(offset - block * BLOCK_BYTES, offset - block * BLOCK_BYTES + target.length));
  const reading = core.read(chain, block, count, whole, sums, volume);
  return reading === undefined ? cut() : reading.then(cut);
}

function statusOf(
  core: EngineCore,
  chain: Chain,
  offset: number,
  length: number,
  limit: number,
): readonly StatusExtent[] {
  const extents: { kind: 'data' | 'hole'; length: number }[] = [];
  const end = offset + length;
  const add = (kind: 'data' | 'hole', from: number, to: number): boolean => {
    const size = Math.min(to, end) - Math.max(from, offset);
    const last = extents.at(-1);
    if (last?.kind === kind) last.length += size;
    else if (extents.length === limit) return false;
    else extents.push({ kind, length: size });
    return true;
  };
  let at = Math.floor(offset / BLOCK_BYTES);
  const last = Math.ceil(end / BLOCK_BYTES);
  while (at < last) {
    const number = pageOf(at);
    const found = pagesAt(chain, number, core.pages);
    if (found.length === 0) {
      // A stretch that no layer has a page of: jump to the next page that one has.
      let next = Math.ceil(last / pageBlocks);
      for (const link of chain.links) {
        const hit = link.index.present.within(number + 1, next).next();
        if (!hit.done) next = hit.value;
      }
      if (!add('hole', at * BLOCK_BYTES, next * pageBlocks * BLOCK_BYTES)) break;
      at = next * pageBlocks;
      continue;
    }
    const stop = Math.min(last, (number + 1) * pageBlocks);
    let full = false;
    for (; at < stop && !full; at++) {
      const page = resolve(found, at, at - number * pageBlocks);
      full = !add(page === undefined ? 'hole' : 'data', at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES);
    }
    if (full) break;
  }
  return extents;
}
