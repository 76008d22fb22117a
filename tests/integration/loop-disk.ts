import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
const sh = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });

/** A small file system of its own in a file, mounted; needs root and loop devices. */
export class LoopDisk {
  readonly #scratch = mkdtempSync(join(tmpdir(), 'antipode-disk-'));
  /** Where it is mounted. */
  readonly path = join(this.#scratch, 'mnt');
  readonly #image: string;
  readonly #lower: string | undefined;

  /** `lower_bytes`: the file lies on a memory file system of this size, which can run full below the file system above it. */
  constructor(size_bytes: number, options: { readonly lower_bytes?: number; readonly mkfs?: readonly string[] } = {}) {
    mkdirSync(this.path);
    if (options.lower_bytes !== undefined) {
      this.#lower = join(this.#scratch, 'lower');
      mkdirSync(this.#lower);
      sh('mount', '-t', 'tmpfs', '-o', `size=${options.lower_bytes}`, 'tmpfs', this.#lower);
    }
    this.#image = join(this.#lower ?? this.#scratch, 'image');
    try {
      sh('truncate', '-s', String(size_bytes), this.#image);
      sh('mkfs.ext4', '-q', '-F', '-m', '0', ...(options.mkfs ?? []), this.#image);
      this.mount();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Directory of the memory file system below, where there is one. */
  get lower(): string {
    if (this.#lower === undefined) throw new Error('there is nothing below');
    return this.#lower;
  }

  mount(): void {
    sh('mount', '-o', 'loop', this.#image, this.path);
  }

  remount(options: string): void {
    sh('mount', '-o', `remount,${options}`, this.path);
  }

  unmount(): void {
    sh('umount', this.path);
  }

  /** Repairs what an aborted file system left, as a start of the machine does. */
  repair(): void {
    try {
      sh('fsck.ext4', '-p', '-f', this.#image);
    } catch (error) {
      // 1: errors were corrected.
      if ((error as { status?: number }).status !== 1) throw error;
    }
  }

  free_bytes(): number {
    const { bsize, bavail } = statfsSync(this.path);
    return bsize * bavail;
  }

  remove(): void {
    for (const path of [this.path, this.#lower]) {
      if (path === undefined) continue;
      try {
        sh('umount', path);
      } catch {
        // It was not mounted.
      }
    }
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

/** Why such a file system cannot be had here; undefined when it can. */
export function whyNoLoopDisk(): string | undefined {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  try {
    new LoopDisk(16 * 1024 * 1024).remove();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0] : String(error);
  }
}
