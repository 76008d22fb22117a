/** Why an engine refused or failed. Each is an operating error: the caller maps it to errno, REST or the peer protocol. */
export type BlockErrorCode =
  /** The volume, point, session or cycle is not known. */
  | 'not_found'
  /** The id is in use with other properties. The same call again with equal properties succeeds (idempotence). */
  | 'exists'
  /** The head may not be written now: destination, sealed, or a frozen point. */
  | 'read_only'
  /** Offset, length or size is outside what is allowed. */
  | 'out_of_range'
  /** Held, mapped onto or otherwise in use. */
  | 'in_use'
  /** Generation, base, role, proposal or cycle is not the present one; nothing changed [C3.3]. */
  | 'stale'
  /** No space: nothing was acknowledged. */
  | 'no_space'
  /** The medium failed; nothing was acknowledged. */
  | 'io_error'
  /** A stored block does not match its checksum: these bytes are not given out. */
  | 'corrupt'
  /** It is on its way to another appliance, or there already: nothing was done here, and it is to be asked where it is. */
  | 'moved'
  /** The device or the engine is closed. */
  | 'closed';

export class BlockError extends Error {
  override name = 'BlockError';
  readonly code: BlockErrorCode;
  constructor(code: BlockErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export const isBlockError = (error: unknown): error is BlockError => error instanceof BlockError;
