import type { Random } from '@antipode/base';
import { assert } from '@antipode/base';
import type { Disk, DiskFile } from '../disk.ts';
import { SimulatedFile } from './simulated-file.ts';

/** What goes wrong, decided call by call; absent: nothing. A returned error is thrown to the caller. */
export interface DiskFaults {
  write?(name: string, offset: number, length: number): Error | undefined;
  /** May wait, to hold a sync back. */
  sync?(name: string): Error | undefined | Promise<Error | undefined>;
  syncDirectory?(): Error | undefined;
  /** May change what is read. */
  read?(name: string, offset: number, target: Uint8Array): Error | undefined;
}

export interface SimulatedDiskOptions {
  readonly random: Random;
  readonly capacity_bytes?: number;
  /** Share of the reads that wait for the medium; none unless told. */
  readonly cold?: number;
  /** Files can be synced on the calling thread as well. */
  readonly syncsNow?: boolean;
}

type NameChange =
  | { readonly kind: 'create'; readonly name: string; readonly file: SimulatedFile }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string; readonly file: SimulatedFile };

export function diskError(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code });
}

const PAGE_BYTES = 4096;
/** Turns of the event loop that a read takes, at most. */
const READ_TURNS_MAX = 4;

/**
 * A disk in memory with the crash model of the Disk port: {@link crash} leaves every sector that was not synced, and
 * every change of a name that was not followed by a directory sync, done or undone, each for itself. A process sees the
 * disk through {@link mount}; after a crash its mount is dead: calls throw, and what it waits for never comes.
 */
export class SimulatedDisk {
  faults: DiskFaults = {};
  /** Counts for assertions about how often the medium is asked. */
  readonly counts = { syncs: 0, directorySyncs: 0, writes: 0 };
  private readonly random: Random;
  private readonly cold: number;
  private readonly syncsNow: boolean;
  private capacity_bytes: number;
  private names = new Map<string, SimulatedFile>();
  private stableNames = new Map<string, SimulatedFile>();
  private changes: NameChange[] = [];
  private life = 0;
  private readonly syncsUnderWay = new Set<() => void>();

  constructor(options: SimulatedDiskOptions) {
    this.random = options.random;
    this.cold = options.cold ?? 0;
    this.syncsNow = options.syncsNow ?? false;
    this.capacity_bytes = options.capacity_bytes ?? 2 ** 40;
  }

  /** The disk as the present process sees it. */
  mount(): Disk {
    const life = this.life;
    const alive = () => assert(life === this.life, 'this process has crashed');
    return {
      open: (name, mode) => {
        alive();
        return this.handle(name, this.openFile(name, mode), alive);
      },
      list: () => {
        alive();
        return [...this.names.keys()];
      },
      remove: (name) => {
        alive();
        this.take(name);
        this.changes.push({ kind: 'remove', name });
      },
      rename: (from, to) => {
        alive();
        const file = this.take(from);
        this.names.set(to, file);
        this.changes.push({ kind: 'rename', from, to, file });
      },
      syncDirectory: async () => {
        alive();
        this.counts.directorySyncs++;
        const names = new Map(this.names);
        const seen = this.changes.length;
        const error = this.faults.syncDirectory?.();
        await this.turn(life);
        if (error) throw error;
        this.stableNames = names;
        this.changes = this.changes.slice(seen);
      },
      space: () => {
        alive();
        return { total_bytes: this.capacity_bytes, free_bytes: Math.max(0, this.capacity_bytes - this.used()) };
      },
    };
  }

  /** The power goes. All that a mount holds is gone; the disk is what its crash model allows. */
  crash(): void {
    this.kill();
    const names = new Map(this.stableNames);
    for (const change of this.changes) if (this.random.fraction() < 0.5) applyChange(names, change);
    this.names = names;
    this.stableNames = new Map(names);
    this.changes = [];
    for (const file of new Set(names.values())) file.crash(this.random);
  }

  /** The process dies and the kernel lives on: nothing written is lost. */
  kill(): void {
    this.life++;
    for (const abort of this.syncsUnderWay) abort();
    this.syncsUnderWay.clear();
  }

  setCapacity(bytes: number): void {
    this.capacity_bytes = bytes;
  }

  used(): number {
    let used = 0;
    for (const file of new Set(this.names.values())) used += Math.ceil(file.size / PAGE_BYTES) * PAGE_BYTES;
    return used;
  }

