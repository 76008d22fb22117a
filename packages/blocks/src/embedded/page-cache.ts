import { readSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** What the system's cache of file pages has, read without waiting for the medium. */
export interface PageCache {
  /** Fills `target` from `offset` of an open file; false when that would take a wait, or cannot be done for another reason. */
  read(handle: number, target: Uint8Array, offset: number): boolean;
}

/** The cache as the kernel knows it, or where that cannot be asked, a guess. */
export async function openPageCache(): Promise<PageCache> {
  return (await kernelPageCache()) ?? guessedPageCache();
}

const RWF_NOWAIT = 8;
const EOPNOTSUPP = 95;
const WORD = 2 ** 32;

/** Linux' preadv2(2) with RWF_NOWAIT. On a miss the kernel begins to read ahead, so that the wait elsewhere is shorter already. */
async function kernelPageCache(): Promise<PageCache | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const { default: koffi } = await import('koffi');
    const preadv2 = koffi.load('libc.so.6').func('preadv2', 'int64', ['int', 'void *', 'int', 'int64', 'int']) as (
      handle: number,
      vector: Uint32Array,
      vectors: number,
      offset: number,
      flags: number,
    ) => number;
    // One struct iovec: where to, and how much; little-endian words of 64 bits.
    const vector = new Uint32Array(4);
    const guess = guessedPageCache();
    let answers = true;
    return {
      read(handle, target, offset) {
        if (!answers) return guess.read(handle, target, offset);
        const address = Number(koffi.address(target));
        vector[0] = address % WORD;
        vector[1] = address / WORD;
        vector[2] = target.length;
        const got = preadv2(handle, vector, 1, offset, RWF_NOWAIT);
        // A file system that does not know the flag: nor will it for the next file.
        if (got < 0 && koffi.errno() === EOPNOTSUPP) answers = false;
        return got === target.length;
      },
    };
  } catch {
    // Another C library, or a system without a prebuilt binary.
    return undefined;
  }
}

/** A read that takes longer than this has waited for the medium, ms. */
const slow_ms = 0.3;
/** Reads that are not tried after a slow one, at first and at most: it doubles while the medium is found slow. */
const asideLeast = 16;
const asideMost = 1024;

/** Reads, and looks how long it took: after a slow one the next ones are said to be absent, and then one is tried again. */
export function guessedPageCache(now: () => number = () => performance.now(), read = readSync): PageCache {
  let aside = 0;
  let next = asideLeast;
  return {
    read(handle, target, offset) {
      if (aside > 0) {
        aside -= 1;
        return false;
      }
      const start = now();
      let whole = false;
      try {
        whole = read(handle, target, 0, target.length, offset) === target.length;
      } catch {
        // Told by the read that follows.
      }
      if (now() - start <= slow_ms) {
        next = asideLeast;
        return whole;
      }
      aside = next;
      next = Math.min(2 * next, asideMost);
      return whole;
    },
  };
}
