import { NBD_MAX_PAYLOAD_BYTES } from '../limits.ts';
import type { Failure } from './errno.ts';
import { Command, CommandFlag, REQUEST_MAGIC } from './protocol.ts';

/** One request as it came. The cookie is kept as two halves: it is only ever echoed. */
export interface Request {
  readonly flags: number;
  readonly type: number;
  readonly cookieHigh: number;
  readonly cookieLow: number;
  /** Bytes; larger than any export when it does not fit a safe integer. */
  readonly offset: number;
  /** Bytes; length of the payload that follows a write. */
  readonly length: number;
}

/** Reads one request at `at`; nothing when the magic is wrong (the stream is out of step, and the connection lost). */
export function readRequest(buffer: Buffer, at: number): Request | undefined {
  if (buffer.readUInt32BE(at) !== REQUEST_MAGIC) return undefined;
  return {
    flags: buffer.readUInt16BE(at + 4),
    type: buffer.readUInt16BE(at + 6),
    cookieHigh: buffer.readUInt32BE(at + 8),
    cookieLow: buffer.readUInt32BE(at + 12),
    // Above 2^53 the sum is rounded; it stays far beyond the largest volume, which is all that is asked of it.
    offset: buffer.readUInt32BE(at + 16) * 2 ** 32 + buffer.readUInt32BE(at + 20),
    length: buffer.readUInt32BE(at + 24),
  };
}

/** FUA is legal with every command once it is offered; it means something to those that change the export. */
const LEGAL_FLAGS: ReadonlyMap<number, number> = new Map([
  [Command.READ, CommandFlag.FUA | CommandFlag.DF],
  [Command.WRITE, CommandFlag.FUA],
  [Command.FLUSH, CommandFlag.FUA],
  [Command.TRIM, CommandFlag.FUA],
  [Command.CACHE, CommandFlag.FUA],
  [Command.WRITE_ZEROES, CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO],
  [Command.BLOCK_STATUS, CommandFlag.FUA | CommandFlag.REQ_ONE],
]);

export const changesExport = (type: number): boolean =>
  type === Command.WRITE || type === Command.TRIM || type === Command.WRITE_ZEROES;

/** What was agreed with the client, as far as it decides which requests are legal. */
export interface Agreed {
  readonly readOnly: boolean;
  readonly structured: boolean;
  readonly allocationContext: boolean;
}

/** Checks everything about a request that can be known before the device is asked; `size` is the export's, in bytes. */
export function refuse(request: Request, agreed: Agreed, size: number): Failure | undefined {
  const { type, flags, offset, length } = request;
  const legal = LEGAL_FLAGS.get(type);
  if (legal === undefined) return { errno: 'EINVAL', text: `unknown command ${type}` };
  if ((flags & ~legal) !== 0) return { errno: 'EINVAL', text: `flags 0x${flags.toString(16)} are not legal here` };
  if (changesExport(type) && agreed.readOnly) return { errno: 'EPERM', text: 'the export is read-only' };
  if (type === Command.FLUSH) return undefined;
  if ((flags & CommandFlag.DF) !== 0 && !agreed.structured)
    return { errno: 'EINVAL', text: 'DF needs structured replies' };
  if (type === Command.BLOCK_STATUS && !agreed.allocationContext)
    return { errno: 'EINVAL', text: 'no metadata context was negotiated' };
  if (type === Command.BLOCK_STATUS && length === 0) return { errno: 'EINVAL', text: 'a range of length 0' };
  if ((type === Command.READ || type === Command.WRITE) && length > NBD_MAX_PAYLOAD_BYTES)
    return { errno: 'EINVAL', text: `length ${length} is above the maximum of ${NBD_MAX_PAYLOAD_BYTES} bytes` };
  if (offset > size || length > size - offset) {
    const beyondEnd = type === Command.WRITE || type === Command.WRITE_ZEROES;
    return { errno: beyondEnd ? 'ENOSPC' : 'EINVAL', text: `the range ends beyond the export's ${size} bytes` };
  }
  return undefined;
}
