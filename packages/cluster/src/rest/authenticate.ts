import { RestError } from '@antipode/contract';
import type { FastifyRequest } from 'fastify';
import { type Authenticator, administratorRole, type Principal, sameSecret } from '../security/authenticator.ts';

export const cookieName = 'auth_cookie';
export const tokenHeader = 'dell-emc-token';

/**
 * Who makes this request (REPLICATION 6): a live cookie session, whose changes need its token; else Basic. A dead cookie beside good
 * Basic credentials is no obstacle. 401: not known; 403: known, and not allowed.
 */
export async function authenticate(request: FastifyRequest, authenticator: Authenticator): Promise<Principal> {
  const reading = request.method === 'GET' || request.method === 'HEAD';
  const cookie = cookieOf(request.headers.cookie);
  const byCookie = cookie === undefined ? undefined : authenticator.cookie(cookie);
  if (byCookie !== undefined) {
    const token = request.headers[tokenHeader];
    const right = typeof token === 'string' && sameSecret(token, byCookie.session?.token ?? '');
    if (!reading && !right) throw new RestError('csrf');
    return allowed(byCookie, reading);
  }
  const credentials = basicOf(request.headers.authorization);
  if (credentials === undefined) throw new RestError('unauthenticated');
  return allowed(await authenticator.basic(credentials.name, credentials.password, request.ip), reading);
}

/** Only administrators change anything; everybody known may look and log out. */
function allowed(principal: Principal, reading: boolean): Principal {
  if (!reading && !principal.roleIds.includes(administratorRole)) throw new RestError('forbidden');
  return principal;
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
