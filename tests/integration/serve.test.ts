import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect } from '../../packages/client/src/index.ts';
import { checkAnswer } from '../../packages/contract/src/testing.ts';
import { connectNbd } from '../../packages/hosts/src/index.ts';
import { noise } from './pair.ts';

const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');
const password = 'Rehearsal-1';
let directory = '';
const running: ChildProcess[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'antipode-serve-'));
});
afterEach(async () => {
  for (const child of running.splice(0)) await stop(child);
  rmSync(directory, { recursive: true, force: true });
});

interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  readonly nbd: URL;
  readonly said: () => string;
}

/** Of this cluster alone, also beside other tests. */
const anyPorts = ['listen', 'nbd', 'peer', 'replication'].flatMap((name) => [`--${name}`, '127.0.0.1:0']);

function serve(environment: NodeJS.ProcessEnv = {}): Promise<Served> {
  const child = spawn(
    process.execPath,
    [cli, 'serve', '--data', join(directory, 'data'), '--name', 'Solo', ...anyPorts],
    {
      env: { ...process.env, ANTIPODE_ADMIN_PASSWORD: password, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  running.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
    });
  }
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', () => {
      const url = /REST\s+(\S+)/.exec(said)?.[1];
      const nbd = /NBD\s+(\S+)/.exec(said)?.[1];
      if (url !== undefined && nbd !== undefined) resolve({ child, url, nbd: new URL(nbd), said: () => said });
    });
    // `close` and not `exit`: what it said last may still be on its way.
    child.once('close', (code) => reject(new Error(`ended with ${code}: ${said}`)));
  });
}

async function stop(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  child.kill('SIGTERM');
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}

const log = async (site: Served) =>
  connect({ url: site.url, username: 'admin', password, tls: { mode: 'insecure' }, onAnswer: checkAnswer });
const device = (site: Served, name: string) =>
  connectNbd({ host: site.nbd.hostname, port: Number(site.nbd.port), exportName: name });
const run = (...args: string[]) =>
  new Promise<{ code: number; text: string }>((resolve) =>
    execFile(process.execPath, [cli, ...args], (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), text: out + err }),
    ),
  );

