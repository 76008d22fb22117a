import { X509Certificate } from 'node:crypto';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { MemoryDevice } from '../testing.ts';
import type { NbdClientIdentity } from './exports.ts';
import { Option, Rep } from './protocol.ts';
import { type Authority, type Keyed, makeAuthority } from './testing/certificates.ts';
import { infoRequest, RawClient } from './testing/raw-client.ts';
import { exportsOf, MIB, pattern, type Served, serve } from './testing/served.ts';

let authority: Authority;
let stranger: Keyed;

const open: Served[] = [];
const seen: NbdClientIdentity[] = [];

async function started(tls: { clients: boolean; mode?: 'offered' }): Promise<Served> {
  const device = new MemoryDevice(8 * MIB);
  const source = exportsOf(device);
  const identity = authority.sign('server');
  const served = await serve({
    device,
    exports: {
      list: source.list,
      open: (name, client) => {
        seen.push(client);
        return source.open(name, client);
      },
    },
    tls: {
      ...identity,
      ...(tls.clients ? { clientCa: authority.cert } : {}),
      ...(tls.mode === undefined ? {} : { mode: tls.mode }),
    },
  });
  open.push(served);
  return served;
}

beforeAll(() => {
  authority = makeAuthority('authority');
  stranger = makeAuthority('another authority').sign('stranger');
});

afterEach(async () => {
  seen.length = 0;
  await Promise.all(open.splice(0).map((served) => served.stop()));
});

describe('TLS', () => {
  test('bytes go both ways under encryption, large and small', async () => {
    const served = await started({ clients: false });
    const client = await served.connect({ tls: { ca: authority.cert } });
    const data = pattern(3 * MIB, 1);
    await client.write(12345, data, { fua: true });
    const back = Buffer.alloc(data.length);
    await client.read(12345, back);
    expect(back.equals(data)).toBe(true);
    const many = Array.from({ length: 64 }, (_, at) => client.write(at * 4096, pattern(4096, at)));
    await Promise.all(many);
    await client.flush();
    expect(seen.at(-1)?.auth).toEqual({ kind: 'tls' });
  });

  test('[C11.1] a client is known by the certificate it shows', async () => {
    const served = await started({ clients: true });
    const host = authority.sign('host-7');
    const client = await served.connect({ tls: { ca: authority.cert, ...host } });
    await client.flush();
    expect(seen.at(-1)?.auth).toMatchObject({ kind: 'certificate', commonName: 'host-7', subject: 'CN=host-7' });
    const auth = seen.at(-1)?.auth;
    const shown = new X509Certificate(host.cert).fingerprint256;
    expect(auth?.kind === 'certificate' && auth.fingerprint256).toBe(shown);
    expect(served.server.connections()[0]?.client.auth.kind).toBe('certificate');
  });

  test('[C11.1] a certificate may stand for several names; what looks like two entries in one is none', async () => {
    const served = await started({ clients: true });
    const host = authority.sign('host-7', ['iqn.2026-01.org.example:host-7', 'a, DNS:other']);
    await (await served.connect({ tls: { ca: authority.cert, ...host } })).flush();
    expect(seen.at(-1)?.auth).toMatchObject({ names: ['host-7'] });
    const plain = authority.sign('host-8', ['iqn.2026-01.org.example:host-8']);
    await (await served.connect({ tls: { ca: authority.cert, ...plain } })).flush();
    expect(seen.at(-1)?.auth).toMatchObject({ names: ['host-8', 'iqn.2026-01.org.example:host-8'] });
  });

  test('[C11.1] without a certificate, or with one of another authority, nothing is opened', async () => {
    const served = await started({ clients: true });
    await expect(served.connect({ tls: { ca: authority.cert } })).rejects.toMatchObject({ kind: 'connection' });
    await expect(served.connect({ tls: { ca: authority.cert, ...stranger } })).rejects.toMatchObject({
      kind: 'connection',
    });
    expect(seen).toEqual([]);
    await (await served.connect({ tls: { ca: authority.cert, ...authority.sign('host') } })).flush();
  });

  test('a client does not talk to a server it cannot vouch for', async () => {
    const served = await started({ clients: false });
    await expect(served.connect({ tls: { ca: stranger.cert } })).rejects.toMatchObject({ kind: 'connection' });
    expect(seen).toEqual([]);
  });

  test('[C11.1] where TLS is required every other option is refused, and nothing is told', async () => {
    const served = await started({ clients: false });
    const raw = await RawClient.greeted(served.port);
    for (const option of [Option.LIST, Option.STRUCTURED_REPLY, Option.LIST_META_CONTEXT, 4711]) {
      raw.option(option);
      expect((await raw.reply()).type).toBe(Rep.ERR_TLS_REQD);
    }
    raw.option(Option.GO, infoRequest('vol', []));
    expect((await raw.reply()).type).toBe(Rep.ERR_TLS_REQD);
    raw.option(Option.EXPORT_NAME, Buffer.from('vol'));
    await raw.ended;
    expect(seen).toEqual([]);
    await expect(served.connect()).rejects.toMatchObject({ kind: 'negotiation', message: 'the server requires TLS' });
  });

  test.each([
    ['TLSv1', false],
    ['TLSv1.1', false],
    ['TLSv1.2', true],
    ['TLSv1.3', true],
  ] as const)('a client that speaks %s is taken: %s', async (version, taken) => {
    const served = await started({ clients: false });
    const raw = await RawClient.greeted(served.port);
    raw.option(Option.STARTTLS);
    expect((await raw.reply()).type).toBe(Rep.ACK);
    raw.socket.removeAllListeners('data');
    const secure = connectTls({
      socket: raw.socket,
      ca: authority.cert,
      checkServerIdentity: () => undefined,
      minVersion: version,
      maxVersion: version,
      ...(taken ? {} : { ciphers: 'ALL:@SECLEVEL=0' }),
    });
    const agreed = await new Promise<string | null>((resolve) => {
      secure.once('secureConnect', () => resolve(secure.getProtocol()));
      secure.once('error', () => resolve(null));
      secure.once('close', () => resolve(null));
    });
    expect(agreed).toBe(taken ? version : null);
    secure.destroy();
  });

  test('where it is offered, both kinds of client are served, and structured replies are agreed anew', async () => {
    const served = await started({ clients: false, mode: 'offered' });
    await (await served.connect()).flush();
    expect(seen.at(-1)?.auth).toEqual({ kind: 'open', loopback: true });
    await (await served.connect({ tls: { ca: authority.cert } })).flush();
    expect(seen.at(-1)?.auth).toEqual({ kind: 'tls' });
  });

  test('bytes in the clear behind STARTTLS end the connection', async () => {
    const served = await started({ clients: false });
    const raw = await RawClient.greeted(served.port);
    const startTls = Buffer.from([...Buffer.from('IHAVEOPT'), 0, 0, 0, 5, 0, 0, 0, 0]);
    raw.send(startTls, Buffer.from('IHAVEOPT'));
    raw.socket.resume();
    await raw.ended;
    expect(seen).toEqual([]);
  });

  test('garbage instead of a handshake ends that connection only', async () => {
    const served = await started({ clients: false });
    const good = await served.connect({ tls: { ca: authority.cert } });
    const raw = await RawClient.greeted(served.port);
    raw.option(Option.STARTTLS);
    expect((await raw.reply()).type).toBe(Rep.ACK);
    raw.send(pattern(5000, 3));
    raw.socket.resume();
    await raw.ended;
    await good.flush();
  });
});
