import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NbdClient } from '../../packages/hosts/src/index.ts';
import { eventually, MiB, noise } from './pair.ts';
import { Solo } from './solo.ts';

/** One cluster, an ordinary administrator and an ordinary host, and crowds that mean them ill. */
const cluster = new Solo();
const memoryMost_MiB = 400;
let memoryBefore_MiB = 0;
let host: NbdClient;
let volume = '';
const secrets: string[] = [];
/** They are there while others come and go, and are looked at last: a minute passes until they are put out. */
let slow: Socket[] = [];
let dripping: NodeJS.Timeout | undefined;

beforeAll(async () => {
  await cluster.start('--log-level', 'trace');
  volume = await cluster.client.create('volume', { name: 'ordinary', size: 64 * MiB });
  host = await cluster.device('ordinary');
  memoryBefore_MiB = memory_MiB();
});
afterAll(() => {
  clearInterval(dripping);
  return cluster.remove();
});

const memory_MiB = (): number =>
  (['dataplane', 'management'] as const)
    .map((kind) => readFileSync(`/proc/${cluster.processOf(kind)}/status`, 'utf8'))
    .reduce((sum, text) => sum + Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) / 1024, 0);

const rest = () => ({ host: '127.0.0.1', port: Number(new URL(cluster.url).port) });
const nbd = () => ({ host: '127.0.0.1', port: Number(new URL(cluster.nbd).port) });
const ports = () =>
  JSON.parse(readFileSync(join(cluster.data, 'ports.json'), 'utf8')) as Record<'peer' | 'replication', number>;

/** Whoever behaves is served, whatever others do. */
async function ordinaryPeopleAreServed(): Promise<void> {
  const rows = await cluster.client.all('volume', { select: 'id' });
  expect(rows.map(({ id }) => id)).toContain(volume);
  await hostsAreServed();
}

async function hostsAreServed(): Promise<void> {
  const bytes = noise(64 * 1024, 1);
  await host.write(0, bytes, { fua: true });
  const back = new Uint8Array(bytes.length);
  await host.read(0, back);
  expect(Buffer.compare(bytes, back)).toBe(0);
  expect(memory_MiB() - memoryBefore_MiB).toBeLessThan(memoryMost_MiB);
}

function crowd(count: number, address: { host: string; port: number }, greet?: (socket: Socket) => void): Socket[] {
  return Array.from({ length: count }, () => {
    const socket = connectTcp(address);
    socket.on('error', () => undefined);
    socket.resume();
    if (greet !== undefined) socket.once('connect', () => greet(socket));
    return socket;
  });
}

const allClosed = (sockets: readonly { readonly closed: boolean }[]) =>
  eventually(
    'all of them to be closed',
    async () => sockets.every((socket) => socket.closed),
    () => `${sockets.filter((socket) => !socket.closed).length} of ${sockets.length} open`,
  );
const leave = async (sockets: readonly Socket[]): Promise<void> => {
  for (const socket of sockets) socket.destroy();
  await allClosed(sockets);
};

/** A TLS connection to REST that has said this much. */
const saying = (text: string | Buffer): Promise<Socket & { answer: () => string }> =>
  new Promise((resolve, reject) => {
    let heard = '';
    const socket = connectTls({ ...rest(), rejectUnauthorized: false }, () => {
      socket.on('data', (part: Buffer) => {
        heard += part.toString('latin1');
      });
      socket.write(text);
      resolve(Object.assign(socket, { answer: () => heard }));
    });
    socket.on('error', reject);
    socket.on('error', () => undefined);
  });

