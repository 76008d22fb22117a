import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../packages/base/src/index.ts';
import { pair as pairSites } from '../../packages/cli/src/lab/pairing.ts';
import { CrashSite, password } from '../crash/crash-site.ts';
import { freePorts } from './free-ports.ts';
import { HostileLink } from './hostile-link.ts';
import { eventually, MiB, noise } from './pair.ts';

export type Row = Readonly<Record<string, unknown>>;

const sitePorts = 6;

/** Clusters with a hostile network between them, and one volume that is protected from the first to the second. */
export class HostilePair {
  readonly directory = mkdtempSync(join(tmpdir(), 'antipode-hostile-'));
  readonly link = new HostileLink();
  readonly sites: CrashSite[] = [];
  a!: CrashSite;
  b!: CrashSite;
  #base: number | undefined;
  #made = 0;
  volume = '';
  session = '';

  async start(): Promise<void> {
    this.a = await this.site('London');
    this.b = await this.site('Osaka');
    await Promise.all([this.a, this.b].map((site) => this.startSite(site)));
    await this.pair(this.a, this.b);
    const { client } = this.a;
    const remote = await client.first('remote_system', { select: 'id' });
    const rule = await client.create('replication_rule', {
      name: 'rule',
      rpo: 'One_Day',
      remote_system_id: String(remote?.id),
    });
    const policy = await client.create('policy', { name: 'policy', replication_rule_ids: [rule] });
    this.volume = await client.create('volume', { name: 'ledger', size: 32 * MiB });
    await this.write(0, noise(MiB, 1));
    await client.modify('volume', this.volume, { protection_policy_id: policy });
    const row = await client.first('replication_session', { select: 'id' });
    this.session = String(row?.id);
    await this.until('OK');
  }

  /** A cluster of its own ports, reached by others through the link. */
  async site(name: string): Promise<CrashSite> {
    this.#base ??= await freePorts(4 * sitePorts);
    const first = this.#base + this.#made++ * sitePorts;
    const site = new CrashSite(
      name,
      this.directory,
      {
        rest: first,
        nbd: first + 1,
        peer: first + 2,
        replication: first + 3,
        linkPeer: first + 4,
        linkReplication: first + 5,
      },
      { loss: false, args: ['--log-level', 'trace'] },
    );
    await this.link.listen(site.ports.linkPeer, site.ports.peer);
    await this.link.listen(site.ports.linkReplication, site.ports.replication);
    this.sites.push(site);
    return site;
  }

  async startSite(site: CrashSite): Promise<void> {
    if (!(await site.start())) throw new Error(`${site.name} does not start: ${site.lastLines()}`);
    await site.logIn();
  }

  async pair(first: CrashSite, second: CrashSite): Promise<void> {
    const about = { name: 'Osaka' as const, url: second.url, username: 'admin', password, nbd: '' };
    await pairSites(first.client, second.client, about, systemClock);
  }

  async stop(): Promise<void> {
    await Promise.all(this.sites.map((site) => site.stop().catch(() => undefined)));
    for (const site of this.sites) site.kill('cluster');
    await this.link.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async write(at: number, bytes: Uint8Array): Promise<void> {
    const device = await this.a.open('ledger');
    for (let done = 0; done < bytes.length; done += MiB)
      await device.write(at + done, bytes.subarray(done, done + MiB));
    await device.flush();
    await device.close();
  }

  async image(site: CrashSite): Promise<Uint8Array> {
    const device = await site.open('ledger');
    const image = new Uint8Array(device.size);
    for (let at = 0; at < image.length; at += MiB) await device.read(at, image.subarray(at, at + MiB));
    await device.close();
    return image;
  }

  async equal(): Promise<boolean> {
    return Buffer.compare(await this.image(this.a), await this.image(this.b)) === 0;
  }

  async row(site: CrashSite): Promise<Row> {
    return (await site.client.get('replication_session', this.session)) as unknown as Row;
  }

  async remote(site: CrashSite): Promise<Row> {
    return (await site.client.first('remote_system', { select: '*' })) as unknown as Row;
  }

  sync(): Promise<unknown> {
    return this.a.client.action('replication_session', this.session, 'sync');
  }

  /** A copy of what is there now has been made, and both sides are at rest. */
  async synced(since: unknown): Promise<void> {
    await eventually('a newer copy', async () => (await this.row(this.a)).last_sync_timestamp !== since);
    await this.until('OK');
  }

  async lastSync(): Promise<unknown> {
    return (await this.row(this.a)).last_sync_timestamp;
  }

  async until(state: string): Promise<void> {
    let seen = '';
    await eventually(
      `${state} at both sides`,
      async () => {
        const rows = await Promise.all([this.row(this.a), this.row(this.b)]);
        seen = rows.map((row) => `${row.state} ${row.error_code ?? ''}`).join(' and ');
        return rows.every((row) => row.state === state);
      },
      () => seen,
    );
  }

  /** Codes of the alerts that are active at a site. */
  async alerts(site: CrashSite): Promise<readonly string[]> {
    const rows = await site.client.all('alert', { select: '*', filter: { state: 'eq.ACTIVE' } });
    return rows.map((row) => String((row as unknown as Row).event_code));
  }

  /** Resident memory of all processes of the sites, MiB. */
  memory_MiB(): number {
    let total = 0;
    for (const site of this.sites)
      for (const { pid } of site.processes()) {
        const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
        total += Number(found?.[1] ?? 0) / 1024;
      }
    return Math.round(total);
  }

  /** What proves a site to its peers, as somebody has it who stole it. */
  keysOf(site: CrashSite): { readonly cert: string; readonly key: string; readonly serial: string } {
    const read = (name: string) => readFileSync(join(site.data, 'keys', name), 'utf8');
    return { cert: read('link.crt'), key: read('link.key'), serial: read('serial').trim() };
  }
}
