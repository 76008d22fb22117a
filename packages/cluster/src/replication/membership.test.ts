import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pointId, sessionId, systemClock, systemRandom, volumeId } from '@antipode/base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import { Reporter } from '../services/occurrences.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';
import type { RemoteRecord, RemoteSystems } from './remote-systems.ts';
import { Sessions } from './sessions.ts';
import { MemoryDataPlane } from './testing/memory-data-plane.ts';

const session = sessionId('gone');
let directory: string;
let catalog: Catalog;
let plane: MemoryDataPlane;
let sessions: Sessions;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'membership-'));
  catalog = new Catalog(directory);
  plane = new MemoryDataPlane(systemClock, () => ({ took_ms: 0, bytes: 0 }));
  sessions = new Sessions({
    catalog,
    dataPlane: plane.port(),
    clock: systemClock,
    random: systemRandom,
    remotes: {
      channel: () => ({ dataEndpoint: () => undefined, send: async () => ({ kind: 'unknown_session' }) }),
      isUp: () => true,
      state: () => undefined,
    } as unknown as RemoteSystems,
    reporter: new Reporter(catalog, systemClock, systemRandom),
    site: 'B',
    localPauseResume: 'pause_both',
    schedule: 'share_of_rpo',
    cyclesAtOnce: 1,
  });
});
afterEach(() => {
  sessions.stop();
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A volume that was set aside for a member to come. */
async function setAside(name: string): Promise<void> {
  const protection = protectionOf(name, null, null, null, 'User');
  const document = newVolumeDocument(
    { clock: systemClock, random: systemRandom },
    { id: name, name, size: 4096, type: 'Primary', protection },
  );
  catalog.put('volume', { ...document, state: 'Ready', is_replication_destination: true }, { joined: session });
  await plane.createVolume({ id: volumeId(name), name, size: 4096, destination: true });
}

it('what was set aside for a session that ended in the death of a process goes at the next start; what was copied stays [C7.2]', async () => {
  await setAside('never-came');
  await setAside('copied');
  const pairs = [{ local: volumeId('copied'), remote: volumeId('there') }];
  await plane.createHalf({
    session,
    role: 'destination',
    generation: { number: 1, site: 'A', nonce: 'n' },
    pairs,
    tag: {},
  });
  plane.commit(session, { id: pointId('target'), kind: 'internal', instant_ms: 1, tag: {} }, ['digest']);
  await plane.removeHalf(session);

  await sessions.start();
  expect(catalog.list('volume').map(({ name }) => name)).toEqual(['copied']);
  expect(await plane.volume(volumeId('never-came'))).toBeUndefined();
  expect(await plane.volume(volumeId('copied'))).toBeDefined();
  expect(catalog.setAsideFor()).toEqual([]);
});

const peer = { id: 'peer', serial: 'A', name: 'there' } as RemoteRecord;
const offered = { id: 'at-the-source', name: 'v', description: null, size: 4096, appType: null, appTypeOther: null };
const rule = { id: 'r', name: 'r', rpo: 'One_Hour', alertThreshold: 60 };
const offer = {
  session,
  generation: { number: 1, site: 'A', nonce: 'n' },
  volume: offered,
  protection: { id: 'p', name: 'p', description: null, replicationRule: rule, snapshotRules: [] },
};

it('an offer whose source gave up while it was carried out, or before it came, leaves no session [C5.6]', async () => {
  const make = plane.createVolume.bind(plane);
  let release = () => {};
  plane.createVolume = async (spec) => {
    await new Promise<void>((resolve) => (release = resolve));
    return make(spec);
  };
  const accepted = sessions.answer(peer, { kind: 'offer', offer });
  await expect.poll(() => catalog.list('volume').length).toBe(1);
  const withdrawn = sessions.answer(peer, { kind: 'withdraw', session });
  await new Promise((resolve) => setImmediate(resolve));
  release();
  await Promise.all([accepted, withdrawn]);
  expect([sessions.records().length, (await plane.halves()).length]).toEqual([0, 0]);
  plane.createVolume = make;

  const late = sessionId('late');
  await sessions.answer(peer, { kind: 'withdraw', session: late });
  expect(await sessions.answer(peer, { kind: 'offer', offer: { ...offer, session: late } })).toMatchObject({
    kind: 'refused',
  });
  expect([sessions.records().length, (await plane.halves()).length]).toEqual([0, 0]);
});

it('an offer that comes again when its session is over makes nothing, and takes nothing that was left [C5.6]', async () => {
  const group = { id: 'group', name: 'g', description: null, isWriteOrderConsistent: true };
  const { volume: _, ...common } = offer;
  const offers = [
    { kind: 'offer', offer: { ...offer, session: sessionId('single') } },
    {
      kind: 'offer_group',
      offer: { ...common, session: sessionId('many'), group, volumes: [{ ...offered, name: 'w' }] },
    },
  ] as const;
  for (const each of offers) {
    expect(await sessions.answer(peer, each)).toMatchObject({ kind: expect.stringMatching(/^accepted/) });
    await plane.removeHalf(each.offer.session);
    await sessions.command(each.offer.session, { name: 'delete' });
  }
  await expect.poll(() => sessions.records()).toEqual([]);
  for (const { id } of catalog.list('volume')) {
    catalog.remove('volume', id);
    await plane.deleteVolume(volumeId(id));
  }
  for (const { id } of catalog.list('volume_group')) catalog.remove('volume_group', id);
  for (const each of offers) expect(await sessions.answer(peer, each)).toMatchObject({ kind: 'refused' });
  expect([catalog.list('volume'), catalog.list('volume_group'), plane.kept]).toEqual([[], [], []]);
});

it('the copy of a policy goes with its session, also when its volume was rid of it before, by a start that found the removal half-way', async () => {
  await sessions.answer(peer, { kind: 'offer', offer });
  const [volume] = catalog.list('volume');
  expect(catalog.list('policy').map(({ is_replica }) => is_replica)).toEqual([true]);
  catalog.change('volume', volume!.id, { protection_policy_id: null });
  await sessions.command(session, { name: 'delete' });
  await expect.poll(() => sessions.records()).toEqual([]);
  expect([catalog.list('policy'), catalog.list('replication_rule')]).toEqual([[], []]);
});

describe('a name that two sources offer at once', () => {
  const another = { id: 'another', serial: 'C', name: 'elsewhere' } as RemoteRecord;
  const offers = (change: { readonly volume?: string; readonly group?: string }) => {
    const of = (id: string, serial: string, volume: string) => {
      const common = {
        ...offer,
        session: sessionId(id),
        generation: { number: 1, site: serial, nonce: id },
        protection: { ...offer.protection, id, name: id },
      };
      const volumes = [volume, `only-${id}`].map((name) => ({ ...offered, id: `${id}-${name}`, name }));
      if (change.group === undefined) return { kind: 'offer', offer: { ...common, volume: volumes[0]! } } as const;
      const group = { id: `group-${id}`, name: change.group, description: null, isWriteOrderConsistent: true };
      return { kind: 'offer_group', offer: { ...common, group, volumes } } as const;
    };
    const { volume = 'v' } = change;
    return [
      sessions.answer(peer, of('one', 'A', volume)),
      sessions.answer(another, of('two', 'C', change.volume ?? (change.group ? 'w' : volume))),
    ];
  };
  const expectOne = async (answers: readonly Promise<unknown>[], volumes: readonly string[]) => {
    const [won, lost] = await Promise.all(answers);
    expect([won, lost]).toMatchObject([
      { kind: expect.stringMatching(/^accepted/) },
      { kind: 'refused', message: expect.stringContaining('in use') },
    ]);
    expect((await plane.halves()).map((half) => half.session)).toEqual(['one']);
    expect(sessions.records().map(({ half }) => half.id)).toEqual(['one']);
    expect(catalog.list('volume').map(({ name, state }) => [name, state])).toEqual(
      volumes.map((name) => [name, 'Ready']),
    );
    expect(catalog.list('policy').map(({ name }) => name)).toEqual(['one']);
    for (const { id } of catalog.list('volume')) expect(await plane.volume(volumeId(id))).toBeDefined();
    expect(plane.kept.length).toBe(volumes.length);
  };

  it('is given to one of them, and the other is told why', async () => {
    await expectOne(offers({}), ['v']);
  });

  it('is given to one of them where there is a copy of before', async () => {
    await setAside('v');
    await expectOne(offers({}), ['v']);
  });

  it('of a group, or of a member, is given to one, and nothing of the other stays', async () => {
    await expectOne(offers({ group: 'g' }), ['v', 'only-one']);
    expect(catalog.list('volume_group').map(({ name }) => name)).toEqual(['g']);
  });

  it('is taken by somebody here meanwhile: the source is told', async () => {
    const appliances = plane.appliances.bind(plane);
    plane.appliances = async () => {
      const protection = protectionOf('mine', null, null, null, 'User');
      const parts = { id: 'mine', name: 'v', size: 4096, type: 'Primary', protection } as const;
      const mine = newVolumeDocument({ clock: systemClock, random: systemRandom }, parts);
      if (catalog.get('volume', 'mine') === undefined) catalog.put('volume', mine, {});
      return appliances();
    };
    expect(await offers({})[0]).toMatchObject({ kind: 'refused', message: expect.stringContaining('in use') });
    expect(catalog.list('volume').map(({ id }) => id)).toEqual(['mine']);
    expect([sessions.records(), await plane.halves(), plane.kept]).toEqual([[], [], []]);
  });
});
