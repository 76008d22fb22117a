import { afterEach, describe, expect, it } from 'vitest';
import { eventually, MiB, noise } from './pair.ts';
import { Solo } from './solo.ts';

/** A supervisor that was killed, and what it leaves. */
const before = new Solo();
const after = new Solo(before.directory);
let stopped: number | undefined;
afterEach(async () => {
  if (stopped !== undefined) process.kill(stopped, 'SIGCONT');
  await after.stop();
  await before.remove();
});

describe('a supervisor that is killed and started again at once', () => {
  it('waits for the data plane that the dead one left: never do two write one log [C9.1]', async () => {
    await before.start();
    await before.client.create('volume', { name: 'left', size: 16 * MiB });
    const host = await before.device('left');
    await host.write(0, noise(MiB, 1), { fua: true });
    // A data plane that takes its time to end, as one with much to write does.
    stopped = before.processOf('dataplane');
    process.kill(stopped, 'SIGSTOP');
    before.killSupervisor();
    let ready = false;
    const starting = after.start().then(() => {
      ready = true;
    });
    await eventually('the new one to wait', async () => after.said.includes('waiting for a process of the last run'));
    expect(ready).toBe(false);
    expect((await after.command('fsck', '--data', after.data)).err).toContain('in use');
    process.kill(stopped, 'SIGCONT');
    stopped = undefined;
    await starting;
    const bytes = new Uint8Array(MiB);
    const again = await after.device('left');
    await again.read(0, bytes);
    await again.close();
    expect(Buffer.compare(bytes, noise(MiB, 1))).toBe(0);
    expect(await after.stop()).toBe(0);
    expect((await after.command('fsck', '--data', after.data)).code).toBe(0);
  });
});
