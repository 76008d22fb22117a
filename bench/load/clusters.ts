import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { systemClock } from '@antipode/base';
import { pair } from '@antipode/cli';
import { type Client, connect } from '@antipode/client';
import { Antipode, cli } from '../peers/antipode.ts';
import type { Bench } from '../runner/bench.ts';
import { freeStretch } from '../runner/ports.ts';
import { cpu_ms, findProcess, processesOfGroup } from '../runner/process-figures.ts';
import type { Party } from '../runner/standstill.ts';

/** One cluster of a pair. */
export interface Site {
  readonly name: string;
  readonly client: Client;
  uriOf(volume: string): string;
  readonly pids: readonly number[];
}

/** Two paired clusters. Volumes are written at the source. */
export interface PairedClusters extends Party {
  readonly source: Site;
  readonly destination: Site;
  stop(): Promise<void>;
}

/** Two clusters that reach each other directly. */
export async function startDirectPair(bench: Bench): Promise<PairedClusters> {
  const dir = await bench.makeDir('pair');
  const source = await Antipode.start(bench, `${dir}/source`, 'Source');
  const destination = await Antipode.start(bench, `${dir}/destination`, 'Destination');
  const { url, nbd } = destination;
  await pair(
    source.client,
    destination.client,
    {
      name: 'Osaka',
      url,
      username: destination.username,
      password: destination.password,
      nbd: `nbd://${nbd.host}:${nbd.port}`,
    },
    systemClock,
    bench.signal,
  );
  const both = [source, destination] as const;
  return {
    source,
    destination,
    get cpu_ms() {
      return source.cpu_ms + destination.cpu_ms;
    },
    freeze() {
      for (const site of both) site.freeze();
    },
    thaw() {
      for (const site of both) site.thaw();
    },
    async stop() {
      await Promise.all(both.map((site) => site.stop()));
    },
  };
}

export interface Lab extends PairedClusters {
  /** Changes the link between the clusters: the arguments of `antipode lab link`. */
  link(...change: string[]): Promise<void>;
}

/** The product's own lab: two clusters and a link in between, which every byte passes. */
export async function startLab(bench: Bench): Promise<Lab> {
  const dir = await bench.makeDir('lab');
  const port = await freeStretch(20);
  const child = bench.children.adopt(
    spawn(process.execPath, [cli, 'lab', '--dir', dir, '--base-port', String(port), '--json', '--log-level', 'warn'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  const line = await new Promise<string>((resolve, reject) => {
    if (child.stdout !== null) createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`antipode lab ended (${code})`)));
  });
  const [source, destination] = await Promise.all(sitesOf(line).map((site) => connectSite(dir, site)));
  if (source === undefined || destination === undefined) throw new Error('antipode lab has no two sites');
  const both = [source, destination];
  const signal = (name: NodeJS.Signals): void => {
    for (const pid of both.flatMap(({ pids }) => pids)) process.kill(pid, name);
  };
  return {
    source,
    destination,
    get cpu_ms() {
      return cpu_ms([child.pid ?? -1, ...both.flatMap(({ pids }) => pids)]);
    },
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    async stop() {
      await Promise.all(both.map(({ client }) => client.close().catch(() => undefined)));
      await bench.children.stop(child);
    },
    async link(...change) {
      await bench.run(process.execPath, [cli, 'lab', 'link', '--dir', dir, ...change]);
    },
  };
}

interface LabSite {
  readonly name: string;
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly nbd: string;
}

/** Reads the lab's own line. */
function sitesOf(line: string): readonly LabSite[] {
  const { sites } = JSON.parse(line) as { readonly sites?: readonly LabSite[] };
  if (!Array.isArray(sites)) throw new Error('antipode lab said nothing of its sites');
  return sites;
}

async function connectSite(dir: string, { name, url, username, password, nbd }: LabSite): Promise<Site> {
  const data = `${dir}/${name.toLowerCase()}`;
  // The lab starts a cluster again when it dies: its processes are looked for each time.
  const find = (): readonly number[] => {
    const leader = findProcess(` serve --data ${data} `);
    return leader === undefined ? [] : processesOfGroup(leader);
  };
  return {
    name,
    client: await connect({ url, username, password, tls: { mode: 'insecure' } }),
    uriOf: (volume) => `${nbd}/${volume}`,
    get pids() {
      return find();
    },
  };
}
