import { RestError } from '@antipode/contract';

/** Primary result codes of SQLite that say that the medium takes nothing: READONLY, IOERR, FULL, CANTOPEN. */
const mediumCodes = new Set([8, 10, 13, 14]);
const full = 13;

const codeOf = (error: unknown): number => {
  const { errcode } = (error ?? {}) as { errcode?: unknown };
  return typeof errcode === 'number' ? errcode & 0xff : 0;
};

export const isMediumError = (error: unknown): boolean => mediumCodes.has(codeOf(error));
export const isFull = (error: unknown): boolean => codeOf(error) === full;

const refusals = new WeakSet<RestError>();

/** What a caller is told when the medium of the catalog takes nothing. */
export function mediumRefusal(error: unknown): RestError {
  const refusal = isFull(error)
    ? new RestError('no_space', 'A1')
    : new RestError('unavailable', `the catalog cannot be written: ${(error as Error).message}`);
  refusals.add(refusal);
  return refusal;
}

/** Does what is found undone later, and done then; false: the medium takes nothing now. */
export function isTaken(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (!isMediumRefusal(error)) throw error;
    return false;
  }
}

export const isMediumRefusal = (error: unknown): boolean => error instanceof RestError && refusals.has(error);