  /** Direct access for tests: what a file holds now, and rot. */
  contents(name: string): Uint8Array {
    const file = this.existing(name);
    return file.current.slice(0, file.size);
  }

  flip(name: string, offset: number, bit = 0): void {
    this.existing(name).flip(offset, bit);
  }

  fileNames(): readonly string[] {
    return [...this.names.keys()].sort();
  }

  private existing(name: string): SimulatedFile {
    const file = this.names.get(name);
    if (file === undefined) throw diskError('ENOENT');
    return file;
  }

  private take(name: string): SimulatedFile {
    const file = this.existing(name);
    this.names.delete(name);
    return file;
  }

  private openFile(name: string, mode: 'create' | 'open'): SimulatedFile {
    if (mode === 'open') return this.existing(name);
    if (this.names.has(name)) throw diskError('EEXIST');
    const file = new SimulatedFile();
    this.names.set(name, file);
    this.changes.push({ kind: 'create', name, file });
    return file;
  }

  /** Work on the medium takes until a later turn; a dead process never hears of it. */
  private turn(life: number): Promise<void> {
    return new Promise((resolve) => {
      setImmediate(() => {
        if (life === this.life) resolve();
      });
    });
  }

  private handle(name: string, file: SimulatedFile, alive: () => void): DiskFile {
    const life = this.life;
    let open = true;
    const usable = () => {
      alive();
      assert(open, 'the file is open');
    };
    const readNow = (target: Uint8Array, offset: number): number => {
      const got = file.read(target, offset);
      const error = this.faults.read?.(name, offset, target);
      if (error) throw error;
      return got;
    };
    return {
      size: () => {
        usable();
        return file.size;
      },
      readSync: (target, offset) => {
        usable();
        return readNow(target, offset);
      },
      read: async (target, offset) => {
        usable();
        // Reads overtake each other.
        for (let turns = Math.ceil(this.random.fraction() * READ_TURNS_MAX); turns > 0; turns--) await this.turn(life);
        return readNow(target, offset);
      },
      readAtHand: (target, offset) => {
        usable();
        if (this.cold > 0 && this.random.fraction() < this.cold) return false;
        return readNow(target, offset) === target.length;
      },
      writeSync: (parts, offset) => {
        usable();
        this.counts.writes++;
        this.write(name, file, Buffer.concat(parts), offset);
      },
      truncate: (size) => {
        usable();
        file.truncate(size);
      },
      sync: async () => {
        usable();
        this.counts.syncs++;
        await this.syncFile(name, file, life);
      },
      ...(this.syncsNow && {
        syncNow: () => {
          usable();
          this.counts.syncs++;
          const sync = file.beginSync();
          const error = this.faults.sync?.(name);
          assert(!(error instanceof Promise), 'a sync on the calling thread cannot be held back');
          if (error === undefined) return sync.finish();
          sync.fail(this.random);
          throw error;
        },
      }),
      close: () => {
        open = false;
      },
    };
  }

  private write(name: string, file: SimulatedFile, bytes: Uint8Array, offset: number): void {
    const error = this.faults.write?.(name, offset, bytes.length);
    const growth = Math.ceil(Math.max(0, offset + bytes.length - file.size) / PAGE_BYTES) * PAGE_BYTES;
    const full = growth > 0 && this.used() + growth > this.capacity_bytes;
    if (!error && !full) return file.write(bytes, offset);
    // What fails may have been done in part.
    const room = full ? Math.max(0, this.capacity_bytes - this.used()) : bytes.length;
    file.write(bytes.subarray(0, Math.floor(this.random.fraction() * Math.min(room, bytes.length))), offset);
    throw error ?? diskError('ENOSPC');
  }

  private async syncFile(name: string, file: SimulatedFile, life: number): Promise<void> {
    const before = file.pending();
    const sync = file.beginSync();
    const abort = () => file.abortSync(before);
    this.syncsUnderWay.add(abort);
    const error = await this.faults.sync?.(name);
    await this.turn(life);
    this.syncsUnderWay.delete(abort);
    if (error) {
      sync.fail(this.random);
      throw error;
    }
    sync.finish();
  }
}

function applyChange(names: Map<string, SimulatedFile>, change: NameChange): void {
  switch (change.kind) {
    case 'create':
      names.set(change.name, change.file);
      return;
    case 'remove':
      names.delete(change.name);
      return;
    case 'rename':
      names.delete(change.from);
      names.set(change.to, change.file);
      return;
  }
}
