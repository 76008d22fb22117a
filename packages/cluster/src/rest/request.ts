import { RestError } from '@antipode/contract';
import type { FastifyRequest } from 'fastify';

export const searchOf = (request: FastifyRequest): URLSearchParams =>
  new URLSearchParams(request.url.includes('?') ? request.url.slice(request.url.indexOf('?') + 1) : '');

export const onlySelect = (request: FastifyRequest): URLSearchParams => {
  const select = searchOf(request).get('select');
  return new URLSearchParams(select === null ? {} : { select });
};

/** JSON is all there is: a caller that takes only something else is told. */
export function acceptable(request: FastifyRequest): void {
  const accept = request.headers.accept;
  if (accept === undefined || /\*\/\*|application\/(\*|json|[a-z.+-]*\+json)/i.test(accept)) return;
  throw new RestError('not_acceptable');
}

/** The value of a parsed query, or its refusal. */
export function unwrap<T>(
  result:
    | { readonly ok: true; readonly value: T }
    | { readonly ok: false; readonly error: { readonly kind: 'invalid' | 'range'; readonly message: string } },
): T {
  if (result.ok) return result.value;
  throw new RestError(result.error.kind === 'range' ? 'bad_range' : 'invalid_request', result.error.message);
}
/** Reads a body: JSON, or nothing. */
export function parseJson(
  request: FastifyRequest,
  body: string | Buffer,
  done: (error: Error | null, body?: unknown) => void,
): void {
  const text = String(body);
  if (text.trim() === '') return done(null, undefined);
  // gopowerstore says nothing of what it sends, and means JSON.
  const type = request.headers['content-type'] ?? 'application/json';
  if (!/^application\/(?:[a-z.+-]*\+)?json\b/i.test(type)) return done(new RestError('unsupported_media_type'));
  try {
    const value: unknown = JSON.parse(text);
    return done(null, value === null ? undefined : value);
  } catch {
    return done(new RestError('schema_violation', '/', 'the body is not JSON'));
  }
}
