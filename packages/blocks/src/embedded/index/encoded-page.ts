/** A page as a checkpoint has it (docs/formats/checkpoint.md): runs of blocks that lie together in the log. */

/** What is said of a run, and the checksum of each block of data. */
export const run_bytes = 18;
/** And of a run within a frame: bytes of the frame, and which of its blocks. */
export const frame_bytes = 3;
/** Set in the segment of a run within a frame. */
export const isFrame = 0x80000000;
export const sum_bytes = 8;
/** Stands for the segment of a hole. */
export const hole = 0xffffffff;

/** A run of an encoded page. */
export interface EncodedRun {
  readonly index: number;
  readonly end: number;
  readonly segment: number;
  readonly offset: number;
  readonly sequence: number;
  /** 0: not packed. */
  readonly frame: number;
  readonly part: number;
  /** Checksum of one of its blocks, counted from the first; of data only. */
  readonly sumOf: (at: number) => bigint;
}

export function* runsIn(bytes: Uint8Array): Generator<EncodedRun> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const runs = view.getUint16(0, true);
  for (let run = 0, at = 2; run < runs; run++) {
    const index = view.getUint8(at);
    const end = index + view.getUint8(at + 1) + 1;
    const marked = view.getUint32(at + 2, true);
    const packed = marked !== hole && (marked & isFrame) !== 0;
    const segment = packed ? marked & ~isFrame : marked;
    const [offset, sequence] = [view.getUint32(at + 6, true), view.getFloat64(at + 10, true)];
    at += run_bytes;
    const frame = packed ? view.getUint16(at, true) : 0;
    const part = packed ? view.getUint8(at + 2) : 0;
    if (packed) at += frame_bytes;
    const sums = at;
    const sumOf = (block: number) => view.getBigUint64(sums + block * sum_bytes, true);
    yield { index, end, segment, offset, sequence, frame, part, sumOf };
    if (segment !== hole) at += (end - index) * sum_bytes;
  }
}
