import { limits } from './limits.ts';

/** One message of an error response. */
export interface ErrorMessage {
  /** Catalogue code such as `0xE04040020009`. */
  readonly code: string;
  readonly severity: string;
  readonly message_l10n: string;
  readonly arguments: readonly string[];
}

/** The cluster answered with an error. */
export class ApiError extends Error {
  override name = 'ApiError';
  readonly status: number;
  readonly messages: readonly ErrorMessage[];
  /** `POST /replication_session/1/sync` */
  readonly request: string;

  constructor(status: number, messages: readonly ErrorMessage[], request: string) {
    const said = messages.map((message) => `${message.message_l10n} (${message.code})`).join('; ');
    super(`${request}: ${status}${said === '' ? '' : ` ${said}`}`);
    this.status = status;
    this.messages = messages;
    this.request = request;
  }

  /** Whether one of its messages has this code. */
  hasCode(code: string): boolean {
    return this.messages.some((message) => message.code === code);
  }
}

/** No answer came: not reachable, not the certificate expected, or cut off on the way. */
export class ConnectionError extends Error {
  override name = 'ConnectionError';
}

/** An answer came that is not of this interface. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
}

/** An asynchronous request was taken and then failed. */
export class JobError extends Error {
  override name = 'JobError';
  readonly jobId: string;
  readonly state: string;
  readonly messages: readonly ErrorMessage[];

  constructor(jobId: string, state: string, messages: readonly ErrorMessage[]) {
    super(`job ${jobId}: ${state}${messages.map((message) => `: ${message.message_l10n} (${message.code})`).join('')}`);
    this.jobId = jobId;
    this.state = state;
    this.messages = messages;
  }
}

/** The messages of an error response; none when the value is something else. Never throws. */
export function messagesOf(body: unknown): readonly ErrorMessage[] {
  if (typeof body !== 'object' || body === null || !('messages' in body) || !Array.isArray(body.messages)) return [];
  return body.messages.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    const field = (name: string): string => {
      const value = (entry as Record<string, unknown>)[name];
      return typeof value === 'string' ? value.slice(0, limits.quotedMost_characters) : '';
    };
    const args = (entry as { readonly arguments?: unknown }).arguments;
    return [
      {
        code: field('code'),
        severity: field('severity'),
        message_l10n: field('message_l10n'),
        arguments: Array.isArray(args) ? args.filter((value): value is string => typeof value === 'string') : [],
      },
    ];
  });
}
