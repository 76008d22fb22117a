import type { Socket } from 'node:net';
import {
  buildOpenApi,
  catalogue,
  parseQuery,
  parseSelect,
  type ResourceSpec,
  RestError,
  resources,
} from '@antipode/contract';
import Fastify, { type ConnectionError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { TObject } from 'typebox';
import type { Catalog } from '../catalog/catalog.ts';
import type { Authenticator, Principal } from '../security/authenticator.ts';
import type { JobRunner } from '../services/jobs.ts';
import { absentCollections } from './absent.ts';
import { authenticate, claimedUser, cookieName, cookieOf, logoutPath } from './authenticate.ts';
import { checkBody } from './check-body.ts';
import type { Handlers, RequestContext } from './handlers.ts';
import { restLimits } from './limits.ts';
import { findByName, runGet, runQuery } from './query-sql.ts';

export interface RestOptions {
  readonly catalog: Catalog;
  readonly authenticator: Authenticator;
  readonly handlers: Handlers;
  readonly jobs: JobRunner;
  readonly version: string;
  /** PEM; absent in tests that inject requests. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Attributes that pass are brought up to date before they are read. */
  readonly refresh: (resource: string, id: string | undefined) => Promise<void>;
  /** The one row of login_session. */
  readonly loginSession: (principal: Principal) => Readonly<Record<string, unknown>>;
  /** Ours, under /api/antipode. */
  readonly own: (app: FastifyInstance, guard: Guard) => void;
  readonly audit: (
    request: FastifyRequest,
    principal: Principal | undefined,
    operation: string,
    status: number,
  ) => void;
  readonly onError: (error: unknown, requestId: string) => void;
}

export type Guard = (request: FastifyRequest) => Promise<Principal>;

/** The REST interface: routes, validation and queries all follow from the resources' specifications. */
export async function buildRestApp(options: RestOptions): Promise<FastifyInstance> {
  const app = Fastify({
    ...(options.tls && {
      https: {
        cert: options.tls.cert,
        key: options.tls.key,
        minVersion: 'TLSv1.2' as const,
        maxHeaderSize: restLimits.headers_bytes,
      },
    }),
    bodyLimit: restLimits.body_bytes,
    connectionTimeout: restLimits.connection_ms,
    requestTimeout: restLimits.request_ms,
    keepAliveTimeout: restLimits.keepAlive_ms,
    routerOptions: { maxParamLength: 300, ignoreTrailingSlash: true },
    forceCloseConnections: true,
    clientErrorHandler: answerBrokenRequest,
    // Paths that cannot be decoded never come to the error handler below.
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) =>
      answerError(error, request, reply, options),
    logger: false,
  } as object) as FastifyInstance;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, parseJson);
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply, options));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    void send(reply, new RestError('unsupported_path', request.method, path.slice(0, 200)));
  });
  const guard: Guard = async (request) => {
    try {
      return await authenticate(request, options.authenticator);
    } catch (error) {
      auditRefusal(error, request, options);
      throw error;
    }
  };
  for (const resource of Object.values(resources)) addResource(app, resource, options, guard);
  for (const name of absentCollections) addAbsent(app, name, guard);
  addLogin(app, options, guard);
  const openApi = buildOpenApi(options.version);
  for (const path of ['/api/rest/openapi.json', '/api/rest/openapi']) app.get(path, async () => openApi);
  options.own(app, guard);
  await app.ready();
  app.server.maxConnections = restLimits.connections;
  return app;
}

/**
 * Enters who was not let in, where somebody known tried or was asked for. Names that nobody has, and attempts that were not even looked
 * at, are left out: strangers must not be able to push older entries out of the list.
 */
function auditRefusal(error: unknown, request: FastifyRequest, options: RestOptions): void {
  if (!(error instanceof RestError) || error.entry === catalogue.locked_out) return;
  const name = claimedUser(request, options.authenticator);
  if (name === undefined || options.catalog.list('user', 'name', name)[0] === undefined) return;
  const claimed: Principal = { user: name, roleIds: [], isBuiltIn: false };
  options.audit(
    request,
    claimed,
    error.status === 401 ? 'login_session.login' : 'login_session.authorize',
    error.status,
  );
}

