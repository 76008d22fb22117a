import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { CheckpointStore } from './checkpoint-store.ts';
import { lmdbCheckpointStore } from './lmdb-checkpoint-store.ts';
import { seededRandom } from './simulated/seeded-random.ts';
import { SimulatedCheckpointStore } from './simulated/simulated-checkpoint-store.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function makers(): { name: string; make(): { open(): CheckpointStore } }[] {
  return [
    {
      name: 'lmdb',
      make() {
        const directory = mkdtempSync(join(tmpdir(), 'checkpoint-'));
        directories.push(directory);
        return { open: () => lmdbCheckpointStore(join(directory, 'index')) };
      },
    },
    {
      name: 'simulated',
      make() {
        const store = new SimulatedCheckpointStore({ random: seededRandom(1) });
        return { open: () => store.mount() };
      },
    },
  ];
}

const key = (...bytes: number[]) => Uint8Array.from(bytes);

describe.each(makers())('checkpoint store: $name', ({ make }) => {
  it('keeps what was committed, over a restart', async () => {
    const place = make();
    let store = place.open();
    await store.commit([
      { key: key(1, 0), value: key(9) },
      { key: key(1, 255), value: new Uint8Array(5000).fill(3) },
      { key: key(2), value: key() },
    ]);
    await store.commit([{ key: key(1, 0) }, { key: key(0, 0, 7), value: key(1, 2, 3) }]);
    await store.close();
    store = place.open();
    expect(store.get(key(1, 0))).toBeUndefined();
    expect(store.get(key(1, 255))).toEqual(new Uint8Array(5000).fill(3));
    expect(store.get(key(0, 0, 7))).toEqual(key(1, 2, 3));
    expect(store.get(key(2))?.length).toBe(0);
    await store.close();
  });

  it('gives keys in order within a half-open range', async () => {
    const store = make().open();
    const keys = [key(0), key(0, 0), key(0, 255), key(1), key(1, 0), key(127), key(128), key(255), key(255, 255)];
    await store.commit(keys.toReversed().map((each) => ({ key: each, value: key(1) })));
    expect([...store.keys(key(0), key(255, 255, 255))]).toEqual(keys);
    expect([...store.keys(key(0, 0), key(1, 0))]).toEqual([key(0, 0), key(0, 255), key(1)]);
    await store.close();
  });

  it('gives out values that are the caller’s own', async () => {
    const store = make().open();
    await store.commit([{ key: key(1), value: key(5, 5) }]);
    store.get(key(1))!.fill(0);
    expect(store.get(key(1))).toEqual(key(5, 5));
    await store.close();
  });

  it('takes thousands of pages in one commit', async () => {
    const store = make().open();
    const changes = Array.from({ length: 4096 }, (_, i) => {
      const name = new Uint8Array(16);
      new DataView(name.buffer).setUint32(8, Math.imul(i, 2654435761) >>> 0);
      return { key: name, value: new Uint8Array(2048).fill(i) };
    });
    await store.commit(changes);
    expect([...store.keys(key(0), key(255))].length).toBe(4096);
    expect(store.get(changes[4000]!.key)).toEqual(changes[4000]!.value);
    await store.close();
  });
});

describe('checkpoint stores', () => {
  it('the file on disk is for its owner only', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'checkpoint-'));
    directories.push(directory);
    const store = lmdbCheckpointStore(join(directory, 'index'));
    expect(statSync(join(directory, 'index')).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, 'index', 'checkpoint.mdb')).mode & 0o777).toBe(0o600);
    await store.close();
  });

  it('[C10.1] the simulated one falls back to an earlier committed state, never to a mixture', async () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 30; seed++) {
      const medium = new SimulatedCheckpointStore({ random: seededRandom(seed), fall_back_max: 3 });
      const store = medium.mount();
      for (let state = 1; state <= 5; state++) {
        await store.commit([
          { key: key(1), value: key(state) },
          { key: key(2), value: key(state) },
        ]);
      }
      medium.crash();
      expect(() => store.get(key(1))).toThrow('crashed');
      const after = medium.mount();
      expect(after.get(key(1))).toEqual(after.get(key(2)));
      seen.add(after.get(key(1))![0]!);
    }
    expect([...seen].sort()).toEqual([2, 3, 4, 5]);
  });
});
