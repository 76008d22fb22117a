import type { Disk, DiskFile } from '../disk.ts';

/**
 * Files of sealed segments, opened on demand, at most a limit of them; the one unused for longest is closed first. Who was used when
 * is only kept once there are so many that one may have to go: every read of a host comes through here.
 */
export class FileCache {
  private readonly disk: Disk;
  private readonly limit: number;
  private readonly open = new Map<string, DiskFile>();

  constructor(disk: Disk, limit: number) {
    this.disk = disk;
    this.limit = limit;
  }

  get(name: string): DiskFile {
    const known = this.open.get(name);
    if (known) {
      if (this.open.size < this.limit) return known;
      this.open.delete(name);
      this.open.set(name, known);
      return known;
    }
    const file = this.disk.open(name, 'open');
    this.put(name, file);
    return file;
  }

  /** Takes over an open file. */
  put(name: string, file: DiskFile): void {
    this.open.set(name, file);
    for (const [oldest] of this.open) {
      if (this.open.size <= this.limit) break;
      this.drop(oldest);
    }
  }

  /** Gives a file back to the caller, or nothing if it is not open. */
  take(name: string): DiskFile | undefined {
    const file = this.open.get(name);
    this.open.delete(name);
    return file;
  }

  drop(name: string): void {
    this.take(name)?.close();
  }

  close(): void {
    for (const file of this.open.values()) file.close();
    this.open.clear();
  }
}
