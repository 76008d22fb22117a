import { startNbdServer } from '@antipode/hosts';
import { MemoryDevice } from '@antipode/hosts/testing';
import { afterEach, expect, test } from 'vitest';
import { FatImage } from '../image/fat-image.ts';
import { openHostVolume, refusalOf } from './host-volume.ts';
import { digestVolume, writeImage } from './volume-io.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function serve(device: MemoryDevice): Promise<string> {
  const server = await startNbdServer({
    listen: { host: '127.0.0.1', port: 0 },
    exports: {
      list: () => [{ name: 'v' }],
      open: (name) => (name === 'v' ? { name, device: device.opened() } : undefined),
    },
  });
  cleanups.push(() => server.close());
  return `nbd://127.0.0.1:${server.address().port}`;
}

test('an image written over NBD reads back bit for bit, and is flushed', async () => {
  const device = new MemoryDevice(16 * 2 ** 20);
  const nbd = await serve(device);
  const image = new FatImage({ size_bytes: 16 * 2 ** 20, seed: 8, generation: 1 });
  const volume = await openHostVolume(nbd, 'v');
  cleanups.push(() => volume.close());
  expect(volume.size_bytes).toBe(16 * 2 ** 20);
  expect(volume.isReadOnly).toBe(false);
  const fractions: number[] = [];
  const written = await writeImage(volume, image, image.ranges(), (fraction) => fractions.push(fraction));
  expect(written).toBe(image.ranges().reduce((sum, range) => sum + range.length, 0));
  expect(device.calls.at(-1)).toEqual({ kind: 'flush' });
  expect(fractions.at(-1)).toBe(1);
  expect(await digestVolume(volume, () => undefined)).toBe(image.sha256());
});

test('a refused write says EPERM, a volume that is not there says so', async () => {
  const device = new MemoryDevice(2 ** 20);
  device.mode = 'read_only';
  const nbd = await serve(device);
  const volume = await openHostVolume(nbd, 'v');
  cleanups.push(() => volume.close());
  expect(volume.isReadOnly).toBe(true);
  expect(await volume.write(0, new Uint8Array(4096)).catch(refusalOf)).toBe('EPERM');
  expect(await volume.read(0, 4096)).toEqual(new Uint8Array(4096));
  await expect(openHostVolume(nbd, 'w')).rejects.toThrow();
});
