import { SEGMENT_HEADER_BYTES } from './log/segment-header.ts';
import type { Place, SegmentLog } from './log/types.ts';

/** Memory for the windows of all segments, and the least for one. */
const most_bytes = 4 * 1024 * 1024;
const window_bytes = 1024 * 1024;
const least_bytes = 64 * 1024;

interface Window {
  readonly bytes: Uint8Array;
  at: number;
  used: number;
}

/** Reads segments from front to back in few large reads, though what is wanted is small. */
export class SegmentWindows {
  readonly #log: SegmentLog;
  readonly #ends: ReadonlyMap<number, number>;
  readonly #size: number;
  readonly #windows = new Map<number, Window>();

  constructor(log: SegmentLog, segments: readonly number[]) {
    this.#log = log;
    this.#ends = new Map(log.segments().map(({ segment, used }) => [segment, used + SEGMENT_HEADER_BYTES]));
    this.#size = Math.min(window_bytes, Math.max(least_bytes, most_bytes / segments.length));
  }

  /** Bytes at a place; to be used before the next call. `again`: those that were read before are not to be trusted. */
  async read(place: Place, length: number, again = false): Promise<Uint8Array> {
    const { segment, offset } = place;
    if (length > this.#size) {
      const bytes = new Uint8Array(length);
      await this.#log.readAside(place, bytes);
      return bytes;
    }
    let window = again ? undefined : this.#windows.get(segment);
    if (window === undefined) {
      window = { bytes: new Uint8Array(this.#size), at: 0, used: 0 };
      this.#windows.set(segment, window);
    }
    if (offset < window.at || offset + length > window.at + window.used) {
      const end = this.#ends.get(segment) ?? offset + length;
      const used = Math.max(length, Math.min(this.#size, end - offset));
      // Nothing counts as being there until it is.
      window.used = 0;
      await this.#log.readAside(place, window.bytes.subarray(0, used));
      window.at = offset;
      window.used = used;
    }
    return window.bytes.subarray(offset - window.at, offset - window.at + length);
  }
}
