import { isNbdError, type NbdClient } from '../../packages/hosts/src/index.ts';
import { eventually, readVolume, type TestSite } from './pair.ts';

const block_bytes = 4096;

/**
 * A host that depends on the order of its writes, as a database with its log on another volume does: it writes 1, 2, 3, … across the
 * members in turn, and never one before the one before it was acknowledged. Slots are written over and over.
 */
export class StampWriter {
  readonly #names: readonly string[];
  readonly #slots: number;
  #devices: NbdClient[] = [];
  #running: Promise<void> | undefined;
  #stop = false;
  /** The newest that was acknowledged. */
  acknowledged = 0;
  /** What a write was refused with. */
  refused: string | undefined;

  constructor(names: readonly string[], slotsEach = 512) {
    this.#names = names;
    this.#slots = names.length * slotsEach;
  }

  async start(site: TestSite): Promise<void> {
    this.#devices = await Promise.all(this.#names.map((name) => site.open(name)));
    this.#stop = false;
    this.refused = undefined;
    this.#running = this.#write();
  }

  /** Ends after the write under way. */
  async stop(): Promise<void> {
    this.#stop = true;
    await this.ended();
  }

  /** Resolves once it does not write any more: stopped, or refused. */
  async ended(): Promise<void> {
    await this.#running;
    await Promise.all(this.#devices.map((device) => device.close().catch(() => undefined)));
  }

  /** Waits until so many more were acknowledged. */
  more(count: number): Promise<void> {
    const wanted = this.acknowledged + count;
    return eventually(`stamp ${wanted}`, async () => this.acknowledged >= wanted || this.refused !== undefined);
  }

  async #write(): Promise<void> {
    while (!this.#stop) {
      const stamp = this.acknowledged + 1;
      const slot = stamp % this.#slots;
      const at = Math.floor(slot / this.#names.length) * block_bytes;
      const bytes = new Uint8Array(new Uint32Array(block_bytes / 4).fill(stamp).buffer);
      try {
        await this.#devices[slot % this.#names.length]!.write(at, bytes);
      } catch (error) {
        this.refused = isNbdError(error) ? String(error.errno) : String(error);
        return;
      }
      this.acknowledged = stamp;
    }
  }

  /**
   * The stamp up to which the images show everything, and nothing beyond: throws where one is missing that was acknowledged before
   * another one that is there was issued.
   */
  check(images: readonly Uint8Array[]): number {
    const found: number[] = [];
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = Math.floor(slot / this.#names.length) * block_bytes;
      const image = images[slot % this.#names.length]!;
      const words = new Uint32Array(image.buffer, image.byteOffset + at, block_bytes / 4);
      if (words.some((word) => word !== words[0])) throw new Error(`a torn block in slot ${slot}`);
      found.push(words[0]!);
    }
    const newest = Math.max(...found);
    for (const [slot, stamp] of found.entries()) {
      // The newest stamp of this slot that is not beyond the newest of all.
      const due = newest - ((((newest - slot) % this.#slots) + this.#slots) % this.#slots);
      if (stamp !== Math.max(0, due))
        throw new Error(`stamp ${newest} is there, but slot ${slot} shows ${stamp} where ${Math.max(0, due)} is due`);
    }
    return newest;
  }

  /** The same of the volumes themselves, or of others made of them. */
  async checkAt(site: TestSite, names: readonly string[] = this.#names): Promise<number> {
    const images: Uint8Array[] = [];
    for (const name of names) images.push(await readVolume(site, name));
    return this.check(images);
  }
}
