import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { resources } from '@antipode/contract';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureKeyPair } from '../security/certificates.ts';
import { operationNames } from './testing/operation-names.ts';
import { admin, type RestFixture, restFixture, volume } from './testing/rest-fixture.ts';

let rest: RestFixture;

beforeAll(async () => {
  rest = await restFixture();
  for (let n = 1; n <= 20; n++) rest.catalog.put('volume', volume(n, { name: n === 1 ? `it's "quoted"` : `vol-${n}` }));
  rest.catalog.put('appliance', { id: 'A1', name: 'Home', mode: 'Block' });
});
afterAll(() => rest.close());

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
/** Memory that is in use when everything unused was given back. */
function held_bytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What people write who hope that it becomes SQL, a path, a pattern or a header. */
const corpus = [
  `'`,
  `"`,
  `';--`,
  `' OR '1'='1`,
  `" OR ""="`,
  `1 OR 1=1`,
  `1; DROP TABLE volume`,
  `'); DELETE FROM main.volume; --`,
  `' UNION SELECT id, doc FROM main.user --`,
  `x' AND (SELECT hash FROM user)>'a`,
  `\\`,
  `\\'`,
  `%27%20OR%201%3D1`,
  `${'a'.repeat(3000)}`,
  `*`.repeat(200),
  `${'*a'.repeat(300)}*`,
  `[`,
  `[^]`,
  `\u0000`,
  `\u0000' OR 1=1`,
  `𝕏`,
  `$.id`,
  `$[0]`,
  `../../etc/passwd`,
  `{"$ne":null}`,
  `name.eq.x),or(id.not.eq.x`,
  `\r\nSet-Cookie: a=b`,
];

describe('what looks like SQL is a value like any other', () => {
  it.each(corpus)('%j', async (text) => {
    const value = encodeURIComponent(text);
    const before = rest.catalog.count('volume');
    for (const query of [
      `name=eq.${value}`,
      `name=ilike.${value}`,
      `name=in.(${value})`,
      `protection_data->>source_id=eq.${value}`,
      `and=(name.eq.${value})`,
      `id=not.eq.${value}&name=eq.${value}`,
    ]) {
      const answer = await rest.get(`volume?select=id,name&${query}`);
      expect([200, 206, 400], `${query}: ${answer.body}`).toContain(answer.statusCode);
      const rows = answer.json<unknown>();
      if (Array.isArray(rows) && !/like/.test(query)) expect(rows).toEqual([]);
    }
    for (const query of [
      `${value}=eq.1`,
      `select=${value}`,
      `order=${value}`,
      `name->>${value}=eq.1`,
      `select=appliance(${value})`,
    ]) {
      const answer = await rest.get(`volume?${query}`);
      expect([200, 400], `${query}: ${answer.body}`).toContain(answer.statusCode);
      expect(answer.body).not.toMatch(/argon2|SQLITE|syntax/i);
    }
    for (const path of [`volume/${value}`, `volume/name:${value}`]) {
      expect([400, 404, 414]).toContain((await rest.get(path)).statusCode);
    }
    expect(rest.catalog.count('volume')).toBe(before);
    expect(rest.errors).toEqual([]);
  });

  it('a name with quotes is found by its name', async () => {
    const name = encodeURIComponent(`it's "quoted"`);
    expect((await rest.get(`volume?name=eq.${name}`)).json()).toEqual([{ id: 'v1' }]);
    expect((await rest.get(`volume/name:${name}`)).json()).toEqual({ id: 'v1' });
  });

  it('users cannot be reached through the query grammar', async () => {
    for (const query of ['select=hash', 'select=private', 'hash=like.*', 'private=is.null', 'name->>hash=eq.x'])
      expect([query, (await rest.get(`local_user?${query}`)).body.includes('argon2')]).toEqual([query, false]);
    expect((await rest.get('local_user?select=*')).body).not.toContain('argon2');
    expect((await rest.get('user')).statusCode).toBe(404);
    expect((await rest.get('setting')).statusCode).toBe(404);
    expect((await rest.get('volume?select=private')).statusCode).toBe(400);
    expect((await rest.get('volume?doc=eq.1')).statusCode).toBe(400);
    expect((await rest.get('volume?place=eq.1')).statusCode).toBe(400);
  });
});

