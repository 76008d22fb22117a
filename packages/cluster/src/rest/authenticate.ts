import { mayDo, RestError } from '@antipode/contract';
import type { FastifyRequest } from 'fastify';
import { type Authenticator, type Principal, sameSecret } from '../security/authenticator.ts';
import type { RoleRefusals } from './refusals.ts';

export const cookieName = 'auth_cookie';
export const tokenHeader = 'dell-emc-token';
export const logoutPath = '/api/rest/logout';
export const loginPath = '/api/rest/login_session';

/**
 * Who makes this request (REPLICATION 6): a live cookie session, whose changes need its token; else Basic. A dead cookie or a stale
 * token beside good Basic credentials is no obstacle. 401: not known; 403: known, and not allowed. `operation` is what is about to be
 * done, `read` where that is nothing but looking.
 */
export async function authenticate(
  request: FastifyRequest,
  authenticator: Authenticator,
  refusals: RoleRefusals,
  operation: string,
): Promise<Principal> {
  const reading = request.method === 'GET' || request.method === 'HEAD';
  if (!reading && fromElsewhere(request)) throw new RestError('csrf');
  const cookie = cookieOf(request.headers.cookie);
  const byCookie = cookie === undefined ? undefined : authenticator.cookie(cookie);
  const credentials = basicOf(request.headers.authorization);
  if (byCookie !== undefined) {
    const token = request.headers[tokenHeader];
    const right = typeof token === 'string' && sameSecret(token, byCookie.session?.token ?? '');
    if (reading || right) return allowed(byCookie, request, refusals, operation);
    if (credentials === undefined) throw new RestError('csrf');
  }
  if (credentials === undefined) throw new RestError('unauthenticated');
  return allowed(
    await authenticator.basic(credentials.name, credentials.password, request.ip),
    request,
    refusals,
    operation,
  );
}

/** Everybody may look, log out and change the own password; the rest is a question of roles. */
function allowed(principal: Principal, request: FastifyRequest, refusals: RoleRefusals, operation: string): Principal {
  const { user, roleIds, mustChangePassword } = principal;
  // Whose it is, and that nothing else is changed, the service looks at.
  const ownPassword = operation === 'local_user.modify';
  const leaving = operation === 'login_session.logout' || request.routeOptions.url === loginPath;
  if (mustChangePassword && !ownPassword && !leaving) throw refusals.of(user, operation, 'password_change_required');
  if (operation === 'read' || ownPassword || mayDo(roleIds, operation)) return principal;
  throw refusals.of(user, operation, 'forbidden');
}

/**
 * A page of another site sent this, with whatever credentials the browser adds by itself: Basic ones have no token to tell. Clients
 * that are no browsers send neither header.
 */
function fromElsewhere(request: FastifyRequest): boolean {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  const { origin, host } = request.headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== host;
}

/** Whose name a request carries, right or wrong. */
export function claimedUser(request: FastifyRequest, authenticator: Authenticator): string | undefined {
  const cookie = cookieOf(request.headers.cookie);
  const byCookie = cookie === undefined ? undefined : authenticator.cookie(cookie);
  return byCookie?.user ?? basicOf(request.headers.authorization)?.name;
}

export function cookieOf(header: string | undefined): string | undefined {
  for (const part of header?.split(';') ?? []) {
    const at = part.indexOf('=');
    if (at > 0 && part.slice(0, at).trim() === cookieName) return part.slice(at + 1).trim();
  }
  return undefined;
}

function basicOf(header: string | undefined): { readonly name: string; readonly password: string } | undefined {
  const match = /^Basic\s+([A-Za-z0-9+/=]{1,4096})$/i.exec(header ?? '');
  if (match === null) return undefined;
  const text = Buffer.from(match[1]!, 'base64').toString('utf8');
  const at = text.indexOf(':');
  return at < 0 ? undefined : { name: text.slice(0, at), password: text.slice(at + 1) };
}
