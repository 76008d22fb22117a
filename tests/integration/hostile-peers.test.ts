import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { testIdentity } from '../../packages/replication/src/transfer/test-identity.ts';
import { password } from '../crash/crash-site.ts';
import { HostilePair, type Row } from './hostile-pair.ts';
import { eventually, MiB, noise, refusal } from './pair.ts';

/** Two clusters, a network that does what it likes, and peers that are not what they say. */
const two = new HostilePair();
/** More than any of this takes; an attack that is not bounded takes it in seconds. */
const memoryMost_MiB = 400;
let memoryBefore_MiB = 0;
beforeAll(async () => {
  await two.start();
  memoryBefore_MiB = two.memory_MiB();
});
afterAll(() => two.stop());

const parked = '0x02010103';
const linkLost = '0x02010201';

/** Whatever was done: the link is whole again, and both sides find to a copy that is equal, by themselves. */
afterEach(async () => {
  two.link.weather = {};
  await eventually('the link to be seen again', async () =>
    (await Promise.all([two.remote(two.a), two.remote(two.b)])).every(
      (remote) => remote.state === 'OK' && remote.data_connection_state === 'OK',
    ),
  );
  // What was under way goes on to the moment that it was for; only the next copy shows what is there now.
  await two.until('OK');
  const before = await two.lastSync();
  await two.write(31 * MiB, noise(4096, Math.floor(performance.now())));
  await two.sync();
  await two.synced(before);
  expect(await two.equal()).toBe(true);
  for (const site of [two.a, two.b]) {
    await eventually('alerts to be cleared', async () =>
      (await two.alerts(site)).every((code) => code !== parked && code !== linkLost),
    );
  }
  expect(two.memory_MiB() - memoryBefore_MiB).toBeLessThan(memoryMost_MiB);
});

describe('a network that breaks', () => {
  it('resets in the middle of a copy, again and again: the copy goes on where it was', async () => {
    await two.write(0, noise(12 * MiB, 2));
    two.link.weather = { delay_ms: 2 };
    const before = await two.lastSync();
    await two.sync();
    for (let times = 0; times < 6; times++) {
      await eventually('something to break', async () => two.link.connections > 0);
      two.link.reset();
    }
    two.link.weather = {};
    await two.synced(before);
  });

  it('stalls without a word: both sides say that the link is lost, the session is parked with a code, and goes on by itself', async () => {
    await two.write(0, noise(4 * MiB, 3));
    two.link.weather = { stalled: true };
    await two.sync();
    await eventually('the silence to be noticed', async () => (await two.row(two.a)).state === 'System_Paused');
    expect((await two.row(two.a)).error_code).toMatch(/^0xE[0-9A-F]{11}$/);
    for (const site of [two.a, two.b])
      await eventually('the link to be called lost', async () =>
        String((await two.remote(site)).state).endsWith('_Connection_Lost'),
      );
    await eventually('the alert', async () => (await two.alerts(two.a)).includes(parked));
    // Hosts do not notice.
    await two.write(0, noise(MiB, 4));
    two.link.weather = {};
    two.link.reset();
  });

  it('leaves connections half open: what waits on them gives up', async () => {
    await two.write(0, noise(4 * MiB, 5));
    two.link.weather = { delay_ms: 2 };
    await two.sync();
    two.link.halfOpen();
    two.link.weather = {};
    await eventually('dead connections to be given up', async () => (await two.row(two.a)).state !== 'Synchronizing');
  });

  it('300 ms away, with loss: slow, and otherwise as ever', async () => {
    await two.write(0, noise(2 * MiB, 6));
    two.link.weather = { delay_ms: 150, loss: { share: 0.02, again_ms: 400 } };
    const before = await two.lastSync();
    await two.sync();
    await two.synced(before);
    // A heartbeat may be lost on the way; the next ones arrive.
    await eventually('the link to be good', async () => (await two.remote(two.a)).state === 'OK');
  });

  it('drops large pieces on the way (MTU): heartbeats pass, the copy does not; it is parked and not spun on', async () => {
    await two.write(0, noise(8 * MiB, 7));
    two.link.weather = { most_bytes: 8_000 };
    await two.sync();
    await eventually('the copy to be given up', async () => (await two.row(two.a)).state === 'System_Paused');
    const tries = two.link.connections;
    expect(tries).toBeLessThan(50);
    two.link.weather = {};
    two.link.reset();
  });

  it('flips bits: TLS ends the connection, and nothing wrong arrives', async () => {
    await two.write(0, noise(6 * MiB, 8));
    two.link.weather = { flipped: 0.05 };
    await two.sync().catch(() => undefined);
    await eventually('a broken connection to be seen', async () => (await two.row(two.a)).state === 'System_Paused');
  });
});

