import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/base';
import { afterEach, describe, expect, test } from 'vitest';
import { askLab } from './control-socket.ts';
import { type Lab, startLab } from './lab.ts';
import { labPlaces, portsOf, takenPort } from './layout.ts';
import { readLabRecord } from './record.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function labDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'antipode-lab-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A block of ports below those that the system gives out by itself. */
async function freeBlock(): Promise<number> {
  for (let basePort = 20_000 + (process.pid % 400) * 20; ; basePort += 20)
    if ((await takenPort(basePort)) === undefined) return basePort;
}

async function lab(dir: string, basePort?: number): Promise<Lab> {
  const started = await startLab({
    dir,
    ...(basePort === undefined ? {} : { basePort }),
    logLevel: 'info',
    entry: fileURLToPath(new URL('./testing/fake-site.ts', import.meta.url)),
    clock: systemClock,
    log: () => undefined,
  });
  cleanups.push(() => started.stop());
  return started;
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};
const requests = (dir: string, text: string): number =>
  readFileSync(join(dir, 'requests'), 'utf8')
    .split('\n')
    .filter((line) => line.includes(text)).length;

describe('lab', () => {
  test('starts two sites, pairs them once through REST, keeps passwords to itself and finds everything again', async () => {
    const dir = labDir();
    const basePort = await freeBlock();
    const first = await lab(dir, basePort);
    const [london, osaka] = first.record.sites;
    expect(london).toEqual({
      name: 'London',
      url: `https://127.0.0.1:${basePort + 1}`,
      username: 'admin',
      password: expect.stringMatching(/^[\w-]{20}$/) as string,
      nbd: `nbd://127.0.0.1:${basePort + 2}`,
    });
    expect(osaka).toMatchObject({ name: 'Osaka', url: `https://127.0.0.1:${basePort + 11}` });
    expect(osaka?.password).not.toBe(london?.password);
    const places = labPlaces(dir);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    for (const path of [places.record, places.password('London'), places.log('London'), places.socket])
      expect(statSync(path).mode & 0o077).toBe(0);
    await first.stop();
    expect(first.status().sites.map((site) => site.state)).toEqual(['down', 'down']);

    const second = await lab(dir);
    expect(second.record).toEqual(first.record);
    expect(readLabRecord(dir)).toEqual(first.record);
    expect(requests(dir, 'x509_certificate/exchange')).toBe(1);
    expect(requests(dir, 'POST /api/rest/remote_system')).toBe(1);
  });

  test('one directory, one lab; a taken port is named', async () => {
    const dir = labDir();
    const basePort = await freeBlock();
    await lab(dir, basePort);
    await expect(lab(dir, await freeBlock())).rejects.toThrow(/another lab runs in/);
    const other = createServer();
    const free = await freeBlock();
    other.listen(portsOf(free, 'Osaka').linkPeer, '127.0.0.1');
    await once(other, 'listening');
    cleanups.push(() => other.close());
    await expect(lab(labDir(), free)).rejects.toThrow(new RegExp(`port ${free + 15} of the lab's ports`));
    // The first one was not disturbed.
    expect((await askLab(dir, { ask: 'status' })).sites.map((site) => site.state)).toEqual(['ready', 'ready']);
  });

  test('its link ports lead to the sites, and the control socket cuts and heals them', async () => {
    const dir = labDir();
    const basePort = await freeBlock();
    await lab(dir, basePort);
    const echo = (): Promise<string> =>
      new Promise((resolve) => {
        const socket = createConnection(portsOf(basePort, 'Osaka').linkReplication, '127.0.0.1');
        socket.on('error', () => resolve('cut'));
        socket.on('close', () => resolve('cut'));
        socket.on('data', (bytes) => {
          resolve(String(bytes));
          socket.destroy();
        });
        socket.write('hello');
      });
    expect(await echo()).toBe('hello');
    expect((await askLab(dir, { ask: 'link', cut: true, delay_ms: 1 })).link).toMatchObject({
      state: 'cut',
      delay_ms: 1,
    });
    expect(await echo()).toBe('cut');
    expect((await askLab(dir, { ask: 'link', cut: false })).link).toMatchObject({ state: 'up', delay_ms: 1 });
    expect(await echo()).toBe('hello');
  });

  test('when the lab is killed its sites stop by themselves, and the next lab starts over what it left', async () => {
    const dir = labDir();
    const basePort = await freeBlock();
    const entry = fileURLToPath(new URL('./testing/fake-lab.ts', import.meta.url));
    const killed = fork(entry, [dir, String(basePort)], {
      execArgv: ['--conditions=source'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const [{ pids }] = (await once(killed, 'message')) as [{ pids: number[] }];
    expect(pids.every(isAlive)).toBe(true);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    // What was left behind ends by itself, ports first.
    for (let tries = 0; tries < 6_000 && pids.some(isAlive); tries += 1) await systemClock.sleep(10);
    expect(pids.some(isAlive)).toBe(false);
    expect(existsSync(labPlaces(dir).socket)).toBe(true);
    await lab(dir, basePort);
  });
});
