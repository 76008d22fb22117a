import { catalogue, type ErrorEntry, type ErrorName } from './errors.ts';

export interface ErrorMessage {
  readonly code: string;
  readonly severity: 'Error' | 'Warning' | 'Info';
  readonly message_l10n: string;
  readonly severity_l10n: string;
  readonly arguments: readonly string[];
}

/** The body of every answer that is no success. */
export interface ErrorResponse {
  readonly messages: readonly ErrorMessage[];
}

/** An error on its way to a caller: an entry of the catalogue and what it is about this time. */
export class RestError extends Error {
  override name = 'RestError';
  readonly entry: ErrorEntry;
  readonly args: readonly string[];
  /** What else stands in the way. */
  readonly others: readonly RestError[];

  constructor(name: ErrorName, ...args: readonly string[]) {
    const entry: ErrorEntry = catalogue[name];
    super(fill(entry.message, args));
    this.entry = entry;
    this.args = args;
    this.others = [];
  }

  get status(): number {
    return this.entry.status;
  }

  body(): ErrorResponse {
    const { code, severity } = this.entry;
    const own = { code, severity, severity_l10n: severity, message_l10n: this.message, arguments: this.args };
    return { messages: [own, ...this.others.flatMap((other) => other.body().messages)] };
  }

  /** One refusal for several reasons; the first decides its status. */
  static of(first: RestError, ...others: readonly RestError[]): RestError {
    return Object.assign(first, { others });
  }
}

const fill = (message: string, args: readonly string[]): string =>
  message.replace(/\{(\d)\}/g, (_, index: string) => args[Number(index)] ?? '');
