import type { Server } from 'node:tls';
import { absentCollections, absentFiles, buildOpenApi, catalogue, RestError, resources } from '@antipode/contract';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Principal } from '../security/authenticator.ts';
import type { KeyPair } from '../security/certificates.ts';
import { answerBrokenRequest, answerError, send } from './answers.ts';
import { authenticate, claimedUser } from './authenticate.ts';
import { restLimits } from './limits.ts';
import { addLogin } from './login.ts';
import type { Guard, RestOptions } from './options.ts';
import { RoleRefusals } from './refusals.ts';
import { parseJson } from './request.ts';
import { addAbsent, addResource } from './resource-routes.ts';

/** The REST interface: routes, validation and queries all follow from the resources' specifications. */
export async function buildRestApp(options: RestOptions): Promise<FastifyInstance> {
  const app = Fastify({
    ...(options.tls && {
      https: {
        ...secureContext(options.tls),
        maxHeaderSize: restLimits.headers_bytes,
        connectionsCheckingInterval: restLimits.lookAtSlow_ms,
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
  const refusals = new RoleRefusals(options.clock);
  const guard: Guard = async (request, operation) => {
    const reading = request.method === 'GET' || request.method === 'HEAD';
    try {
      return await authenticate(request, options.authenticator, refusals, operation ?? (reading ? 'read' : 'ours'));
    } catch (error) {
      auditRefusal(error, request, options);
      throw error;
    }
  };
  for (const resource of Object.values(resources)) addResource(app, resource, options, guard);
  for (const name of absentCollections) addAbsent(app, name, guard, 'absent_here');
  for (const name of absentFiles) addAbsent(app, name, guard, 'file_absent');
  addLogin(app, options, guard);
  const openApi = buildOpenApi(options.version);
  for (const path of ['/api/rest/openapi.json', '/api/rest/openapi']) app.get(path, async () => openApi);
  options.own(app, guard);
  await app.ready();
  app.server.maxConnections = restLimits.connections;
  return app;
}

const secureContext = ({ certificate, privateKey }: KeyPair) => ({
  cert: certificate,
  key: privateKey,
  minVersion: 'TLSv1.2' as const,
});

/** Connections that begin from now on meet another certificate. */
export function useCertificate(app: FastifyInstance, pair: KeyPair): void {
  (app.server as unknown as Server).setSecureContext(secureContext(pair));
}

/**
 * Enters who was not let in, where somebody known tried or was asked for. Names that nobody has, and attempts that were not even looked
 * at, are left out: strangers must not be able to push older entries out of the list.
 */
function auditRefusal(error: unknown, request: FastifyRequest, options: RestOptions): void {
  if (!(error instanceof RestError) || error.entry === catalogue.locked_out) return;
  const name = claimedUser(request, options.authenticator);
  if (name === undefined || options.catalog.list('local_user', 'name', name)[0] === undefined) return;
  const claimed: Principal = { user: name, roleIds: [], isBuiltIn: false, mustChangePassword: false };
  options.audit(
    request,
    claimed,
    error.status === 401 ? 'login_session.login' : 'login_session.authorize',
    error.status,
  );
}
