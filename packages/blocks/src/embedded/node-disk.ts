import {
  close,
  constants,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readSync,
  renameSync,
  statfsSync,
  unlinkSync,
  writevSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { assert } from '@antipode/base';
import type { Disk, DiskFile } from './disk.ts';
import { Gate } from './gate.ts';
import { guessedPageCache, type PageCache } from './page-cache.ts';

const fdatasyncAsync = promisify(fdatasync);
const fsyncAsync = promisify(fsync);
const closeAsync = promisify(close);

/** What a close says of bytes is said by the syncs before it; nobody waits for it. */
const closeLater = (handle: number): void => close(handle, () => undefined);

/** The kernel takes at most this many parts in one writev (IOV_MAX). */
const WRITE_PARTS_MAX = 1024;

/** Threads that libuv has for files (its own default is 4), and how many of them are kept free of reads, for syncs. */
const { UV_THREADPOOL_SIZE = '4' } = process.env;
const threads = Number(UV_THREADPOOL_SIZE);
const threadsForSyncs = 4;

/**
 * A directory of the machine's file system, readable by its owner only. Created when it is not there. `readOnly`: neither the
 * directory nor a file in it is changed, whatever is asked. `pageCache`: what says whether bytes can be read without a wait.
 */
export function openNodeDisk(
  directory: string,
  options: { readonly readOnly?: boolean; readonly pageCache?: PageCache } = {},
): Disk {
  const { readOnly = false, pageCache = guessedPageCache() } = options;
  const shared: Shared = { pageCache, reads: new Gate(Math.max(2, threads - threadsForSyncs)) };
  if (!readOnly && mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) syncName(directory);
  const refuse = () => assert(!readOnly, 'the disk may be changed');
  const path = (name: string) => {
    assert(/^[\w.-]+$/.test(name) && !name.startsWith('.'), 'a plain file name');
    return join(directory, name);
  };
  return {
    open(name, mode) {
      if (readOnly) {
        assert(mode === 'open', 'the disk may be changed');
        return new NodeFile(openSync(path(name), constants.O_RDONLY), shared);
      }
      const create = mode === 'create' ? constants.O_CREAT | constants.O_EXCL : 0;
      return new NodeFile(openSync(path(name), constants.O_RDWR | create, 0o600), shared);
    },
    list: () =>
      readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => entry.name),
    remove(name, options) {
      refuse();
      // Held open over its removal, a file gives its space back with the last handle, off this thread.
      const handle = options?.later === true ? openSync(path(name), constants.O_RDONLY) : undefined;
      try {
        unlinkSync(path(name));
      } finally {
        if (handle !== undefined) closeLater(handle);
      }
    },
    rename(from, to) {
      refuse();
      renameSync(path(from), path(to));
    },
    async syncDirectory() {
      const handle = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await fsyncAsync(handle);
      } finally {
        await closeAsync(handle);
      }
    },
    space() {
      const { bsize, blocks, bavail } = statfsSync(directory);
      return { total_bytes: bsize * blocks, free_bytes: bsize * bavail };
    },
  };
}

/** A directory that was made is as durable as what will be in it. */
function syncName(directory: string): void {
  const parent = openSync(dirname(directory), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(parent);
  } finally {
    closeLater(parent);
  }
}

/** What the files of one disk have together. */
interface Shared {
  readonly pageCache: PageCache;
  readonly reads: Gate;
}

class NodeFile implements DiskFile {
  private readonly handle: number;
  private readonly shared: Shared;
  private closed = false;
  private busy = 0;

  constructor(handle: number, shared: Shared) {
    this.handle = handle;
    this.shared = shared;
  }

  size(): number {
    return fstatSync(this.open()).size;
  }

  readSync(target: Uint8Array, offset: number): number {
    let done = 0;
    while (done < target.length) {
      const got = readSync(this.open(), target, done, target.length - done, offset + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    const handle = this.open();
    return this.during(() =>
      this.shared.reads.pass(async () => {
        let done = 0;
        while (done < target.length) {
          const got = await readAsync(handle, target.subarray(done), offset + done);
          if (got === 0) break;
          done += got;
        }
        return done;
      }),
    );
  }

  readAtHand(target: Uint8Array, offset: number): boolean {
    return this.shared.pageCache.read(this.open(), target, offset);
  }

  writeSync(parts: readonly Uint8Array[], offset: number): void {
    let rest = parts.filter((part) => part.length > 0);
    let at = offset;
    while (rest.length > 0) {
      const batch = rest.length > WRITE_PARTS_MAX ? rest.slice(0, WRITE_PARTS_MAX) : rest;
      let written = writevSync(this.open(), batch, at);
      at += written;
      let whole = 0;
      while (whole < rest.length && written >= rest[whole]!.length) written -= rest[whole++]!.length;
      rest = rest.slice(whole);
      if (written > 0) rest[0] = rest[0]!.subarray(written);
    }
  }

  truncate(size: number): void {
    ftruncateSync(this.open(), size);
  }

  async sync(): Promise<void> {
    const handle = this.open();
    return this.during(() => fdatasyncAsync(handle));
  }

  syncNow(): void {
    fdatasyncSync(this.open());
  }

  /** The handle goes when the last running call has ended: a number given to another file meanwhile would be written to. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    if (this.busy === 0) closeLater(this.handle);
  }

  private open(): number {
    assert(!this.closed, 'the file is open');
    return this.handle;
  }

  private async during<T>(operation: () => Promise<T>): Promise<T> {
    this.busy++;
    try {
      return await operation();
    } finally {
      if (--this.busy === 0 && this.closed) closeLater(this.handle);
    }
  }
}

function readAsync(handle: number, target: Uint8Array, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(handle, target, 0, target.length, offset, (error, got) => (error ? reject(error) : resolve(got)));
  });
}
