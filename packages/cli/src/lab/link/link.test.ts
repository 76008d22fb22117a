import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { type Clock, systemClock } from '@antipode/base';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { limits } from '../../limits.ts';
import { Lane } from './lane.ts';
import { Link } from './link.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A link with one route to a server that answers every byte with itself. */
async function linkToEcho(): Promise<{ link: Link; dial: () => Socket; server: Server; accepted: Socket[] }> {
  const accepted: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const link = new Link(
    [{ to: 'first', listen: { host: '127.0.0.1', port: 0 }, target: { host: '127.0.0.1', port } }],
    systemClock,
  );
  const [address] = await link.start();
  cleanups.push(async () => {
    await link.stop();
    for (const socket of accepted) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const dial = (): Socket => {
    const socket = createConnection({ host: '127.0.0.1', port: address?.port ?? 0, allowHalfOpen: true });
    cleanups.push(() => void socket.destroy());
    return socket;
  };
  return { link, dial, server, accepted };
}

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const closeReason = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let reason = 'closed';
    socket.on('error', (error: NodeJS.ErrnoException) => {
      reason = error.code ?? error.message;
    });
    socket.on('close', () => resolve(reason));
    socket.resume();
  });

describe('link', () => {
  test('carries bytes unchanged both ways and ends connections when they end', async () => {
    const { link, dial } = await linkToEcho();
    const sent = randomBytes(3 * limits.linkWindow_bytes + 12_345);
    const socket = dial();
    socket.end(sent);
    expect((await readAll(socket)).equals(sent)).toBe(true);
    expect(link.state()).toMatchObject({ state: 'up', passed_bytes: 2 * sent.length });
  });

  test('a cut ends open connections, refuses new ones, and healing lets them pass again', async () => {
    const { link, dial, accepted } = await linkToEcho();
    const before = dial();
    before.write('x');
    await once(before, 'data');
    expect(link.state().connections).toBe(1);
    const ended = closeReason(before);
    expect(link.change({ cut: true })).toMatchObject({ state: 'cut' });
    expect(await ended).toBe('ECONNRESET');
    const refused = dial();
    refused.write('y');
    expect(await closeReason(refused)).toMatch(/ECONNRESET|EPIPE|closed/);
    expect(accepted).toHaveLength(1);
    expect(link.change({ cut: false })).toMatchObject({ state: 'up' });
    const after = dial();
    after.end('z');
    expect((await readAll(after)).toString()).toBe('z');
  });

  test('the other end of a cut connection ends as well', async () => {
    const { link, dial, accepted } = await linkToEcho();
    const socket = dial();
    socket.on('error', () => undefined);
    socket.write('x');
    await once(socket, 'data');
    const far = accepted[0];
    if (far === undefined) throw new Error('nothing was accepted');
    const ended = closeReason(far);
    link.change({ cut: true });
    expect(await ended).toBe('ECONNRESET');
  });

  test('however connections end, a stopped link holds none of them open', async () => {
    const held = () => process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCPSocket')).length;
    const chance = (of: number) => randomInt(of) === 0;
    for (let round = 0; round < 8; round += 1) {
      const { link, dial, server, accepted } = await linkToEcho();
      const open = new Set<Socket>();
      const converse = (): void => {
        const socket = dial();
        open.add(socket);
        socket.on('error', () => undefined);
        socket.on('data', () => {
          if (chance(40)) socket.end();
          else if (chance(80)) socket.destroy();
          else if (chance(10) && !socket.destroyed) socket.write(Buffer.alloc(randomInt(100_000)));
        });
        socket.write(Buffer.alloc(randomInt(3_000_000)));
      };
      for (let step = 0; step < 40; step += 1) {
        converse();
        converse();
        if (chance(4)) link.change({ cut: chance(2) });
        if (chance(4)) link.change({ rate_bps: chance(2) ? 10e9 : 80e6, delay_ms: randomInt(4) });
        if (chance(6)) for (const socket of open) if (chance(2)) socket.end();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await link.stop();
      for (const socket of [...open, ...accepted]) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(held()).toBe(0);
  });

  test('with rate and delay every byte still arrives, in order, on many connections', async () => {
    const { link, dial } = await linkToEcho();
    link.change({ rate_bps: 200e6, delay_ms: 3 });
    const sent = Array.from({ length: 4 }, () => randomBytes(300_000));
    const received = await Promise.all(
      sent.map((bytes) => {
        const socket = dial();
        socket.end(bytes);
        return readAll(socket);
      }),
    );
    for (const [i, bytes] of received.entries()) expect(bytes.equals(sent[i] ?? Buffer.alloc(0))).toBe(true);
  });

  test('a target that is not there ends the connection', async () => {
    const { dial, server, accepted } = await linkToEcho();
    for (const socket of accepted) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    const socket = dial();
    expect(await closeReason(socket)).toMatch(/ECONNRESET|closed/);
  });
});

/** A clock that a test moves. */
class TestClock implements Clock {
  time_ms = 0;
  #timers: { at_ms: number; callback: () => void }[] = [];
  now = () => this.time_ms;
  monotonic = () => this.time_ms;
  sleep = () => Promise.reject(new Error('not used'));

  after(delay_ms: number, callback: () => void) {
    const timer = { at_ms: this.time_ms + delay_ms, callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  advance(ms: number): void {
    const until_ms = this.time_ms + ms;
    while (true) {
      const next = this.#timers.sort((a, b) => a.at_ms - b.at_ms)[0];
      if (next === undefined || next.at_ms > until_ms) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.time_ms = next.at_ms;
      next.callback();
    }
    this.time_ms = until_ms;
  }
}

describe('lane', () => {
  test('1: parcels leave in the order they came, whatever the changes; 2: no faster than the rate', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('send' as const), bytes: fc.integer({ min: 1, max: 65_536 }) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 50 }) }),
      fc.record({ kind: fc.constant('delay' as const), ms: fc.integer({ min: 0, max: 30 }) }),
    );
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 60 }),
        fc.integer({ min: 1e6, max: 1e9 }),
        (operations, rate_bps) => {
          const clock = new TestClock();
          const lane = new Lane(clock);
          lane.shape({ rate_bps, delay_ms: 0 });
          const left: { id: number; at_ms: number; bytes: number }[] = [];
          let sent = 0;
          for (const step of operations) {
            if (step.kind === 'send') {
              const id = sent;
              sent += 1;
              lane.send(step.bytes, () => left.push({ id, at_ms: clock.time_ms, bytes: step.bytes }));
            } else if (step.kind === 'wait') clock.advance(step.ms);
            else lane.shape({ rate_bps, delay_ms: step.ms });
          }
          clock.advance(100_000);
          expect(left.map(({ id }) => id)).toEqual(Array.from({ length: sent }, (_, i) => i));
          for (let i = 0; i < left.length; i += 1) {
            let bytes = 0;
            for (let j = i; j < left.length; j += 1) {
              const over_ms = (left[j]?.at_ms ?? 0) - (left[i]?.at_ms ?? 0);
              // All but the last parcel of a stretch have used the wire within it.
              expect(bytes * 8).toBeLessThanOrEqual((rate_bps / 1000) * (over_ms + limits.linkBurst_ms) + 1);
              bytes += left[j]?.bytes ?? 0;
            }
          }
        },
      ),
    );
  });

  test('a delay holds every parcel for its time', () => {
    const clock = new TestClock();
    const lane = new Lane(clock);
    lane.shape({ rate_bps: null, delay_ms: 50 });
    const at: number[] = [];
    lane.send(10, () => at.push(clock.time_ms));
    clock.advance(20);
    lane.send(10, () => at.push(clock.time_ms));
    clock.advance(1000);
    expect(at).toEqual([50, 70]);
  });

  test('3: lifting a limit frees what waits at once', () => {
    const clock = new TestClock();
    const lane = new Lane(clock);
    lane.shape({ rate_bps: 1000, delay_ms: 0 });
    let left = 0;
    for (let i = 0; i < 10; i += 1) lane.send(100_000, () => left++);
    expect(left).toBe(1);
    clock.advance(1000);
    expect(left).toBe(1);
    lane.shape({ rate_bps: null, delay_ms: 0 });
    expect(left).toBe(10);
  });
});
