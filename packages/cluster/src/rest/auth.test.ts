import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admin, basic, password, type RestFixture, restFixture, volume } from './testing/rest-fixture.ts';

let rest: RestFixture;

beforeAll(async () => {
  rest = await restFixture();
  rest.catalog.put('volume', volume(1));
});
afterAll(() => rest.close());

const inject = (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, headers: Record<string, string>) =>
  rest.app.inject({ method, url: `/api/rest/${url}`, headers });

async function login(headers: Record<string, string> = admin) {
  const answer = await inject('GET', 'login_session', headers);
  const set = String(answer.headers['set-cookie'] ?? '');
  return { answer, set, cookie: set.split(';')[0] ?? '', token: String(answer.headers['dell-emc-token'] ?? '') };
}

const refusal = (body: string) =>
  (JSON.parse(body) as { messages: { code: string; message_l10n: string }[] }).messages[0];

describe('who asks', () => {
  it.each([
    ['nothing', {}],
    ['another scheme', { authorization: 'Bearer x' }],
    ['no base64', { authorization: 'Basic ***' }],
    ['no colon', { authorization: `Basic ${Buffer.from('admin').toString('base64')}` }],
    ['a wrong password', { authorization: basic('admin', 'wrong') }],
    ['an unknown user', { authorization: basic('nobody', password) }],
    ['a dead cookie', { cookie: 'auth_cookie=gone' }],
  ])('401 with error_response for %s', async (_, headers) => {
    for (const url of ['volume', 'login_session', 'volume/v1']) {
      const answer = await inject('GET', url, headers);
      expect(answer.statusCode).toBe(401);
      expect(refusal(answer.body)?.code).toBe('0xE09040010001');
      expect(answer.headers['www-authenticate']).toMatch(/^Basic /);
      expect(answer.headers['set-cookie']).toBeUndefined();
    }
    rest.clock.advance(3_600_000);
  });

  it('Basic alone serves for reading and for changes, without a token', async () => {
    expect((await inject('GET', 'volume', admin)).statusCode).toBe(200);
    expect((await inject('DELETE', 'volume/v1', admin)).statusCode).toBe(204);
  });

  it('too many failures have to wait, with the right password too', async () => {
    const wrong = { authorization: basic('somebody', 'wrong') };
    for (let n = 0; n < 6; n++) expect((await inject('GET', 'volume', wrong)).statusCode).toBe(401);
    const waiting = await inject('GET', 'volume', wrong);
    expect([waiting.statusCode, refusal(waiting.body)?.code]).toEqual([401, '0xE09040010002']);
    expect((await inject('GET', 'volume', admin)).statusCode).toBe(200);
  });
});

describe('login sessions', () => {
  it('a login answers one row, a guarded cookie and a token', async () => {
    const { answer, set, token } = await login();
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject([
      { user: 'admin', role_ids: ['1'], idle_timeout: 36_000, is_built_in_user: true },
    ]);
    expect(set).toMatch(/^auth_cookie=[\w-]{40,}; .*Secure; HttpOnly; SameSite=Strict$/);
    expect(token).toMatch(/^[\w-]{40,}$/);
    const selected = await inject('GET', 'login_session?select=user&limit=0&nothing=eq.1', admin);
    expect(selected.json()).toEqual([{ user: 'admin' }]);
  });

  it('a cookie reads without the token and changes only with it', async () => {
    const { cookie, token } = await login();
    expect((await inject('GET', 'volume', { cookie })).statusCode).toBe(200);
    for (const headers of [{ cookie }, { cookie, 'dell-emc-token': '' }, { cookie, 'dell-emc-token': `${token}x` }]) {
      const answer = await inject('DELETE', 'volume/v1', headers);
      expect([answer.statusCode, refusal(answer.body)?.code]).toEqual([403, '0xE09040010003']);
    }
    expect((await inject('DELETE', 'volume/v1', { cookie, 'dell-emc-token': token })).statusCode).toBe(204);
    const other = await login();
    expect((await inject('DELETE', 'volume/v1', { cookie, 'dell-emc-token': other.token })).statusCode).toBe(403);
  });

  it('a GET in a session shows the token again and opens no other session', async () => {
    const { cookie, token } = await login();
    const again = await login({ cookie });
    expect([again.token, again.set]).toEqual([token, '']);
  });

  it('Basic beside a dead cookie logs in anew; beside a stale token it is no obstacle', async () => {
    const dead = await login({ ...admin, cookie: 'auth_cookie=gone' });
    expect(dead.answer.statusCode).toBe(200);
    expect(dead.cookie).toMatch(/^auth_cookie=/);
    const stale = await inject('DELETE', 'volume/v1', { ...admin, cookie: dead.cookie, 'dell-emc-token': 'stale' });
    expect(stale.statusCode).toBe(204);
  });

  it('logout ends the session', async () => {
    const { cookie, token } = await login();
    expect((await inject('POST', 'logout', { cookie })).statusCode).toBe(403);
    const answer = await inject('POST', 'logout', { cookie, 'dell-emc-token': token });
    expect([answer.statusCode, answer.body]).toEqual([204, '']);
    expect((await inject('GET', 'volume', { cookie })).statusCode).toBe(401);
  });

  it('an idle session ends', async () => {
    const { cookie } = await login();
    rest.clock.advance(35_000_000);
    expect((await inject('GET', 'volume', { cookie })).statusCode).toBe(200);
    rest.clock.advance(36_000_001);
    expect((await inject('GET', 'volume', { cookie })).statusCode).toBe(401);
  });
});

