import { AssertionError } from '@antipode/base';
import { type BlockErrorCode, isBlockError } from '@antipode/blocks';

/** Error numbers that NBD carries: the values are part of the protocol, not of the operating system. */
export const Errno = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type ErrnoName = keyof typeof Errno;

/** What a client is told about a request that failed. */
export interface Failure {
  readonly errno: ErrnoName;
  readonly text: string;
}

const OF_BLOCK_ERROR: Record<BlockErrorCode, ErrnoName> = {
  read_only: 'EPERM',
  no_space: 'ENOSPC',
  io_error: 'EIO',
  corrupt: 'EIO',
  out_of_range: 'EINVAL',
  not_found: 'ESHUTDOWN',
  closed: 'ESHUTDOWN',
  moved: 'ESHUTDOWN',
  in_use: 'EIO',
  exists: 'EIO',
  stale: 'EIO',
};

/**
 * Turns what a device threw into what the client is told. A broken assertion is no answer to a client: it is thrown on,
 * and ends the process.
 */
export function failureOf(error: unknown): Failure {
  if (isBlockError(error)) return { errno: OF_BLOCK_ERROR[error.code], text: error.message };
  if (error instanceof AssertionError) throw error;
  return { errno: 'EIO', text: 'the storage engine failed' };
}

/** Name of a number seen on the wire; one that the protocol does not know counts as EINVAL, as the specification asks. */
export function errnoName(value: number): ErrnoName {
  for (const [name, number] of Object.entries(Errno)) if (number === value) return name as ErrnoName;
  return 'EINVAL';
}
