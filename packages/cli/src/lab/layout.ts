import { createServer } from 'node:net';
import { join } from 'node:path';
import { limits } from '../limits.ts';

export const siteNames = ['London', 'Osaka'] as const;
export type SiteName = (typeof siteNames)[number];
export const otherSite = (name: SiteName): SiteName => (name === 'London' ? 'Osaka' : 'London');

export const labHost = '127.0.0.1';
export const firstBasePort = 7400;

/**
 * The ports of one site, from the lab's base port: London has base+1 to base+6, Osaka base+11 to base+16. The last two are the
 * link's: what the other site is told to connect to.
 */
export interface SitePorts {
  readonly rest: number;
  readonly nbd: number;
  readonly peer: number;
  readonly replication: number;
  readonly linkPeer: number;
  readonly linkReplication: number;
}

export function portsOf(basePort: number, site: SiteName): SitePorts {
  const first = basePort + (site === 'London' ? 1 : 11);
  return {
    rest: first,
    nbd: first + 1,
    peer: first + 2,
    replication: first + 3,
    linkPeer: first + 4,
    linkReplication: first + 5,
  };
}

/** Where a lab keeps what. */
export const labPlaces = (dir: string) => ({
  /** Both sites' addresses and passwords; readable by its owner only. */
  record: join(dir, 'lab.json'),
  data: (site: SiteName) => join(dir, site.toLowerCase()),
  /** Appliance number 2 and those after it; the first is in the site's own directory. */
  appliance: (site: SiteName, number: number) => join(dir, `${site.toLowerCase()}-appliance-${number}`),
  log: (site: SiteName) => join(dir, `${site.toLowerCase()}.log`),
  password: (site: SiteName) => join(dir, `${site.toLowerCase()}.password`),
  /** How fast time passes here, if it ever did so faster than elsewhere. */
  clock: join(dir, 'clock.json'),
  socket: join(dir, 'lab.sock'),
});

/** The first port of the block that is in use, if one is. */
export async function takenPort(basePort: number): Promise<number | undefined> {
  for (const site of siteNames)
    for (const port of Object.values<number>(portsOf(basePort, site) as unknown as Record<string, number>))
      if (!(await isFree(port))) return port;
  return undefined;
}

/** A block of ports that nobody uses. */
export async function freeBasePort(): Promise<number | undefined> {
  for (let block = 0; block < limits.labPortBlocks; block += 1) {
    const basePort = firstBasePort + block * limits.labPorts;
    if ((await takenPort(basePort)) === undefined) return basePort;
  }
  return undefined;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, labHost, () => server.close(() => resolve(true)));
  });
}