/** What could not even be read as a request gets an answer of the usual form, where there is still somebody to answer. */
function answerBrokenRequest(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (!socket.writable) return void socket.destroy();
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  const body = JSON.stringify(new RestError('invalid_request', status.slice(4)).body());
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function parseJson(
  request: FastifyRequest,
  body: string | Buffer,
  done: (error: Error | null, body?: unknown) => void,
): void {
  const text = String(body);
  if (text.trim() === '') return done(null, undefined);
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/(?:[a-z.+-]*\+)?json\b/i.test(type)) return done(new RestError('unsupported_media_type'));
  try {
    const value: unknown = JSON.parse(text);
    return done(null, value === null ? undefined : value);
  } catch {
    return done(new RestError('schema_violation', '/', 'the body is not JSON'));
  }
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, options: RestOptions): void {
  if (error instanceof RestError) return void send(reply, error);
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  if (statusCode === 413) return void send(reply, new RestError('body_too_large'));
  if (statusCode === 415) return void send(reply, new RestError('unsupported_media_type'));
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return void send(reply, new RestError('invalid_request', code ?? 'malformed'));
  options.onError(error, request.id);
  void send(reply, new RestError('internal', request.id));
}

const send = (reply: FastifyReply, error: RestError): FastifyReply => {
  if (error.status === 401) void reply.header('www-authenticate', 'Basic realm="antipode", charset="UTF-8"');
  return reply.code(error.status).type('application/json').send(JSON.stringify(error.body()));
};

function addResource(app: FastifyInstance, resource: ResourceSpec, options: RestOptions, guard: Guard): void {
  const base = `/api/rest/${resource.name}`;
  const { catalog } = options;
  if (resource.name !== 'login_session') {
    app.get(base, async (request, reply) => {
      await guard(request);
      acceptable(request);
      return list(request, reply, resource, options);
    });
  }
  if (!resource.noInstance) {
    app.get<{ Params: { id: string } }>(`${base}/:id`, async (request) => {
      await guard(request);
      acceptable(request);
      const id = resolveId(catalog, resource, request.params.id);
      await options.refresh(resource.name, id);
      const text = searchOf(request).get('select');
      const selection =
        text === null ? { fields: ['id'], associations: {} } : unwrap(parseSelect(text, resource, resources));
      const row = runGet(catalog, resource, id, selection);
      if (row === undefined) throw notFound(resource.name, id);
      return row;
    });
  }
  const changing = (
    method: 'post' | 'patch' | 'delete',
    path: string,
    operation: string,
    schema: TObject | undefined,
    required: boolean,
    success: 201 | 200 | 204,
  ) => {
    app[method]<{ Params: { id?: string } }>(path, async (request, reply) => {
      const principal = await guard(request);
      return change(request, reply, { resource, operation, schema, required, success, principal, options });
    });
  };
  if (resource.create) changing('post', base, 'create', resource.create.body, true, 201);
  if (resource.modify) changing('patch', `${base}/:id`, 'modify', resource.modify.body, true, 204);
  if (resource.remove) changing('delete', `${base}/:id`, 'delete', resource.remove.body, false, 204);
  for (const [name, action] of Object.entries(resource.actions))
    changing('post', `${base}/:id/${name}`, name, action.body, action.required ?? false, action.answer ? 200 : 204);
  for (const [name, action] of Object.entries(resource.collectionActions ?? {}))
    changing('post', `${base}/${name}`, name, action.body, action.required ?? false, action.answer ? 200 : 204);
  // What the resource knows and does not do is 405, not 404.
  const refuse = async (request: FastifyRequest) => {
    throw new RestError('method_not_allowed', request.method, resource.name);
  };
  for (const [method, there] of [
    ['POST', resource.create],
    ['PATCH', undefined],
    ['DELETE', undefined],
    ['PUT', undefined],
  ] as const)
    if (there === undefined) app.route({ method, url: base, handler: refuse });
  if (resource.noInstance) return;
  for (const [method, there] of [
    ['PATCH', resource.modify],
    ['DELETE', resource.remove],
    ['POST', undefined],
    ['PUT', undefined],
  ] as const)
    if (there === undefined) app.route({ method, url: `${base}/:id`, handler: refuse });
}