describe('REST', () => {
  it('people who never finish a request (slowloris) keep nobody waiting', async () => {
    slow = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        saying(
          index % 2 === 0
            ? 'GET /api/rest/volume HTTP/1.1\r\nHost: x\r\nX-Slow: '
            : 'POST /api/rest/volume HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n{"name":"',
        ),
      ),
    );
    dripping = setInterval(() => {
      for (const socket of slow) if (socket.writable) socket.write('a');
    }, 500);
    await ordinaryPeopleAreServed();
  });

  it('more connections than it takes: new ones are closed, those that are there are served, and room comes back', async () => {
    const request = 'GET /api/rest/volume HTTP/1.1\r\nHost: x\r\n';
    const there = await saying('');
    const isServed = async (): Promise<void> => {
      const answers = () => there.answer().split('HTTP/1.1 401').length;
      const before = answers();
      there.write(`${request}\r\n`);
      await eventually('an answer to who is there', async () => answers() > before);
    };
    // In portions that fit the kernel's queue: what does not fit there is never seen by the cluster at all.
    const many: Socket[] = [];
    try {
      while (many.length < 2_300) {
        const some = crowd(100, rest());
        many.push(...some);
        await eventually('them to be let in or not', async () => some.every((socket) => !socket.connecting));
        await isServed();
      }
      const turnedAway = () => many.filter((socket) => socket.closed).length;
      await eventually(
        'some to be turned away',
        async () => turnedAway() >= 200,
        () => `${turnedAway()} closed`,
      );
      await isServed();
      await hostsAreServed();
    } finally {
      await leave([...many, there]);
    }
    await eventually('a new one to be let in', async () => {
      const socket = await saying(`${request}Connection: close\r\n\r\n`).catch(() => undefined);
      socket?.destroy();
      return socket !== undefined;
    });
    await ordinaryPeopleAreServed();
  });

  it('bodies and headers over the limit end with a status before they are kept', async () => {
    const body = await saying(
      'POST /api/rest/volume HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n',
    );
    const piece = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(MiB, 0x20), Buffer.from('\r\n')]);
    for (let sent = 0; sent < 64 && body.writable; sent++)
      if (!body.write(piece))
        await Promise.race([
          new Promise((resolve) => body.once('drain', resolve)),
          new Promise((resolve) => body.once('close', resolve)),
        ]);
    await eventually('an answer', async () => body.closed || body.answer().startsWith('HTTP/1.1 4'));
    body.destroy();
    const headers = await saying(`GET /api/rest/volume HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(200_000)}\r\n\r\n`);
    await eventually('an answer', async () => /^HTTP\/1.1 431/.test(headers.answer()) || headers.closed);
    headers.destroy();
    await ordinaryPeopleAreServed();
  });

  it('a flood of wrong passwords is answered 401, and the right one goes on being right elsewhere', async () => {
    const attempts = await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const basic = Buffer.from(`nobody-${index}:wrong-${index}`).toString('base64');
        const socket = await saying(
          `GET /api/rest/login_session HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${basic}\r\nConnection: close\r\n\r\n`,
        );
        await new Promise((resolve) => socket.once('close', resolve));
        return socket.answer().slice(0, 12);
      }),
    );
    expect(new Set(attempts)).toEqual(new Set(['HTTP/1.1 401']));
    await ordinaryPeopleAreServed();
  });
});

