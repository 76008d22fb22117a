import { RestError } from '@antipode/contract';
import type { FastifyRequest } from 'fastify';
import { type Authenticator, administratorRole, type Principal, sameSecret } from '../security/authenticator.ts';

export const cookieName = 'auth_cookie';
export const tokenHeader = 'dell-emc-token';
export const logoutPath = '/api/rest/logout';

/**
 * Who makes this request (REPLICATION 6): a live cookie session, whose changes need its token; else Basic. A dead cookie or a stale
 * token beside good Basic credentials is no obstacle. 401: not known; 403: known, and not allowed.
 */
export async function authenticate(request: FastifyRequest, authenticator: Authenticator): Promise<Principal> {
  const reading = request.method === 'GET' || request.method === 'HEAD';
  if (!reading && fromElsewhere(request)) throw new RestError('csrf');
  const cookie = cookieOf(request.headers.cookie);
  const byCookie = cookie === undefined ? undefined : authenticator.cookie(cookie);
  const credentials = basicOf(request.headers.authorization);
  if (byCookie !== undefined) {
    const token = request.headers[tokenHeader];
    const right = typeof token === 'string' && sameSecret(token, byCookie.session?.token ?? '');
    if (reading || right) return allowed(byCookie, request, reading);
    if (credentials === undefined) throw new RestError('csrf');
  }
  if (credentials === undefined) throw new RestError('unauthenticated');
  return allowed(await authenticator.basic(credentials.name, credentials.password, request.ip), request, reading);
}

/** Only administrators change anything; everybody known may look and log out. */
function allowed(principal: Principal, request: FastifyRequest, reading: boolean): Principal {
  const harmless = reading || request.routeOptions.url === logoutPath;
  if (!harmless && !principal.roleIds.includes(administratorRole)) throw new RestError('forbidden');
  return principal;
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
