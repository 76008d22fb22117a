import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CrashSite } from '../crash/crash-site.ts';
import { freePorts } from './free-ports.ts';
import { eventually, MiB, noise } from './pair.ts';

/** A cluster that writes what it says into a file, as a service does: no pipe keeps its supervisor alive. */
const directory = mkdtempSync(join(tmpdir(), 'antipode-at-once-'));
let site: CrashSite;
beforeAll(async () => {
  const rest = await freePorts(6);
  const [nbd, peer, replication] = [rest + 1, rest + 2, rest + 3];
  const ports = { rest, nbd, peer, replication, linkPeer: peer, linkReplication: replication };
  site = new CrashSite('London', directory, ports, { loss: false });
  await site.start();
  await site.logIn();
});
afterAll(async () => {
  site.kill('cluster');
  await site.client?.close().catch(() => undefined);
  rmSync(directory, { recursive: true, force: true });
});

describe('processes of a cluster that die all at once', () => {
  it('are started again: their supervisor does not end with them [C9.1]', async () => {
    await site.client.create('volume', { name: 'kept', size: 16 * MiB });
    const host = await site.open('kept');
    await host.write(0, noise(MiB, 2), { fua: true });
    // As under memory pressure: for a moment the supervisor has nothing that runs.
    site.signal(
      site.processes().filter(({ kind }) => kind !== 'supervisor'),
      'SIGKILL',
    );
    let last = '';
    await eventually(
      'both to be back',
      async () => {
        expect(site.running).toBe(true);
        try {
          expect((await site.client.all('volume', { select: 'name' })).length).toBe(1);
          const again = await site.open('kept');
          const bytes = new Uint8Array(MiB);
          await again.read(0, bytes);
          await again.close();
          return Buffer.compare(bytes, noise(MiB, 2)) === 0;
        } catch (error) {
          last = String(error);
          return false;
        }
      },
      () => last,
      240_000,
    );
    expect(await site.stop()).toBe(0);
  });
});
