import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { type Agent, request } from 'undici';
import { ApiError, ConnectionError, messagesOf, ProtocolError } from './errors.ts';
import { limits } from './limits.ts';
import { makeAgent, type TlsTrust } from './tls.ts';

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export interface Answer {
  readonly status: number;
  readonly contentRange: string | undefined;
  /** Parsed JSON; undefined when there was no body. */
  readonly body: unknown;
}

/** One exchange as it was on the wire; no headers, so no secrets of the login. */
export interface Answered extends Answer {
  readonly method: Method;
  /** Path and query. */
  readonly url: string;
}

export interface Credentials {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly tls: TlsTrust;
  readonly onAnswer?: (answered: Answered) => void;
}

/**
 * Requests to one cluster as one user: logs in with the password, then lives on cookie and token, and logs in again, once a
 * request, when the cluster has forgotten them.
 */
export class Transport {
  readonly #credentials: Credentials;
  readonly #agent: Agent;
  #cookie: string | undefined;
  #token: string | undefined;
  #login: Promise<void> | undefined;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
    this.#agent = makeAgent(credentials.tls);
  }

  /** @throws ApiError 401 when the password is wrong. */
  login(): Promise<void> {
    // Requests that find the session gone at the same time share one login.
    this.#login ??= this.#logIn().finally(() => {
      this.#login = undefined;
    });
    return this.#login;
  }

  /** Sends one request below the origin, such as `/api/rest/volume`. @throws ApiError, ConnectionError, ProtocolError */
  async send(method: Method, path: string, body?: unknown): Promise<Answer> {
    if (this.#cookie === undefined) await this.login();
    const cookie = this.#cookie;
    try {
      return await this.#exchange(method, path, body, this.#sessionHeaders());
    } catch (error) {
      const forgotten = error instanceof ApiError && (error.status === 401 || error.status === 403);
      if (!forgotten) throw error;
      if (this.#cookie === cookie) await this.login();
      return await this.#exchange(method, path, body, this.#sessionHeaders());
    }
  }

  /** Sends a file as the one field of a form; `onProgress` is told of the bytes that are on their way. */
  async sendFile(path: string, field: string, file: string, onProgress: (sent: number) => void): Promise<Answer> {
    // What a login that has ended would cost is the whole file a second time.
    await this.login();
    const boundary = randomUUID();
    const before = Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${field}"; filename="${basename(file).replaceAll(/["\r\n]/g, '_')}"\r\nContent-Type: application/octet-stream\r\n\r\n`,
    );
    const after = Buffer.from(`\r\n--${boundary}--\r\n`);
    const { size } = await stat(file);
    async function* form() {
      yield before;
      let sent = 0;
      for await (const chunk of createReadStream(file)) {
        yield chunk as Buffer;
        sent += (chunk as Buffer).length;
        onProgress(sent);
      }
      yield after;
    }
    return this.#ask('POST', path, Readable.from(form()), {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': String(before.length + size + after.length),
      ...this.#sessionHeaders(),
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  get isLoggedIn(): boolean {
    return this.#cookie !== undefined;
  }

  async #logIn(): Promise<void> {
    const { username, password } = this.#credentials;
    const authorization = `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
    await this.#exchange('GET', '/api/rest/login_session', undefined, { authorization });
    if (this.#cookie === undefined) throw new ProtocolError('the login was answered without a cookie');
  }

  #sessionHeaders(): Record<string, string> {
    return {
      ...(this.#cookie === undefined ? {} : { cookie: this.#cookie }),
      ...(this.#token === undefined ? {} : { 'dell-emc-token': this.#token }),
    };
  }

  #exchange(method: Method, path: string, body: unknown, headers: Record<string, string>): Promise<Answer> {
    if (body === undefined) return this.#ask(method, path, undefined, headers);
    return this.#ask(method, path, JSON.stringify(body), { 'content-type': 'application/json', ...headers });
  }

  async #ask(
    method: Method,
    path: string,
    body: string | Readable | undefined,
    headers: Record<string, string>,
  ): Promise<Answer> {
    const said = `${method} ${path.replace(/\?.*$/, '')}`;
    const response = await request(`${this.#credentials.url}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: { accept: 'application/json', ...headers },
      ...(body === undefined ? {} : { body }),
    }).catch((error: unknown) => {
      throw new ConnectionError(`${said} at ${this.#credentials.url}: ${reasonOf(error)}`, { cause: error });
    });
    const text = await response.body.text().catch((error: unknown) => {
      throw new ConnectionError(`${said} at ${this.#credentials.url}: ${reasonOf(error)}`, { cause: error });
    });
    this.#remember(response.headers);
    const parsed = parseBody(text, said, response.statusCode);
    const range = response.headers['content-range'];
    const answer = {
      status: response.statusCode,
      contentRange: typeof range === 'string' ? range : undefined,
      body: parsed,
    };
    this.#credentials.onAnswer?.({ ...answer, method, url: path });
    if (answer.status >= 400) throw new ApiError(answer.status, messagesOf(parsed), said);
    return answer;
  }

  #remember(headers: Record<string, string | string[] | undefined>): void {
    const token = headers['dell-emc-token'];
    if (typeof token === 'string') this.#token = token;
    const cookies = headers['set-cookie'];
    for (const cookie of typeof cookies === 'string' ? [cookies] : (cookies ?? [])) {
      const pair = cookie.split(';')[0] ?? '';
      if (pair.startsWith('auth_cookie=') && pair.length > 'auth_cookie='.length) this.#cookie = pair;
    }
  }
}

function parseBody(text: string, said: string, status: number): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // A 401 or a proxy's page need not be JSON: the status says enough.
    if (status >= 400) return undefined;
    throw new ProtocolError(`${said}: the answer is not JSON: ${text.slice(0, limits.quotedMost_characters)}`);
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error.message !== '' ? error.message : ((error as NodeJS.ErrnoException).code ?? error.name);
}
