import { type AddressInfo, createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { cycleId, systemClock } from '@antipode/base';
import type { BlockEngine } from '@antipode/blocks';
import { afterEach, describe, expect, it } from 'vitest';
import { noise, TwoSites, theGeneration, theSession, type Wrap } from './testing/two-sites.ts';
import { connectLink } from './transfer/connect-link.ts';
import { FrameLink } from './transfer/frame-link.ts';
import { tlsLinks } from './transfer/frame-links.ts';
import type { PeerEndpoint } from './transfer/types.ts';

const MiB = 1024 * 1024;
/** A test that hangs instead of ending soon has failed. */
const soon_ms = 5_000;
const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});
async function sites(wrap?: Wrap): Promise<TwoSites> {
  const two = await TwoSites.open({ sizes: [4 * MiB], ...(wrap && { wrap }) });
  cleanups.push(() => two.close());
  return two;
}

/** Listens, and leaves nothing behind. */
async function listening(server: Server, fingerprint: string): Promise<PeerEndpoint> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, fingerprint };
}

describe('a link', () => {
  it('that ends while an answer waits for room harms nobody', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', note);
    cleanups.push(() => process.off('unhandledRejection', note));
    const [near, far] = duplexPair();
    const link = new FrameLink(Object.assign(near, { setNoDelay: () => near }) as unknown as TLSSocket, systemClock);
    // Nobody reads at the far end: what is sent stays here, and the answer to the ping stays behind it.
    const waiting = link.send({ type: 'runs', point: 0, pair: 0, runs: [[0, 1, 0]] }, new Uint8Array(4 * MiB));
    const blocked = expect(waiting).rejects.toThrow('gone');
    const header = Buffer.from('{"type":"ping"}');
    const ping = Buffer.alloc(16 + header.length);
    ping.writeUInt32LE(0x31504e41, 0);
    ping.writeUInt8(1, 4);
    ping.writeUInt8(15, 5);
    ping.writeUInt32LE(header.length, 8);
    header.copy(ping, 16);
    await new Promise<void>((resolve) => far.write(ping, () => resolve()));
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    link.close(new Error('gone'));
    await blocked;
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
  });
});

describe('a destination', () => {
  it('commits nothing that it has not proven on the same connection since the last change [C8.3]', async () => {
    const two = await sites();
    await two.source.open(two.locals[0]!).write(0, noise(MiB, 1), false);
    const plan = two.plan([await two.freeze()]);
    expect((await two.shipper.ship({ plan, peer: two.endpoint, end: 'prove' })).kind).toBe('done');
    const mirrored = { ...plan, pairs: plan.pairs.map(({ local, remote }) => ({ local: remote, remote: local })) };
    const digests = [await two.source.digest(two.locals[0]!, plan.points[0]!.id)];
    const end = async (prove: boolean, claimed: readonly string[]) => {
      const link = await connectLink(tlsLinks(two.here, systemClock), two.endpoint, 'A', systemClock);
      await link.send({ type: 'open', plan: mirrored });
      if (prove) await link.send({ type: 'prove' });
      await link.send({ type: 'commit', digests: claimed });
      for (;;) {
        const { message } = await link.next();
        if (message.type !== 'refused' && message.type !== 'committed') continue;
        link.close();
        return message.type === 'refused' ? message.code : message.type;
      }
    };
    expect(await end(false, digests)).toBe('bad_message');
    expect(await end(true, ['ab'.repeat(32)])).toBe('bad_message');
    expect(two.target.half(theSession)?.base).toBeUndefined();
    expect(await end(true, digests)).toBe('committed');
    expect(two.target.half(theSession)?.base?.digests).toEqual(digests);
  });

  it('is closed when nothing of it touches the engine any more', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let reached: () => void = () => undefined;
    const began = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const two = await sites(
      (engine) =>
        new Proxy<BlockEngine>(engine, {
          get: (same, key) =>
            key === 'writeStage'
              ? async (...call: Parameters<BlockEngine['writeStage']>) => {
                  reached();
                  await held;
                  return same.writeStage(...call);
                }
              : Reflect.get(same, key),
        }),
    );
    await two.source.open(two.locals[0]!).write(0, noise(MiB, 2), false);
    const shipping = two.ship(two.plan([await two.freeze()]));
    await began;
    let closed = false;
    const closing = two.closeReceiver().then(() => {
      closed = true;
    });
    expect((await shipping).kind).toBe('failed');
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(false);
    release();
    await closing;
  });

  it(
    'does not wait with its closing for a connection that never said a word',
    async () => {
      const two = await sites();
      const socket = netConnect(two.endpoint.port, two.endpoint.host);
      cleanups.push(() => socket.destroy());
      await new Promise((resolve) => socket.once('connect', resolve));
      await two.closeReceiver();
    },
    soon_ms,
  );
});

describe('a source', () => {
  it('says that versions do not fit, and does not try again by itself [C9.4]', async () => {
    const two = await sites();
    const server = createTlsServer({
      cert: two.there.certificate,
      key: two.there.privateKey,
      requestCert: true,
      rejectUnauthorized: false,
    });
    let answer: 'refused' | 'hello' = 'refused';
    server.on('secureConnection', (socket: TLSSocket) => {
      const link = new FrameLink(socket, systemClock);
      void link
        .next()
        .then(() =>
          answer === 'refused'
            ? link.send({ type: 'refused', code: 'protocol_mismatch', message: 'versions 7 to 8' })
            : link.send({ type: 'hello', oldest: 7, newest: 8, serial: 'B' }),
        )
        .catch(() => undefined);
    });
    const peer = await listening(server, two.there.fingerprint);
    const plan = two.plan([await two.freeze()]);
    const mismatch = { kind: 'failed', failure: { code: 'protocol_mismatch', retry: false } };
    expect(await two.ship(plan, peer)).toMatchObject(mismatch);
    answer = 'hello';
    expect(await two.ship(plan, peer)).toMatchObject(mismatch);
  });

  it(
    'stops at once: while it keeps to a rate, and while a peer does not answer',
    async () => {
      const two = await sites();
      await two.source.open(two.locals[0]!).write(0, noise(2 * MiB, 3), false);
      const plan = two.plan([await two.freeze()]);
      const cancelled = { kind: 'failed', failure: { code: 'cancelled' } };
      let told: () => void = () => undefined;
      const copying = new Promise<void>((resolve) => {
        told = resolve;
      });
      const slow = two.shipper.ship({ plan, peer: two.endpoint, end: 'commit', rate_bytes_s: 1024 }, told);
      await copying;
      await two.shipper.cancel(theSession);
      expect(await slow).toMatchObject(cancelled);
      const silent = await listening(createServer(), two.there.fingerprint);
      const waiting = two.ship(plan, silent);
      await two.shipper.cancel(theSession);
      expect(await waiting).toMatchObject(cancelled);
    },
    soon_ms,
  );

  it('ships one cycle of a session at a time, the one asked for last', async () => {
    const two = await sites();
    await two.source.open(two.locals[0]!).write(0, noise(2 * MiB, 4), false);
    const plan = two.plan([await two.freeze()]);
    const order = (name: string) => ({
      plan: { ...plan, cycle: cycleId(name), generation: theGeneration },
      peer: two.endpoint,
      end: 'commit' as const,
    });
    const outcomes = await Promise.all(['x', 'y', 'z'].map((name) => two.shipper.ship(order(name))));
    const ends = outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.failure.code : 'done'));
    expect(ends).toEqual(['cancelled', 'cancelled', 'done']);
  });
});
