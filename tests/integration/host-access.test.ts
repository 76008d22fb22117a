import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { labPlaces } from '../../packages/cli/src/lab/layout.ts';
import { setPace } from '../../packages/cli/src/lab/pace.ts';
import { connect } from '../../packages/client/src/index.ts';
import { checkAnswer } from '../../packages/contract/src/testing.ts';
import { connectNbd, type NbdClient } from '../../packages/hosts/src/index.ts';
import { type Authority, makeAuthority } from '../../packages/hosts/src/nbd/testing/certificates.ts';
import { eventually, noise } from './pair.ts';

const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');
const password = 'Rehearsal-1';
let directory = '';
let authority: Authority;
let stop: () => Promise<void> = async () => undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'antipode-access-'));
  authority = makeAuthority('hosts');
});
afterEach(async () => {
  await stop();
  rmSync(directory, { recursive: true, force: true });
});

/** One cluster whose hosts are known by certificates of `authority`. */
async function serve() {
  const server = authority.sign('server');
  for (const [name, text] of [
    ['server.crt', server.cert],
    ['server.key', server.key],
    ['ca.crt', authority.cert],
  ] as const)
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  const file = (name: string) => join(directory, name);
  // Figures are of twenty seconds: two of the machine's, for its clock runs faster.
  setPace(directory, 10, Date.now());
  const child = spawn(
    process.execPath,
    [
      ...[cli, 'serve', '--data', file('data'), '--name', 'Solo'],
      ...['listen', 'nbd', 'peer', 'replication'].flatMap((name) => [`--${name}`, '127.0.0.1:0']),
      ...['--lab-clock', labPlaces(directory).clock],
      ...['--nbd-tls-cert', file('server.crt'), '--nbd-tls-key', file('server.key'), '--nbd-client-ca', file('ca.crt')],
    ],
    { env: { ...process.env, ANTIPODE_ADMIN_PASSWORD: password }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  let said = '';
  const ready = await new Promise<{ url: string; port: number }>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`ended with ${code}: ${said}`)));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
        const url = /REST\s+(\S+)/.exec(said)?.[1];
        const nbd = /NBD\s+(\S+)/.exec(said)?.[1];
        if (url !== undefined && nbd !== undefined) resolve({ url, port: Number(new URL(nbd).port) });
      });
    }
  });
  const client = await connect({
    url: ready.url,
    username: 'admin',
    password,
    tls: { mode: 'insecure' },
    onAnswer: checkAnswer,
  });
  const open = (host: string, exportName: string): Promise<NbdClient> =>
    connectNbd({
      host: '127.0.0.1',
      port: ready.port,
      exportName,
      tls: { ca: authority.cert, ...authority.sign(host) },
    });
  return { client, open };
}

describe('hosts with certificates', () => {
  it('[C11.1] [C11.2] open what is mapped to them, by name and by id, and nothing else; a detach ends open connections', async () => {
    const { client, open } = await serve();
    const volume = await client.create('volume', { name: 'ledger', size: 8 << 20 });
    const other = await client.create('volume', { name: 'other', size: 8 << 20 });
    const initiator = (name: string) => [{ port_name: `iqn.2026-11.antipode.nbd:${name}`, port_type: 'iSCSI' }];
    const host = await client.create('host', { name: 'db', os_type: 'Linux', initiators: initiator('db1') });
    const second = await client.create('host', { name: 'web', os_type: 'Linux', initiators: initiator('web1') });
    await expect(open('db1', 'ledger')).rejects.toMatchObject({ kind: 'negotiation' });
    await client.action('volume', volume, 'attach', { host_id: host });
    await client.action('volume', other, 'attach', { host_id: second });

    const disk = await open('db1', 'ledger');
    await disk.write(4096, noise(8192, 1), { fua: true });
    const byId = await open('db1', volume);
    const bytes = new Uint8Array(8192);
    await byId.read(4096, bytes);
    expect(bytes).toEqual(noise(8192, 1));
    await byId.close();
    // A volume of another host looks like one that is not there.
    const refused = await open('db1', 'other').catch((error: Error) => error.message.replaceAll('other', 'X'));
    const absent = await open('db1', 'absent').catch((error: Error) => error.message.replaceAll('absent', 'X'));
    expect(refused).toBe(absent);
    await expect(open('web1', 'ledger')).rejects.toMatchObject({ kind: 'negotiation' });
    const neighbour = await open('web1', 'other');

    // What it did is told of it, and of nobody else.
    const written = async (entity_id: string) => {
      const wanted = { entity: 'performance_metrics_by_host', entity_id, interval: 'Twenty_Sec' };
      const rows = (await client.collectionAction('metrics', 'generate', wanted)) as { write_bandwidth: number }[];
      return rows.map(({ write_bandwidth }) => write_bandwidth);
    };
    await eventually('figures of the host', async () => (await written(host)).some((rate) => rate > 0));
    expect((await written(second)).every((rate) => rate === 0)).toBe(true);

    await client.action('volume', volume, 'detach', { host_id: host });
    await expect(disk.write(0, noise(4096, 2))).rejects.toThrow();
    await expect(open('db1', 'ledger')).rejects.toMatchObject({ kind: 'negotiation' });
    await neighbour.write(0, noise(4096, 3), { fua: true });

    // An initiator that is taken from its host ends its connections as well.
    const third = await client.create('host', {
      name: 'spare',
      os_type: 'Linux',
      initiators: [...initiator('spare1'), ...initiator('spare2')],
    });
    await client.action('host', third, 'attach', { volume_id: volume });
    const spare = await open('spare1', 'ledger');
    await client.modify('host', third, { remove_initiators: ['iqn.2026-11.antipode.nbd:spare1'] });
    await expect(spare.flush()).rejects.toThrow();
    await (await open('spare2', 'ledger')).close();
    await neighbour.close();
    await client.close();
  });
});