describe('roles', () => {
  const watcher = { authorization: basic('watcher', password) };

  it('who may only look changes nothing: 403, once, with error_response', async () => {
    expect((await inject('GET', 'volume', watcher)).statusCode).toBe(200);
    const before = rest.calls.length;
    const answer = await inject('DELETE', 'volume/v1', watcher);
    expect([answer.statusCode, refusal(answer.body)?.code]).toEqual([403, '0xE09040010004']);
    expect(rest.calls).toHaveLength(before);
  });

  it('a client that takes 403 for a stale token is stopped by another status', async () => {
    const again = () => inject('POST', 'volume/v1/snapshot', watcher);
    const answers = [await again(), await again(), await again()];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([403, 403, 422]);
    expect(refusal(answers[2]?.body ?? '')?.message_l10n).toContain('Your role does not allow this');
    rest.clock.advance(10_001);
    expect((await again()).statusCode).toBe(403);
  });

  type Asked = readonly [path: string, method: 'POST' | 'PATCH' | 'DELETE', status: number];
  const asking: readonly (readonly [string, readonly Asked[]])[] = [
    [
      'StorageAdministrator',
      [
        ['volume/v1', 'DELETE', 204],
        ['host', 'POST', 400],
        ['local_user', 'POST', 403],
        ['volume/v1/restore', 'POST', 400],
        ['remote_system', 'POST', 403],
        ['alert/a', 'PATCH', 400],
      ],
    ],
    [
      'StorageOperator',
      [
        ['volume/v1', 'DELETE', 403],
        ['volume/v1/clone', 'POST', 200],
        ['volume/v1/refresh', 'POST', 403],
      ],
    ],
    [
      'SecurityAdministrator',
      [
        ['local_user', 'POST', 400],
        ['volume', 'POST', 403],
        ['security_config/1', 'PATCH', 400],
      ],
    ],
    [
      'VMAdministrator',
      [
        ['volume', 'POST', 403],
        ['host', 'POST', 403],
        ['local_user', 'POST', 403],
      ],
    ],
    [
      'admin',
      [
        ['local_user', 'POST', 400],
        ['remote_system', 'POST', 400],
        ['nas_server', 'POST', 422],
      ],
    ],
  ];
  it.each(asking)('%s may do what the role says', async (name, asked) => {
    rest.catalog.put('volume', volume(1));
    rest.answers.set('volume.clone', async () => ({ id: 'c' }));
    const headers = { authorization: basic(name, password) };
    expect((await inject('GET', 'volume', headers)).statusCode).toBe(200);
    for (const [path, method, status] of asked)
      expect([method, path, (await inject(method, path, headers)).statusCode]).toEqual([method, path, status]);
  });

  it('whose password somebody else chose changes it first', async () => {
    const user = rest.catalog.get('local_user', 'r2');
    const hidden = rest.catalog.private<object>('local_user', 'r2');
    if (user === undefined) throw new Error('no user');
    rest.catalog.put('local_user', user, { ...hidden, changeRequired: true });
    const headers = { authorization: basic(user.name, password) };
    const answer = await inject('GET', 'volume', headers);
    expect([answer.statusCode, refusal(answer.body)?.code]).toEqual([403, '0xE09040010006']);
    const { answer: row } = await login(headers);
    expect(row.json()).toMatchObject([{ is_password_change_required: true }]);
    expect((await inject('PATCH', 'local_user/r2', headers)).statusCode).toBe(400);
    rest.catalog.put('local_user', user, hidden);
    expect((await inject('GET', 'volume', headers)).statusCode).toBe(200);
  });

  it('who may only look can log out', async () => {
    const { cookie, token } = await login(watcher);
    expect((await inject('POST', 'logout', { cookie, 'dell-emc-token': token })).statusCode).toBe(204);
    expect((await inject('GET', 'volume', { cookie })).statusCode).toBe(401);
  });
});

describe('a page of another site in an administrator’s browser', () => {
  it('changes nothing: the browser says where it comes from', async () => {
    const foreign = { ...admin, host: 'cluster.example', origin: 'https://elsewhere.example' };
    const answer = await inject('POST', 'volume/v1/snapshot', foreign);
    expect(answer.statusCode).toBe(403);
    expect((await inject('DELETE', 'volume/v1', { ...admin, 'sec-fetch-site': 'cross-site' })).statusCode).toBe(403);
    const own = { ...admin, host: 'cluster.example', origin: 'https://cluster.example' };
    expect((await inject('DELETE', 'volume/v1', own)).statusCode).toBe(204);
  });
});

describe('the list of who did what', () => {
  it('holds logins, refusals and logouts of known users, and nothing of strangers', async () => {
    rest.audits.length = 0;
    const { cookie, token } = await login();
    await inject('GET', 'volume', { authorization: basic('admin', 'wrong') });
    await inject('DELETE', 'volume/v1', { authorization: basic('watcher', password) });
    await inject('DELETE', 'volume/v1', { cookie });
    await inject('GET', 'volume', { authorization: basic('stranger', 'wrong') });
    await inject('GET', 'volume', {});
    await inject('GET', 'login_session', { cookie });
    await inject('POST', 'logout', { cookie, 'dell-emc-token': token });
    expect(rest.audits).toEqual([
      { operation: 'login_session.login', user: 'admin', status: 200 },
      { operation: 'login_session.login', user: 'admin', status: 401 },
      { operation: 'login_session.authorize', user: 'watcher', status: 403 },
      { operation: 'login_session.authorize', user: 'admin', status: 403 },
      { operation: 'login_session.logout', user: 'admin', status: 204 },
    ]);
  });
});
