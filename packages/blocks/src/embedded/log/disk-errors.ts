import { BlockError } from '../../port/errors.ts';

/** Whether an error of the Disk port says that there is no room (also: over quota). */
export function isNoSpace(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

export const reasonOf = (error: unknown): 'no_space' | 'io_error' => (isNoSpace(error) ? 'no_space' : 'io_error');

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** An error of the Disk port in the terms of the block port. What is no error of a disk (a bug) stays what it is. */
export function asBlockError(error: unknown, doing: string): unknown {
  if (error instanceof BlockError || typeof (error as { code?: unknown } | undefined)?.code !== 'string') return error;
  return new BlockError(reasonOf(error), `${doing}: ${messageOf(error)}`, { cause: error });
}
