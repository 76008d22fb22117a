import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const limits = {
  /** Enough for some thousand changes, such as deletions that make room. */
  reserve_bytes: 4 * 1024 * 1024,
  /** Free space that must be left when it is taken. */
  free_bytes: 24 * 1024 * 1024,
} as const;

/**
 * Space that the catalog can give up on a full disk, so that what makes room can still be recorded: a file of zeros beside it.
 * Whoever fills the disk, hosts or somebody else, leaves management this much.
 */
export class CatalogReserve {
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, 'reserve');
  }

  /** Takes it, if it is not taken and there is room; true when it is taken. */
  take(): boolean {
    const held = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
    if (held >= limits.reserve_bytes) return true;
    try {
      const { bsize, bavail } = statfsSync(join(this.#path, '..'));
      if (bsize * bavail < limits.free_bytes + limits.reserve_bytes) return false;
      const file = openSync(this.#path, 'w', 0o600);
      try {
        const zeros = new Uint8Array(1024 * 1024);
        for (let at = 0; at < limits.reserve_bytes; at += zeros.length) writeSync(file, zeros);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      return true;
    } catch {
      // No room after all: what was taken of it stays useful, and the rest is taken later.
      return false;
    }
  }

  /** Gives it up; false when there was nothing to give. */
  release(): boolean {
    if ((statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0) === 0) return false;
    try {
      rmSync(this.#path);
      return true;
    } catch {
      return false;
    }
  }
}
