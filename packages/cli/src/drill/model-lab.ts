import { ApiError } from '@antipode/client';
import type { SiteName } from '../lab/layout.ts';
import { otherSite, siteNames } from '../lab/layout.ts';
import type { LinkState } from '../lab/link/link.ts';
import type { DrillSite, SiteClient } from './site.ts';
import type { HostVolume } from './volume-io.ts';

/** What can be wrong with the model: each must make the drill fail. */
export type Fault =
  | 'copy differs'
  | 'destination writable'
  | 'pause ships on'
  | 'sync while paused'
  | 'nothing accumulates'
  | 'ships everything'
  | 'planned failover loses the last writes'
  | 'old source writes on'
  | 'old connection writes on'
  | 'reprotect ships nothing'
  | 'diverged writes vanish';

interface Half {
  head: Buffer;
  base: Buffer;
  role: 'Source' | 'Destination';
  state: string;
  shipped: number;
  lastSync: string | null;
  snapshots: number;
}

const block = 4096;
const refused = (status: number, text: string): ApiError =>
  new ApiError(status, [{ code: '0xE02010050001', severity: 'Error', message_l10n: text, arguments: [] }], 'model');

/** Two sites in memory that do what a lab does, instantly: for tests of the drill itself. */
export class ModelLab {
  readonly sites: Readonly<Record<SiteName, DrillSite>>;
  readonly #fault: Fault | undefined;
  readonly #halves: Partial<Record<SiteName, Half>> = {};
  #name = '';
  #cut = false;
  #isProtected = false;
  #time = 0;

