import type { Random } from '@antipode/base';

/** What a medium writes as a whole: a crash leaves each sector in one of the states that it had. */
export const SECTOR_BYTES = 512;
/** Older states of one sector that a crash may bring back, besides the stable one. */
const VERSIONS_MAX = 4;

/** One file's bytes: as the running process sees them, and as the medium has them for certain. */
export class SimulatedFile {
  current = new Uint8Array(0);
  size = 0;
  private stable = new Uint8Array(0);
  private stableSize = 0;
  /** States that sectors had since they were last stable, oldest first; the last is the present one. */
  private dirty = new Map<number, Uint8Array[]>();
  private sizes: number[] = [];

  write(bytes: Uint8Array, offset: number): void {
    this.grow(offset + bytes.length);
    this.current.set(bytes, offset);
    this.resize(Math.max(this.size, offset + bytes.length));
    this.touch(offset, offset + bytes.length);
  }

  truncate(size: number): void {
    this.grow(size);
    if (size < this.size) {
      this.current.fill(0, size, this.size);
      this.touch(size, this.size);
    }
    this.resize(size);
  }

  read(target: Uint8Array, offset: number): number {
    const got = Math.max(0, Math.min(target.length, this.size - offset));
    target.set(this.current.subarray(offset, offset + got));
    return got;
  }

  /** What a sync that begins now will make stable. */
  beginSync(): { finish(): void; fail(random: Random): void } {
    const { dirty, size } = this;
    this.dirty = new Map();
    this.sizes = [];
    return {
      finish: () => {
        for (const [sector, versions] of dirty) this.settle(sector, versions.at(-1)!);
        this.stableSize = size;
      },
      // The kernel takes the pages for clean: what it did not store is lost, and no later sync tells [C6.4].
      fail: (random) => {
        for (const [sector, versions] of dirty) if (random.fraction() < 0.5) this.settle(sector, versions.at(-1)!);
      },
    };
  }

  /** A sync that was under way when the power went: its sectors are as uncertain as all others. */
  abortSync(before: Map<number, Uint8Array[]>): void {
    for (const [sector, versions] of before) this.dirty.set(sector, [...versions, ...(this.dirty.get(sector) ?? [])]);
  }

  pending(): Map<number, Uint8Array[]> {
    return this.dirty;
  }

  /** Every sector that was not synced becomes one of the states it had, each for itself. */
  crash(random: Random): void {
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random.fraction() * items.length)]!;
    for (const [sector, versions] of this.dirty) {
      const before = this.stable.slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
      this.settle(sector, pick([before, versions.at(-1)!, ...versions]));
    }
    this.size = pick([this.stableSize, this.size, ...this.sizes]);
    this.stableSize = this.size;
    this.growStable(this.size);
    this.stable.fill(0, this.size);
    this.current = this.stable.slice();
    this.dirty = new Map();
    this.sizes = [];
  }

  /** Changes a bit on the medium, as rot does. */
  flip(offset: number, bit: number): void {
    this.growStable(offset + 1);
    this.stable[offset]! ^= 1 << bit;
    this.current[offset]! ^= 1 << bit;
  }

  private touch(from: number, to: number): void {
    const first = Math.floor(from / SECTOR_BYTES);
    const bytes = this.current.slice(first * SECTOR_BYTES, Math.ceil(to / SECTOR_BYTES) * SECTOR_BYTES);
    for (let sector = first; sector * SECTOR_BYTES < to; sector++) {
      const at = (sector - first) * SECTOR_BYTES;
      const version = bytes.subarray(at, at + SECTOR_BYTES);
      const versions = this.dirty.get(sector);
      if (versions === undefined) this.dirty.set(sector, [version]);
      else if (versions.push(version) > VERSIONS_MAX) versions.shift();
    }
  }

  private settle(sector: number, bytes: Uint8Array): void {
    this.growStable((sector + 1) * SECTOR_BYTES);
    this.stable.set(bytes.subarray(0, SECTOR_BYTES), sector * SECTOR_BYTES);
  }

  private resize(size: number): void {
    if (size !== this.size) this.sizes.push(this.size);
    if (this.sizes.length > VERSIONS_MAX) this.sizes.shift();
    this.size = size;
  }

  private grow(size: number): void {
    if (this.current.length < size) this.current = grown(this.current, size);
  }

  private growStable(size: number): void {
    if (this.stable.length < size) this.stable = grown(this.stable, size);
  }
}

function grown(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const capacity = Math.max(bytes.length * 2, Math.ceil(size / 4096) * 4096);
  const larger = new Uint8Array(capacity);
  larger.set(bytes);
  return larger;
}
