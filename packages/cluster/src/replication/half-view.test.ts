import { cycleId, pointId, sessionId, volumeId } from '@antipode/base';
import { BLOCK_BYTES } from '@antipode/blocks';
import { diskError, simulatedEngine } from '@antipode/blocks/testing';
import { newHalf } from '@antipode/replication';
import { expect, it } from 'vitest';
import type { DataPlane } from '../local/api.ts';
import { viewOf } from './half-view.ts';

const session = sessionId('s');
const generation = { number: 1, site: 'A', nonce: 'n' };
const pairs = [{ local: volumeId('copy'), remote: volumeId('there') }];
const half = newHalf({ id: session, role: 'destination', generation, pairs, rpo_ms: 0 });

it('a destination tells its peer of a base that is on stable storage, and of none that a death would take back [C3.4]', async () => {
  const under = await simulatedEngine(1, { fallBack_max: 0 });
  const { engine, disk } = under;
  const plane = {
    half: async () => engine.half(session),
    volume: async () => engine.volume(pairs[0]!.local),
    point: async (id: never) => engine.point(id),
    digest: (volume: never, point: never) => engine.digest(volume, point),
    settled: () => engine.durable(),
  } as unknown as DataPlane;
  await engine.createVolume({ id: pairs[0]!.local, name: 'copy', size: 256 * BLOCK_BYTES, destination: true, tag: {} });
  await engine.createHalf({ session, role: 'destination', generation, pairs, tag: {} });
  expect((await viewOf(half, plane)).points).toEqual([]);
  const cycle = cycleId('c');
  const point = { id: pointId('p'), kind: 'internal', instant_ms: 0, tag: {}, sizes: [256 * BLOCK_BYTES] } as const;
  await engine.openStage({ session, cycle, generation, points: [point], pairs });
  const digests = (await engine.verifyStage(session, cycle, () => undefined)).at(-1)!;
  disk.faults = { sync: () => diskError('EIO') };
  await expect(engine.commitStage(session, cycle, generation, digests)).rejects.toThrow();
  expect(engine.half(session)?.base?.point).toBe(point.id);
  await expect(viewOf(half, plane)).rejects.toThrow();
  disk.faults = {};
  await expect.poll(() => engine.writeState().kind).toBe('running');
  expect((await viewOf(half, plane)).points.map((held) => held.point)).toEqual([point.id]);
  await under.dispose();
});
