/** One entry of the catalogue: everything about an error that does not depend on the occasion. */
export interface ErrorEntry {
  readonly code: string;
  readonly status: 400 | 401 | 403 | 404 | 405 | 406 | 413 | 415 | 416 | 422 | 500 | 503;
  readonly severity: 'Error' | 'Warning' | 'Info';
  /** `{0}`, `{1}`, … are filled in with the arguments. */
  readonly message: string;
  readonly remedy: string;
}

/** An error of severity Error, as nearly all are. */
export const error = (code: string, status: ErrorEntry['status'], message: string, remedy: string): ErrorEntry => ({
  code,
  status,
  severity: 'Error',
  message,
  remedy,
});
