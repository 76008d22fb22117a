import type { ErrnoName } from './errno.ts';

/** Why a client's call failed. */
export class NbdError extends Error {
  override name = 'NbdError';
  /**
   * `request`: the server refused or failed this one request, the connection goes on. `negotiation`: the export could
   * not be opened. `connection`: the connection is lost, and with it every request under way.
   */
  readonly kind: 'request' | 'negotiation' | 'connection';
  /** What the server answered; absent where the server did not answer. */
  readonly errno: ErrnoName | undefined;
  /** Place of the failure, bytes, where the server named it. */
  readonly offset: number | undefined;

  constructor(
    kind: NbdError['kind'],
    message: string,
    detail: { readonly errno?: ErrnoName; readonly offset?: number; readonly cause?: unknown } = {},
  ) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.kind = kind;
    this.errno = detail.errno;
    this.offset = detail.offset;
  }
}

export const isNbdError = (error: unknown): error is NbdError => error instanceof NbdError;
