import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Disk } from './disk.ts';
import { openNodeDisk } from './node-disk.ts';
import { seededRandom } from './simulated/seeded-random.ts';
import { diskError, SimulatedDisk } from './simulated/simulated-disk.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function freshDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'disk-'));
  directories.push(directory);
  return join(directory, 'log');
}

const makers: { name: string; make(): Disk }[] = [
  { name: 'node', make: () => openNodeDisk(freshDirectory()) },
  { name: 'simulated', make: () => new SimulatedDisk({ random: seededRandom(1) }).mount() },
];

const bytes = (...values: number[]) => Uint8Array.from(values);

describe.each(makers)('disk: $name', ({ make }) => {
  it('reads what was written, in parts, at an offset, up to the end', async () => {
    const disk = make();
    const file = disk.open('a', 'create');
    file.writeSync([bytes(1, 2), bytes(), bytes(3)], 4);
    await file.sync();
    expect(file.size()).toBe(7);
    const target = new Uint8Array(8).fill(9);
    expect(file.readSync(target, 3)).toBe(4);
    expect(target).toEqual(bytes(0, 1, 2, 3, 9, 9, 9, 9));
    expect(await file.read(target, 6)).toBe(1);
    expect(target[0]).toBe(3);
    expect(await file.read(target, 100)).toBe(0);
    file.truncate(5);
    expect(file.size()).toBe(5);
    file.close();
    file.close();
  });

  it('takes more parts than one call of the kernel does', () => {
    const file = make().open('a', 'create');
    const parts = Array.from({ length: 3000 }, (_, i) => bytes(i & 255, i >> 8));
    file.writeSync(parts, 1);
    const target = new Uint8Array(6000);
    expect(file.readSync(target, 1)).toBe(6000);
    expect(Buffer.compare(target, Buffer.concat(parts))).toBe(0);
    file.close();
  });

  it('creates, lists, renames and removes names', async () => {
    const disk = make();
    disk.open('a', 'create').close();
    expect(() => disk.open('a', 'create')).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(() => disk.open('b', 'open')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    disk.rename('a', 'b');
    await disk.syncDirectory();
    expect(disk.list()).toEqual(['b']);
    disk.remove('b');
    expect(disk.list()).toEqual([]);
    const { total_bytes, free_bytes } = disk.space();
    expect(total_bytes).toBeGreaterThanOrEqual(free_bytes);
    expect(free_bytes).toBeGreaterThan(0);
  });
});

describe('node disk', () => {
  it('makes files that only their owner may read', () => {
    const directory = freshDirectory();
    const disk = openNodeDisk(directory);
    disk.open('a', 'create').close();
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, 'a')).mode & 0o777).toBe(0o600);
  });

  it('refuses names that lead out of its directory', () => {
    const disk = openNodeDisk(freshDirectory());
    for (const name of ['../a', 'a/b', '.', '..', ''])
      expect(() => disk.open(name, 'create')).toThrow('plain file name');
  });

  it('may be closed while a sync and a read are under way', async () => {
    const disk = openNodeDisk(freshDirectory());
    const file = disk.open('a', 'create');
    file.writeSync([new Uint8Array(1024 * 1024)], 0);
    const running = [file.sync(), file.read(new Uint8Array(4096), 0)];
    file.close();
    await Promise.all(running);
    expect(() => file.size()).toThrow('open');
  });
});

/** Every state that a file is seen in after a crash, over many seeds. */
async function outcomes(prepare: (disk: Disk) => Promise<void>, look: (disk: SimulatedDisk) => string) {
  const seen = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const disk = new SimulatedDisk({ random: seededRandom(seed) });
    await prepare(disk.mount());
    disk.crash();
    seen.add(look(disk));
  }
  return [...seen].sort();
}

const sector = (fill: number) => new Uint8Array(512).fill(fill);

describe('[C10.1] the simulated disk after a crash', () => {
  it('has every synced sector, and each other one as it was at some time', async () => {
    const seen = await outcomes(
      async (disk) => {
        const file = disk.open('a', 'create');
        await disk.syncDirectory();
        file.writeSync([sector(1), sector(1), sector(1)], 0);
        await file.sync();
        file.writeSync([sector(2), sector(2)], 0);
      },
      (disk) => [0, 512, 1024].map((at) => disk.contents('a')[at]).join(''),
    );
    expect(seen).toEqual(['111', '121', '211', '221']);
  });

  it('may lose, keep or half undo changes of names until the directory is synced', async () => {
    const seen = await outcomes(
      async (disk) => {
        const file = disk.open('old', 'create');
        file.writeSync([sector(1)], 0);
        await file.sync();
        await disk.syncDirectory();
        disk.rename('old', 'new');
        disk.open('other', 'create').close();
      },
      (disk) => disk.fileNames().join(),
    );
    expect(seen).toEqual(['new', 'new,other', 'old', 'old,other']);
  });

  it('[C6.4] has lost what a failed sync did not store, though a later sync succeeds', async () => {
    let lost = 0;
    for (let seed = 0; seed < 20; seed++) {
      const disk = new SimulatedDisk({ random: seededRandom(seed) });
      const file = disk.mount().open('a', 'create');
      file.writeSync([sector(0)], 0);
      await file.sync();
      await disk.mount().syncDirectory();
      file.writeSync([sector(7)], 0);
      disk.faults = { sync: () => diskError('EIO') };
      await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' });
      disk.faults = {};
      await file.sync();
      disk.crash();
      if (disk.contents('a')[0] === 0) lost++;
    }
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(20);
  });

  it('keeps everything when only the process dies, and loses it when the power goes later', async () => {
    const disk = new SimulatedDisk({ random: seededRandom(3) });
    const first = disk.mount();
    const file = first.open('a', 'create');
    file.writeSync([sector(5)], 0);
    disk.kill();
    expect(() => first.list()).toThrow('crashed');
    expect(disk.contents('a')[0]).toBe(5);
  });

  it('is full when its capacity is used up', () => {
    const disk = new SimulatedDisk({ random: seededRandom(1), capacity_bytes: 8192 });
    const mount = disk.mount();
    const file = mount.open('a', 'create');
    file.writeSync([new Uint8Array(8192)], 0);
    expect(mount.space().free_bytes).toBe(0);
    expect(() => file.writeSync([sector(1)], 8192)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    file.writeSync([sector(1)], 0);
  });
});