describe('NBD', () => {
  it('people who never finish their greeting, more than it takes: the oldest make room, hosts go on', async () => {
    const idle = crowd(600, nbd());
    const slow = crowd(50, nbd(), (socket) => socket.write(Buffer.from([0, 0, 0, 3, 0x49, 0x48])));
    await ordinaryPeopleAreServed();
    const another = await cluster.device('ordinary');
    await another.close();
    await allClosed([...idle, ...slow]);
  });

  it('lengths, names and offsets that are lies end with an errno or the connection, never with memory', async () => {
    const option = (length: number) => {
      const bytes = Buffer.alloc(20);
      bytes.writeUInt32BE(3, 0);
      bytes.write('IHAVEOPT', 4, 'latin1');
      bytes.writeUInt32BE(7, 12);
      bytes.writeUInt32BE(length >>> 0, 16);
      return bytes;
    };
    const liars = [
      option(0xffffffff),
      option(17 * 1024),
      Buffer.alloc(MiB, 0xff),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ].flatMap((bytes) => crowd(20, nbd(), (socket) => socket.write(bytes)));
    await allClosed(liars);
    for (const [offset, length] of [
      [64 * MiB, 4096],
      [Number.MAX_SAFE_INTEGER - 4096, 4096],
      [64 * MiB - 512, 1024],
    ] as const) {
      await expect(host.read(offset, new Uint8Array(length))).rejects.toThrow();
      await expect(host.write(offset, new Uint8Array(length))).rejects.toThrow();
      await expect(host.trim(offset, length)).rejects.toThrow();
    }
    await ordinaryPeopleAreServed();
  });

  it('hosts that ask and do not listen: bounded memory, others are served', async () => {
    // Greedy: each asks for many reads of 32 MiB at once and takes none of the answers.
    const greedy = await Promise.all(Array.from({ length: 4 }, () => cluster.device('ordinary')));
    const asked = greedy.map((device) =>
      Promise.allSettled(Array.from({ length: 10 }, () => device.read(0, new Uint8Array(32 * MiB)))),
    );
    await ordinaryPeopleAreServed();
    await Promise.all(asked);
    await Promise.all(greedy.map((device) => device.close()));
  });
});

