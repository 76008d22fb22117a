import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, connect as netConnect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cycleId, pointId, sessionId, systemClock, volumeId } from '@antipode/base';
import { BLOCK_BYTES, type BlockEngine, type CyclePlan, type Generation, openEmbeddedEngine } from '@antipode/blocks';
import { readAll } from '@antipode/blocks/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tlsLinks } from './frame-links.ts';
import { transferLimits } from './limits.ts';
import type { Links } from './link.ts';
import { type LinkThread, startLinkThread } from './link-thread.ts';
import { createReceiver } from './receiver.ts';
import { createShipper } from './shipper.ts';
import { testIdentity } from './test-identity.ts';
import type { Admission, PeerEndpoint, ShipOutcome } from './types.ts';

const MiB = 1024 * 1024;
const session = sessionId('s');
const a = volumeId('a');
const b = volumeId('b');
const generation: Generation = { number: 1, site: 'A', nonce: 'n' };
type Identity = Awaited<ReturnType<typeof testIdentity>>;
let here: Identity;
let there: Identity;
let stranger: Identity;
beforeAll(async () => {
  [here, there, stranger] = await Promise.all([testIdentity('here'), testIdentity('there'), testIdentity('stranger')]);
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

let linksOf: (identity: Identity) => Links;

/** A thread takes its time to start: those of all tests are the same. */
const threads = new Map<Identity, LinkThread>();
afterAll(() => Promise.all([...threads.values()].map((thread) => thread.close())));

function threadOf(identity: Identity): Links {
  const known = threads.get(identity) ?? startLinkThread(identity);
  threads.set(identity, known);
  return known;
}

async function engine(): Promise<BlockEngine> {
  const directory = await mkdtemp(join(tmpdir(), 'antipode-transfer-'));
  const opened = await openEmbeddedEngine({ directory });
  cleanups.push(async () => {
    await opened.close();
    await rm(directory, { recursive: true, force: true });
  });
  return opened;
}

/** Two engines that hold the two halves of one session, and the channel between them. */
async function pair(size: number, wrap: (engine: BlockEngine) => BlockEngine = (same) => same) {
  const source = await engine();
  const target = await engine();
  await source.createVolume({ id: a, name: 'v', size, tag: {} });
  await target.createVolume({ id: b, name: 'v', size, destination: true, tag: {} });
  await source.createHalf({ session, role: 'source', generation, pairs: [{ local: a, remote: b }], tag: {} });
  await target.createHalf({ session, role: 'destination', generation, pairs: [{ local: b, remote: a }], tag: {} });
  let admission: Admission = { admit: true };
  const receiver = createReceiver({
    engine: wrap(target),
    links: linksOf(there),
    clock: systemClock,
    localSerial: 'B',
    peers: () => [here.fingerprint],
    admit: () => admission,
  });
  const address = await receiver.listen({ host: '127.0.0.1', port: 0 });
  cleanups.push(() => receiver.close());
  const endpoint: PeerEndpoint = { ...address, fingerprint: there.fingerprint };
  const shipper = createShipper({ engine: source, links: linksOf(here), clock: systemClock, localSerial: 'A' });
  let number = 0;
  const freeze = async (): Promise<CyclePlan> => {
    number += 1;
    const base = source.half(session)?.base?.point;
    const point = { id: pointId(`p${number}`), kind: 'internal' as const, instant_ms: number, tag: { session } };
    await source.freeze(point, [a], 'cycle');
    return {
      session,
      cycle: cycleId(`c${number}`),
      generation,
      ...(base && { base }),
      points: [{ ...point, sizes: [source.volume(a)!.size] }],
      pairs: [{ local: a, remote: b }],
    };
  };
  const finish = async (plan: CyclePlan, outcome: ShipOutcome) => {
    if (outcome.kind !== 'done') throw new Error(`${outcome.failure.code}: ${outcome.failure.message}`);
    await source.advanceBase(session, generation, { point: plan.points[0]!.id, digests: outcome.digests });
    return outcome.progress;
  };
  const cycle = async () => {
    const plan = await freeze();
    return finish(plan, await shipper.ship({ plan, peer: endpoint, end: 'commit' }));
  };
  const setAdmission = (next: Admission) => {
    admission = next;
  };
  return { source, target, shipper, endpoint, freeze, finish, cycle, setAdmission };
}

const equal = async (source: BlockEngine, target: BlockEngine) =>
  expect(Buffer.compare(await readAll(source.open(a)), await readAll(target.open(b)))).toBe(0);

/** Bytes that differ from block to block. */
function noise(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(length / 4);
  let state = seed * 2654435761 + 1;
  for (let index = 0; index < words.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[index] = state;
  }
  return new Uint8Array(words.buffer);
}

/** A link that is cut after so many bytes, each time a connection is made. */
async function cuttingLink(to: PeerEndpoint, allowances: number[]): Promise<PeerEndpoint> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    let left = allowances.shift() ?? Number.POSITIVE_INFINITY;
    const out = netConnect(to.port, to.host);
    for (const end of [socket, out]) {
      sockets.add(end);
      end.on('error', () => end.destroy());
      end.on('close', () => {
        socket.destroy();
        out.destroy();
      });
    }
    out.pipe(socket);
    socket.on('data', (chunk) => {
      left -= chunk.length;
      if (left < 0) return void socket.destroy();
      if (!out.write(chunk)) {
        socket.pause();
        out.once('drain', () => socket.resume());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  );
  return { ...to, port: (server.address() as AddressInfo).port };
}

describe.each([
  { where: 'on this thread', threaded: false },
  { where: 'on a thread of its own', threaded: true },
])('the data channel, encrypted $where', ({ threaded }) => {
  beforeEach(() => {
    linksOf = threaded ? threadOf : (identity) => tlsLinks(identity, systemClock);
  });

  it('ships the whole, then only what changed, then nothing; copied and remaining add up [C2.5] [P3]', async () => {
    const { source, target, cycle } = await pair(32 * MiB);
    await source.open(a).write(0, noise(10 * MiB, 1), false);
    expect((await cycle()).shipped_bytes).toBe(10 * MiB);
    await equal(source, target);
    await source.open(a).write(5 * MiB, noise(8192, 2), false);
    await source.open(a).trim(MiB, MiB, false);
    const delta = await cycle();
    expect(delta).toMatchObject({ shipped_bytes: 8192, total_bytes: 8192, copied_bytes: 8192 });
    await equal(source, target);
    expect((await cycle()).shipped_bytes).toBe(0);
    await equal(source, target);
  });

  it('grows the copy with its source', async () => {
    const { source, target, cycle } = await pair(2 * MiB);
    await cycle();
    await source.resizeVolume(a, 4 * MiB);
    await source.open(a).write(3 * MiB, noise(4096, 3), false);
    await cycle();
    expect(target.volume(b)?.size).toBe(4 * MiB);
    await equal(source, target);
  });

  it('cut anywhere, it goes on from the durable address: shipped is at most changed plus a window a restart [C3.5] [C3.6]', async () => {
    const { source, target, shipper, endpoint, freeze, finish } = await pair(64 * MiB);
    await source.open(a).write(0, noise(48 * MiB, 4), false);
    const cuts = [100, 3 * MiB, 9 * MiB, 700_000, 17 * MiB, 12 * MiB];
    const restarts = cuts.length;
    const link = await cuttingLink(endpoint, cuts);
    const plan = await freeze();
    let shipped = 0;
    let outcome: ShipOutcome;
    let lowest = 0;
    do {
      outcome = await shipper.ship({ plan, peer: link, end: 'commit' });
      shipped += outcome.progress.shipped_bytes;
      expect(outcome.progress.copied_bytes).toBeGreaterThanOrEqual(lowest);
      lowest = outcome.progress.copied_bytes;
    } while (outcome.kind === 'failed' && outcome.failure.code === 'link_lost');
    await finish(plan, outcome);
    expect(shipped).toBeLessThanOrEqual(48 * MiB + transferLimits.inFlight_bytes * restarts);
    expect(shipped).toBeGreaterThan(48 * MiB);
    await equal(source, target);
  });

  it('finds a cycle committed whose acknowledgement was lost [C3.4]', async () => {
    const { source, shipper, endpoint, freeze, target } = await pair(4 * MiB);
    await source.open(a).write(0, noise(MiB, 5), false);
    const plan = await freeze();
    const first = await shipper.ship({ plan, peer: endpoint, end: 'commit' });
    const again = await shipper.ship({ plan, peer: endpoint, end: 'commit' });
    expect(again).toMatchObject({ kind: 'done', digests: first.kind === 'done' ? first.digests : [] });
    expect(again.progress.shipped_bytes).toBe(0);
    expect(target.half(session)?.base?.point).toBe('p1');
  });

  it('keeps a proven stage for a promote, and does not show it', async () => {
    const { source, shipper, endpoint, freeze, target } = await pair(4 * MiB);
    await source.open(a).write(0, noise(MiB, 5), false);
    const plan = await freeze();
    expect((await shipper.ship({ plan, peer: endpoint, end: 'prove' })).kind).toBe('done');
    expect(target.half(session)?.base).toBeUndefined();
    expect((await readAll(target.open(b))).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses by name: paused, unknown certificate, stale generation, another base [C5.3]', async () => {
    const { source, target, shipper, endpoint, freeze, setAdmission } = await pair(4 * MiB);
    await source.open(a).write(0, noise(MiB, 6), false);
    const plan = await freeze();
    setAdmission({ admit: false, code: 'peer_paused' });
    const code = async (order: Parameters<typeof shipper.ship>[0]) => {
      const outcome = await shipper.ship(order);
      return outcome.kind === 'failed' ? outcome.failure.code : 'done';
    };
    expect(await code({ plan, peer: endpoint, end: 'commit' })).toBe('peer_paused');
    setAdmission({ admit: true });
    expect(await code({ plan, peer: { ...endpoint, fingerprint: stranger.fingerprint }, end: 'commit' })).toBe(
      'peer_untrusted',
    );
    expect(
      await code({
        plan: { ...plan, cycle: cycleId('x'), generation: { ...generation, nonce: 'other' } },
        peer: endpoint,
        end: 'commit',
      }),
    ).toBe('stale_generation');
    expect(
      await code({ plan: { ...plan, cycle: cycleId('y'), base: pointId('nowhere') }, peer: endpoint, end: 'commit' }),
    ).not.toBe('done');
    const other = createShipper({ engine: source, links: linksOf(stranger), clock: systemClock, localSerial: 'X' });
    expect((await other.ship({ plan, peer: endpoint, end: 'commit' })).kind).toBe('failed');
    expect(target.half(session)?.base).toBeUndefined();
  });

  it('a cancelled cycle stops, and goes on later', async () => {
    const { source, target, shipper, endpoint, freeze, finish } = await pair(64 * MiB);
    await source.open(a).write(0, noise(40 * MiB, 7), false);
    const plan = await freeze();
    let stop: Promise<void> | undefined;
    const first = await shipper.ship({ plan, peer: endpoint, end: 'commit', rate_bytes_s: 50 * MiB }, () => {
      stop ??= shipper.cancel(session);
    });
    await stop;
    expect(first.kind === 'failed' && first.failure.code).toBe('cancelled');
    expect(shipper.progress(session)).toBeUndefined();
    await finish(plan, await shipper.ship({ plan, peer: endpoint, end: 'commit' }));
    await equal(source, target);
  });

  /** A destination whose engine does one thing wrong. */
  const broken =
    (
      name: 'writeStage',
      fault: (call: Parameters<BlockEngine['writeStage']>) => Parameters<BlockEngine['writeStage']> | undefined,
    ) =>
    (engine: BlockEngine) =>
      new Proxy(engine, {
        get(target, key) {
          const value = Reflect.get(target, key) as unknown;
          if (typeof value !== 'function') return value;
          if (key !== name) return value.bind(target);
          return (...call: Parameters<BlockEngine['writeStage']>) => {
            const changed = fault(call);
            return changed === undefined ? undefined : target.writeStage(...changed);
          };
        },
      });

  it('an extent left out is found by the proof, named, shipped once more, and only then committed [C8.3] [C8.4] [C8.5]', async () => {
    let dropped = 0;
    const { source, target, cycle } = await pair(
      8 * MiB,
      broken('writeStage', (call) => (dropped++ === 2 ? undefined : call)),
    );
    await source.open(a).write(0, noise(6 * MiB, 8), false);
    const progress = await cycle();
    expect(progress.shipped_bytes).toBe(7 * MiB);
    await equal(source, target);
  });

  it('an extent at the wrong place never becomes the common base [C8.5]', async () => {
    const shifted = broken('writeStage', ([s, c, point, number, runs]) => [
      s,
      c,
      point,
      number,
      runs.map((run) => ({ ...run, block: run.block + 1 })),
    ]);
    const { source, target, shipper, endpoint, freeze } = await pair(8 * MiB, (engine) => {
      const wrong = shifted(engine);
      // The repair goes astray as well.
      return new Proxy(wrong, {
        get: (inner, key) => (key === 'repairStage' ? async () => undefined : Reflect.get(inner, key)),
      });
    });
    await source.open(a).write(0, noise(MiB, 9), false);
    const outcome = await shipper.ship({ plan: await freeze(), peer: endpoint, end: 'commit' });
    expect(outcome).toMatchObject({ kind: 'failed', failure: { code: 'proof_mismatch', retry: false } });
    expect(outcome.kind === 'failed' && outcome.failure.message).toContain('page 0');
    expect(target.half(session)?.base).toBeUndefined();
  });

  it('stops taking runs when the session is paused in the middle', async () => {
    const { source, shipper, endpoint, freeze, setAdmission } = await pair(64 * MiB);
    await source.open(a).write(0, noise(40 * MiB, 10), false);
    const outcome = await shipper.ship(
      { plan: await freeze(), peer: endpoint, end: 'commit', rate_bytes_s: 40 * MiB },
      (progress) => {
        if (progress.shipped_bytes > 4 * MiB) setAdmission({ admit: false, code: 'peer_paused' });
      },
    );
    expect(outcome.kind === 'failed' && outcome.failure.code).toBe('peer_paused');
    expect(outcome.progress.shipped_bytes).toBeLessThan(40 * MiB);
  });

  it('ends a connection that speaks something else, and hurts nothing', async () => {
    const { source, target, endpoint, cycle } = await pair(4 * MiB);
    await new Promise<void>((resolve) => {
      const socket = netConnect(endpoint.port, endpoint.host, () => socket.end(Buffer.alloc(70_000, 7)));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
    await source.open(a).write(0, noise(BLOCK_BYTES, 11), false);
    await cycle();
    await equal(source, target);
  });
});
