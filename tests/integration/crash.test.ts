import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, MiB, noise, Pair, readVolume } from './pair.ts';

const pair = new Pair();
beforeAll(() => pair.start());
afterAll(() => pair.stop());

describe('kill -9 is an ordinary restart', () => {
  it.each([
    ['the source cluster', 'a', 'all'],
    ['the destination cluster', 'b', 'all'],
    ['the source’s data plane', 'a', 'dataplane'],
    ['the destination’s data plane', 'b', 'dataplane'],
    ['the source’s management', 'a', 'management'],
    ['the destination’s management', 'b', 'management'],
  ] as const)(
    '%s in the middle of a copy: the session ends healthy and the images equal [C3.6] [C7.2]',
    async (name, side, which) => {
      const volume = `kill-${name.replace(/[^a-z]+/g, '-')}`;
      const bytes = 24 * MiB;
      await pair.link('--rate', '120mbit');
      const { session } = await pair.protect(volume, 64 * MiB, { fill: noise(bytes, 1), wait: false });
      await eventually(
        'some of the copy to be durable',
        async () => ((await pair.figures(pair.a, session)).copied_bytes ?? 0) > 0,
      );
      await pair.kill(pair[side], which);
      await pair.link('--rate', '10gbit');
      await pair.settled(session);
      // What was killed when the copy was complete may still be on its way back.
      await eventually('both to serve it', async () => {
        await Promise.all([pair.a, pair.b].map((site) => readVolume(site, volume)));
        return true;
      });
      expect(Buffer.compare(await readVolume(pair.a, volume), await readVolume(pair.b, volume))).toBe(0);
      const { shipped_bytes_total } = await pair.figures(pair.a, session);
      // What was on its way when the process died is sent once more, and no more than that.
      expect(shipped_bytes_total).toBeLessThanOrEqual(bytes + 64 * MiB);
    },
  );

  it('what a host was told is on stable storage survives the death of the data plane, and the host reconnects [C9.1]', async () => {
    const id = await pair.a.client.create('volume', { name: 'survivor', size: 16 * MiB });
    const host = await pair.a.open('survivor');
    await host.write(0, noise(MiB, 5));
    await host.flush();
    await host.write(MiB, noise(4096, 6), { fua: true });
    await pair.kill(pair.a, 'dataplane');
    expect(await host.closed).toBeDefined();
    let bytes = new Uint8Array();
    await eventually('the export to be back', async () => {
      bytes = await readVolume(pair.a, 'survivor').catch(() => new Uint8Array());
      return bytes.length > 0;
    });
    expect(Buffer.compare(bytes.subarray(0, MiB), noise(MiB, 5))).toBe(0);
    expect(Buffer.compare(bytes.subarray(MiB, MiB + 4096), noise(4096, 6))).toBe(0);
    await pair.a.client.remove('volume', id);
  });

  it('the loss of management does not stop a host’s I/O [C9.1]', async () => {
    await pair.a.client.create('volume', { name: 'steady', size: 16 * MiB });
    const host = await pair.a.open('steady');
    await pair.kill(pair.a, 'management');
    for (let at = 0; at < 8 * MiB; at += MiB) await host.write(at, noise(MiB, at + 1));
    await host.flush();
    await host.close();
    await eventually('management to be back', async () =>
      (await pair.a.client.all('volume', { select: 'name' })).some((volume) => volume.name === 'steady'),
    );
  });
});
