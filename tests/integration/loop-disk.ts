import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
const sh = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });

const MiB = 1024 * 1024;

/** Fills a file system to its last byte, as somebody else would; answers the file. */
export function fill(directory: string): string {
  const path = join(directory, 'somebody-else');
  writeFileSync(path, '');
  const { bsize, bavail } = statfsSync(directory);
  const most = Math.floor((bsize * bavail - 16 * MiB) / MiB) * MiB;
  if (most > 0) sh('fallocate', '-l', String(most), path);
  const file = openSync(path, 'a');
  for (const piece of [MiB, 4096, 512]) {
    const bytes = new Uint8Array(piece).fill(7);
    try {
      for (;;) {
        if (writeSync(file, bytes) < bytes.length) break;
        fsyncSync(file);
      }
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOSPC') throw error;
    }
  }
  closeSync(file);
  return path;
}

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
