import { systemClock, volumeId } from '@antipode/base';
import { expect, it } from 'vitest';
import type { Disk, DiskFile } from '../embedded/disk.ts';
import { smallLogLimits } from '../embedded/log/small-limits.ts';
import { openEngineOn } from '../embedded/open-engine.ts';
import { seededRandom } from '../embedded/simulated/seeded-random.ts';
import { SimulatedCheckpointStore } from '../embedded/simulated/simulated-checkpoint-store.ts';
import { SimulatedDisk } from '../embedded/simulated/simulated-disk.ts';
import { BLOCK_BYTES } from '../port/device.ts';

/** A disk on which the next so many reads have to wait for the medium, until they are let go. */
class SlowDisk {
  slow = 0;
  readonly waiting: (() => void)[] = [];

  mount(disk: Disk): Disk {
    return { ...disk, open: (name, mode) => this.#file(disk.open(name, mode)) };
  }

  letGo(): void {
    for (const go of this.waiting.splice(0)) go();
  }

  #file(file: DiskFile): DiskFile {
    return {
      ...file,
      readAtHand: (target, offset) => this.slow === 0 && file.readAtHand(target, offset),
      read: async (target, offset) => {
        if (this.slow > 0) {
          this.slow -= 1;
          await new Promise<void>((resolve) => this.waiting.push(resolve));
        }
        return file.read(target, offset);
      },
    };
  }
}

const block = (fill: number) => new Uint8Array(BLOCK_BYTES).fill(fill);

it('reads that wait for the medium wait together, and hold up nobody else [C9.2]', async () => {
  const random = seededRandom(1);
  const slow = new SlowDisk();
  const engine = await openEngineOn({
    disk: slow.mount(new SimulatedDisk({ random }).mount()),
    checkpoints: new SimulatedCheckpointStore({ random, fall_back_max: 0 }).mount(),
    clock: systemClock,
    // Next to nothing stays in memory.
    logLimits: { ...smallLogLimits, group_bytes: BLOCK_BYTES, group_buffers_max: 1024 },
  });
  try {
    const id = volumeId('a');
    await engine.createVolume({ id, name: 'a', size: 1024 * 1024, tag: {} });
    const device = engine.open(id);
    for (let index = 0; index < 32; index++) await device.write(index * BLOCK_BYTES, block(index + 1), true);
    slow.slow = 16;
    const targets = Array.from({ length: 16 }, () => new Uint8Array(BLOCK_BYTES));
    const reads = targets.map((target, index) => device.read(index * BLOCK_BYTES, target));
    expect(slow.waiting.length).toBe(16);
    // Others go on: writes, flushes, reads of what is in memory, trims of what is being read.
    await device.write(3 * BLOCK_BYTES, block(200), true);
    const now = block(0);
    await device.read(3 * BLOCK_BYTES, now);
    expect(now).toEqual(block(200));
    await device.trim(4 * BLOCK_BYTES, BLOCK_BYTES, true);
    await device.read(4 * BLOCK_BYTES, now);
    expect(now).toEqual(block(0));
    // All that is being read is written over until its segment holds nothing any more, and others are used again.
    const whole = new Uint8Array(1024 * 1024);
    for (let pass = 1; pass <= 12; pass++) {
      await device.write(0, whole.fill(pass), true);
      await engine.settle();
    }
    expect(slow.waiting.length).toBe(16);
    slow.letGo();
    await Promise.all(reads);
    // Each found what was there when it was asked for.
    for (const [index, target] of targets.entries()) expect(target).toEqual(block(index + 1));
  } finally {
    await engine.close();
  }
});
