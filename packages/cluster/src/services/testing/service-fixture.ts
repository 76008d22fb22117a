import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom, volumeId } from '@antipode/base';
import { type BlockEngine, openEmbeddedEngine } from '@antipode/blocks';
import { createImageShipper, createShipper, tlsLinks } from '@antipode/replication';
import { Catalog } from '../../catalog/catalog.ts';
import type { PolicyDocument, SessionDocument, VolumeDocument } from '../../catalog/documents.ts';
import { ScrubJob, scrubFile } from '../../dataplane/scrub-job.ts';
import type { DataPlane, HostAccess, IoLimit } from '../../local/api.ts';
import { engineDataPlane } from '../../local/engine-data-plane.ts';
import type { Method } from '../../local/methods.ts';
import type { RequestContext } from '../../rest/handlers.ts';
import { ensureKeyPair, fingerprintOf } from '../../security/certificates.ts';
import { AccessPublisher } from '../access-table.ts';
import type { Assignee } from '../assignments.ts';
import { changedBlocksHandlers } from '../changed-blocks.ts';
import { cloneHandlers } from '../clone-rules.ts';
import { VolumeGroupService } from '../groups.ts';
import { HostService } from '../hosts.ts';
import { ioLimitRuleHandlers } from '../io-limit-rules.ts';
import { LimitPublisher } from '../io-limits.ts';
import { MappingService } from '../mappings.ts';
import { Reporter } from '../occurrences.ts';
import { PolicyService } from '../policies.ts';
import type { ReplicationHooks } from '../replication-hooks.ts';
import { SnapshotService } from '../snapshots.ts';
import { UnfinishedAssignments } from '../unfinished-assignments.ts';
import { VolumeLife } from '../volume-life.ts';
import { VolumeService } from '../volumes.ts';

/** What the services ask of replication, written down. */
class RecordedHooks implements ReplicationHooks {
  readonly sessions = new Map<string, SessionDocument>();
  readonly asked: string[] = [];
  refusal: Error | undefined;
  sessionOf = (id: string) => this.sessions.get(id);
  goOnUnder = () => false;
  protect = async (target: Assignee, policy: PolicyDocument) => {
    if (this.refusal !== undefined) throw this.refusal;
    this.asked.push(`protect ${target.name} ${policy.name}`);
  };
  unprotect = async (id: string) => {
    this.asked.push('unprotect');
    this.sessions.delete(id);
  };
  membersChange = async (_: string, add: readonly VolumeDocument[], remove: readonly VolumeDocument[]) => {
    if (this.refusal !== undefined) throw this.refusal;
    this.asked.push(`members +${add.map(({ name }) => name)} -${remove.map(({ name }) => name)}`);
  };
  directionDecided = async () => undefined;
  membersChanged = async () => undefined;
  resourceChanged = () => void this.asked.push('changed');
  ruleChanged = () => void this.asked.push('rule changed');
  policyChanged = () => undefined;
}

interface Failure {
  readonly error: Error;
  readonly when: 'before' | 'after';
}

