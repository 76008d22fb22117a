import { type Clock, systemClock } from '@antipode/base';
import { ProtocolError } from './errors.ts';
import { waitForJob } from './jobs.ts';
import { limits } from './limits.ts';
import { parseContentRange, type Query, queryString } from './query.ts';
import type { Job, Resource, ResourceName } from './resources.ts';
import type { TlsTrust } from './tls.ts';
import { type Answer, type Answered, type Method, Transport } from './transport.ts';

export interface ConnectOptions {
  /** Origin: `https://host:port`. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** Default: authorities that the machine knows. */
  readonly tls?: TlsTrust;
  readonly clock?: Clock;
  /** Told of every answer, refusals and logins included, before the caller is; what it throws, the caller gets. */
  readonly onAnswer?: (answered: Answered) => void;
}

/**
 * Logs in to a cluster.
 *
 * @example
 * const london = await connect({ url: 'https://10.0.0.1:8443', username: 'admin', password, tls: { mode: 'ca', ca } });
 * for await (const volume of london.list('volume', { select: ['id', 'name'] })) console.log(volume.name);
 * await london.close();
 *
 * @throws ApiError 401 for a wrong password; ConnectionError when the cluster cannot be reached or is another one.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const url = new URL(options.url);
  if (url.protocol !== 'https:') throw new ProtocolError(`a cluster is reached over https, not ${url.protocol}`);
  const { username, password, tls = { mode: 'system' }, clock = systemClock, onAnswer } = options;
  const transport = new Transport({ url: url.origin, username, password, tls, ...(onAnswer && { onAnswer }) });
  try {
    await transport.login();
  } catch (error) {
    await transport.close();
    throw error;
  }
  return new Client(transport, clock);
}

/** A path segment: an id, or `name:x`. */
const segment = (text: string): string => encodeURIComponent(text).replaceAll('%3A', ':');
const rest = '/api/rest';

/** The REST interface of one cluster. Every method may throw ApiError, ConnectionError or ProtocolError. */
export class Client {
  readonly #transport: Transport;
  readonly #clock: Clock;

  constructor(transport: Transport, clock: Clock) {
    this.#transport = transport;
    this.#clock = clock;
  }

  /** One instance, by id or `name:x`; all of its own fields unless told otherwise. */
  async get<N extends ResourceName>(
    resource: N,
    id: string,
    query: Pick<Query, 'select'> = { select: '*' },
  ): Promise<Resource<N>> {
    const { body } = await this.#transport.send(
      'GET',
      `${rest}/${segment(resource)}/${segment(id)}${queryString(query)}`,
    );
    return body as Resource<N>;
  }

  /** Every instance that the query finds, fetched page by page as the caller reads on. */
  async *list<N extends ResourceName>(
    resource: N,
    query: Query = { select: '*' },
  ): AsyncGenerator<Resource<N>, void, undefined> {
    let offset = 0;
    while (true) {
      const page = { limit: String(limits.pageMost_items), ...(offset === 0 ? {} : { offset: String(offset) }) };
      const answer = await this.#transport.send('GET', `${rest}/${segment(resource)}${queryString(query, page)}`);
      if (!Array.isArray(answer.body)) throw new ProtocolError(`GET ${resource}: the answer is not a list`);
      yield* answer.body as Resource<N>[];
      if (answer.status !== 206) return;
      const range = parseContentRange(answer.contentRange);
      if (range === undefined || answer.body.length === 0)
        throw new ProtocolError(`GET ${resource}: a partial answer without its range`);
      offset = range.last + 1;
      if (offset >= range.total) return;
    }
  }

  /** The whole list at once. */
  async all<N extends ResourceName>(resource: N, query: Query = { select: '*' }): Promise<Resource<N>[]> {
    const found: Resource<N>[] = [];
    for await (const item of this.list(resource, query)) found.push(item);
    return found;
  }

  /** The first of a list, if there is one. */
  async first<N extends ResourceName>(resource: N, query: Query): Promise<Resource<N> | undefined> {
    for await (const found of this.list(resource, query)) return found;
    return undefined;
  }

  /** Creates an instance; answers its id. */
  async create(resource: ResourceName, body: object): Promise<string> {
    return idOf(await this.#transport.send('POST', `${rest}/${segment(resource)}`, body), resource);
  }

  /** Uploads a file as a new instance, such as a software package; answers its id. `onProgress`: bytes that are on their way. */
  async upload(
    resource: ResourceName,
    field: string,
    file: string,
    onProgress: (sent_bytes: number) => void = () => undefined,
  ): Promise<string> {
    return idOf(await this.#transport.sendFile(`${rest}/${segment(resource)}`, field, file, onProgress), resource);
  }

  async modify(resource: ResourceName, id: string, body: object): Promise<void> {
    await this.#transport.send('PATCH', `${rest}/${segment(resource)}/${segment(id)}`, body);
  }

  async remove(resource: ResourceName, id: string, body?: object): Promise<void> {
    await this.#transport.send('DELETE', `${rest}/${segment(resource)}/${segment(id)}`, body);
  }

  /** An action on an instance; answers its output, if it has one. */
  async action(resource: ResourceName, id: string, name: string, body?: object): Promise<unknown> {
    return (await this.#transport.send('POST', `${rest}/${segment(resource)}/${segment(id)}/${segment(name)}`, body))
      .body;
  }

  /** An action on a whole resource, such as `x509_certificate/exchange`. */
  async collectionAction(resource: ResourceName, name: string, body?: object): Promise<unknown> {
    return (await this.#transport.send('POST', `${rest}/${segment(resource)}/${segment(name)}`, body)).body;
  }

  /** Starts a request as a job; answers the job's id. `path` is below `/api/rest`: `replication_session/1/sync`. */
  async startJob(method: Exclude<Method, 'GET'>, path: string, body?: object): Promise<string> {
    return idOf(await this.#transport.send(method, `${rest}/${path}?is_async=true`, body), path);
  }

  /** Resolves with a job that completed. @throws JobError when it failed or took longer than `most_ms`. */
  waitForJob(id: string, options: { readonly most_ms?: number; readonly signal?: AbortSignal } = {}): Promise<Job> {
    return waitForJob(() => this.get('job', id), id, this.#clock, options);
  }

  /** Any request below the origin: for what this class has no method for, such as `/api/antipode/v1/...`. */
  request(method: Method, path: string, body?: unknown): Promise<Answer> {
    return this.#transport.send(method, path, body);
  }

  /** Ends the login and the connections. */
  async close(): Promise<void> {
    // A cluster that is gone has no login to end.
    if (this.#transport.isLoggedIn) await this.#transport.send('POST', `${rest}/logout`, {}).catch(() => undefined);
    await this.#transport.close();
  }
}

function idOf({ body }: Answer, what: string): string {
  if (typeof body === 'object' && body !== null && 'id' in body && typeof body.id === 'string') return body.id;
  throw new ProtocolError(`${what}: the answer has no id`);
}
