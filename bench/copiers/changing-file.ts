import { randomFillSync, randomInt } from 'node:crypto';
import { open } from 'node:fs/promises';

const piece = 2 ** 20;
const block = 4096;

/** Writes a file whole with bytes that do not compress, and to the disk. */
export async function writeWhole(path: string, size: number): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    const bytes = Buffer.allocUnsafe(piece);
    for (let at = 0; at < size; at += piece) await file.write(randomFillSync(bytes), 0, Math.min(piece, size - at), at);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Rewrites a share (0 to 1) of a file in 4 KiB blocks at random, and to the disk. */
export async function changeShare(path: string, size: number, share: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const bytes = Buffer.allocUnsafe(block);
    for (let left = Math.floor((size * share) / block); left > 0; left -= 1)
      await file.write(randomFillSync(bytes), 0, block, randomInt(Math.floor(size / block)) * block);
    await file.sync();
  } finally {
    await file.close();
  }
}
