import type { Disk, DiskFile } from '../disk.ts';
import { segmentName, temporaryName } from './file-names.ts';
import { encodeSegmentHeader, type SegmentHeader } from './segment-header.ts';

/**
 * Creates a segment's file: under its final name there is never a file without a durable header, so a header that cannot
 * be read is damage and not the trace of a crash. `recycled`: an old file whose present name is durable as `.tmp`.
 */
export async function createSegmentFile(
  disk: Disk,
  header: Omit<SegmentHeader, 'version'>,
  recycled?: string,
): Promise<DiskFile> {
  const name = segmentName(header.number);
  const temporary = recycled ?? temporaryName(name);
  if (recycled === undefined && disk.list().includes(temporary)) disk.remove(temporary);
  const file = disk.open(temporary, recycled === undefined ? 'create' : 'open');
  try {
    file.writeSync([encodeSegmentHeader(header)], 0);
    await file.sync();
    disk.rename(temporary, name);
    await disk.syncDirectory();
    return file;
  } catch (error) {
    file.close();
    for (const left of [temporary, name]) discard(disk, left);
    throw error;
  }
}

/** Nobody else knows of it: left there it would take space until the next start. */
function discard(disk: Disk, name: string): void {
  try {
    if (disk.list().includes(name)) disk.remove(name);
  } catch {
    // The disk refuses this as well: the next start removes it.
  }
}
