import { systemClock } from '@antipode/base';
import { expect, it } from 'vitest';
import type { PeerSocket } from './data-network.ts';
import { FrameLink } from './frame-link.ts';
import { receiveInto } from './receive-into.ts';
import { testIdentity } from './test-identity.ts';
import { tlsNetwork } from './tls-network.ts';

/** Both ends of a TLS connection. */
async function connected(): Promise<{ near: PeerSocket; far: PeerSocket; close(): Promise<void> }> {
  const [here, there] = await Promise.all([testIdentity('London'), testIdentity('Osaka')]);
  let listener: ReturnType<typeof tlsNetwork.listener> | undefined;
  const taken = new Promise<PeerSocket>((resolve) => {
    listener = tlsNetwork.listener(there, ({ socket }) => resolve(socket));
  });
  const { host, port } = await listener!.listen({ host: '127.0.0.1', port: 0 });
  const peer = { host, port, fingerprint: there.fingerprint };
  const { socket } = await tlsNetwork.connect(peer, here, systemClock);
  return { near: socket, far: await taken, close: () => listener!.close() };
}

/** Pieces into which bytes came, each in memory of `most` bytes; resolves when `length` have come. */
function gathered(socket: PeerSocket, most: number, length: number): Promise<readonly Buffer[]> {
  const pieces: Buffer[] = [];
  let left = length;
  let target = Buffer.alloc(most);
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    const into = receiveInto(socket, {
      target: () => target,
      arrived(count) {
        pieces.push(target.subarray(0, count));
        target = Buffer.alloc(most);
        left -= count;
        if (left === 0) resolve(pieces);
      },
    });
    // On a Node that works otherwise a link takes Node's own buffers: slower, and nothing else.
    if (!into) reject(new Error('this Node receives in another way'));
  });
}

it('either end of a TLS connection receives into memory of ours, also what came before it was asked to', async () => {
  const { near, far, close } = await connected();
  const bytes = Buffer.from(Array.from({ length: 50_000 }, (_, index) => index % 251));
  // Before anybody listens there.
  await new Promise<void>((resolve) => near.write(bytes.subarray(0, 3000), resolve));
  const back = gathered(near, 700, 1000);
  far.write(bytes.subarray(0, 1000));
  expect(Buffer.concat(await back).equals(bytes.subarray(0, 1000))).toBe(true);
  const there = gathered(far, 1024, bytes.length);
  near.write(bytes.subarray(3000));
  const pieces = await there;
  expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(1024);
  near.destroy();
  await close();
});

it('frames of any size come whole over a link, in order, and its payloads are taken when it ends', async () => {
  const { near, far, close } = await connected();
  const [from, to] = [new FrameLink(near, systemClock), new FrameLink(far, systemClock)];
  const sizes = [4104, 8, 1_050_624, 16_384, 0, 999_999, 16_385, 65_536, 3_000_000];
  const payloads = sizes.map((length, seed) => Buffer.alloc(length, Buffer.from([seed + 1, 7 * seed, 200 - seed])));
  const runs = [[0, 1, 1]] as const;
  let taken = 0;
  const sending = (async () => {
    for (const payload of payloads)
      await from.send({ type: 'runs', point: 0, pair: 0, runs }, payload, () => (taken += 1));
  })();
  for (const payload of payloads) {
    const frame = await to.next();
    expect(payload.equals(frame.payload)).toBe(true);
    frame.release();
  }
  await sending;
  // Nobody reads these: what the socket cannot take is given back by the end of the link.
  for (let more = 0; more < 40; more++)
    void from.send({ type: 'runs', point: 0, pair: 0, runs }, payloads[2]!, () => (taken += 1))?.catch(() => undefined);
  const gone = new Promise<void>((resolve) => near.once('close', resolve));
  from.close();
  await gone;
  await expect.poll(() => taken, { timeout: 30_000 }).toBe(payloads.length + 40);
  to.close();
  await close();
});
