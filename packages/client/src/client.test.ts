import { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { ApiError, type Client, ConnectionError, connect, JobError } from './index.ts';
import { selfSignedCertificate } from './testing.ts';

/** A server with the login rules of the interface and whatever resources a test gives it. */
class Site {
  readonly seen: { method: string; url: string; headers: IncomingMessage['headers']; body: unknown }[] = [];
  logins = 0;
  /** Number of the only session that is valid. */
  session = 0;
  answer: (request: { method: string; url: URL; body: unknown }) => { status: number; body?: unknown; range?: string } =
    () => ({
      status: 200,
      body: [],
    });
  readonly #server: Server;
  readonly certificate: string;

  constructor({ key, cert }: { key: string; cert: string }) {
    this.certificate = cert;
    this.#server = createServer({ key, cert }, (request, response) => void this.#serve(request, response));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const { method = '', url = '', headers } = request;
    const send = (status: number, value?: unknown, more: Record<string, string> = {}) => {
      response.writeHead(status, { 'content-type': 'application/json', ...more });
      response.end(value === undefined ? undefined : JSON.stringify(value));
    };
    if (headers.authorization !== undefined) {
      if (headers.authorization !== `Basic ${Buffer.from('admin:pässword').toString('base64')}`)
        return send(401, {
          messages: [{ code: '0xE09040010001', severity: 'Error', message_l10n: 'wrong', arguments: [] }],
        });
      this.logins += 1;
      this.session += 1;
      return send(200, [{ id: '1' }], {
        'set-cookie': `auth_cookie=s${this.session}; Secure; HttpOnly`,
        'DELL-EMC-TOKEN': `t${this.session}`,
      });
    }
    this.seen.push({ method, url, headers, body });
    if (headers.cookie !== `auth_cookie=s${this.session}`) return send(401);
    if (method !== 'GET' && headers['dell-emc-token'] !== `t${this.session}`) return send(403, { messages: [] });
    const { status, body: value, range } = this.answer({ method, url: new URL(url, 'https://x'), body });
    send(status, value, range === undefined ? {} : { 'content-range': range });
  }
}

const keys = selfSignedCertificate();

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

async function site(): Promise<{ site: Site; url: string; login: () => Promise<Client> }> {
  const made = new Site(keys);
  const url = await made.start();
  open.push({ close: () => made.stop() });
  const login = async () => {
    const client = await connect({ url, username: 'admin', password: 'pässword', tls: { mode: 'ca', ca: keys.cert } });
    open.push(client);
    return client;
  };
  return { site: made, url, login };
}

describe('client', () => {
  test('logs in once, then sends cookie and token and never the password', async () => {
    const { site: server, login } = await site();
    const client = await login();
    server.answer = () => ({ status: 201, body: { id: 'v1' } });
    expect(await client.create('volume', { name: 'a', size: 1048576 })).toBe('v1');
    expect(server.logins).toBe(1);
    expect(server.seen).toMatchObject([
      {
        method: 'POST',
        url: '/api/rest/volume',
        body: { name: 'a', size: 1048576 },
        headers: { 'dell-emc-token': 't1' },
      },
    ]);
    expect(server.seen[0]?.headers.authorization).toBeUndefined();
  });

  test('logs in again once when its session is gone, also for many requests at a time', async () => {
    const { site: server, login } = await site();
    const client = await login();
    server.answer = () => ({ status: 204 });
    server.session = 77;
    await Promise.all([
      client.modify('volume', '1', {}),
      client.modify('volume', '2', {}),
      client.remove('volume', '3'),
    ]);
    expect(server.logins).toBe(2);
  });

  test('gives up after one new login when the refusal stays', async () => {
    const { site: server, login } = await site();
    const client = await login();
    server.answer = () => ({
      status: 403,
      body: { messages: [{ code: '0xE09040030002', severity: 'Error', message_l10n: 'not allowed', arguments: [] }] },
    });
    const refused = await client.modify('volume', '1', {}).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ApiError);
    expect(refused).toMatchObject({ status: 403 });
    expect((refused as ApiError).hasCode('0xE09040030002')).toBe(true);
    expect(server.logins).toBe(2);
  });

  test('a wrong password is a 401 and the message does not repeat it', async () => {
    const { url } = await site();
    const refused = await connect({
      url,
      username: 'admin',
      password: 'secret-guess',
      tls: { mode: 'ca', ca: keys.cert },
    }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ApiError);
    expect(String(refused)).toContain('401');
    expect(String(refused)).not.toContain('secret-guess');
  });

  test('reads a list page by page, whatever page size the server keeps', async () => {
    const { site: server, login } = await site();
    const client = await login();
    const ids = Array.from({ length: 250 }, (_, i) => ({ id: String(i) }));
    server.answer = ({ url }) => {
      const offset = Number(url.searchParams.get('offset') ?? 0);
      const page = ids.slice(offset, offset + 100);
      const range = `${offset}-${offset + page.length - 1}/250`;
      return { status: page.length < 250 ? 206 : 200, body: page, range };
    };
    const found = await client.all('volume', {
      select: ['id'],
      filter: { name: 'like.a*', size: ['gt.1', 'lt.9'] },
      order: 'name',
    });
    expect(found.map((volume) => volume.id)).toEqual(ids.map(({ id }) => id));
    expect(server.seen.map(({ url }) => new URL(url, 'https://x').searchParams.get('offset'))).toEqual([
      null,
      '100',
      '200',
    ]);
    expect(new URL(server.seen[1]?.url ?? '', 'https://x').searchParams.getAll('size')).toEqual(['gt.1', 'lt.9']);
  });

  test('stops reading pages when the caller stops', async () => {
    const { site: server, login } = await site();
    const client = await login();
    server.answer = () => ({ status: 206, body: [{ id: 'a' }], range: '0-0/9' });
    expect(await client.first('volume', {})).toEqual({ id: 'a' });
    expect(server.seen).toHaveLength(1);
  });

  test('an asynchronous request answers a job, and waiting ends with its result', async () => {
    const { site: server, login } = await site();
    const client = await login();
    const states = ['QUEUED', 'IN_PROGRESS', 'COMPLETED'];
    server.answer = ({ method }) =>
      method === 'POST'
        ? { status: 202, body: { id: 'j1' } }
        : { status: 200, body: { id: 'j1', state: states.shift() } };
    const id = await client.startJob('POST', 'replication_session/s1/sync');
    expect(server.seen[0]?.url).toBe('/api/rest/replication_session/s1/sync?is_async=true');
    expect(await client.waitForJob(id)).toMatchObject({ state: 'COMPLETED' });
  });

  test('a failed job is an error with the messages of its response', async () => {
    const { site: server, login } = await site();
    const client = await login();
    const messages = [
      { code: '0xE0201005000C', severity: 'Error', message_l10n: 'already failed over', arguments: [] },
    ];
    server.answer = () => ({ status: 200, body: { id: 'j', state: 'FAILED', response_body: { messages } } });
    const failed = await client.waitForJob('j').catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(JobError);
    expect(failed).toMatchObject({ messages });
  });

  test('another certificate than the pinned one is refused before the password is sent', async () => {
    const { site: server, url } = await site();
    const sha256 = new X509Certificate(keys.cert).fingerprint256;
    const good = await connect({ url, username: 'admin', password: 'pässword', tls: { mode: 'fingerprint', sha256 } });
    open.push(good);
    expect(server.logins).toBe(1);
    const other = `${sha256.startsWith('00') ? '11' : '00'}${sha256.slice(2)}`;
    await expect(
      connect({ url, username: 'admin', password: 'pässword', tls: { mode: 'fingerprint', sha256: other } }),
    ).rejects.toThrow(ConnectionError);
    await expect(connect({ url, username: 'admin', password: 'pässword' })).rejects.toThrow(ConnectionError);
    expect(server.logins).toBe(1);
  });

  test('an id cannot change the path', async () => {
    const { site: server, login } = await site();
    const client = await login();
    server.answer = () => ({ status: 200, body: { id: 'x' } });
    await client.get('volume', '../policy/1?x=1');
    await client.get('volume', 'name:my volume');
    expect(server.seen.map(({ url }) => url)).toEqual([
      '/api/rest/volume/..%2Fpolicy%2F1%3Fx%3D1?select=*',
      '/api/rest/volume/name:my%20volume?select=*',
    ]);
  });
});