describe('somebody else', () => {
  /** A stranger’s keys, or an expired certificate. */
  function makeKeys(directory: string, serial: string, ...dates: readonly string[]): { cert: string; key: string } {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = (name: string) => join(directory, name);
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('ec.key'));
    openssl('pkcs8', '-topk8', '-nocrypt', '-in', file('ec.key'), '-out', file('link.key'));
    openssl('req', '-new', '-key', file('link.key'), '-subj', `/CN=${serial}`, '-out', file('csr'));
    openssl('x509', '-req', '-in', file('csr'), '-signkey', file('link.key'), '-out', file('link.crt'), ...dates);
    return { cert: readFileSync(file('link.crt'), 'utf8'), key: readFileSync(file('link.key'), 'utf8') };
  }
  const stranger = () =>
    makeKeys(join(two.directory, `stranger-${performance.now()}`), 'PS0123456789ab', '-days', '3650');

  /** Says something on the management channel; the answer's status, or how the connection ended. */
  function post(keys: { cert: string; key: string } | undefined, body: string | Buffer): Promise<string> {
    return new Promise((resolve) => {
      const call = request(
        {
          ...keys,
          host: '127.0.0.1',
          port: two.b.ports.peer,
          path: '/peer',
          method: 'POST',
          agent: false,
          rejectUnauthorized: false,
        },
        (response) => {
          let text = '';
          response.on('data', (part: Buffer) => (text += part.toString('utf8')));
          response.on('end', () => resolve(`${response.statusCode} ${text}`));
          response.on('error', () => resolve(`${response.statusCode}`));
        },
      );
      call.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      call.end(body);
    });
  }

  it('without a certificate, or with one that was not exchanged, is turned away at both ports', async () => {
    const hello = JSON.stringify({ version: 1, request: { kind: 'unpair' } });
    for (const keys of [undefined, stranger()]) {
      expect(await post(keys, hello)).not.toMatch(/^2/);
      const socket = connectTls({
        ...keys,
        host: '127.0.0.1',
        port: two.b.ports.replication,
        rejectUnauthorized: false,
      });
      socket.on('error', () => undefined);
      const said: Buffer[] = [];
      socket.on('data', (part: Buffer) => said.push(part));
      await new Promise((resolve) => socket.once('close', resolve));
      expect(Buffer.concat(said).length).toBe(0);
    }
    await eventually('the pair to be what it was', async () => (await two.remote(two.b)).state === 'OK');
  });

  it('answers in the peer’s place: the pin tells, the link counts as lost, nothing is shipped', async () => {
    const impostor = await two.site('Impostor');
    await two.startSite(impostor);
    try {
      two.link.lead(two.b.ports.linkPeer, impostor.ports.peer);
      two.link.lead(two.b.ports.linkReplication, impostor.ports.replication);
      await two.write(0, noise(MiB, 9));
      await eventually('the wrong peer to be seen', async () =>
        String((await two.remote(two.a)).state).endsWith('_Connection_Lost'),
      );
      await two.sync().catch(() => undefined);
      await eventually('the session to be parked', async () => (await two.row(two.a)).state === 'System_Paused');
      expect(await impostor.client.all('volume', { select: 'id' })).toEqual([]);
      two.link.lead(two.b.ports.linkPeer, two.b.ports.peer);
      two.link.lead(two.b.ports.linkReplication, two.b.ports.replication);
      // Paired with Osaka, it has no say in what London and Osaka have agreed on.
      await two.pair(impostor, two.b);
      const keys = two.keysOf(impostor);
      const view = { ...(await theView()), site: keys.serial };
      for (const kind of ['pause', 'delete', 'reprotect', 'contact'])
        expect(
          await post(
            keys,
            JSON.stringify({ version: 1, request: { kind: 'session', message: { kind, session: two.session, view } } }),
          ),
          kind,
        ).toMatch(/unknown_session|refused|^400/);
      for (const kind of ['withdraw'])
        await post(keys, JSON.stringify({ version: 1, request: { kind, session: two.session } }));
      expect((await two.row(two.b)).role).toBe('Destination');
      const remote = await impostor.client.first('remote_system', { select: 'id' });
      await impostor.client.remove('remote_system', String(remote?.id));
    } finally {
      two.link.lead(two.b.ports.linkPeer, two.b.ports.peer);
      two.link.lead(two.b.ports.linkReplication, two.b.ports.replication);
      await impostor.stop();
      two.sites.splice(two.sites.indexOf(impostor), 1);
    }
  });

  it('with a certificate that has expired cannot be paired with: the refusal says so', async () => {
    const old = await two.site('Old');
    makeKeys(join(old.data, 'keys'), 'PS00000000000e', '-days', '-1');
    writeFileSync(join(old.data, 'keys', 'serial'), 'PS00000000000e\n', { mode: 0o600 });
    await two.startSite(old);
    try {
      const { url } = old;
      const exchange = two.a.client.collectionAction('x509_certificate', 'exchange', {
        service: 'Replication_HTTP',
        address: new URL(url).hostname,
        port: Number(new URL(url).port),
        username: 'admin',
        password,
      });
      const answer = await refusal(
        exchange.then(() => two.a.client.create('remote_system', { management_address: new URL(url).host })),
      );
      expect(answer.status).toBe(422);
      expect(answer.message).toMatch(/expired/);
    } finally {
      await old.stop();
      two.sites.splice(two.sites.indexOf(old), 1);
    }
  });

  it('with a certificate that expires once they are paired: refused on both channels until there is a new one', async () => {
    const renew = async (put: (keys: string) => Promise<void> | void) => {
      await two.b.stop();
      await put(join(two.b.data, 'keys'));
      await two.startSite(two.b);
      const { hostname, port } = new URL(two.b.url);
      await two.a.client.collectionAction('x509_certificate', 'exchange', {
        ...{ service: 'Replication_HTTP', address: hostname, port: Number(port) },
        ...{ username: 'admin', password },
      });
      // Reached through the hostile link, not where an exchange has found it.
      await eventually('the peer to be reached', async () => (await two.remote(two.a)).state === 'OK');
    };
    let ends_ms = 0;
    await renew(async (keys) => {
      ends_ms = Date.now() + 30_000;
      const { certificate, privateKey } = await testIdentity(two.keysOf(two.b).serial, new Date(ends_ms));
      writeFileSync(join(keys, 'link.crt'), certificate);
      writeFileSync(join(keys, 'link.key'), privateKey);
    });
    await two.until('OK');
    const before = await two.lastSync();
    await two.write(0, noise(2 * MiB, 12));
    await eventually('its time to pass', async () => Date.now() > ends_ms);
    two.link.reset();
    await eventually('the expired peer to be called lost', async () =>
      String((await two.remote(two.a)).state).endsWith('_Connection_Lost'),
    );
    await two.sync().catch(() => undefined);
    await eventually('the session to be parked', async () => (await two.row(two.a)).state === 'System_Paused');
    expect(await two.lastSync()).toBe(before);
    // Hosts do not notice.
    await two.write(2 * MiB, noise(MiB, 13));
    await renew((keys) => {
      for (const name of ['link.crt', 'link.key']) rmSync(join(keys, name));
    });
  });

  /** What London would say of itself, near enough to be looked at. */
  async function theView(): Promise<Row> {
    const row = await two.row(two.a);
    return {
      role: 'source',
      state: 'OK',
      generation: { number: 1, site: two.keysOf(two.a).serial, nonce: 'forged' },
      paused: false,
      points: [],
      row: row.id,
    };
  }

  describe('with the peer’s stolen key', () => {
    const thief = () => two.keysOf(two.a);

    it('says what is no message, too much, or of another protocol: refused with a status, nothing changes', async () => {
      const keys = thief();
      const before = await two.row(two.b);
      expect(await post(keys, 'x')).toMatch(/^400/);
      expect(await post(keys, '{"version":1}')).toMatch(/^400/);
      expect(await post(keys, '{"version":99,"request":{"kind":"unpair"}}')).toMatch(/^426/);
      expect(
        await post(
          keys,
          JSON.stringify({ version: 1, request: { kind: 'session', message: { kind: 'become_root' } } }),
        ),
      ).toMatch(/^400/);
      expect(await post(keys, `${'['.repeat(100_000)}`)).toMatch(/^400/);
      expect(await post(keys, Buffer.alloc(64 * MiB, 0x20))).toMatch(/^413|ECONNRESET|EPIPE/);
      const forged = (size: unknown) =>
        JSON.stringify({ version: 1, request: { kind: 'volume', session: two.session, size, name: '../../x' } });
      for (const size of [-1, 1e300, '9', null, 2 ** 60])
        expect(await post(keys, forged(size)), String(size)).toMatch(/^400|refused/);
      expect(await two.row(two.b)).toMatchObject({ role: before.role, state: 'OK' });
    });

    it('lies about lengths on the data channel: the connection ends before memory is set aside', async () => {
      const frame = (header: number, payload: number, type = 1): Buffer => {
        const bytes = Buffer.alloc(64);
        magic().copy(bytes);
        bytes.writeUInt8(1, 4);
        bytes.writeUInt8(type, 5);
        bytes.writeUInt32LE(header >>> 0, 8);
        bytes.writeUInt32LE(payload >>> 0, 12);
        return bytes;
      };
      for (const bytes of [
        frame(0xffffffff, 0),
        frame(2, 0xffffffff),
        frame(0, 0),
        frame(2, 0, 250),
        Buffer.from('GET / HTTP/1.1\r\n\r\n'),
        Buffer.alloc(MiB, 0xff),
      ])
        await ended(await dataChannel(), bytes);
      // Many that promise much and send nothing.
      const many = await Promise.all(Array.from({ length: 100 }, () => dataChannel()));
      for (const socket of many) socket.write(frame(4 * MiB, 4 * MiB).subarray(0, 16));
      await two.write(0, noise(MiB, 10));
      const before = await two.lastSync();
      await two.sync();
      await two.synced(before);
      expect(two.memory_MiB() - memoryBefore_MiB).toBeLessThan(memoryMost_MiB);
      await Promise.all(
        many.map((socket) => (socket.destroyed ? undefined : new Promise((resolve) => socket.once('close', resolve)))),
      );
    });

    const magic = (): Buffer => {
      const text = readFileSync(
        join(import.meta.dirname, '../../packages/replication/src/transfer/protocol.ts'),
        'utf8',
      );
      const value = /frameMagic = (0x[0-9a-fA-F_]+)/.exec(text)?.[1];
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(Number(value?.replaceAll('_', '')) >>> 0);
      return bytes;
    };
    const dataChannel = (): Promise<TLSSocket> =>
      new Promise((resolve, reject) => {
        const { cert, key } = thief();
        const socket = connectTls(
          { cert, key, host: '127.0.0.1', port: two.b.ports.replication, rejectUnauthorized: false },
          () => {
            socket.on('error', () => undefined);
            socket.resume();
            resolve(socket);
          },
        );
        socket.once('error', reject);
      });
    const ended = (socket: TLSSocket, bytes: Buffer) =>
      new Promise((resolve) => {
        socket.once('close', resolve);
        socket.resume();
        socket.write(bytes);
      });
  });

  it('replays what the real peer said, byte for byte: TLS takes none of it', async () => {
    two.link.record();
    two.link.reset();
    await two.write(0, noise(MiB, 11));
    const before = await two.lastSync();
    await two.sync();
    await two.synced(before);
    two.link.reset();
    const shipped = async () =>
      (await two.a.client.request('GET', `/api/antipode/v1/replication_sessions/${two.session}`)).body as Row;
    const figures = await shipped();
    for (const [port, target] of [
      [two.b.ports.linkPeer, two.b.ports.peer],
      [two.b.ports.linkReplication, two.b.ports.replication],
    ] as const) {
      const recorded = two.link.recorded(port).filter((bytes) => bytes.length > 500);
      expect(recorded.length).toBeGreaterThan(0);
      for (const bytes of recorded.slice(0, 5)) {
        const socket = connectTcp({ host: '127.0.0.1', port: target });
        socket.on('error', () => undefined);
        socket.resume();
        socket.end(bytes);
        await new Promise((resolve) => socket.once('close', resolve));
      }
    }
    expect((await two.row(two.b)).role).toBe('Destination');
    expect((await shipped()).shipped_bytes_total).toBe(figures.shipped_bytes_total);
  });

  it('holds connections open without a handshake, at both ports: the copy goes on, and they are closed', async () => {
    const held = [two.b.ports.peer, two.b.ports.replication].flatMap((port) =>
      Array.from({ length: 200 }, () => {
        const socket = connectTcp({ host: '127.0.0.1', port });
        socket.on('error', () => undefined);
        socket.resume();
        return socket;
      }),
    );
    await two.write(0, noise(MiB, 12));
    const before = await two.lastSync();
    await two.sync();
    await two.synced(before);
    await eventually(
      'all of them to be closed',
      async () => held.every((socket) => socket.closed),
      () => `${held.filter((socket) => !socket.closed).length} open`,
    );
  });
});