/** A collection with nothing in it: nothing can be found in it either, and nothing put. */
function addAbsent(app: FastifyInstance, name: string, guard: Guard): void {
  const base = `/api/rest/${name}`;
  app.get(base, async (request) => {
    await guard(request);
    acceptable(request);
    return [];
  });
  app.get<{ Params: { id: string } }>(`${base}/:id`, async (request) => {
    await guard(request);
    throw notFound(name, request.params.id);
  });
}

async function list(
  request: FastifyRequest,
  reply: FastifyReply,
  resource: ResourceSpec,
  options: RestOptions,
): Promise<unknown> {
  const range = request.headers.range;
  const query = unwrap(
    parseQuery(
      resource.simple ? onlySelect(request) : searchOf(request),
      resource.simple ? undefined : range,
      resource,
      resources,
    ),
  );
  await options.refresh(resource.name, undefined);
  const { rows, total } = runQuery(options.catalog, resource, query);
  if (query.offset > 0 && query.offset >= total) throw new RestError('bad_range', `offset ${query.offset} of ${total}`);
  const last = query.offset + rows.length - 1;
  if (rows.length > 0) void reply.header('content-range', `${query.offset}-${last}/${total}`);
  void reply.code(rows.length < total ? 206 : 200);
  return rows;
}

interface Changing {
  readonly resource: ResourceSpec;
  readonly operation: string;
  readonly schema: TObject | undefined;
  readonly required: boolean;
  readonly success: 200 | 201 | 204;
  readonly principal: Principal;
  readonly options: RestOptions;
}

/** A changing request: checked, entered as a job, carried out; asynchronously if that was asked for. */
async function change(
  request: FastifyRequest<{ Params: { id?: string } }>,
  reply: FastifyReply,
  what: Changing,
): Promise<unknown> {
  const { resource, operation, schema, required, success, principal, options } = what;
  const name = `${resource.name}.${operation}`;
  let status = 500;
  try {
    acceptable(request);
    if (required && request.body === undefined) throw new RestError('schema_violation', '/', 'a body is required');
    const body = resolveReferences(options.catalog, resource, checkBody(schema, request.body));
    const id = request.params.id === undefined ? '' : resolveId(options.catalog, resource, request.params.id);
    if (id !== '' && options.catalog.get(resource.name as 'volume', id) === undefined)
      throw notFound(resource.name, id);
    const handler = options.handlers[name];
    if (handler === undefined) throw new RestError('method_not_allowed', operation, resource.name);
    const job = options.jobs.begin({
      resource: resource.name,
      action: operation,
      id: id === '' ? null : id,
      user: principal.user,
    });
    const context: RequestContext = { principal, clientAddress: request.ip, progress: job.progress };
    const work = job.run(() => handler(context, id, body), success);
    const search = searchOf(request);
    const wanted = [...search.keys()].some(
      (key) => /^(is_)?async$/i.test(key) && /^true$/i.test(search.get(key) ?? ''),
    );
    if (wanted) {
      // The answer is the job's; whoever asked looks there.
      work.catch(() => undefined);
      status = 202;
      return reply.code(202).send({ id: job.id });
    }
    const result = await work;
    status = success === 200 && result === undefined ? 204 : success;
    if (status === 204) return reply.code(204).send();
    return reply.code(status).send(result);
  } catch (error) {
    status = error instanceof RestError ? error.status : 500;
    throw error;
  } finally {
    options.audit(request, principal, name, status);
  }
}