describe('queries that ask for too much are refused, not suffered', () => {
  it.each([
    ['conditions', Array.from({ length: 1500 }, (_, n) => `id=eq.${n}`).join('&')],
    ['a group of conditions', `or=(${Array.from({ length: 1200 }, (_, n) => `id.eq.${n}`).join(',')})`],
    ['listed values', `id=in.(${Array.from({ length: 5000 }, (_, n) => n).join(',')})`],
    ['orders', `order=${Array.from({ length: 2500 }, () => 'id').join(',')}`],
    ['associations within associations', 'select=appliance(volumes(appliance(volumes(appliance(volumes(id))))))'],
    ['groups within groups', `and=${'(and'.repeat(50)}(id.eq.1)${')'.repeat(50)}`],
  ])('too many %s', async (_, query) => {
    const answer = await rest.get(`volume?${query}`);
    expect(answer.statusCode, answer.body.slice(0, 300)).toBe(400);
    expect(rest.errors).toEqual([]);
  });

  it('rows that would be repeated beyond reason', async () => {
    rest.catalog.transaction(() => {
      for (let n = 100; n < 700; n++) rest.catalog.put('volume', volume(n));
    });
    const answer = await rest.get('volume?limit=2000&select=id,appliance(volumes(id,name))');
    expect(answer.statusCode, answer.body.slice(0, 200)).toBe(400);
    const modest = await rest.get('volume?limit=5&select=id,appliance(volumes(id,name))');
    expect(modest.statusCode).toBe(206);
  });
});

describe('malformed requests', () => {
  it('10,000 of them are all answered with a status below 500 and an error_response', async () => {
    const word = fc.oneof(
      fc.string({ maxLength: 30 }),
      fc.constantFrom(
        'volume',
        'policy',
        'host',
        'host_group',
        'host_volume_mapping',
        'local_user',
        'volume_group',
        'metrics',
        'generate',
        'compute_differences',
        'nas_server',
        'limit',
        'login_session',
        'job',
        'x509_certificate',
        'exchange',
        'snapshot',
        'name:x',
        'v1',
      ),
      fc.constantFrom(...corpus.map((text) => text.slice(0, 200))),
    );
    const body = fc.oneof(
      fc.json(),
      fc.string(),
      fc.constantFrom(
        ...['', 'null', '[]', '{}', '{"name":{}}', '[[[[', '{"name":null}', '\u0000', '\ud800'],
        ...['['.repeat(50_000), `${'['.repeat(50_000)}${']'.repeat(50_000)}`, '{"a":'.repeat(20_000)],
        `{"name":"${'x'.repeat(900_000)}","size":1048576}`,
      ),
      word,
    );
    const request = fc.record({
      method: fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'HEAD', 'OPTIONS'),
      path: fc.array(word, { minLength: 0, maxLength: 4 }),
      query: fc.array(
        fc.tuple(fc.oneof(word, fc.constantFrom('select', 'and', 'or', 'order', 'limit', 'name', 'size')), word),
        { maxLength: 4 },
      ),
      raw: fc.boolean(),
      type: fc.constantFrom(
        'application/json',
        'application/json;charset=x',
        'text/plain',
        '',
        '/',
        'multipart/form-data',
      ),
      range: fc.option(fc.string({ maxLength: 12 }), { nil: undefined }),
      body,
    });
    const calledBefore = rest.calls.length;
    const before_bytes = held_bytes();
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path, query, raw, type, range, body }) => {
        const code = (text: string) =>
          raw ? text.replace(/[^\x21-\x7e]|[?#]/g, '%') : encodeURIComponent(text.toWellFormed());
        const search = query.map(([name, value]) => `${code(name)}=${code(value)}`).join('&');
        const answer = await rest.app.inject({
          method: method as 'GET',
          url: `/api/rest/${path.map(code).join('/')}?${search}`,
          headers: {
            ...admin,
            'content-type': type,
            ...(range !== undefined && { range: range.replace(/[^\x20-\x7e]/g, '') }),
          },
          ...(method !== 'GET' && method !== 'HEAD' && { payload: body }),
        });
        expect(answer.statusCode, answer.body).toBeLessThan(500);
        if (answer.statusCode >= 400 && method !== 'HEAD') {
          const { messages } = answer.json<{ messages: { code: string; message_l10n: string }[] }>();
          expect(messages[0]?.code).toMatch(/^0xE[0-9A-F]{11}$/);
          expect(messages[0]?.message_l10n).not.toBe('');
        }
      }),
      { numRuns: 10_000 },
    );
    expect(rest.errors).toEqual([]);
    expect(rest.calls.length - calledBefore).toBeLessThan(2_000);
    // What the fixture writes down of calls and audits is the little that may remain.
    rest.calls.length = 0;
    expect(held_bytes() - before_bytes).toBeLessThan(32 * 1024 * 1024);
  });
});

