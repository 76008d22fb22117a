import type { Disk, DiskFile } from '../embedded/disk.ts';

/**
 * A disk as seen by a process that may die: once `alive` says no, what its leftover callbacks still do has no effect and is never
 * answered, as with a process that is gone. The simulated disk itself takes a call after the crash for a programmer's error.
 */
export function mortalDisk(disk: Disk, alive: () => boolean): Disk {
  const never = new Promise<never>(() => undefined);
  const mortalFile = (file: DiskFile): DiskFile => ({
    size: () => (alive() ? file.size() : 0),
    readSync: (target, offset) => (alive() ? file.readSync(target, offset) : target.length),
    read: (target, offset) => (alive() ? file.read(target, offset) : never),
    readAtHand: (target, offset) => (alive() ? file.readAtHand(target, offset) : true),
    writeSync: (parts, offset) => {
      if (alive()) file.writeSync(parts, offset);
    },
    truncate: (size) => {
      if (alive()) file.truncate(size);
    },
    sync: () => (alive() ? file.sync() : never),
    ...(file.syncNow !== undefined && {
      syncNow: () => {
        if (alive()) file.syncNow?.();
      },
    }),
    close: () => {
      if (alive()) file.close();
    },
  });
  return {
    open: (name, mode) => mortalFile(disk.open(name, mode)),
    list: () => disk.list(),
    remove: (name) => disk.remove(name),
    rename: (from, to) => disk.rename(from, to),
    syncDirectory: () => (alive() ? disk.syncDirectory() : never),
    space: () => (alive() ? disk.space() : { total_bytes: 0, free_bytes: 0 }),
  };
}
