import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sessionId, systemClock, systemRandom, type VolumeId, volumeId } from '@antipode/base';
import { BLOCK_BYTES, type BlockEngine } from '@antipode/blocks';
import { shipImages, simulatedEngine } from '@antipode/blocks/testing';
import { RestError } from '@antipode/contract';
import type { MoveOrder, MoveProgress } from '@antipode/replication';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { clusterDataPlane } from '../appliances/cluster-data-plane.ts';
import { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import { DataPlaneAway } from '../local/client.ts';
import type { RequestContext } from '../rest/handlers.ts';
import { answered } from '../services/jobs.ts';
import { Reporter } from '../services/occurrences.ts';
import { SnapshotService } from '../services/snapshots.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';
import { VolumeLife } from '../services/volume-life.ts';
import { MigrationService } from './migration-service.ts';

/** What is waited for comes at once; what is given up after a time is given up as late as ever. */
const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal) };
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));
const MiB = 1024 * 1024;
type Simulated = Awaited<ReturnType<typeof simulatedEngine>>;

/** One appliance: an engine that may die, and its data plane as management sees it. */
class Appliance {
  #under: Simulated;
  readonly #peer: () => BlockEngine;
  /** Calls that find nobody before the data plane is there again. */
  #away = 0;
  /** What happens before a call is carried out, and once it has been, before it is answered. */
  readonly before = new Map<string, () => Promise<void>>();
  readonly after = new Map<string, () => Promise<void>>();
  /** What it says of what it copies, and how often it has been asked. */
  progress: MoveProgress | undefined;
  asked = 0;
  readonly plane: DataPlane;

  constructor(under: Simulated, peer: () => BlockEngine) {
    this.#under = under;
    this.#peer = peer;
    this.plane = new Proxy({} as DataPlane, {
      // It is no promise.
      get: (_, name: string) => (name === 'then' ? undefined : (...args: unknown[]) => this.#call(name, args)),
    });
  }

  get engine(): BlockEngine {
    return this.#under.engine;
  }

  /** A checkpoint, and then a kill; it is away for some calls. */
  async die(): Promise<void> {
    await this.#under.settle?.();
    this.#under = (await this.#under.crash()) as Simulated;
    this.#away = 3;
  }

  async dispose(): Promise<void> {
    await this.#under.dispose();
  }

  async #call(name: string, args: unknown[]): Promise<unknown> {
    if (this.#away > 0) {
      this.#away -= 1;
      throw new DataPlaneAway('the data plane is restarting');
    }
    const first = this.before.get(name);
    this.before.delete(name);
    await first?.();
    const result = await this.#perform(name, args);
    const then = this.after.get(name);
    if (then === undefined) return result;
    this.after.delete(name);
    await then();
    if (this.#away > 0) throw new DataPlaneAway('the data plane is restarting');
    return result;
  }

  async #perform(name: string, args: unknown[]): Promise<unknown> {
    if (name === 'move') return this.#ship(args[0] as MoveOrder);
    if (name === 'cancelMove') return undefined;
    if (name === 'moveProgress') {
      this.asked += 1;
      return this.progress;
    }
    const { engine } = this;
    const of = (name in engine ? engine : engine.moving) as unknown as Record<string, (...given: unknown[]) => unknown>;
    return of[name]!(...args);
  }

  async #ship(order: MoveOrder) {
    const bytes = await shipImages(order, this.engine, this.#peer());
    return { total_bytes: bytes, copied_bytes: bytes };
  }
}

