import { BlockError } from '@antipode/blocks';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryDevice } from '../testing.ts';
import { Command, CommandFlag } from './protocol.ts';
import { ManualClock } from './testing/manual-clock.ts';
import { RawClient } from './testing/raw-client.ts';
import { exportsOf, MIB, pattern, type Served, serve } from './testing/served.ts';

const open: Served[] = [];
const raws: RawClient[] = [];
const started = async (...args: Parameters<typeof serve>): Promise<Served> => {
  const served = await serve(...args);
  open.push(served);
  return served;
};
const transmitting = async (port: number, structured = true): Promise<RawClient> => {
  const raw = await RawClient.transmitting(port, structured);
  raws.push(raw);
  return raw;
};

afterEach(async () => {
  for (const raw of raws.splice(0)) raw.close();
  await Promise.all(open.splice(0).map((served) => served.stop()));
});

/** A promise and the way to settle it. */
function gate(): { promise: Promise<void>; open: () => void } {
  let release = () => {};
  const promise = new Promise<void>((resolve) => (release = resolve));
  return { promise, open: release };
}

describe('bytes', () => {
  test.each([
    ['structured', false],
    ['simple', true],
  ])('any history of requests leaves what a flat array would hold (%s replies)', async (_, simpleReplies) => {
    const size = 3 * MIB;
    const span = fc
      .tuple(fc.integer({ min: 0, max: size - 1 }), fc.constantFrom(1, 511, 512, 4095, 4096, 4097, 70_001, 1_200_000))
      .map(([offset, length]) => ({ offset, length: Math.min(length, size - offset) }));
    const action = fc.oneof(
      fc.tuple(fc.constant('write' as const), span),
      fc.tuple(fc.constantFrom('trim' as const, 'zero' as const), span),
      fc.tuple(fc.constant('read' as const), span),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 12 }), async (actions) => {
        const served = await serve({ size });
        const client = await served.connect({ simpleReplies });
        const model = Buffer.alloc(size);
        let seed = 1;
        for (const [kind, { offset, length }] of actions) {
          seed += 1;
          if (kind === 'read') {
            const back = Buffer.alloc(length, 0xee);
            await client.read(offset, back);
            expect(back.equals(model.subarray(offset, offset + length))).toBe(true);
          } else if (kind === 'write') {
            const data = pattern(length, seed);
            data.copy(model, offset);
            await client.write(offset, data);
          } else {
            model.fill(0, offset, offset + length);
            await (kind === 'trim' ? client.trim(offset, length) : client.writeZeroes(offset, length));
          }
        }
        const whole = Buffer.alloc(size, 0xee);
        await client.read(0, whole);
        expect(whole.equals(model)).toBe(true);
        await served.stop();
      }),
      { numRuns: 15 },
    );
  });

  test('a client with simple replies gets header and bytes, small and large', async () => {
    const served = await started();
    const raw = await transmitting(served.port, false);
    const data = pattern(100_000, 3);
    raw.request(Command.WRITE, 10, data.length, { payload: data, cookie: 0xffff_ffff_ffff_fffen });
    expect(await raw.simpleReply()).toEqual({ errno: 0, cookie: 0xffff_ffff_ffff_fffen });
    for (const length of [3, 16_384, 16_385, 100_000]) {
      raw.request(Command.READ, 10, length);
      expect(await raw.simpleReply()).toEqual({ errno: 0, cookie: 7n });
      expect((await raw.exactly(length)).equals(data.subarray(0, length))).toBe(true);
    }
    raw.request(Command.READ, served.device.size(), 1);
    expect(await raw.simpleReply()).toEqual({ errno: 22, cookie: 7n });
  });

  test('zeros are told as holes, data as data, and DF keeps the two in one chunk', async () => {
    const served = await started();
    const raw = await transmitting(served.port);
    await served.device.write(65536, pattern(65536, 1), false);
    raw.request(Command.READ, 0, 4 * 65536);
    const chunks = [await raw.chunk(), await raw.chunk(), await raw.chunk()];
    expect(chunks.map(({ type, flags, data }) => [type, flags, data.length])).toEqual([
      [2, 0, 12],
      [1, 0, 8 + 65536],
      [2, 1, 12],
    ]);
    raw.request(Command.READ, 0, 4 * 65536, { flags: CommandFlag.DF });
    expect(await raw.chunk()).toMatchObject({ type: 1, flags: 1, data: { length: 8 + 4 * 65536 } });
  });

  test('requests of no length do nothing and succeed', async () => {
    const served = await started();
    const client = await served.connect();
    await client.read(5, Buffer.alloc(0));
    await client.write(5, Buffer.alloc(0));
    await client.trim(5, 0);
    const raw = await transmitting(served.port);
    raw.request(Command.READ, 0, 0);
    expect(await raw.chunk()).toMatchObject({ type: 0, flags: 1 });
  });

  test('requests that wait for the engine are answered as it answers, not as they came', async () => {
    const served = await started();
    const slow = gate();
    served.device.gate = slow.promise;
    const client = await served.connect();
    const order: string[] = [];
    const first = client.write(0, pattern(4096, 1)).then(() => order.push('slow write'));
    const status = client.blockStatus(0, 4096).then(() => order.push('status'));
    await status;
    slow.open();
    await first;
    expect(order).toEqual(['status', 'slow write']);
  });
});

