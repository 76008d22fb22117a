import type { Clock } from '@antipode/base';
import type { Client } from '@antipode/client';
import { limits } from '../limits.ts';
import { CommandError } from '../options/usage-error.ts';
import type { ControlRequest, LabStatus } from './control-protocol.ts';
import { ControlServer } from './control-socket.ts';
import { freeBasePort, labHost, labPlaces, portsOf, type SiteName, siteNames, takenPort } from './layout.ts';
import { Link, type Route } from './link/link.ts';
import { setPace } from './pace.ts';
import { pair } from './pairing.ts';
import { type LabRecord, type LabSite, prepareLabDir, readLabRecord, sitePassword, writeLabRecord } from './record.ts';
import { connectSite, lookAtFingerprint } from './site-client.ts';
import { SiteProcess } from './site-process.ts';

export interface LabOptions {
  readonly dir: string;
  readonly basePort?: number;
  /** Appliances of each site; default 1. */
  readonly appliances?: number;
  readonly logLevel: string;
  /** How many times as fast as real time dates and schedules pass; absent: as fast. */
  readonly clockRate?: number;
  /** How long a process of a new release may take to be ready. */
  readonly takeoverWithin_ms?: number;
  /** The module that the command line starts with: sites are started from it. */
  readonly entry: string;
  readonly clock: Clock;
  readonly log: (line: string) => void;
  /** Aborted: give up starting. */
  readonly stop?: AbortSignal;
}

const moreAppliances = (count: number, path: (number: number) => string): string =>
  Array.from({ length: count - 1 }, (_, index) => path(index + 2)).join();

/** A running lab: two clusters, each a process of its own, and the link between them, which lives in this process. */
export interface Lab {
  readonly record: LabRecord;
  status(): LabStatus;
  stop(): Promise<void>;
}

