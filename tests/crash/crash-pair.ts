import { execFile } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { systemClock } from '../../packages/base/src/index.ts';
import { Link } from '../../packages/cli/src/lab/link/link.ts';
import { pair as pairSites } from '../../packages/cli/src/lab/pairing.ts';
import { ApiError, ConnectionError } from '../../packages/client/src/index.ts';
import { isNbdError } from '../../packages/hosts/src/index.ts';
import { freePorts } from '../integration/free-ports.ts';
import { fill, type LoopDisk } from '../integration/loop-disk.ts';
import { CrashSite, password, type SitePorts } from './crash-site.ts';
import { Host } from './host.ts';

const run = promisify(execFile);
const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');
const MiB = 1024 * 1024;
const regionSectors = 2048;
/** A pair that is left alone comes to rest within this, on a machine that does something else as well. */
const rest_ms = 240_000;

/** A volume, or a group, that is protected, and the hosts that write to it. */
export interface Protected {
  readonly session: string;
  readonly group: string | undefined;
  readonly hosts: readonly Host[];
  /** Which site is the source now. */
  source: CrashSite;
  destination: CrashSite;
}

interface Row {
  readonly state: string;
  readonly role: string;
  readonly failover_test_in_progress: boolean;
  readonly last_sync_timestamp: string | null;
  readonly error_code: string | null;
}

export interface PairOptions {
  readonly directory: string;
  readonly chance: () => number;
  readonly loss: boolean;
  readonly appliances: number;
  /** File systems of their own for the sites, which can be filled. */
  readonly disks?: readonly [LoopDisk, LoopDisk];
}

/** Two clusters, the link between them, a protected volume with two hosts and a protected group with one. */
export class CrashPair {
  readonly chance: () => number;
  readonly #options: PairOptions;
  readonly sites: CrashSite[] = [];
  readonly protecteds: Protected[] = [];
  #link: Link | undefined;
  #churned = 0;

  constructor(options: PairOptions) {
    this.#options = options;
    this.chance = options.chance;
  }

  async start(): Promise<void> {
    const { directory, loss, disks, appliances } = this.#options;
    const base = await freePorts(12);
    const portsFrom = (first: number): SitePorts => ({
      rest: first,
      nbd: first + 1,
      peer: first + 2,
      replication: first + 3,
      linkPeer: first + 4,
      linkReplication: first + 5,
    });
    const [first, second] = [portsFrom(base), portsFrom(base + 6)];
    const at = (port: number) => ({ host: '127.0.0.1', port });
    const routes = (
      [
        ['first', first],
        ['second', second],
      ] as const
    ).flatMap(([to, ports]) => [
      { to, listen: at(ports.linkPeer), target: at(ports.peer) },
      { to, listen: at(ports.linkReplication), target: at(ports.replication) },
    ]);
    this.#link = new Link(routes, systemClock);
    await this.#link.start();
    const on = (index: 0 | 1) => ({ loss, appliances, ...(disks && { place: disks[index].path }) });
    this.sites.push(new CrashSite('London', directory, first, on(0)), new CrashSite('Osaka', directory, second, on(1)));
    const [london, osaka] = this.sites as [CrashSite, CrashSite];
    await Promise.all(this.sites.map((site) => site.start()));
    await Promise.all(this.sites.map((site) => site.logIn()));
    const about = { name: 'Osaka' as const, url: osaka.url, username: 'admin', password, nbd: '' };
    await pairSites(london.client, osaka.client, about, systemClock);
    await this.#protect(london, osaka);
  }