describe('what reaches the device', () => {
  test('FLUSH and FUA go through as they are [C9.5]', async () => {
    const served = await started();
    const client = await served.connect();
    await client.write(0, pattern(512, 1), { fua: true });
    await client.write(512, pattern(512, 1));
    await client.trim(0, 4096, { fua: true });
    await client.writeZeroes(4096, 4096, { fua: true, noHole: true, fast: true });
    await client.flush();
    await client.cache(0, 3 * MIB);
    expect(served.device.calls).toEqual([
      { kind: 'write', offset: 0, length: 512, fua: true },
      { kind: 'write', offset: 512, length: 512, fua: false },
      { kind: 'trim', offset: 0, length: 4096, fua: true },
      { kind: 'write_zeroes', offset: 4096, length: 4096, fua: true },
      { kind: 'flush' },
      { kind: 'read', offset: 0, length: MIB },
      { kind: 'read', offset: MIB, length: MIB },
      { kind: 'read', offset: 2 * MIB, length: MIB },
    ]);
  });

  test('[C9.5] a flush is answered only when the device has flushed, on whichever connection it came', async () => {
    const served = await started();
    const [one, two] = [await served.connect(), await served.connect()];
    expect(one.flags.multiConn).toBe(true);
    await one.write(0, pattern(4096, 9));
    const medium = gate();
    served.device.gate = medium.promise;
    let answered = false;
    const flush = two.flush().then(() => (answered = true));
    await two.blockStatus(0, 4096);
    expect(answered).toBe(false);
    medium.open();
    await flush;
    served.device.gate = undefined;
    const back = Buffer.alloc(4096);
    await two.read(0, back);
    expect(back.equals(pattern(4096, 9))).toBe(true);
  });

  test('each connection closes its device once, when its last request is through', async () => {
    const served = await started();
    const slow = gate();
    const raw = await transmitting(served.port);
    served.device.gate = slow.promise;
    raw.request(Command.WRITE, 0, 4, { payload: Buffer.from('last') });
    raw.request(Command.FLUSH, 0, 0);
    await expect.poll(() => served.device.calls.length).toBe(2);
    raw.close();
    await raw.ended;
    expect(served.device.timesOpen).toBe(1);
    slow.open();
    await served.event((event) => event.kind === 'closed');
    expect(served.device.timesOpen).toBe(0);
    const back = Buffer.alloc(4);
    served.device.gate = undefined;
    await served.device.read(0, back);
    expect(back.toString()).toBe('last');
  });
});