/** Services on a real catalog and a real engine, which a test may stop anywhere and start again. */
export async function serviceFixture() {
  const directory = mkdtempSync(join(tmpdir(), 'services-'));
  mkdirSync(join(directory, 'catalog'));
  const pair = await ensureKeyPair(directory, 'link', 'PS000000000001', []);
  const identity = { ...pair, fingerprint: fingerprintOf(pair.certificate) };
  const context: RequestContext = {
    principal: { user: 'admin', roleIds: ['1'], isBuiltIn: true, mustChangePassword: false },
    clientAddress: '127.0.0.1',
    job: '',
    progress: () => undefined,
  };
  let access: readonly HostAccess[] = [];
  let limits: readonly IoLimit[] = [];
  let parts: Awaited<ReturnType<typeof start>>;

  async function start() {
    const engine = await openEmbeddedEngine({ directory });
    const catalog = new Catalog(join(directory, 'catalog'));
    const hooks = new RecordedHooks();
    const real = engineDataPlane({
      appliance: 'A1',
      images: createImageShipper({
        engine,
        clock: systemClock,
        localSerial: 'A',
        connect: () => Promise.reject(new Error('one appliance')),
      }),
      engine,
      shipper: createShipper({
        engine,
        links: tlsLinks(identity, systemClock),
        clock: systemClock,
        localSerial: 'PS000000000001',
      }),
      addresses: () => ({ nbd: { host: '127.0.0.1', port: 0 }, replication: { host: '127.0.0.1', port: 0 } }),
      ioCounters: () => [],
      hostCounters: () => [],
      setAccess: (hosts) => {
        access = hosts;
      },
      setLimits: (told) => {
        limits = told;
      },
      setPeers: () => undefined,
      setAdmission: () => undefined,
      scrub: new ScrubJob({
        engine,
        clock: systemClock,
        random: systemRandom,
        place: scrubFile(join(directory, 'scrub.json')),
        every_ms: 0,
        rate_bytes_per_s: 2 ** 30,
      }),
    });
    const stop: { at?: { method: Method; when: 'before' | 'after'; reached: () => void }; fail: Map<Method, Failure> } =
      {
        fail: new Map(),
      };
    const dataPlane = new Proxy(real, {
      get(target, name) {
        const call = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          const failure = stop.fail.get(name as Method);
          if (failure?.when === 'after') await call(...args);
          if (failure !== undefined) throw failure.error;
          if (stop.at?.method !== name) return call(...args);
          // A process that is killed does nothing after that: no answer, no tidying up.
          if (stop.at.when === 'after') await call(...args);
          stop.at.reached();
          return new Promise(() => undefined);
        };
      },
    }) as DataPlane;
    const publisher = new AccessPublisher(catalog, dataPlane);
    const mappings = new MappingService(catalog, systemRandom, publisher);
    const hosts = new HostService(catalog, systemRandom, mappings, publisher);
    const storage = { catalog, dataPlane, clock: systemClock, random: systemRandom };
    const snapshots = new SnapshotService(storage);
    const life = new VolumeLife(storage, snapshots);
    const reporter = new Reporter(catalog, systemClock, systemRandom);
    const unfinished = new UnfinishedAssignments({ catalog, replication: hooks, clock: systemClock, reporter });
    const replication = { replication: hooks, unfinished };
    const groups: VolumeGroupService = new VolumeGroupService({ ...storage, ...replication, snapshots, life });
    const all = new VolumeService({ ...storage, ...replication, snapshots, life, mappings, groups: () => groups });
    const volumes = {
      async recover() {
        await all.recover();
        groups.recover();
      },
    };
    const limiting = new LimitPublisher(catalog, dataPlane);
    const handlers = {
      ...limiting.holding({
        ...all.handlers(),
        ...groups.handlers(),
        ...new PolicyService(catalog, systemRandom, hooks, unfinished).handlers(),
        ...ioLimitRuleHandlers(catalog, systemRandom),
      }),
      ...changedBlocksHandlers(catalog, dataPlane),
      ...cloneHandlers(catalog, systemRandom),
      ...mappings.handlers(),
      ...hosts.handlers(),
    };
    return { engine, catalog, hooks, unfinished, stop, dataPlane, volumes, snapshots, storage, handlers };
  }
  const halt = async () => {
    parts.unfinished.stop();
    parts.catalog.close();
    await parts.engine.close();
  };
  parts = await start();

  const fixture = {
    get engine(): BlockEngine {
      return parts.engine;
    },
    get catalog(): Catalog {
      return parts.catalog;
    },
    get hooks(): RecordedHooks {
      return parts.hooks;
    },
    get snapshots(): SnapshotService {
      return parts.snapshots;
    },
    /** Catalog, data plane, clock and chance, as services are given them. */
    get storage() {
      return parts.storage;
    },
    get volumes(): { recover(): Promise<void> } {
      return parts.volumes;
    },
    /** What the data plane was told last of who may open what. */
    get access(): readonly HostAccess[] {
      return access;
    },
    /** The rates that the data plane was told of last. */
    get limits(): readonly IoLimit[] {
      return limits;
    },
    get dataPlane(): DataPlane {
      return parts.dataPlane;
    },
    /** Carries an operation out as the gateway would. */
    async ask(operation: string, id = '', body: unknown = {}): Promise<Record<string, unknown>> {
      const work = parts.handlers[operation];
      if (work === undefined) throw new Error(`no operation ${operation}`);
      return ((await work(context, id, body)) ?? {}) as Record<string, unknown>;
    },
    async made(operation: string, id: string, body: unknown): Promise<string> {
      return String((await fixture.ask(operation, id, body)).id);
    },
    /** The name in the error catalogue and the status, or `done`. */
    async refusal(operation: string, id = '', body: unknown = {}): Promise<string> {
      return fixture.ask(operation, id, body).then(
        () => 'done',
        (error: Error) => error.message,
      );
    },
    /** Calls to the data plane fail from now on, before or after they have done what they are for; without an error no more. */
    failAt(method: Method, error: Error | undefined, when: Failure['when'] = 'before') {
      if (error === undefined) parts.stop.fail.delete(method);
      else parts.stop.fail.set(method, { error, when });
    },
    /** Kills the process around a call to the data plane, and starts it again without recovery. */
    async killed(method: Method, when: 'before' | 'after', operation: string, id = '', body: unknown = {}) {
      const reached = new Promise<void>((resolve) => {
        parts.stop.at = { method, when, reached: resolve };
      });
      await Promise.race([
        reached,
        fixture.ask(operation, id, body).then(() => {
          throw new Error(`${operation} never came to ${method}`);
        }),
      ]);
      await fixture.restart();
    },
    async restart() {
      await halt();
      parts = await start();
    },
    volume(id: string): VolumeDocument {
      const found = parts.catalog.get('volume', id);
      if (found === undefined) throw new Error(`no volume ${id}`);
      return found;
    },
    async write(id: string, block: number, byte: number) {
      const device = parts.engine.open(volumeId(id));
      await device.write(block * 4096, new Uint8Array(4096).fill(byte), true);
      device.close();
    },
    async read(id: string, block: number): Promise<number> {
      const device = parts.engine.open(volumeId(id));
      const target = new Uint8Array(4096);
      await device.read(block * 4096, target);
      device.close();
      return target[0] ?? -1;
    },
    async close() {
      await halt();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return fixture;
}

export type ServiceFixture = Awaited<ReturnType<typeof serviceFixture>>;