/** Starts the lab of a directory, or a new one, and pairs its clusters. @throws CommandError with what is in the way. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const { dir, clock, log } = options;
  prepareLabDir(dir);
  const running = new RunningLab(options);
  const control = new ControlServer(dir, (request) => running.answer(request));
  await control.start(dir);
  const stop = async (): Promise<void> => {
    await running.stop();
    await control.stop();
  };
  // A stop in the middle ends what was started, which ends the start.
  const giveUp = (): void => void running.stop();
  options.stop?.addEventListener('abort', giveUp, { once: true });
  try {
    const before = readLabRecord(dir);
    const basePort = await chooseBasePort(options, before);
    const record = await running.start(basePort);
    writeLabRecord(dir, record);
    const clients: Client[] = [];
    try {
      for (const site of record.sites) clients.push(await connectSite(site, record.fingerprints[site.name]));
      const [first, second] = clients;
      const [, secondSite] = record.sites;
      if (first !== undefined && second !== undefined && secondSite !== undefined)
        await pair(first, second, secondSite, clock, options.stop);
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
    running.ready = true;
    return { record, status: () => running.status(), stop };
  } catch (error) {
    if (options.stop?.aborted !== true) log('the lab stops what it started');
    await stop();
    throw error;
  } finally {
    options.stop?.removeEventListener('abort', giveUp);
  }
}

async function chooseBasePort(
  { basePort: asked, clock, log, stop }: LabOptions,
  before: LabRecord | undefined,
): Promise<number> {
  const basePort = asked ?? before?.basePort ?? (await freeBasePort());
  if (basePort === undefined) throw new CommandError('no free block of ports: choose one with --base-port');
  let taken = await takenPort(basePort);
  if (taken !== undefined && before?.basePort === basePort) {
    // A lab that was killed leaves clusters that stop by themselves, which takes a moment.
    log('waiting for the ports of the last run');
    const until_ms = clock.monotonic() + limits.siteStop_ms;
    while (taken !== undefined && clock.monotonic() < until_ms) {
      await clock.sleep(limits.poll_ms, stop);
      taken = await takenPort(basePort);
    }
  }
  if (taken === undefined) return basePort;
  const last = basePort + limits.labPorts - 1;
  throw new CommandError(
    `port ${taken} of the lab's ports ${basePort} to ${last} is in use: choose others with --base-port`,
  );
}

class RunningLab {
  readonly #options: LabOptions;
  #link: Link | undefined;
  #sites: { readonly site: LabSite; readonly process: SiteProcess }[] = [];
  #stopped = false;
  ready = false;

  constructor(options: LabOptions) {
    this.#options = options;
  }

  async start(basePort: number): Promise<LabRecord> {
    const { dir, appliances = 1, clock, log, logLevel, entry, takeoverWithin_ms } = this.#options;
    this.#link = new Link(routesOf(basePort), clock);
    await this.#link.start();
    const places = labPlaces(dir);
    const isPaced = setPace(dir, this.#options.clockRate ?? 1, clock.now());
    if (this.#stopped) throw new CommandError('stopped while it started');
    for (const name of siteNames) {
      const ports = portsOf(basePort, name);
      const password = sitePassword(dir, name);
      const args = [
        ...['--data', places.data(name), '--name', name, '--log-level', logLevel],
        ...['--listen', `${labHost}:${ports.rest}`, '--nbd', `${labHost}:${ports.nbd}`],
        ...['--peer', `${labHost}:${ports.peer}`, '--replication', `${labHost}:${ports.replication}`],
        ...['--advertise-peer', `${labHost}:${ports.linkPeer}`],
        ...['--advertise-replication', `${labHost}:${ports.linkReplication}`],
        ...['--admin-password-file', places.password(name), '--heartbeat', '500ms'],
        ...(appliances > 1
          ? ['--appliances', moreAppliances(appliances, (number) => places.appliance(name, number))]
          : []),
        ...(takeoverWithin_ms === undefined ? [] : ['--takeover-within', `${takeoverWithin_ms}ms`]),
        ...(isPaced ? ['--lab-clock', places.clock] : []),
      ];
      const site: LabSite = {
        name,
        url: `https://${labHost}:${ports.rest}`,
        username: 'admin',
        password,
        nbd: `nbd://${labHost}:${ports.nbd}`,
      };
      this.#sites.push({
        site,
        process: new SiteProcess({ name, entry, args, logFile: places.log(name), clock, log }),
      });
    }
    await Promise.all(this.#sites.map(({ process }) => process.start()));
    if (this.#stopped) throw new CommandError('stopped while it started');
    const fingerprints = await Promise.all(
      this.#sites.map(async ({ site }) => [site.name, await lookAtFingerprint(site.url)] as const),
    );
    return { basePort, fingerprints: Object.fromEntries(fingerprints), sites: this.#sites.map(({ site }) => site) };
  }

  async answer(request: ControlRequest): Promise<LabStatus> {
    switch (request.ask) {
      case 'status':
        break;
      case 'link': {
        const { cut, rate_bps, delay_ms } = request;
        this.#link?.change({
          ...(cut === undefined ? {} : { cut }),
          ...(rate_bps === undefined ? {} : { rate_bps }),
          ...(delay_ms === undefined ? {} : { delay_ms }),
        });
        break;
      }
      case 'kill': {
        const found = this.#sites.find(({ site }) => site.name === request.site);
        if (found === undefined) throw new CommandError(`no site is named ${request.site}`);
        found.process.kill();
        break;
      }
    }
    return this.status();
  }

  status(): LabStatus {
    return {
      ready: this.ready,
      sites: this.#sites.map(({ site: { name, url, nbd, username }, process }) => ({
        name,
        url,
        nbd,
        username,
        state: process.state,
        pid: process.pid ?? null,
        restarts: process.restarts,
      })),
      clock_rate: this.#options.clockRate ?? 1,
      link: this.#link?.state() ?? { state: 'cut', rate_bps: null, delay_ms: 0, connections: 0, passed_bytes: 0 },
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    // The link goes last: a cluster that drains may have something to say to its peer.
    await Promise.all(this.#sites.map(({ process }) => process.stop()));
    await this.#link?.stop();
  }
}

/** What reaches a site's link ports comes from the other site. */
function routesOf(basePort: number): Route[] {
  return siteNames.flatMap((name: SiteName): Route[] => {
    const ports = portsOf(basePort, name);
    const to = name === siteNames[0] ? 'first' : 'second';
    const at = (port: number) => ({ host: labHost, port });
    return [
      { to, listen: at(ports.linkPeer), target: at(ports.peer) },
      { to, listen: at(ports.linkReplication), target: at(ports.replication) },
    ];
  });
}
