import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type ControlRequest, type LabStatus, parseControlRequest } from './control-protocol.ts';
import { askLab, ControlServer, isLabRunning } from './control-socket.ts';
import { labPlaces } from './layout.ts';

const status: LabStatus = {
  ready: true,
  sites: [],
  clock_rate: 1,
  link: { state: 'up', rate_bps: null, delay_ms: 0, connections: 0, passed_bytes: 0 },
};
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function labDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'antipode-control-'));
  cleanups.push(() => rmSync(dir, { recursive: true }));
  return dir;
}

async function serve(dir: string, answer: (request: ControlRequest) => Promise<LabStatus>): Promise<void> {
  const server = new ControlServer(dir, answer);
  await server.start(dir);
  cleanups.push(() => server.stop());
}

describe('control socket', () => {
  test('takes requests from its owner alone and answers the state', async () => {
    const dir = labDir();
    const seen: ControlRequest[] = [];
    await serve(dir, (request) => {
      seen.push(request);
      return Promise.resolve(status);
    });
    expect(statSync(labPlaces(dir).socket).mode & 0o777).toBe(0o600);
    expect(await askLab(dir, { ask: 'link', cut: true, rate_bps: null, delay_ms: 5 })).toEqual(status);
    expect(await askLab(dir, { ask: 'status' })).toEqual(status);
    expect(seen).toEqual([{ ask: 'link', cut: true, rate_bps: null, delay_ms: 5 }, { ask: 'status' }]);
  });

  test('one directory runs one lab; what a killed lab left behind is no obstacle', async () => {
    const dir = labDir();
    writeFileSync(labPlaces(dir).socket, '');
    await serve(dir, () => Promise.resolve(status));
    expect(await isLabRunning(dir)).toBe(true);
    await expect(serve(dir, () => Promise.resolve(status))).rejects.toThrow(/another lab runs in/);
    expect(await askLab(dir, { ask: 'status' })).toEqual(status);
  });

  test('a refusal and an absent lab are one clear line', async () => {
    const dir = labDir();
    await expect(askLab(dir, { ask: 'status' })).rejects.toThrow(/no lab runs in .*: start one with/);
    await serve(dir, () => Promise.reject(new Error('no site is named Paris')));
    await expect(askLab(dir, { ask: 'kill', site: 'Paris' })).rejects.toThrow('no site is named Paris');
  });

  test('a path that is too long for a socket is said to be so', async () => {
    await expect(askLab(`/${'long/'.repeat(30)}`, { ask: 'status' })).rejects.toThrow(/too long for a socket/);
  });

  test('garbage and endless lines hurt nobody else', async () => {
    const dir = labDir();
    await serve(dir, () => Promise.resolve(status));
    const garbage = createConnection(labPlaces(dir).socket);
    garbage.write('\u0000{not json\n');
    expect(String((await once(garbage, 'data'))[0])).toContain('not a request');
    garbage.on('error', () => undefined);
    const closed = new Promise((resolve) => garbage.on('close', resolve));
    garbage.write('x'.repeat(200_000));
    await closed;
    expect(await askLab(dir, { ask: 'status' })).toEqual(status);
  });

  test.each([
    '1',
    'null',
    '[]',
    '{}',
    '{"ask":"stop"}',
    '{"ask":"kill"}',
    '{"ask":"link","cut":1}',
    '{"ask":"link","rate_bps":-1}',
    '{"ask":"link","rate_bps":"1"}',
    '{"ask":"link","delay_ms":1e9}',
  ])('%s is no request', (line) => expect(parseControlRequest(line)).toBeUndefined());
});
