import { parseSelect, resources } from '@antipode/contract';
import type { FastifyInstance } from 'fastify';
import { cookieName, cookieOf, logoutPath } from './authenticate.ts';
import type { Guard, RestOptions } from './options.ts';
import { searchOf, unwrap } from './request.ts';

/** Login, logout: the session of whoever asks. */
export function addLogin(app: FastifyInstance, options: RestOptions, guard: Guard): void {
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
    const principal = await guard(request, 'login_session.logout');
    const cookie = cookieOf(request.headers.cookie);
    if (cookie !== undefined) authenticator.logout(cookie);
    options.audit(request, principal, 'login_session.logout', 204);
    return reply
      .code(204)
      .header('set-cookie', `${cookieName}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict`)
      .send();
  });
}
