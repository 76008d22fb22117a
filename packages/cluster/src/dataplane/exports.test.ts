import { pointId, systemClock, systemRandom, type VolumeId, volumeId } from '@antipode/base';
import { BLOCK_BYTES, type BlockEngine } from '@antipode/blocks';
import { shipImages, simulatedEngine } from '@antipode/blocks/testing';
import type { NbdClientIdentity } from '@antipode/hosts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clusterExports } from './exports.ts';
import { HostAccessTable } from './host-access.ts';
import { IoStatistics } from './io-statistics.ts';
import { type Sibling, Siblings } from './siblings.ts';
import { VolumeLimits } from './volume-limits.ts';

type Simulated = Awaited<ReturnType<typeof simulatedEngine>>;
type Appliance = 'A1' | 'A2' | 'A3';
const client = { auth: { kind: 'open' } } as NbdClientIdentity;
const move = 'm1';
const volume = volumeId('8a6f7d5e-2f5c-4e2c-9a57-6d3c1d9b7f01');
const bytes = (seed: number) => new Uint8Array(BLOCK_BYTES).fill(seed);

/** Three appliances of one cluster. A question to one of them may be held up until something else has happened. */
let engines: Record<Appliance, Simulated>;
let looks = 0;
const heldUp = new Map<Appliance, () => Promise<void>>();
const made = (seed: number) => simulatedEngine(seed, { fallBack_max: 0 });
const engineOf = (appliance: Appliance): BlockEngine => engines[appliance].engine;

beforeEach(async () => {
  heldUp.clear();
  const [a1, a2, a3] = [await made(1), await made(2), await made(3)];
  engines = { A1: a1, A2: a2, A3: a3 };
  await engineOf('A1').createVolume({ id: volume, name: 'moving', size: 256 * BLOCK_BYTES, tag: {} });
  await engineOf('A1').open(volume).write(0, bytes(1), true);
});
afterEach(async () => {
  for (const one of Object.values(engines)) await one.dispose();
});

const sibling = (appliance: Appliance): Sibling => {
  const asked = async <T>(answer: () => T): Promise<T> => {
    looks += 1;
    const first = heldUp.get(appliance);
    heldUp.delete(appliance);
    await first?.();
    return answer();
  };
  return {
    volume: (id: VolumeId) => asked(() => engineOf(appliance).volume(id)),
    volumes: () => asked(() => engineOf(appliance).volumes()),
    isUp: () => true,
    close: () => undefined,
  };
};

/** Resolves when so many more questions have been asked. */
async function looked(more: number): Promise<void> {
  const end = looks + more;
  for (let wait = 0; looks < end && wait < 3_000; wait++) await systemClock.sleep(1);
  expect(looks).toBeGreaterThanOrEqual(end);
}

/** What hosts find that come in at one of the appliances. */
function exportsAt(appliance: Appliance) {
  const others = (['A1', 'A2', 'A3'] as const).filter((id) => id !== appliance);
  const siblings = new Siblings(new Map(others.map((id) => [id, sibling(id)])));
  siblings.open = async ({ appliance: at, id }) => engineOf(at as Appliance).open(volumeId(id));
  return clusterExports({
    ...{ engine: engineOf(appliance), siblings, clock: systemClock },
    access: new HostAccessTable(),
    io: new IoStatistics(systemClock),
    limits: new VolumeLimits(systemClock),
  });
}

/** The steps of a move from A1 to A2, as management takes them. */
async function depart(): Promise<() => Promise<void>> {
  const [from, to] = [engineOf('A1').moving, engineOf('A2').moving];
  const spec = { id: pointId(systemRandom.uuid()), kind: 'internal', instant_ms: 1, tag: {} } as const;
  const manifest = await from.depart(move, [volume], spec);
  await shipImages({ move, volumes: [volume] }, engineOf('A1'), engineOf('A2'));
  return async () => {
    await to.adopt(move, to.arrivals()[0]!.epoch, manifest);
    await from.departed(move);
  };
}

describe('a host of a volume that moves from the first appliance to the second', () => {
  it.each(['A1', 'A2', 'A3'] as const)(
    'at %s sees no error while it is on its way, and reads what it wrote',
    async (at) => {
      const opened = (await exportsAt(at).open('moving', client))!;
      const settle = await depart();
      const writing = Promise.resolve(opened.device.write(BLOCK_BYTES, bytes(2), true));
      const other = Promise.resolve(exportsAt(at).open('moving', client));
      // Nobody serves it yet, however often they look.
      await looked(20);
      await settle();
      await writing;
      for (const { device } of [opened, (await other)!]) {
        const back = new Uint8Array(2 * BLOCK_BYTES);
        await device.read(0, back);
        expect([back[0], back[BLOCK_BYTES]]).toEqual([1, 2]);
      }
      expect(engineOf('A2').volume(volume)).toMatchObject({ name: 'moving' });
    },
  );

  it.each(['A2', 'A3'] as const)(
    'at %s finds it when the first one is asked before and answers after it has moved',
    async (at) => {
      const exports = exportsAt(at);
      const opened = (await exports.open('moving', client))!;
      const settle = await depart();
      heldUp.set('A1', settle);
      await opened.device.write(BLOCK_BYTES, bytes(2), true);
      expect(engineOf('A2').volume(volume)).toMatchObject({ name: 'moving' });
    },
  );

  it.each(['A2', 'A3'] as const)('at %s opens it in that moment as well', async (at) => {
    heldUp.set('A1', await depart());
    expect(await exportsAt(at).open('moving', client)).toMatchObject({ name: 'moving' });
  });

  it('is told of a volume that was deleted', async () => {
    const opened = (await exportsAt('A3').open('moving', client))!;
    opened.device.close();
    await engineOf('A1').deleteVolume(volume);
    expect(await exportsAt('A3').open('moving', client)).toBeUndefined();
  });
});