  async #protect(source: CrashSite, destination: CrashSite): Promise<void> {
    const { client } = source;
    const policy = await this.policyAt(source);
    const create = (name: string) => client.create('volume', { name, size: 2 * MiB });
    const host = (id: number, volumes: readonly string[], firstSector: number) =>
      new Host({ id, volumes, firstSector, sectors: regionSectors, chance: this.chance, think_ms: 6 });
    const volume = await create('ledger');
    const group = await client.create('volume_group', {
      name: 'books',
      volume_ids: [await create('books-0'), await create('books-1')],
    });
    await client.modify('volume', volume, { protection_policy_id: policy });
    await client.modify('volume_group', group, { protection_policy_id: policy });
    for (const [resource, hosts, name] of [
      [volume, [host(1, ['ledger'], 0), host(2, ['ledger'], regionSectors)], undefined],
      [group, [host(3, ['books-0', 'books-1'], 512)], 'books'],
    ] as const) {
      const row = await client.first('replication_session', {
        select: 'id',
        filter: { local_resource_id: `eq.${resource}` },
      });
      this.protecteds.push({ session: String(row?.id), group: name, hosts, source, destination });
    }
  }

  /** Fills the site's file system to the last byte; answers what takes that back. */
  fill(site: CrashSite): () => void {
    const file = fill(this.#options.disks![this.sites.indexOf(site)]!.path);
    return () => rmSync(file, { force: true });
  }

  churnName(): string {
    this.#churned += 1;
    return `churn-${this.#churned}`;
  }

  /** A package of this program, as the release after this one, that the site trusts. */
  async nextRelease(version: string, site: CrashSite): Promise<string> {
    const at = (name: string) => join(this.#options.directory, name);
    const antipode = (...args: string[]) => run(process.execPath, [cli, ...args]);
    if (!existsSync(at('key'))) await antipode('package', 'new-key', '--out', at('key'));
    const next = version.replace(/\d+$/, (last) => String(Number(last) + 1));
    const out = at(`release-${next}.pkg`);
    if (!existsSync(out)) await antipode('package', 'build', '--out', out, '--key', at('key'), '--version', next);
    await antipode('package', 'trust', '--data', site.data, '--key', at('key.pub'));
    return out;
  }

  /** The policy that protects to the other site, made when it is not there. */
  async policyAt(site: CrashSite): Promise<string> {
    const name = `to-other-from-${site.name}`;
    const known = await site.client.first('policy', { select: 'id', filter: { name: `eq.${name}` } });
    if (known !== undefined) return String(known.id);
    const remote = await site.client.first('remote_system', { select: 'id' });
    const ruled = await site.client.first('replication_rule', { select: 'id', filter: { name: `eq.${name}` } });
    const rule =
      ruled?.id ??
      (await site.client.create('replication_rule', {
        name,
        rpo: 'One_Day',
        remote_system_id: String(remote?.id),
      }));
    return await site.client.create('policy', { name, replication_rule_ids: [String(rule)] });
  }

  cut(): void {
    this.#link?.change({ cut: true });
  }
  heal(): void {
    this.#link?.change({ cut: false });
  }
  shape(shape: { readonly rate_bps?: number | null; readonly delay_ms?: number }): void {
    this.#link?.change(shape);
  }

  startHosts(): void {
    for (const { hosts, source } of this.protecteds) for (const host of hosts) host.start((name) => source.open(name));
  }

  async stopHosts(): Promise<void> {
    await Promise.all(this.protecteds.flatMap(({ hosts }) => hosts.map((host) => host.stop())));
  }

  /** Whole images of the volumes of a host, as a site shows them. */
  async images(site: CrashSite, host: Host): Promise<Uint8Array[]> {
    const images: Uint8Array[] = [];
    for (const name of host.volumes) images.push(await this.#image(site, name));
    return images;
  }

  /** A data plane may die in the middle; a read that was answered with anything but bytes is a finding. */
  async #image(site: CrashSite, name: string): Promise<Uint8Array> {
    const end = performance.now() + rest_ms;
    for (;;) {
      try {
        const device = await site.open(name);
        try {
          const image = new Uint8Array(device.size);
          for (let at = 0; at < image.length; at += MiB) await device.read(at, image.subarray(at, at + MiB));
          return image;
        } finally {
          await device.close().catch(() => undefined);
        }
      } catch (error) {
        const lost =
          (isNbdError(error) && error.kind !== 'request') || (error as { code?: unknown }).code === 'ECONNREFUSED';
        if (!lost || performance.now() > end) throw error;
        await pause(25);
      }
    }
  }

  /** Drives a session to rest with one source and one destination, doing what an operator would; notes who is the source. */
  async converge(what: Protected): Promise<void> {
    const end = performance.now() + rest_ms;
    const seen: string[] = [];
    for (;;) {
      const rows = await Promise.all(this.sites.map((site) => this.#row(site, what.session)));
      const text = rows.map((row, index) => `${this.sites[index]!.name} ${describe(row)}`).join(', ');
      if (seen.at(-1) !== text) seen.push(text);
      if (performance.now() > end)
        throw new Error(`session ${what.session} does not come to rest: ${seen.slice(-8).join(' → ')}`);
      const [first, second] = rows;
      if (first !== undefined && second !== undefined) {
        const source = rows.findIndex((row) => row?.role === 'Source');
        const roles = rows.filter((row) => row?.role === 'Source').length === 1;
        if (roles && rows.every((row) => row?.state === 'OK' && !row.failover_test_in_progress)) {
          what.source = this.sites[source]!;
          what.destination = this.sites[1 - source]!;
          return;
        }
        const command = remedy(rows as Row[], roles ? source : undefined);
        if (command !== undefined) {
          await this.sites[command.at]!.client.action(
            'replication_session',
            what.session,
            command.name,
            command.body,
          ).catch(passing);
        }
      }
      await pause(40);
    }
  }

  /** One more cycle that begins now; resolves when it is complete. */
  async syncNow(what: Protected): Promise<void> {
    const end = performance.now() + rest_ms;
    let before: string | null | undefined;
    while (before === undefined) before = (await this.#row(what.source, what.session))?.last_sync_timestamp;
    for (let asked = false; ; ) {
      const row = await this.#row(what.source, what.session);
      if (row?.state === 'OK' && row.last_sync_timestamp !== before) return;
      if (performance.now() > end) throw new Error(`a cycle of ${what.session} does not end: ${describe(row)}`);
      if (!asked || row?.state === 'OK')
        await what.source.client
          .action('replication_session', what.session, 'sync')
          .then(() => (asked = true), passing);
      await pause(25);
    }
  }

  /** Removes what interrupted operations left behind, as an operator would; nothing of it may be in the way. */
  async sweep(): Promise<void> {
    const end = performance.now() + rest_ms;
    let seen = '';
    for (;;) {
      try {
        const left: string[] = [];
        for (const site of this.sites) left.push(...(await this.#sweepAt(site)));
        if (left.length === 0) return;
        seen = left.join(', ');
      } catch (error) {
        passing(error);
        seen = error instanceof Error ? error.message : String(error);
      }
      if (performance.now() > end) throw new Error(`what an interrupted operation left cannot be removed: ${seen}`);
      await pause(50);
    }
  }

  async #sweepAt({ client, name: at }: CrashSite): Promise<string[]> {
    const left: string[] = [];
    const refused = async (what: string, work: Promise<unknown>) =>
      work.catch((error: unknown) => {
        passing(error);
        left.push(`${at}: ${what}: ${error instanceof Error ? error.message : String(error)}`);
      });
    for (const { id, state } of (await client.all('migration_session', { select: 'id,state' })) as unknown as {
      id: string;
      state: string;
    }[]) {
      left.push(`${at}: a migration that is ${state}`);
      await refused('delete migration', client.remove('migration_session', id));
    }
    // Releases that were not installed, or are not what runs: each is as large as the program.
    for (const { id, software_package_state: state } of (await client.all('software_package', {
      select: 'id,software_package_state',
    })) as unknown as { id: string; software_package_state: string }[]) {
      if (state === 'Installed') continue;
      left.push(`${at}: a package that is ${state}`);
      await refused('delete package', client.remove('software_package', id));
    }
    const groups = await client.all('volume_group', {
      select: 'id,name,is_replication_destination,volumes(id,name)' as never,
    });
    for (const group of groups as unknown as {
      id: string;
      name: string;
      is_replication_destination: boolean;
      volumes: { id: string; name: string }[];
    }[]) {
      if (group.name.startsWith('churn')) {
        left.push(`${at}: group ${group.name}`);
        await refused(`delete ${group.name}`, client.remove('volume_group', group.id, { delete_members: true }));
        continue;
      }
      const strangers = group.volumes.filter(({ name }) => name.startsWith('churn'));
      if (strangers.length === 0) continue;
      left.push(`${at}: a member too many`);
      if (!group.is_replication_destination)
        await refused(
          'remove_members',
          client.action('volume_group', group.id, 'remove_members', { volume_ids: strangers.map(({ id }) => id) }),
        );
      // A destination's members change with the next cycle.
      const what = this.protecteds.find((one) => one.group !== undefined);
      if (what !== undefined)
        await refused('sync', what.source.client.action('replication_session', what.session, 'sync'));
    }
    const members = new Set(
      (groups as unknown as { volumes: { id: string }[] }[]).flatMap(({ volumes }) => volumes.map(({ id }) => id)),
    );
    const rows = (await client.all('volume', { select: '*' })) as unknown as {
      id: string;
      name: string;
      type: string;
      protection_policy_id: string | null;
      is_replication_destination: boolean;
    }[];
    const wanted = rows.filter(
      ({ id, name }) => !members.has(id) && (name.startsWith('churn') || name.startsWith('failover_test_')),
    );
    // Snapshots first: a volume with snapshots is deleted with them, but one of another is not.
    for (const row of wanted.sort((one) => (one.type === 'Snapshot' ? -1 : 1))) {
      left.push(`${at}: ${row.name}`);
      if (row.protection_policy_id !== null && !row.is_replication_destination)
        await refused('unassign', client.modify('volume', row.id, { protection_policy_id: '' }));
      else if (row.is_replication_destination && row.type !== 'Snapshot')
        await refused('unflag', client.modify('volume', row.id, { is_replication_destination: false }));
      await refused(`delete ${row.name}`, client.remove('volume', row.id));
    }
    return left;
  }

  async #row(site: CrashSite, session: string): Promise<Row | undefined> {
    try {
      return (await site.client.get('replication_session', session)) as unknown as Row;
    } catch (error) {
      passing(error);
      return undefined;
    }
  }

  async stop(): Promise<void> {
    await this.stopHosts().catch(() => undefined);
    for (const site of this.sites) {
      site.signal(site.processes(), 'SIGCONT');
      site.kill('cluster');
      await site.client?.close().catch(() => undefined);
    }
    await this.#link?.stop();
  }
}

const describe = (row: Row | undefined): string =>
  row === undefined ? 'away' : `${row.role} ${row.state}${row.error_code === null ? '' : ` (${row.error_code})`}`;

/** What an operator would do about a session at rest that is not as it should be. */
function remedy(
  rows: readonly Row[],
  source: number | undefined,
): { readonly at: number; readonly name: string; readonly body?: object } | undefined {
  const tested = rows.findIndex((row) => row.failover_test_in_progress && row.role === 'Destination');
  if (tested >= 0) return { at: tested, name: 'stop_failover_test', body: {} };
  const paused = rows.findIndex((row) => row.state === 'Paused');
  if (paused >= 0) return { at: paused, name: 'resume' };
  // The peer may have heard of a reprotect whose answer was lost: it is given once more.
  const other = source === undefined ? undefined : rows[1 - source];
  if (source !== undefined && rows[source]?.state === 'Failed_Over' && other?.state !== 'Failing_Over')
    return { at: source, name: 'reprotect' };
  return undefined;
}

/** What passes while clusters die and come back: no answer, or a refusal for the state of this moment. Anything else is thrown. */
export function passing(error: unknown): void {
  if (error instanceof ConnectionError) return;
  if (error instanceof ApiError && [404, 409, 422, 500, 503, 504].includes(error.status)) return;
  if (error instanceof ApiError && error.status === 400) return;
  throw error;
}
