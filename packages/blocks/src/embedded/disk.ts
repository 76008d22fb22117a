/**
 * The Disk port: all file I/O of the log goes through it, and the simulator replaces only this leaf [C10.1]. Crash model:
 * what was written and not followed by a resolved `sync` may be lost, torn at sector bounds or kept in any combination;
 * a created, removed or renamed name is durable only after `syncDirectory`.
 */
export interface Disk {
  /** Opens a file of the one directory this disk stands for. `create`: fails when it exists. */
  open(name: string, mode: 'create' | 'open'): DiskFile;
  list(): readonly string[];
  /**
   * The space is free when this returns, which takes as long as the file is large; with `later` it returns at once and the space
   * is free a moment afterwards.
   */
  remove(name: string, options?: { readonly later: true }): void;
  rename(from: string, to: string): void;
  syncDirectory(): Promise<void>;
  /** Of the file system below. */
  space(): { readonly total_bytes: number; readonly free_bytes: number };
}

export interface DiskFile {
  size(): number;
  /** Reads at `offset`; answers how many bytes there were. */
  readSync(target: Uint8Array, offset: number): number;
  read(target: Uint8Array, offset: number): Promise<number>;
  /** Fills `target` if that needs no wait for the medium. False: it would, or it cannot be done, and {@link read} tells. */
  readAtHand(target: Uint8Array, offset: number): boolean;
  /** Writes all of `parts` one after the other at `offset`, or throws. */
  writeSync(parts: readonly Uint8Array[], offset: number): void;
  truncate(size: number): void;
  /** fdatasync. After a rejection nothing written before may be taken as stored [C6.4]. */
  sync(): Promise<void>;
  /** The same while everybody waits; absent: it cannot be done. */
  syncNow?(): void;
  close(): void;
}
