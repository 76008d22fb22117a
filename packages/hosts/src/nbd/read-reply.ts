import { NBD_COPY_REPLY_BYTES, NBD_ZERO_SCAN_BYTES } from '../limits.ts';
import type { Outlet } from './outlet.ts';
import { SIMPLE_REPLY_BYTES } from './protocol.ts';
import {
  DATA_CHUNK_PREFIX_BYTES,
  HOLE_CHUNK_BYTES,
  writeDataChunkPrefix,
  writeHoleChunk,
  writeNoneChunk,
  writeSimpleReply,
} from './reply-codec.ts';
import type { Request } from './request-codec.ts';

const ZEROS = Buffer.alloc(NBD_ZERO_SCAN_BYTES);

/** One stretch of a read's answer, relative to the start of the read. */
export interface Run {
  readonly zero: boolean;
  readonly start: number;
  readonly end: number;
}

/** Whether `data[start, end)` is all zeros; at most one scan unit long. Data is mostly told by its first or last byte. */
function isZero(data: Buffer, start: number, end: number): boolean {
  if (data[start] !== 0 || data[end - 1] !== 0) return false;
  return ZEROS.compare(data, start, end, 0, end - start) === 0;
}

/** Splits the first `length` bytes of `data` into runs of zeros and of data; `fragment` false: one run whatever it holds. */
export function runsOf(data: Buffer, length: number, fragment: boolean): readonly Run[] {
  const runs: Run[] = [];
  for (let start = 0; start < length; start += NBD_ZERO_SCAN_BYTES) {
    const end = Math.min(start + NBD_ZERO_SCAN_BYTES, length);
    const zero = isZero(data, start, end);
    const last = runs.at(-1);
    if (last?.zero === zero) runs[runs.length - 1] = { ...last, end };
    else runs.push({ zero, start, end });
  }
  return fragment || runs.length <= 1 ? runs : [{ zero: false, start: 0, end: length }];
}

/**
 * Sends what a read found: `data` holds `request.length` bytes. `taken` is called when `data` may be used again: at once
 * when everything was copied, else when the socket has taken it (with false when it was lost on the way).
 */
export function sendRead(
  outlet: Outlet,
  request: Request,
  data: Buffer,
  form: { readonly structured: boolean; readonly fragment: boolean },
  taken: (whole: boolean) => void,
): void {
  const { length } = request;
  if (!form.structured) {
    if (length <= NBD_COPY_REPLY_BYTES) {
      outlet.small(SIMPLE_REPLY_BYTES + length, (into, at) => {
        const end = writeSimpleReply(into, at, request, 0);
        return end + data.copy(into, end, 0, length);
      });
      taken(true);
    } else {
      outlet.small(SIMPLE_REPLY_BYTES, (into, at) => writeSimpleReply(into, at, request, 0));
      outlet.large(data.subarray(0, length), taken);
    }
    return;
  }
  if (length === 0) {
    outlet.small(DATA_CHUNK_PREFIX_BYTES, (into, at) => writeNoneChunk(into, at, request));
    return taken(true);
  }
  const runs = runsOf(data, length, form.fragment);
  let lent = runs.filter((run) => !run.zero && run.end - run.start > NBD_COPY_REPLY_BYTES).length;
  let whole = true;
  const returned = (ok: boolean) => {
    whole &&= ok;
    lent -= 1;
    if (lent === 0) taken(whole);
  };
  if (lent === 0) {
    for (const run of runs) sendRun(outlet, request, data, run, returned);
    taken(true);
  } else {
    for (const run of runs) sendRun(outlet, request, data, run, returned);
  }
}

/** One content chunk; the run that ends the request carries the end mark, because nothing can fail after it. */
function sendRun(outlet: Outlet, request: Request, data: Buffer, run: Run, returned: (ok: boolean) => void): void {
  const offset = request.offset + run.start;
  const length = run.end - run.start;
  const done = run.end === request.length;
  if (run.zero) {
    outlet.small(HOLE_CHUNK_BYTES, (into, at) => writeHoleChunk(into, at, request, done, offset, length));
  } else if (length <= NBD_COPY_REPLY_BYTES) {
    outlet.small(DATA_CHUNK_PREFIX_BYTES + length, (into, at) => {
      const start = writeDataChunkPrefix(into, at, request, done, offset, length);
      return start + data.copy(into, start, run.start, run.end);
    });
  } else {
    outlet.small(DATA_CHUNK_PREFIX_BYTES, (into, at) => writeDataChunkPrefix(into, at, request, done, offset, length));
    outlet.large(data.subarray(run.start, run.end), returned);
  }
}