describe('antipode serve', () => {
  it('starts with TLS of its own, keeps data and ports over a stop, and stops cleanly on SIGTERM', async () => {
    const first = await serve();
    const client = await log(first);
    await client.create('volume', { name: 'kept', size: 8 << 20 });
    const disk = await device(first, 'kept');
    await disk.write(4096, noise(8192, 1), { fua: true });
    await disk.close();
    await client.close();
    expect(await stop(first.child)).toBe(0);
    const second = await serve();
    expect(second.url).toBe(first.url);
    const again = await device(second, 'kept');
    const bytes = new Uint8Array(8192);
    await again.read(4096, bytes);
    expect(bytes).toEqual(noise(8192, 1));
    await again.close();
    expect(second.said()).not.toContain(password);
  });

  it('makes up a password once when none is given, and shows it only then', async () => {
    const { ANTIPODE_ADMIN_PASSWORD: _, ...bare } = process.env;
    const first = await serve({ ...bare, ANTIPODE_ADMIN_PASSWORD: undefined });
    await expect.poll(() => first.said()).toMatch(/Password .* \S{12,}/);
    expect(await stop(first.child)).toBe(0);
    const second = await serve({ ...bare, ANTIPODE_ADMIN_PASSWORD: undefined });
    expect(second.said()).not.toContain('Password');
  });

  it('keeps everything readable by its owner only', async () => {
    await serve();
    const open: string[] = [];
    const look = (path: string) => {
      const info = statSync(path);
      if ((info.mode & 0o077) !== 0 && !info.isSocket()) open.push(path);
      if (info.isDirectory()) for (const name of readdirSync(path)) look(join(path, name));
    };
    look(join(directory, 'data'));
    expect(open.filter((path) => !/\/index\//.test(path))).toEqual([]);
  });

  it('refuses what it does not understand with one clear line and exit 2', async () => {
    const data = join(directory, 'data');
    for (const [args, word] of [
      [['serve', '--data', data, '--lisen', '127.0.0.1:1'], '--lisen'],
      [['serve', '--data', data, '--listen', '127.0.0.1:99999'], '--listen'],
      [['serve', '--data', data, '--nbd', '0.0.0.0:0'], 'nbd'],
      [['serve'], '--data'],
    ] as const) {
      const { code, text } = await run(...args);
      expect(code).toBe(2);
      expect(text.trim().split('\n')).toHaveLength(1);
      expect(text).toContain(word);
    }
  });

  it('refuses a second process on the same data', async () => {
    await serve();
    const { code, text } = await run('serve', '--data', join(directory, 'data'), '--name', 'Solo', ...anyPorts);
    expect(code).toBe(1);
    expect(text).toContain('in use');
  });

  it('an older copy of the catalog loses no byte: what it does not know is kept and told of [C7.2]', async () => {
    const first = await serve();
    let client = await log(first);
    await client.create('volume', { name: 'known', size: 8 << 20 });
    await client.close();
    await stop(first.child);
    const catalog = join(directory, 'data', 'catalog', 'catalog.db');
    copyFileSync(catalog, join(directory, 'older.db'));
    const second = await serve();
    client = await log(second);
    await client.create('volume', { name: 'later', size: 8 << 20 });
    const disk = await device(second, 'later');
    await disk.write(0, noise(4096, 4), { fua: true });
    await disk.close();
    await client.close();
    await stop(second.child);
    copyFileSync(join(directory, 'older.db'), catalog);
    const third = await serve();
    client = await log(third);
    expect((await client.all('volume')).map((volume) => volume.name)).toEqual(['known']);
    const alerts = (await client.request('GET', '/api/rest/alert?select=*')).body as {
      resource_name: string;
      state: string;
    }[];
    expect(alerts).toContainEqual(expect.objectContaining({ resource_name: 'later', state: 'ACTIVE' }));
    const again = await device(third, 'later');
    const bytes = new Uint8Array(4096);
    await again.read(0, bytes);
    expect(bytes).toEqual(noise(4096, 4));
    await again.close();
    await client.close();
  });

  it('a lost catalog stops the start with both ways out; rebuilt from the log, no byte and no snapshot is lost [C7.1] [C7.2] [C7.3]', async () => {
    const first = await serve();
    const client = await log(first);
    const volume = await client.create('volume', { name: 'precious', size: 8 << 20 });
    const disk = await device(first, 'precious');
    await disk.write(0, noise(65_536, 2), { fua: true });
    await client.action('volume', volume, 'snapshot', { name: 'before' });
    await disk.write(0, noise(65_536, 3), { fua: true });
    await disk.close();
    await client.close();
    await stop(first.child);
    const catalog = join(directory, 'data', 'catalog');
    for (const file of readdirSync(catalog)) rmSync(join(catalog, file));
    await expect(serve()).rejects.toThrow(/catalog is empty.*antipode recover/s);
    expect((await run('recover', '--data', join(directory, 'data'))).code).toBe(0);
    const second = await serve();
    const found = await log(second);
    expect((await found.all('volume')).map(({ name, type }) => `${name} ${type}`).sort()).toEqual([
      'before Snapshot',
      'precious Primary',
    ]);
    await found.action('volume', volume, 'restore', {
      from_snap_id: String((await found.first('volume', { select: 'id', filter: { name: 'eq.before' } }))?.id),
      create_backup_snap: false,
    });
    const again = await device(second, 'precious');
    const bytes = new Uint8Array(65_536);
    await again.read(0, bytes);
    expect(bytes).toEqual(noise(65_536, 2));
    await again.close();
    await found.close();
  });
});