describe('what an attacker would look for', () => {
  const openssl = (port: number, ...args: string[]): Promise<string> =>
    new Promise((resolve) => {
      const child = execFile(
        'openssl',
        ['s_client', '-connect', `127.0.0.1:${port}`, ...args],
        { timeout: 20_000 },
        (_, out, err) => resolve(out + err),
      );
      child.stdin?.end();
    });

  it('TLS below 1.2 is refused at REST, below 1.3 between clusters', async () => {
    const weak = ['-cipher', 'ALL:@SECLEVEL=0'];
    for (const [port, version, taken] of [
      [rest().port, '-tls1', false],
      [rest().port, '-tls1_1', false],
      [rest().port, '-tls1_2', true],
      [rest().port, '-tls1_3', true],
      ...Object.entries(ports()).flatMap(([name, number]) =>
        name === 'peer' || name === 'replication'
          ? ([
              [number, '-tls1_1', false],
              [number, '-tls1_2', false],
              [number, '-tls1_3', true],
            ] as const)
          : [],
      ),
    ] as const) {
      const said = await openssl(port, version, ...(version === '-tls1_3' ? [] : weak));
      const agreed =
        /Protocol *: *TLSv1|New, TLSv1[.\d]*, Cipher is (?!\(NONE\))/.test(said) && !/Cipher is \(NONE\)/.test(said);
      expect(agreed, `${port} ${version}: ${said.slice(0, 300)}`).toBe(taken);
    }
  });

  it('a name is never a path: whatever is created, the data directory has the files that it always has', async () => {
    const names = [
      '../../../../tmp/antipode-was-here',
      '/etc/antipode-was-here',
      '..',
      '.',
      'a/b',
      'a\\b',
      '%2e%2e%2fx',
      `x'; DROP TABLE volume; --`,
      '$(touch antipode-was-here)',
      '`id`',
      'catalog.db',
      '-rf',
    ];
    const made: string[] = [];
    const attempt = async (resource: 'volume' | 'host' | 'volume_group' | 'snapshot_rule' | 'policy', body: object) => {
      try {
        made.push(`${resource}/${await cluster.client.create(resource, body)}`);
      } catch (error) {
        expect((error as { status?: number }).status, JSON.stringify(body)).toBeGreaterThanOrEqual(400);
        expect((error as { status?: number }).status, JSON.stringify(body)).toBeLessThan(500);
      }
    };
    for (const name of names) {
      await attempt('volume', { name, size: MiB });
      await attempt('host', {
        name,
        os_type: 'Linux',
        initiators: [{ port_name: 'iqn.2020-01.x:1', port_type: 'iSCSI' }],
      });
      await attempt('volume_group', { name });
      await attempt('snapshot_rule', { name, interval: 'One_Day', desired_retention: 24 });
      await attempt('policy', { name });
      for (const path of [`volume/${encodeURIComponent(name)}`, `volume/name:${encodeURIComponent(name)}`])
        await cluster.client
          .request('GET', `/api/rest/${path}`)
          .catch((error: { status?: number }) => expect(error.status ?? 404).toBeLessThan(500));
    }
    expect(made.length).toBeGreaterThan(0);
    const known =
      /^(ports\.json|catalog\/(catalog\.db(-wal|-shm)?|metrics\.db(-wal|-shm)?|reserve|backup-[\w.-]+)|keys\/(link|rest)\.(crt|key)|keys\/serial|run\/[\w.]+|appliances\/A1\/(scrub\.json|log\/[\w.-]+|index\/[\w.-]+))$/;
    expect(
      files()
        .map(({ name }) => name)
        .filter((name) => !known.test(name)),
    ).toEqual([]);
    for (const path of made) await cluster.client.request('DELETE', `/api/rest/${path}`);
    await ordinaryPeopleAreServed();
  });

  it('nothing in the data directory can be read by anybody else', () => {
    expect(statSync(cluster.data).mode & 0o777).toBe(0o700);
    const open = files()
      .filter(({ mode }) => (mode & 0o077) !== 0)
      .map(({ name, mode }) => `${name} ${mode.toString(8)}`);
    expect(open).toEqual([]);
  });

  it('no secret is in what the cluster says, at the most talkative level, or in its catalog', async () => {
    const login = await saying(
      `GET /api/rest/login_session HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${Buffer.from('admin:Rehearsal-1').toString('base64')}\r\nConnection: close\r\n\r\n`,
    );
    await new Promise((resolve) => login.once('close', resolve));
    const cookie = /auth_cookie=([^;]+)/.exec(login.answer())?.[1];
    const token = /DELL-EMC-TOKEN: (\S+)/i.exec(login.answer())?.[1];
    expect(cookie).toBeDefined();
    expect(token).toBeDefined();
    await cluster.client
      .create('local_user', { name: 'auditor', password: 'Spring-Tide-7', role_id: '4' })
      .catch(() => undefined);
    const keys = ['link.key', 'rest.key'].map(
      (name) => readFileSync(join(cluster.data, 'keys', name), 'utf8').split('\n')[1]!,
    );
    secrets.push(
      'Rehearsal-1',
      'Spring-Tide-7',
      'wrong-1',
      cookie!,
      token!,
      Buffer.from('admin:Rehearsal-1').toString('base64'),
      ...keys,
    );
    expect(cluster.said.length).toBeGreaterThan(0);
    for (const secret of secrets) expect(cluster.said.includes(secret), `${secret.slice(0, 6)}…`).toBe(false);
    for (const { name } of files().filter(({ name }) => name.startsWith('catalog/')))
      for (const secret of secrets)
        expect(readFileSync(join(cluster.data, name)).includes(secret), `${secret.slice(0, 6)}… in ${name}`).toBe(
          false,
        );
    // Command lines and environments are for the same user only; still nothing is in a command line.
    for (const kind of ['dataplane', 'management'] as const)
      expect(readFileSync(`/proc/${cluster.processOf(kind)}/cmdline`, 'utf8')).not.toContain('Rehearsal-1');
  });

  it('those who never finished a request have been put out', async () => {
    expect(slow).toHaveLength(100);
    await allClosed(slow);
    await ordinaryPeopleAreServed();
  });

  function files(): { readonly name: string; readonly mode: number }[] {
    const below = (directory: string, prefix: string): { name: string; mode: number }[] =>
      readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
        const path = join(directory, entry.name);
        const name = `${prefix}${entry.name}`;
        if (entry.isDirectory()) {
          const { mode } = statSync(path);
          return [
            ...((mode & 0o077) === 0 ? [] : [{ name: `${name}/`, mode: mode & 0o777 }]),
            ...below(path, `${name}/`),
          ];
        }
        return [{ name, mode: statSync(path).mode & 0o777 }];
      });
    return below(cluster.data, '');
  }
});