describe('errors', () => {
  test('[C11.2] a read-only export answers EPERM to write, trim and write-zeroes; reads, flush and cache work', async () => {
    const device = new MemoryDevice(MIB);
    device.mode = 'read_only';
    const served = await started({ device });
    const client = await served.connect();
    for (const request of [
      () => client.write(0, pattern(4096, 1)),
      () => client.write(0, pattern(300_000, 1)),
      () => client.write(0, Buffer.alloc(0)),
      () => client.trim(0, 4096),
      () => client.writeZeroes(0, 4096),
    ])
      await expect(request()).rejects.toMatchObject({ kind: 'request', errno: 'EPERM' });
    await client.read(0, Buffer.alloc(512));
    await client.flush();
    await client.cache(0, 4096);
    expect(device.calls.every(({ kind }) => kind === 'read' || kind === 'flush')).toBe(true);
  });

  test('[C11.2] a change of role acts on connections already open: EPERM, never silent success', async () => {
    const served = await started();
    const client = await served.connect();
    await client.write(0, pattern(4096, 1));
    served.device.mode = 'read_only';
    await expect(client.write(0, pattern(4096, 2))).rejects.toMatchObject({ errno: 'EPERM' });
    await expect(client.trim(0, 4096)).rejects.toMatchObject({ errno: 'EPERM' });
    const back = Buffer.alloc(4096);
    await client.read(0, back);
    expect(back.equals(pattern(4096, 1))).toBe(true);
  });

  test('no space, ranges, unknown commands and flags, oversize lengths: refused one by one, the stream stays in step', async () => {
    const served = await started();
    const raw = await transmitting(served.port);
    const refusal = async () => {
      const { type, flags, data } = await raw.chunk();
      expect([type, flags]).toEqual([0x8001, 1]);
      return data.readUInt32BE(0);
    };
    const size = served.device.size();
    raw.request(Command.WRITE, size - 2, 3, { payload: Buffer.from('abc') });
    expect(await refusal()).toBe(28);
    raw.request(Command.READ, size - 2, 3);
    expect(await refusal()).toBe(22);
    raw.request(Command.READ, 0xffff_ffff_ffff_ffffn, 1);
    expect(await refusal()).toBe(22);
    raw.request(Command.TRIM, 0xffff_ffff_ffff_ff00n, 0xffff_ffff);
    expect(await refusal()).toBe(22);
    raw.request(99, 0, 0);
    expect(await refusal()).toBe(22);
    raw.request(Command.WRITE, 0, 3, { flags: 1 << 8, payload: Buffer.from('abc') });
    expect(await refusal()).toBe(22);
    raw.request(Command.READ, 0, 0xffff_ffff);
    expect(await refusal()).toBe(22);
    raw.request(Command.WRITE, 0, 33 * MIB, { payload: Buffer.alloc(33 * MIB) });
    expect(await refusal()).toBe(22);
    served.device.full = true;
    raw.request(Command.WRITE, 0, 3, { payload: Buffer.from('abc') });
    expect(await refusal()).toBe(28);
    expect(served.device.calls.filter(({ kind }) => kind === 'write')).toHaveLength(1);
    raw.request(Command.FLUSH, 0, 0);
    expect(await raw.simpleReply()).toEqual({ errno: 0, cookie: 7n });
  });

  test('a damaged block is an error with its place, and never its bytes', async () => {
    const served = await started();
    await served.device.write(0, pattern(MIB, 4), false);
    served.device.damaged.add(40960);
    const client = await served.connect();
    await expect(client.read(100, Buffer.alloc(MIB - 100))).rejects.toMatchObject({ errno: 'EIO', offset: 40960 });
    await expect(client.read(40970, Buffer.alloc(8))).rejects.toMatchObject({ errno: 'EIO', offset: 40970 });
    const good = Buffer.alloc(4096);
    await client.read(45056, good);
    expect(good.equals(pattern(MIB, 4).subarray(45056, 49152))).toBe(true);
    const simple = await served.connect({ simpleReplies: true });
    await expect(simple.read(0, Buffer.alloc(MIB))).rejects.toMatchObject({ errno: 'EIO', offset: undefined });
    await simple.read(0, good);
  });

  test('a volume that is gone answers ESHUTDOWN', async () => {
    const served = await started();
    const client = await served.connect();
    served.device.size = () => {
      throw new BlockError('not_found', 'the volume was deleted');
    };
    await expect(client.read(0, Buffer.alloc(1))).rejects.toMatchObject({ errno: 'ESHUTDOWN' });
    await expect(client.write(0, Buffer.alloc(9))).rejects.toMatchObject({ errno: 'ESHUTDOWN' });
  });
});

