import { type ResourceSpec, RestError } from '@antipode/contract';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { TObject } from 'typebox';
import type { Principal } from '../security/authenticator.ts';
import { answered } from '../services/jobs.ts';
import { checkBody } from './check-body.ts';
import type { RequestContext } from './handlers.ts';
import type { RestOptions } from './options.ts';
import { notFound, resolveId, resolveReferences } from './references.ts';
import { acceptable, searchOf } from './request.ts';

export interface Changing {
  readonly resource: ResourceSpec;
  readonly operation: string;
  readonly schema: TObject | undefined;
  readonly required: boolean;
  readonly success: 200 | 201 | 204;
  /** It only looks: there is no job to tell of it, and nothing to audit. */
  readonly reads: boolean;
  readonly principal: Principal;
  readonly options: RestOptions;
}

/** A changing request: checked, entered as a job, carried out; asynchronously if that was asked for. */
export async function change(
  request: FastifyRequest<{ Params: { id?: string } }>,
  reply: FastifyReply,
  what: Changing,
): Promise<unknown> {
  const { resource, operation, schema, required, success, reads, principal, options } = what;
  const name = `${resource.name}.${operation}`;
  let status = 500;
  let entered: string | undefined;
  try {
    acceptable(request);
    if (required && request.body === undefined) throw new RestError('schema_violation', '/', 'a body is required');
    const body = resolveReferences(options.catalog, resource, checkBody(schema, request.body));
    const id = request.params.id === undefined ? '' : resolveId(options.catalog, resource, request.params.id);
    if (id !== '' && options.catalog.get(resource.name as 'volume', id) === undefined)
      throw notFound(resource.name, id);
    const handler = options.handlers[name];
    if (handler === undefined) throw new RestError('method_not_allowed', operation, resource.name);
    if (reads) {
      const quiet: RequestContext = { principal, clientAddress: request.ip, job: '', progress: () => undefined };
      return reply.code(success).send(await answered(() => handler(quiet, id, body)));
    }
    const job = options.jobs.begin({
      resource: resource.name,
      action: operation,
      id: id === '' ? null : id,
      user: principal.user,
    });
    entered = job.id;
    const context: RequestContext = { principal, clientAddress: request.ip, job: job.id, progress: job.progress };
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
    if (!reads) options.audit(request, principal, name, status, entered);
  }
}
