import type { Disk } from '../disk.ts';
import { RESERVE_NAME, temporaryName } from './file-names.ts';

const FILL_BYTES = 1024 * 1024;

/**
 * The named reserve [C6.5]: a file of zeros that is removed when the file system is full, so that what must still be
 * recorded (deletion, compaction, seal, commit) finds room. Filled, not sparse: only written bytes hold space.
 */
export class Reserve {
  private readonly disk: Disk;
  private readonly bytes: number;
  private held: boolean;

  constructor(disk: Disk, bytes: number) {
    this.disk = disk;
    this.bytes = bytes;
    this.held = bytes === 0 || disk.list().includes(RESERVE_NAME);
  }

  isHeld(): boolean {
    return this.held;
  }

  size(): number {
    return this.bytes;
  }

  /** Gives the space back to the file system. False when there was nothing to give. */
  release(): boolean {
    if (!this.held || this.bytes === 0) return false;
    this.held = false;
    this.disk.remove(RESERVE_NAME);
    return true;
  }

  /** Takes the space again. Rejects when there is not enough of it; what was taken by then is given back. */
  async rebuild(): Promise<void> {
    if (this.held) return;
    const temporary = temporaryName(RESERVE_NAME);
    if (this.disk.list().includes(temporary)) this.disk.remove(temporary);
    const file = this.disk.open(temporary, 'create');
    try {
      const zeros = new Uint8Array(Math.min(FILL_BYTES, this.bytes));
      for (let at = 0; at < this.bytes; at += zeros.length) {
        file.writeSync([zeros.subarray(0, Math.min(zeros.length, this.bytes - at))], at);
      }
      await file.sync();
      this.disk.rename(temporary, RESERVE_NAME);
      await this.disk.syncDirectory();
      this.held = true;
    } catch (error) {
      this.disk.remove(temporary);
      throw error;
    } finally {
      file.close();
    }
  }
}