/** Login, logout: the session of whoever asks. */
function addLogin(app: FastifyInstance, options: RestOptions, guard: Guard): void {
  const { authenticator } = options;
  app.get('/api/rest/login_session', async (request, reply) => {
    const known = await guard(request);
    const principal = known.session === undefined ? authenticator.open(known) : known;
    void reply.header('DELL-EMC-TOKEN', principal.session?.token ?? '');
    if (known.session === undefined)
      void reply.header(
        'set-cookie',
        `${cookieName}=${principal.session?.cookie}; Path=/; Secure; HttpOnly; SameSite=Strict`,
      );
    if (known.session === undefined) options.audit(request, principal, 'login_session.login', 200);
    const text = searchOf(request).get('select');
    const resource = resources.login_session!;
    const selection =
      text === null
        ? { fields: Object.keys(resource.fields), associations: {} }
        : unwrap(parseSelect(text, resource, resources));
    const row = options.loginSession(principal);
    return [Object.fromEntries(selection.fields.map((field) => [field, row[field] ?? null]))];
  });
  app.post(logoutPath, async (request, reply) => {
    const principal = await guard(request);
    const cookie = cookieOf(request.headers.cookie);
    if (cookie !== undefined) authenticator.logout(cookie);
    options.audit(request, principal, 'login_session.logout', 204);
    return reply
      .code(204)
      .header('set-cookie', `${cookieName}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict`)
      .send();
  });
}

export function notFound(resource: string, id: string): RestError {
  const short = id.length > 100 ? `${id.slice(0, 100)}…` : id;
  if (resource === 'volume') return new RestError('volume_not_found', short);
  if (resource === 'volume_group') return new RestError('group_not_found', short);
  if (resource === 'policy') return new RestError('policy_not_found', short);
  if (resource === 'snapshot_rule') return new RestError('snapshot_rule_not_found', short);
  return new RestError('not_found', resource, short);
}

function resolveId(catalog: Catalog, resource: ResourceSpec, given: string): string {
  if (!given.startsWith('name:') || !resource.byName) return given;
  const name = given.slice('name:'.length);
  const id = findByName(catalog, resource, name);
  if (id === undefined) throw notFound(resource.name, given);
  return id;
}

/** Which resource an id in a body belongs to, so that `name:x` can be written instead. */
const references: Readonly<Record<string, string>> = {
  protection_policy_id: 'policy',
  appliance_id: 'appliance',
  remote_system_id: 'remote_system',
  volume_ids: 'volume',
  volume_group_id: 'volume_group',
  snapshot_rule_ids: 'snapshot_rule',
  add_snapshot_rule_ids: 'snapshot_rule',
  remove_snapshot_rule_ids: 'snapshot_rule',
  replication_rule_ids: 'replication_rule',
  add_replication_rule_ids: 'replication_rule',
  remove_replication_rule_ids: 'replication_rule',
};

/** These name another object of the resource that is acted on. */
const ofTheSameKind: readonly string[] = ['from_snap_id', 'from_object_id'];

function resolveReferences(catalog: Catalog, acted: ResourceSpec, body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return body;
  const resolveOne = (key: string, value: unknown): unknown => {
    const resource = ofTheSameKind.includes(key) ? acted : resources[references[key] ?? ''];
    return resource !== undefined && typeof value === 'string' ? resolveId(catalog, resource, value) : value;
  };
  return Object.fromEntries(
    Object.entries(body).map(([key, value]) => [
      key,
      Array.isArray(value) ? value.map((item) => resolveOne(key, item)) : resolveOne(key, value),
    ]),
  );
}

const searchOf = (request: FastifyRequest): URLSearchParams =>
  new URLSearchParams(request.url.includes('?') ? request.url.slice(request.url.indexOf('?') + 1) : '');

const onlySelect = (request: FastifyRequest): URLSearchParams => {
  const select = searchOf(request).get('select');
  return new URLSearchParams(select === null ? {} : { select });
};

/** JSON is all there is: a caller that takes only something else is told. */
function acceptable(request: FastifyRequest): void {
  const accept = request.headers.accept;
  if (accept === undefined || /\*\/\*|application\/(\*|json|[a-z.+-]*\+json)/i.test(accept)) return;
  throw new RestError('not_acceptable');
}

function unwrap<T>(
  result:
    | { readonly ok: true; readonly value: T }
    | { readonly ok: false; readonly error: { readonly kind: 'invalid' | 'range'; readonly message: string } },
): T {
  if (result.ok) return result.value;
  throw new RestError(result.error.kind === 'range' ? 'bad_range' : 'invalid_request', result.error.message);
}
