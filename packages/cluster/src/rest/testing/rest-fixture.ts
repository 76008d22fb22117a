import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemRandom } from '@antipode/base';
import { administratorRole, operatorRole, resources, roles } from '@antipode/contract';
import { checkAnswer } from '@antipode/contract/testing';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { Value } from 'typebox/value';
import { Catalog } from '../../catalog/catalog.ts';
import type { VolumeDocument } from '../../catalog/documents.ts';
import { Authenticator, type Principal } from '../../security/authenticator.ts';
import type { KeyPair } from '../../security/certificates.ts';
import { JobRunner } from '../../services/jobs.ts';
import { buildRestApp } from '../app.ts';
import type { Handlers, RequestContext } from '../handlers.ts';
import { operationNames } from './operation-names.ts';

export interface Call {
  readonly operation: string;
  readonly id: string;
  readonly body: unknown;
}

export interface Audited {
  readonly operation: string;
  readonly user: string | undefined;
  readonly status: number;
  /** Of a change that became one. */
  readonly job?: string;
}

/** A clock that a test moves. */
class TestClock implements Clock {
  #now = Date.UTC(2026, 0, 31, 12);
  now = () => this.#now;
  monotonic = () => this.#now;
  advance(by_ms: number): void {
    this.#now += by_ms;
  }
  after = () => ({ cancel: () => undefined });
  sleep = async () => undefined;
}

export const password = 'correct horse';
export const basic = (name: string, secret: string): string =>
  `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`;
export const admin = { authorization: basic('admin', password) };

export const volume = (n: number, change: Partial<VolumeDocument> = {}): VolumeDocument => ({
  id: `v${n}`,
  name: `vol-${String(n).padStart(3, '0')}`,
  description: null,
  type: 'Primary',
  wwn: null,
  nsid: n,
  nguid: null,
  appliance_id: 'A1',
  state: 'Ready',
  size: n * 1_048_576,
  node_affinity: 'System_Select_At_Attach',
  creation_timestamp: `2026-01-01T00:00:${String(n % 60).padStart(2, '0')}.000+00:00`,
  protection_policy_id: null,
  performance_policy_id: null,
  is_replication_destination: false,
  is_host_access_available: true,
  protection_data: {
    family_id: `v${n}`,
    parent_id: null,
    source_id: null,
    source_timestamp: null,
    creator_type: 'User',
    creator_type_l10n: 'User',
    copy_signature: null,
    expiration_timestamp: null,
    created_by_rule_id: null,
    created_by_rule_name: null,
    is_app_consistent: false,
    is_secure: false,
  },
  location_history: [],
  app_type: null,
  app_type_other: null,
  ...change,
});

/** The gateway on a real catalog in a directory of its own; every operation is answered by a recorder. */
export async function restFixture(options: { readonly tls?: KeyPair } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'rest-'));
  const catalog = new Catalog(directory);
  const clock = new TestClock();
  const authenticator = new Authenticator(catalog, clock, systemRandom);
  await authenticator.ensureFirstAdministrator(password);
  const first = catalog.get('local_user', '1');
  if (first === undefined) throw new Error('no administrator was made');
  const hidden = catalog.private('local_user', '1');
  for (const { id, name } of roles)
    if (id !== administratorRole)
      catalog.put(
        'local_user',
        {
          ...first,
          id: id === operatorRole ? '2' : `r${id}`,
          name: id === operatorRole ? 'watcher' : name.replaceAll(' ', ''),
          role_id: id,
          is_built_in: false,
        },
        hidden,
      );
  const jobs = new JobRunner(catalog, clock, systemRandom);
  const calls: Call[] = [];
  const audits: Audited[] = [];
  const errors: unknown[] = [];
  const answers = new Map<string, (context: RequestContext, id: string, body: unknown) => Promise<unknown>>();
  const handlers: Handlers = Object.fromEntries(
    operationNames.map((operation) => [
      operation,
      async (context: RequestContext, id: string, body: unknown) => {
        calls.push({ operation, id, body });
        return answers.get(operation)?.(context, id, body) ?? somethingOf(operation);
      },
    ]),
  );
  const app = await buildRestApp({
    catalog,
    authenticator,
    clock,
    jobs,
    handlers,
    version: '4.1.0.0',
    ...options,
    refresh: async () => undefined,
    loginSession: (principal: Principal) => ({
      id: principal.session?.id ?? '0',
      user: principal.user,
      role_ids: principal.roleIds,
      idle_timeout: authenticator.idleTimeout_s,
      is_password_change_required: principal.mustChangePassword,
      is_built_in_user: principal.isBuiltIn,
    }),
    own: () => undefined,
    audit: (_, principal, operation, status, job) =>
      audits.push({ operation, user: principal?.user, status, ...(job !== undefined && { job }) }),
    onError: (error) => errors.push(error),
  });
  checkEveryAnswer(app);
  return {
    app,
    catalog,
    clock,
    calls,
    audits,
    errors,
    answers,
    get: (url: string, headers: Record<string, string> = {}) =>
      app.inject({ method: 'GET', url: `/api/rest/${url}`, headers: { ...admin, ...headers } }),
    send: (
      method: 'POST' | 'PATCH' | 'DELETE' | 'PUT',
      url: string,
      body?: unknown,
      headers: Record<string, string> = {},
    ) =>
      app.inject({
        method,
        url: `/api/rest/${url}`,
        headers: { ...admin, ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
        ...(body !== undefined && { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    async close() {
      await app.close();
      catalog.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What an operation answers as its specification says. */
function somethingOf(operation: string): unknown {
  const [name = '', verb = ''] = operation.split('.');
  if (verb === 'create') return { id: 'made' };
  const action = resources[name]?.actions[verb] ?? resources[name]?.collectionActions?.[verb];
  return action?.answer && Value.Create(action.answer);
}

/** Whatever a test asks, the answer must be of the published form. */
function checkEveryAnswer(app: FastifyInstance): void {
  const inject = app.inject.bind(app) as (request: InjectOptions) => Promise<LightMyRequestResponse>;
  const checked = async (request: InjectOptions): Promise<LightMyRequestResponse> => {
    const answer = await inject(request);
    const range = answer.headers['content-range'];
    checkAnswer({
      method: request.method ?? 'GET',
      url: String(request.url),
      status: answer.statusCode,
      contentRange: typeof range === 'string' ? range : undefined,
      body: answer.body === '' ? undefined : answer.json(),
    });
    return answer;
  };
  app.inject = checked as typeof app.inject;
}

export type RestFixture = Awaited<ReturnType<typeof restFixture>>;
