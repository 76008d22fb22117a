import { createHash } from 'node:crypto';
import type { FatImage, Range } from '../image/fat-image.ts';
import { limits } from '../limits.ts';

/** A volume as a host has it: one open connection to its export. */
export interface HostVolume {
  readonly size_bytes: number;
  readonly isReadOnly: boolean;
  read(offset: number, length: number): Promise<Uint8Array>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  flush(): Promise<void>;
  close(): Promise<void>;
}

type Progress = (fraction: number) => void;

/** Requests under way at a time. */
const window = 8;

/** Writes ranges of an image and flushes; answers the bytes written. */
export async function writeImage(
  volume: HostVolume,
  image: FatImage,
  ranges: readonly Range[],
  progress: Progress,
): Promise<number> {
  const total = ranges.reduce((sum, range) => sum + range.length, 0);
  let done = 0;
  let flying: Promise<void>[] = [];
  for (const { offset, bytes } of image.pieces(ranges, limits.transfer_bytes)) {
    // The image reuses its buffer for the next piece; what flies keeps its own.
    flying.push(volume.write(offset, Uint8Array.from(bytes)));
    done += bytes.length;
    if (flying.length === window) {
      await Promise.all(flying);
      flying = [];
      progress(done / total);
    }
  }
  await Promise.all(flying);
  await volume.flush();
  progress(1);
  return total;
}

/** SHA-256 of a whole volume as a host reads it, hexadecimal. */
export async function digestVolume(volume: HostVolume, progress: Progress): Promise<string> {
  const hash = createHash('sha256');
  const flying: Promise<Uint8Array>[] = [];
  let asked = 0;
  let done = 0;
  while (done < volume.size_bytes) {
    while (flying.length < window && asked < volume.size_bytes) {
      const length = Math.min(limits.transfer_bytes, volume.size_bytes - asked);
      const reading = volume.read(asked, length);
      // A later one may fail while an earlier one is awaited; it is met in its turn.
      reading.catch(() => undefined);
      flying.push(reading);
      asked += length;
    }
    const bytes = await flying.shift();
    if (bytes === undefined) break;
    hash.update(bytes);
    done += bytes.length;
    progress(done / volume.size_bytes);
  }
  return hash.digest('hex');
}