describe('bodies of every operation', () => {
  it('what does not fit is refused before its handler is called', async () => {
    const urls = operationNames.map((operation): readonly ['POST' | 'PATCH' | 'DELETE', string, string] => {
      const [name = '', verb = ''] = operation.split('.');
      if (verb === 'create') return ['POST', name, operation];
      if (verb === 'modify') return ['PATCH', `${name}/x1`, operation];
      if (verb === 'delete') return ['DELETE', `${name}/x1`, operation];
      const ofAll = resources[name]?.collectionActions?.[verb] !== undefined;
      return ['POST', ofAll ? `${name}/${verb}` : `${name}/x1/${verb}`, operation];
    });
    for (const name of new Set(operationNames.map((operation) => operation.split('.')[0] as 'volume'))) {
      if (resources[name]?.noList) continue;
      rest.catalog.put(name, { id: 'x1', name: 'x1', serial_number: 'x1' } as never);
    }
    const names = [
      ...new Set(Object.keys(volume(1)).concat('rpo', 'remote_system_id', 'service', 'address', '__proto__', 'id')),
    ];
    const body = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...names), fc.jsonValue()));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...urls), body, async ([method, url, operation], sent) => {
        rest.calls.length = 0;
        const answer = await rest.send(method, url, sent);
        expect(answer.statusCode, answer.body).toBeLessThan(500);
        if (answer.statusCode < 300) expect(rest.calls).toMatchObject([{ operation }]);
        else expect(rest.calls).toEqual([]);
      }),
      { numRuns: 1000 },
    );
    expect(rest.errors).toEqual([]);
  });
});

describe('on a socket', () => {
  it('TLS alone; broken bytes, oversized headers and half requests end with 4xx or a closed connection', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rest-keys-'));
    const pair = await ensureKeyPair(directory, 'rest', 'rest', ['127.0.0.1']);
    const served = await restFixture({ tls: pair });
    try {
      await served.app.listen({ host: '127.0.0.1', port: 0 });
      const { port } = served.app.server.address() as { port: number };
      const say = (text: string) =>
        new Promise<string>((resolve, reject) => {
          let heard = '';
          const socket = connect({ port, host: '127.0.0.1', ca: pair.certificate, servername: '' }, () =>
            socket.write(text),
          );
          socket.setEncoding('utf8');
          socket.on('data', (chunk: string) => {
            heard += chunk;
            if (/\r\n\r\n[\s\S]*[}\]]\s*$/.test(heard)) socket.end();
          });
          socket.on('close', () => resolve(heard));
          socket.on('error', reject);
        });
      const host = 'Host: cluster\r\n';
      const authorized = `${host}Authorization: ${admin.authorization}\r\n`;
      expect(await say(`GET /api/rest/volume HTTP/1.1\r\n${authorized}\r\n`)).toMatch(/^HTTP\/1.1 200 /);
      expect(await say(`GET /api/rest/volume HTTP/1.1\r\n${host}\r\n`)).toMatch(/^HTTP\/1.1 401 [\s\S]*"messages"/);
      for (const [status, text] of [
        [400, 'this is no request\r\n\r\n'],
        [400, `GET /api/rest/volume HTTP/1.1\r\n${authorized}Content-Length: x\r\n\r\n`],
        [431, `GET /api/rest/volume HTTP/1.1\r\n${authorized}X: ${'x'.repeat(40_000)}\r\n\r\n`],
      ] as const) {
        const heard = await say(text);
        expect(heard).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
        expect(heard).toContain('"messages":[{"code":"0xE');
      }
      const plain = await new Promise<string>((resolve, reject) => {
        let heard = '';
        const socket = connectPlain({ port, host: '127.0.0.1' }, () => socket.write('GET / HTTP/1.1\r\n\r\n'));
        socket.on('data', (chunk) => {
          heard += String(chunk);
        });
        socket.on('close', () => resolve(heard));
        socket.on('error', reject);
      });
      expect(plain).not.toContain('HTTP/1.1 200');
      expect(served.errors).toEqual([]);
    } finally {
      await served.close();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