describe('block status', () => {
  test('data and holes, one extent when one is asked for', async () => {
    const served = await started();
    await served.device.write(8192, pattern(4096, 1), false);
    const client = await served.connect();
    expect(await client.blockStatus(0, 16384)).toEqual([
      { length: 8192, kind: 'hole' },
      { length: 4096, kind: 'data' },
      { length: 4096, kind: 'hole' },
    ]);
    expect(await client.blockStatus(9000, 16, { one: true })).toEqual([{ length: 16, kind: 'data' }]);
    expect(await client.blockStatus(0, 16384, { one: true })).toEqual([{ length: 8192, kind: 'hole' }]);
    await expect(client.blockStatus(8 * MIB, 1)).rejects.toMatchObject({ errno: 'EINVAL' });
  });

  test('more runs than one answer holds are told in several', async () => {
    const blocks = 10_000;
    const device = new MemoryDevice(blocks * 4096);
    device.record = false;
    for (let block = 0; block < blocks; block += 2) await device.write(block * 4096, pattern(8, block), false);
    const served = await started({ device });
    const client = await served.connect();
    const first = await client.blockStatus(0, device.size());
    expect(first).toHaveLength(4096);
    expect(first.every(({ length }) => length === 4096)).toBe(true);
    expect(await client.blockStatus(4096 * 4096, 4096)).toEqual([{ length: 4096, kind: 'data' }]);
  });
});

describe('bounds', () => {
  test('garbage in the middle of transmission ends that connection; the other works on [garbage hurts nothing else]', async () => {
    const served = await started();
    const good = await served.connect();
    const raw = await transmitting(served.port);
    raw.request(Command.WRITE, 0, 8192, { payload: pattern(8192, 1) });
    await raw.simpleReply();
    raw.send(pattern(200, 77));
    await raw.ended;
    const back = Buffer.alloc(8192);
    await good.read(0, back);
    expect(back.equals(pattern(8192, 1))).toBe(true);
    expect(served.events.at(-1)).toMatchObject({ kind: 'closed', reason: 'a request without its magic number' });
  });

  test('a write cut off in its payload changes nothing', async () => {
    const served = await started();
    const raw = await transmitting(served.port);
    raw.request(Command.WRITE, 0, 100_000, { payload: pattern(99_999, 1) });
    raw.socket.end();
    await served.event((event) => event.kind === 'closed');
    expect(served.device.calls.filter(({ kind }) => kind === 'write')).toEqual([]);
  });

  test('more requests than may be under way wait in the socket, and all are served', async () => {
    const served = await started({ limits: { requestsInFlight: 4 } });
    const slow = gate();
    served.device.gate = slow.promise;
    const client = await served.connect();
    const writes = Array.from({ length: 50 }, (_, at) => client.write(at * 512, pattern(512, at)));
    await expect.poll(() => served.device.calls.length).toBe(4);
    const other = await served.connect();
    await other.blockStatus(0, 512);
    expect(served.device.calls).toHaveLength(4);
    slow.open();
    await Promise.all(writes);
    expect(served.device.calls.map((call) => ('offset' in call ? call.offset : -1))).toEqual(
      Array.from({ length: 50 }, (_, at) => at * 512),
    );
  });

  test('payload under way is bounded per connection, and one request always fits', async () => {
    const served = await started({ size: 64 * MIB, limits: { bytesInFlight: 2 * MIB } });
    const slow = gate();
    served.device.gate = slow.promise;
    const client = await served.connect();
    const reads = Array.from({ length: 8 }, (_, at) => client.read(at * MIB, Buffer.alloc(MIB)));
    await expect.poll(() => served.device.calls.length).toBe(2);
    slow.open();
    await Promise.all(reads);
    await client.write(0, pattern(8 * MIB, 5));
    const back = Buffer.alloc(8 * MIB);
    await client.read(0, back);
    expect(back.equals(pattern(8 * MIB, 5))).toBe(true);
  });

  test('a client that reads no replies is not read from either; memory stays bounded', async () => {
    const device = new MemoryDevice(16 * MIB);
    await device.write(0, pattern(16 * MIB, 6), false);
    const served = await started({ device, limits: { bytesInFlight: 4 * MIB } });
    const raw = await transmitting(served.port);
    raw.socket.pause();
    for (let at = 0; at < 2_000; at += 1) raw.request(Command.READ, 0, MIB, { cookie: BigInt(at) });
    const good = await served.connect();
    const seen = () => device.calls.filter((call) => call.kind === 'read').length;
    await expect.poll(() => seen()).toBeGreaterThanOrEqual(4);
    for (let round = 0; round < 50; round += 1) await good.write(15 * MIB, pattern(512, round));
    // What fits the two sockets' buffers, and the bound; far from the 2,000 asked for.
    expect(seen()).toBeLessThan(40);
    // And when it goes, what it asked for is not done for nobody.
    raw.close();
    await served.event((event) => event.kind === 'closed');
    expect(seen()).toBeLessThan(40);
  });

  test('who holds memory and stalls is closed once others wait for it', async () => {
    const clock = new ManualClock();
    const served = await started({ size: 64 * MIB, clock, limits: { bytesInFlightTotal: 2 * MIB } });
    const staller = await transmitting(served.port);
    staller.request(Command.WRITE, 0, 2 * MIB, { payload: Buffer.alloc(100, 1) });
    const good = await served.connect();
    await good.blockStatus(0, 4096);
    await expect.poll(() => served.server.connections().length).toBe(2);
    clock.advance(60_000);
    clock.advance(60_000);
    await good.blockStatus(0, 4096);
    // Nobody waits: it may take its time.
    expect(served.server.connections()).toHaveLength(2);
    const waiting = good.read(0, Buffer.alloc(MIB));
    // When the server has seen the read is not told; time passes until it has.
    await expect
      .poll(() => {
        clock.advance(60_000);
        return served.server.connections().length;
      })
      .toBe(1);
    await staller.ended;
    await waiting;
  });
});