  constructor(fault?: Fault) {
    this.#fault = fault;
    const site = (name: SiteName): DrillSite => ({ name, client: this.#client(name), open: () => this.#open(name) });
    this.sites = { London: site('London'), Osaka: site('Osaka') };
  }

  control = (request: { ask: string; cut?: boolean }) => {
    if (request.cut !== undefined) this.#cut = request.cut;
    if (request.cut === false && this.#isProtected) this.#contact();
    const link: LinkState = {
      state: this.#cut ? 'cut' : 'up',
      rate_bps: null,
      delay_ms: 0,
      connections: 0,
      passed_bytes: 0,
    };
    return Promise.resolve({ ready: true, sites: [], clock_rate: 1, link });
  };

  #half(name: SiteName): Half {
    const half = this.#halves[name];
    if (half === undefined) throw refused(404, 'no such volume');
    return half;
  }

  #contact(): void {
    if (this.#half('Osaka').role !== 'Source' || this.#half('London').role !== 'Source') return;
    Object.assign(this.#half('London'), { role: 'Destination', state: 'Failed_Over' });
  }

  #client(name: SiteName): SiteClient {
    const volume = (): object => ({
      id: `${name}-volume`,
      name: this.#name,
      size: this.#half(name).head.length,
      is_replication_destination: this.#half(name).role === 'Destination',
    });
    const session = (): object => {
      const { role, state, lastSync } = this.#half(name);
      return { id: 'session', role, state, last_sync_timestamp: lastSync, local_resource_id: `${name}-volume` };
    };
    const lists: Record<string, () => object[]> = {
      remote_system: () => [{ id: 'remote', state: this.#cut ? 'Management_Connection_Lost' : 'OK' }],
      replication_session: () => (this.#isProtected ? [session()] : []),
      volume: () =>
        Array.from({ length: this.#half(name).snapshots }, () => ({
          id: 's',
          protection_data: { family_id: `${name}-volume` },
        })),
    };
    const model = {
      get: (resource: string) => Promise.resolve(resource === 'volume' ? volume() : session()),
      all: (resource: string) => Promise.resolve(lists[resource]?.() ?? []),
      first: (resource: string) => Promise.resolve((lists[resource]?.() ?? [])[0]),
      create: (resource: string, body: { name: string; size: number }) => {
        if (resource === 'volume') this.#create(body.name, body.size);
        return Promise.resolve(`${name}-${resource}`);
      },
      modify: (_resource: string, _id: string, body: { protection_policy_id?: string }) => {
        if (body.protection_policy_id) this.#protect();
        else if (body.protection_policy_id === '') this.#isProtected = false;
        return Promise.resolve();
      },
      remove: () => Promise.resolve(),
      action: (_resource: string, _id: string, action: string, body?: { is_planned?: boolean }) =>
        new Promise<void>((resolve) => {
          this.#act(name, action, body?.is_planned ?? true);
          resolve();
        }),
      request: () => {
        const { shipped, head, base } = this.#half(name);
        const accumulated = this.#fault === 'nothing accumulates' ? 0 : differing(head, base);
        return Promise.resolve({
          status: 200,
          contentRange: undefined,
          body: { shipped_bytes_total: shipped, accumulated_bytes: accumulated },
        });
      },
    };
    // The model answers what the drill asks for, and no more: its types are those of the answers.
    return model as unknown as SiteClient;
  }

  #create(name: string, size: number): void {
    this.#name = name;
    for (const site of siteNames)
      this.#halves[site] = {
        head: Buffer.alloc(size),
        base: Buffer.alloc(size),
        role: site === 'London' ? 'Source' : 'Destination',
        state: 'OK',
        shipped: 0,
        lastSync: null,
        snapshots: 0,
      };
  }

  #protect(): void {
    this.#isProtected = true;
    this.#cycle('London');
    if (this.#fault === 'copy differs') this.#half('Osaka').head[12_345] = 1;
  }

  #cycle(source: SiteName): void {
    const from = this.#half(source);
    const to = this.#half(otherSite(source));
    const changed = differing(from.head, to.head);
    from.shipped += this.#fault === 'ships everything' ? from.head.length : changed;
    from.head.copy(to.head);
    from.head.copy(from.base);
    from.head.copy(to.base);
    this.#time += 1000;
    from.lastSync = new Date(this.#time).toISOString();
    to.lastSync = from.lastSync;
  }

  #both(state: string): void {
    for (const site of siteNames) this.#half(site).state = state;
  }

  #act(site: SiteName, action: string, isPlanned: boolean): void {
    const half = this.#half(site);
    const other = this.#half(otherSite(site));
    switch (action) {
      case 'sync':
        if (half.state !== 'OK' && this.#fault !== 'sync while paused') throw refused(422, 'paused');
        return this.#cycle(site);
      case 'pause':
        return this.#both('Paused');
      case 'resume':
        return this.#both('OK');
      case 'failover':
        if (isPlanned) {
          if (this.#fault !== 'planned failover loses the last writes') this.#cycle(site);
          this.#both('Failed_Over');
          half.role = 'Destination';
          other.role = 'Source';
          return;
        }
        half.role = 'Source';
        half.state = 'Failed_Over';
        half.base.copy(half.head);
        return;
      case 'reprotect':
        if (differing(other.head, other.base) > 0 && this.#fault !== 'diverged writes vanish') other.snapshots += 1;
        if (this.#fault !== 'reprotect ships nothing') this.#cycle(site);
        return this.#both('OK');
    }
  }

  #open(name: SiteName): Promise<HostVolume> {
    const half = this.#half(name);
    const wasSource = half.role === 'Source';
    const mayWrite = (): boolean => {
      if (half.role === 'Source') return true;
      if (this.#fault === 'old source writes on') return half.state === 'Failed_Over';
      if (this.#fault === 'old connection writes on') return wasSource;
      return this.#fault === 'destination writable';
    };
    return Promise.resolve({
      size_bytes: half.head.length,
      isReadOnly: half.role !== 'Source',
      read: (offset, length) => Promise.resolve(Uint8Array.from(half.head.subarray(offset, offset + length))),
      write: (offset, bytes) => {
        if (!mayWrite()) return Promise.reject(Object.assign(new Error('EPERM'), { errno: 'EPERM' }));
        half.head.set(bytes, offset);
        if (half.state === 'Paused' && this.#fault === 'pause ships on')
          this.#half(otherSite(name)).head.set(bytes, offset);
        return Promise.resolve();
      },
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
    });
  }
}

function differing(a: Buffer, b: Buffer): number {
  let bytes = 0;
  for (let at = 0; at < a.length; at += block) if (a.compare(b, at, at + block, at, at + block) !== 0) bytes += block;
  return bytes;
}