let directory: string;
let catalog: Catalog;
let a1: Appliance;
let a2: Appliance;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'migrations-'));
  catalog = new Catalog(directory);
  a1 = new Appliance(await simulatedEngine(1, { fallBack_max: 0 }), () => a2.engine);
  a2 = new Appliance(await simulatedEngine(2, { fallBack_max: 0 }), () => a1.engine);
  for (const id of ['A1', 'A2']) catalog.put('appliance', { id, name: id, mode: 'Block' });
});
afterEach(async () => {
  await a1.dispose();
  await a2.dispose();
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Management over the two, as after a start. */
function management() {
  const planes = new Map([
    ['A1', a1.plane],
    ['A2', a2.plane],
  ]);
  const cluster = clusterDataPlane(planes, (id) => catalog.get('volume', id)?.appliance_id, clock);
  const storage = { catalog, dataPlane: cluster, clock, random: systemRandom };
  const snapshots = new SnapshotService(storage);
  const life = new VolumeLife(storage, snapshots);
  const paused = new Set<string>();
  const service = new MigrationService({
    ...{ catalog, cluster, clock, random: systemRandom },
    reporter: new Reporter(catalog, clock, systemRandom),
    sessions: {
      pauseForSystem: async (_, { by }) => void paused.add(by),
      resumeFromSystem: (by) => void paused.delete(by),
    },
  });
  const shares: number[] = [];
  const context = { progress: (percent: number) => void shares.push(percent) } as unknown as RequestContext;
  const ask = (verb: string, id = '', body: unknown = {}) =>
    service.handlers()[`migration_session.${verb}`]!(context, id, body) as Promise<{ id: string }>;
  const inState = async (id: string, state: string) => {
    for (let look = 0; look < 6_000 && catalog.get('migration_session', id)?.state !== state; look++)
      await systemClock.sleep(10);
    expect(catalog.get('migration_session', id)?.state).toBe(state);
  };
  return { cluster, snapshots, life, service, paused, ask, inState };
}
type Management = ReturnType<typeof management>;

async function makeVolume({ life, snapshots }: Management, name: string): Promise<VolumeId> {
  const id = systemRandom.uuid();
  const document = newVolumeDocument(
    { clock, random: systemRandom },
    { id, name, size: MiB, appliance: 'A1', type: 'Primary', protection: protectionOf(id, null, null, null, 'User') },
  );
  catalog.put('volume', document, {});
  await life.finish(document);
  await a1.engine.open(volumeId(id)).write(0, new Uint8Array(8 * BLOCK_BYTES).fill(7), true);
  await snapshots.take(catalog.get('volume', id)!, { name: `${name}-snap` });
  return volumeId(id);
}

async function copied(of: Management, volume: VolumeId): Promise<string> {
  const { id } = await of.ask('create', '', {
    resource_type: 'volume',
    family_id: volume,
    destination_appliance_id: 'A2',
  });
  await of.ask('sync', id);
  await of.inState(id, 'Idle');
  return id;
}

/** Nothing of anything is left anywhere. */
function expectNothing(): void {
  for (const [name, { engine }] of Object.entries({ a1, a2 })) {
    expect([name, engine.volumes(), engine.points()]).toEqual([name, [], []]);
    expect([name, engine.moving.arrivals(), engine.moving.departures()]).toEqual([name, [], []]);
  }
}

describe('a migration whose data planes die', () => {
  it.each([
    ['the source once the unit has departed', 'depart', ['a1']],
    ['the destination once it has adopted it', 'adopt', ['a2']],
    ['both once it was adopted', 'adopt', ['a1', 'a2']],
    ['the destination once it was asked', 'settleArrival', ['a2']],
    ['the source once it has let go', 'departed', ['a1']],
    ['the destination before the catalog follows', 'departed', ['a2']],
  ] as const)('%s: the volume is deleted afterwards and nothing of it stays', async (_, method, whom) => {
    const of = management();
    const volume = await makeVolume(of, 'churn');
    const id = await copied(of, volume);
    const at = method === 'depart' || method === 'departed' ? a1 : a2;
    at.after.set(method, async () => {
      for (const name of whom) await (name === 'a1' ? a1 : a2).die();
    });
    const end = await of.ask('cutover', id).then(
      () => 'Completed',
      () => 'System_Paused',
    );
    await of.inState(id, end);
    // One of the two has it, whatever both of them remember.
    const owner = end === 'Completed' ? 'A2' : 'A1';
    const having = Object.entries({ A1: a1, A2: a2 }).filter(([, { engine }]) =>
      engine.volumes().some((found) => found.id === volume),
    );
    expect(having.map(([name]) => name)).toEqual([owner]);
    expect(catalog.get('volume', volume)?.appliance_id).toBe(owner);
    expect([...of.paused]).toEqual([]);
    await of.ask('delete', id);
    await of.life.destroy(catalog.get('volume', volume)!);
    expectNothing();
  });

  it('while it is being deleted: the next start goes on with that', async () => {
    const of = management();
    const volume = await makeVolume(of, 'churn');
    const id = await copied(of, volume);
    a2.after.set('forgetArrival', () => a2.die());
    await expect(of.ask('delete', id)).rejects.toThrow(DataPlaneAway);
    expect(catalog.get('migration_session', id)?.state).toBe('Deleting');
    of.service.stop();
    const next = management();
    await next.service.recover();
    next.service.start();
    for (let look = 0; look < 6_000 && catalog.get('migration_session', id) !== undefined; look++)
      await systemClock.sleep(10);
    expect(catalog.get('migration_session', id)).toBeUndefined();
    expect(catalog.get('volume', volume)?.migration_session_id).toBeNull();
    await next.life.destroy(catalog.get('volume', volume)!);
    expectNothing();
  });
});

describe('what is asked of a migration at once', () => {
  it.each([
    ['pause', 'delete'],
    ['delete', 'pause'],
    ['delete', 'delete'],
    ['delete', 'resume'],
    ['cutover', 'delete'],
    ['pause', 'cutover'],
    ['pause', 'sync'],
  ])('%s and %s: each is done, or refused with a reason, and a deletion leaves nothing', async (first, second) => {
    const of = management();
    for (let turns = 0; turns < 60; turns += 15) {
      const volume = await makeVolume(of, `v${turns}`);
      const { id } = await of.ask('create', '', {
        resource_type: 'volume',
        family_id: volume,
        destination_appliance_id: 'A2',
      });
      await of.ask('sync', id, { automatic_cutover: turns % 2 === 1 });
      for (let turn = 0; turn < turns; turn++) await nextTurn();
      const at = [first, second].map((verb) => answered(() => of.ask(verb, id)));
      for (const end of await Promise.allSettled(at)) {
        if (end.status === 'fulfilled') continue;
        expect(end.reason).toBeInstanceOf(RestError);
        expect((end.reason as RestError).status).toBeLessThan(500);
      }
      // A cutover that was under way is not interrupted: the deletion comes after it.
      if (catalog.get('migration_session', id) !== undefined) {
        await vi.waitFor(() => expect(catalog.get('migration_session', id)?.state).not.toBe('Cutting_Over'), 60_000);
        await of.ask('delete', id);
      }
      expect(catalog.get('migration_session', id)).toBeUndefined();
      expect([...of.paused]).toEqual([]);
      const kept = catalog.get('volume', volume)!;
      expect(kept.migration_session_id).toBeNull();
      const having = Object.entries({ A1: a1, A2: a2 }).filter(([, { engine }]) => engine.volume(volume) !== undefined);
      expect(having.map(([name]) => name)).toEqual([kept.appliance_id]);
      await of.life.destroy(kept);
      expectNothing();
    }
  });
});

describe('a deletion', () => {
  const refused = expect.objectContaining({ status: 422 });
  const nothingLeft = async (of: Management, id: string, volume: VolumeId) => {
    expect(catalog.get('migration_session', id)).toBeUndefined();
    expect([...of.paused]).toEqual([]);
    const kept = catalog.get('volume', volume)!;
    expect(kept).toMatchObject({ appliance_id: 'A1', migration_session_id: null });
    await of.life.destroy(kept);
    expectNothing();
  };
  const begun = async (of: Management, automatic_cutover: boolean) => {
    const volume = await makeVolume(of, 'churn');
    const { id } = await of.ask('create', '', {
      resource_type: 'volume',
      family_id: volume,
      destination_appliance_id: 'A2',
    });
    await of.ask('sync', id, { automatic_cutover });
    return { id, volume };
  };

  it('stays one while a pause of the same moment ends: nobody resumes what is going', async () => {
    const of = management();
    const { id, volume } = await begun(of, false);
    const asked = ['pause', 'delete'].map((verb) => answered(() => of.ask(verb, id)));
    let seen: unknown;
    a2.after.set('forgetArrival', async () => {
      seen = [catalog.get('migration_session', id)?.state, await of.ask('resume', id).catch((error: unknown) => error)];
    });
    const [paused, deleted] = await Promise.allSettled(asked);
    expect(seen).toEqual(['Deleting', refused]);
    expect([paused, deleted]).toMatchObject([{ status: 'rejected', reason: refused }, { status: 'fulfilled' }]);
    await nothingLeft(of, id, volume);
  });

  it('that is asked for twice at once is one', async () => {
    const of = management();
    const { id, volume } = await begun(of, false);
    await of.inState(id, 'Idle');
    let again: Promise<unknown> | undefined;
    a1.after.set('dropPoint', async () => {
      again = of.ask('delete', id);
    });
    await of.ask('delete', id);
    await expect(again).resolves.toBe(undefined);
    await nothingLeft(of, id, volume);
  });

  it('comes before a cutover that is about to begin', async () => {
    const of = management();
    const { id, volume } = await begun(of, true);
    let deleted: Promise<unknown> | undefined;
    const look = async () => {
      a1.after.set('unitOf', look);
      if (catalog.get('migration_session', id)?.state === 'Idle') deleted ??= of.ask('delete', id);
    };
    await look();
    await vi.waitFor(() => expect(deleted).toBeDefined(), 60_000);
    await deleted;
    await nothingLeft(of, id, volume);
  });
});

describe('a start with a catalog that does not know what the engines know', () => {
  /** Management dies in the middle of a cutover, once this has been carried out; what follows has nothing to do with it. */
  async function cutOff(of: Management, id: string, at: Appliance, method: string): Promise<void> {
    const reached = new Promise<void>((resolve) => {
      at.after.set(method, () => {
        resolve();
        return new Promise(() => undefined);
      });
    });
    of.ask('cutover', id).catch(() => undefined);
    await reached;
    of.service.stop();
  }

  /** As it was before the migration was made. */
  function forgetIt(id: string): void {
    catalog.remove('migration_session', id);
    for (const { id: one } of catalog.list('volume', 'migration_session_id', id))
      catalog.change('volume', one, { migration_session_id: null });
  }

  const isWritable = async (volume: VolumeId, { engine }: Appliance) => {
    const back = new Uint8Array(BLOCK_BYTES);
    await engine.open(volume).write(BLOCK_BYTES, back.fill(9), true);
    await engine.open(volume).read(0, back);
    return back[0] === 7;
  };

  it.each([
    ['that has departed is where it was', 'a1', 'depart', 'A1'],
    ['that was adopted is at the destination', 'a2', 'adopt', 'A2'],
    ['that the source has let go of is at the destination', 'a1', 'departed', 'A2'],
  ] as const)('a unit %s, though nobody knows of its migration', async (_, at, method, owner) => {
    const of = management();
    const volume = await makeVolume(of, 'stray');
    const id = await copied(of, volume);
    await cutOff(of, id, at === 'a1' ? a1 : a2, method);
    forgetIt(id);
    const next = management();
    await next.service.recover();
    expect(await isWritable(volume, owner === 'A1' ? a1 : a2)).toBe(true);
    expect(catalog.list('volume').map(({ appliance_id }) => appliance_id)).toEqual([owner, owner]);
    await next.life.destroy(catalog.get('volume', volume)!);
    expectNothing();
  });

  it('nothing stays of a migration that had copied, and that nobody knows of', async () => {
    const of = management();
    const volume = await makeVolume(of, 'copied');
    const id = await copied(of, volume);
    forgetIt(id);
    const next = management();
    await next.service.recover();
    expect(await isWritable(volume, a1)).toBe(true);
    await next.life.destroy(catalog.get('volume', volume)!);
    expectNothing();
  });

  it('a migration that is complete is so, though the catalog is of the time before', async () => {
    const of = management();
    const volume = await makeVolume(of, 'older');
    const id = await copied(of, volume);
    const hidden = catalog.private('migration_session', id)!;
    const before = { migration: catalog.get('migration_session', id)!, volumes: catalog.list('volume') };
    await of.ask('cutover', id);
    of.service.stop();
    catalog.put('migration_session', before.migration, hidden);
    for (const { id: one, appliance_id } of before.volumes) catalog.change('volume', one, { appliance_id });
    const next = management();
    await next.service.recover();
    expect(catalog.get('migration_session', id)).toMatchObject({ state: 'Completed' });
    expect(catalog.list('volume').map(({ appliance_id }) => appliance_id)).toEqual(['A2', 'A2']);
    await next.ask('delete', id);
    await next.life.destroy(catalog.get('volume', volume)!);
    expectNothing();
  });
});

describe('what a migration shows', () => {
  it('is complete when it is complete, whatever the appliance still says of what it copies', async () => {
    const of = management();
    const id = await copied(of, await makeVolume(of, 'shown'));
    a1.progress = { copied_bytes: 1, total_bytes: 100 };
    const { asked } = a1;
    let shown: unknown;
    a2.after.set('forgetArrival', async () => {
      for (let look = 0; look < 6_000 && a1.asked < asked + 3; look++) await systemClock.sleep(10);
      expect(a1.asked).toBeGreaterThanOrEqual(asked + 3);
      const [row] = catalog.all('SELECT doc FROM rest_migration_session WHERE id = ?', [id]);
      shown = JSON.parse(String(row?.doc));
    });
    await of.ask('cutover', id);
    expect(shown).toMatchObject({ state: 'Completed', progress_percentage: 100, current_transfer_rate: null });
  });
});

describe('whoever asks for a unit while it is cut over', () => {
  /** A replica with a point that is its base, and everything that the cluster's data plane can be asked of it. */
  async function replica(of: Management) {
    const volume = await makeVolume(of, 'replica');
    const session = sessionId(systemRandom.uuid());
    const [point] = await a1.engine.pointsOf([volume]);
    const pairs = [{ local: volume, remote: volumeId(systemRandom.uuid()) }];
    const generation = { number: 1, site: 'PS1', nonce: 'n' };
    await a1.engine.createHalf({ session, role: 'source', generation, pairs, tag: {} });
    const base = { point: point!.id, digests: [await a1.engine.digest(volume, point!.id)] };
    await a1.engine.resetBase(session, generation, base);
    const { cluster } = of;
    const seen = async () => ({
      volume: (await cluster.volume(volume))?.id,
      point: (await cluster.point(point!.id))?.id,
      base: (await cluster.half(session))?.base?.point,
      volumes: (await cluster.volumes()).map(({ id }) => id),
      halves: (await cluster.halves()).map((half) => half.session),
      points: (await cluster.points()).filter(({ kind }) => kind === 'snapshot').map(({ id }) => id),
    });
    const all = {
      volume,
      point: point!.id,
      base: point!.id,
      volumes: [volume],
      halves: [session],
      points: [point!.id],
    };
    return { id: await copied(of, volume), seen, all };
  }

  it.each([
    ['a1', 'depart'],
    ['a2', 'adopt'],
    ['a2', 'settleArrival'],
    ['a1', 'departed'],
    ['a2', 'forgetArrival'],
  ] as const)('finds all of it after %s has answered %s, and has what it had [C2.3]', async (name, method) => {
    const of = management();
    const { id, seen, all } = await replica(of);
    expect(await seen()).toEqual(all);
    let found: unknown;
    (name === 'a1' ? a1 : a2).after.set(method, async () => {
      found = await seen();
    });
    await of.ask('cutover', id);
    expect(found).toEqual(all);
    expect(await seen()).toEqual(all);
  });

  it.each(['volumes', 'points', 'halves'] as const)(
    'finds it when the source is slow to say of %s what it has no more',
    async (method) => {
      const of = management();
      const { id, seen, all } = await replica(of);
      a1.before.set(method, async () => void (await of.ask('cutover', id)));
      expect(await seen()).toEqual(all);
    },
  );

  it.each(['volume', 'point', 'half'] as const)(
    'finds it when the source is slow to say that it does not know the %s any more',
    async (method) => {
      const of = management();
      const { id, seen, all } = await replica(of);
      of.cluster.moved();
      a1.before.set(method, async () => void (await of.ask('cutover', id)));
      expect(await seen()).toEqual(all);
    },
  );
});
