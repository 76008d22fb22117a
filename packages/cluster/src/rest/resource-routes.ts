import { type ErrorName, parseQuery, parseSelect, type ResourceSpec, RestError, resources } from '@antipode/contract';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { TObject } from 'typebox';
import { change } from './change.ts';
import type { Guard, RestOptions } from './options.ts';
import { runGet, runQuery } from './query-sql.ts';
import { notFound, resolveId } from './references.ts';
import { acceptable, onlySelect, searchOf, unwrap } from './request.ts';
import { addUpload } from './upload.ts';

/** Everything that can be asked of one resource, from its specification. */
export function addResource(app: FastifyInstance, resource: ResourceSpec, options: RestOptions, guard: Guard): void {
  const base = `/api/rest/${resource.name}`;
  const { catalog } = options;
  if (resource.name !== 'login_session' && !resource.noList) {
    app.get(base, async (request, reply) => {
      await guard(request);
      visible(request, resource);
      acceptable(request);
      return list(request, reply, resource, options);
    });
  }
  if (!resource.noInstance) {
    app.get<{ Params: { id: string } }>(`${base}/:id`, async (request) => {
      await guard(request);
      visible(request, resource);
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
    reads = false,
  ) => {
    app[method]<{ Params: { id?: string } }>(path, async (request, reply) => {
      const principal = await guard(request, reads ? 'read' : `${resource.name}.${operation}`);
      return change(request, reply, { resource, operation, schema, required, success, reads, principal, options });
    });
  };
  if (resource.create?.upload !== undefined) addUpload(app, resource, resource.create.upload, options, guard);
  else if (resource.create) changing('post', base, 'create', resource.create.body, true, 201);
  if (resource.modify) changing('patch', `${base}/:id`, 'modify', resource.modify.body, true, 204);
  if (resource.remove) changing('delete', `${base}/:id`, 'delete', resource.remove.body, false, 204);
  for (const [name, action] of Object.entries(resource.actions))
    changing(
      'post',
      `${base}/:id/${name}`,
      name,
      action.body,
      action.required ?? false,
      action.answer ? 200 : 204,
      action.reads,
    );
  for (const [name, action] of Object.entries(resource.collectionActions ?? {}))
    changing(
      'post',
      `${base}/${name}`,
      name,
      action.body,
      action.required ?? false,
      action.answer ? 200 : 204,
      action.reads,
    );
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
export function addAbsent(app: FastifyInstance, name: string, guard: Guard, onCreate: ErrorName): void {
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
  app.post(base, async (request) => {
    await guard(request, `${name}.create`);
    throw new RestError(onCreate, name);
  });
}

/** What is outside the published interface is shown to those who ask for it. */
function visible(request: FastifyRequest, resource: ResourceSpec): void {
  if (resource.hidden !== 'on_request') return;
  const asked = request.headers['dell-visibility'];
  if (typeof asked === 'string' && /^(internal|partner)$/i.test(asked.trim())) return;
  throw new RestError('endpoint_hidden', request.method, request.url.slice(0, 500));
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
