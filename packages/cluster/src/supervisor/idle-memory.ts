import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '@antipode/base';

const look_ms = 5_000;
/** Less processor time than this in a period counts as idle. */
const idle_us = 100_000;

/**
 * Gives memory back when a process has become idle after work: V8 leaves garbage and its buffers alone as long as nobody asks for
 * more, which on a quiet cluster can be for ever, and the C library keeps what was freed between things that live. Once after each
 * busy time, never during it.
 */
export function collectWhenIdle(clock: Clock): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let busy = true;
  let before = process.cpuUsage();
  const look = async () => {
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    const idle = user + system < idle_us;
    if (idle && busy) {
      collect();
      await trim();
      before = process.cpuUsage();
    }
    busy = !idle;
    clock.after(look_ms, () => void look());
  };
  clock.after(look_ms, () => void look());
}

let trimming: Promise<() => void> | undefined;

/** Gives freed pages back to the system wherever they lie (malloc_trim(3)); nothing on a C library without that. */
async function trim(): Promise<void> {
  trimming ??= findTrim();
  (await trimming)();
}

async function findTrim(): Promise<() => void> {
  try {
    const { default: koffi } = await import('koffi');
    const mallocTrim = koffi.load('libc.so.6').func('int malloc_trim(size_t pad)') as (pad: number) => number;
    return () => void mallocTrim(0);
  } catch {
    // Not glibc, or a system without a prebuilt binary: memory stays as it is, nothing else changes.
    return () => undefined;
  }
}
