import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '@antipode/base';

const look_ms = 5_000;
/** Less processor time than this in a period counts as idle. */
const idle_us = 100_000;

/**
 * Gives memory back when a process has become idle after work: V8 leaves garbage and its buffers alone as long as nobody asks for
 * more, which on a quiet cluster can be for ever. Once after each busy time, never during it.
 */
export function collectWhenIdle(clock: Clock): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let busy = true;
  let before = process.cpuUsage();
  const look = () => {
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    const idle = user + system < idle_us;
    if (idle && busy) {
      collect();
      before = process.cpuUsage();
    }
    busy = !idle;
    clock.after(look_ms, look);
  };
  clock.after(look_ms, look);
}
