import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pointId, sessionId, systemClock, systemRandom, volumeId } from '@antipode/base';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import { Reporter } from '../services/occurrences.ts';
import { newVolumeDocument, protectionOf } from '../services/volume-document.ts';
import type { RemoteSystems } from './remote-systems.ts';
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
    remotes: {} as RemoteSystems,
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