describe('the end', () => {
  test('DISC after requests: they are answered first', async () => {
    const served = await started();
    const client = await served.connect();
    const slow = gate();
    served.device.gate = slow.promise;
    const write = client.write(0, pattern(4096, 1));
    const closing = client.close();
    await expect.poll(() => served.device.calls.length).toBe(1);
    slow.open();
    await write;
    await closing;
    expect(await client.closed).toBeUndefined();
    await expect(client.flush()).rejects.toMatchObject({ kind: 'connection' });
  });

  test('close() drains: no new connection, what is under way is answered, then the connection ends', async () => {
    const served = await started();
    const client = await served.connect();
    const slow = gate();
    served.device.gate = slow.promise;
    const write = client.write(0, pattern(4096, 1));
    await expect.poll(() => served.device.calls.length).toBe(1);
    const closed = served.server.close(60_000);
    await expect(RawClient.connect(served.port)).rejects.toThrow();
    slow.open();
    await write;
    await closed;
    expect(served.device.timesOpen).toBe(0);
    expect(await client.closed).toMatchObject({ kind: 'connection' });
  });

  test('close() in the middle of a payload: the write is not made, and its memory is not used for others', async () => {
    const served = await started();
    const raw = await transmitting(served.port);
    raw.request(Command.WRITE, 0, MIB, { payload: pattern(MIB / 2, 1) });
    const good = await served.connect();
    await good.write(MIB, pattern(MIB, 2));
    const closed = served.server.close(1_000);
    raw.send(pattern(MIB / 2, 3));
    raw.socket.resume();
    await raw.ended;
    await closed;
    const back = Buffer.alloc(MIB);
    await served.device.read(0, back);
    expect(back.equals(Buffer.alloc(MIB))).toBe(true);
  });

  test('close() gives up on requests after its bound, and still waits for the device', async () => {
    const clock = new ManualClock();
    const served = await started({ clock });
    const client = await served.connect();
    const slow = gate();
    served.device.gate = slow.promise;
    const write = client.write(0, pattern(4096, 1));
    await expect.poll(() => served.device.calls.length).toBe(1);
    let done = false;
    const closed = served.server.close(5_000).then(() => (done = true));
    clock.advance(5_000);
    await expect(write).rejects.toMatchObject({ kind: 'connection' });
    expect(done).toBe(false);
    slow.open();
    await closed;
    expect(served.device.timesOpen).toBe(0);
  });

  test('[C11.2] disconnect() ends the connections it names and no others', async () => {
    const device = new MemoryDevice(MIB);
    const source = exportsOf(device);
    const served = await started({
      exports: { list: source.list, open: (name) => ({ name, device: new MemoryDevice(MIB).opened() }) },
    });
    const [one, two] = [await served.connect({ exportName: 'one' }), await served.connect({ exportName: 'two' })];
    served.server.disconnect(({ exportName }) => exportName === 'one', 'the host was detached');
    expect(await one.closed).toMatchObject({ kind: 'connection' });
    await two.flush();
    expect(served.events.at(-1)).toMatchObject({ kind: 'closed', reason: 'the host was detached' });
  });
});
