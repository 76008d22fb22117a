import { afterEach, describe, expect, test } from 'vitest';
import { MemoryDevice } from '../testing.ts';
import { connectNbd } from './client.ts';
import { NbdError } from './nbd-error.ts';
import { Info, Option, Rep } from './protocol.ts';
import { ManualClock } from './testing/manual-clock.ts';
import { infoRequest, metaRequest, RawClient, u32 } from './testing/raw-client.ts';
import { MIB, type Served, serve } from './testing/served.ts';

const open: Served[] = [];
const raws: RawClient[] = [];
const started = async (...args: Parameters<typeof serve>): Promise<Served> => {
  const served = await serve(...args);
  open.push(served);
  return served;
};
const greeted = async (port: number, flags?: number): Promise<RawClient> => {
  const raw = await RawClient.greeted(port, flags);
  raws.push(raw);
  return raw;
};

afterEach(async () => {
  for (const raw of raws.splice(0)) raw.close();
  await Promise.all(open.splice(0).map((served) => served.stop()));
});

/** All replies to one option, the final one included. */
async function replies(raw: RawClient): Promise<{ type: number; data: Buffer }[]> {
  const all: { type: number; data: Buffer }[] = [];
  for (;;) {
    const { type, data } = await raw.reply();
    all.push({ type, data });
    if (type === Rep.ACK || type >= 0x80000000) return all;
  }
}

describe('what is told of an export', () => {
  test('GO tells size, flags, and what else was asked for', async () => {
    const served = await started();
    const raw = await greeted(served.port);
    raw.option(Option.GO, infoRequest('vol', [Info.NAME, Info.DESCRIPTION, Info.BLOCK_SIZE, 77]));
    const answer = await replies(raw);
    expect(answer.map(({ type, data }) => [type, type === Rep.INFO ? data.readUInt16BE(0) : undefined])).toEqual([
      [Rep.INFO, Info.EXPORT],
      [Rep.INFO, Info.NAME],
      [Rep.INFO, Info.DESCRIPTION],
      [Rep.INFO, Info.BLOCK_SIZE],
      [Rep.ACK, undefined],
    ]);
    expect(answer[0]?.data.readBigUInt64BE(2)).toBe(BigInt(8 * MIB));
    // Flush, FUA, trim, write-zeroes, multi-conn, cache, fast zero; no DF without structured replies.
    expect(answer[0]?.data.readUInt16BE(10)).toBe(0b1101_0110_1101);
    raw.request(0, 0, 512);
    expect(await raw.simpleReply()).toEqual({ errno: 0, cookie: 7n });
  });

  test('INFO opens nothing: it may be followed by anything', async () => {
    const served = await started();
    const raw = await greeted(served.port);
    raw.option(Option.INFO, infoRequest('vol', []));
    expect((await replies(raw)).at(-1)?.type).toBe(Rep.ACK);
    expect(served.device.timesOpen).toBe(0);
    raw.option(Option.LIST);
    const [line, end] = await replies(raw);
    expect(line).toEqual({ type: Rep.SERVER, data: Buffer.concat([u32(3), Buffer.from('vola volume')]) });
    expect(end?.type).toBe(Rep.ACK);
  });

  test('an export opens by its name and by its id; unknown names are refused and negotiation goes on', async () => {
    const served = await started();
    const raw = await greeted(served.port);
    raw.option(Option.GO, infoRequest('nothing', []));
    expect((await replies(raw))[0]?.type).toBe(Rep.ERR_UNKNOWN);
    raw.option(Option.GO, infoRequest('vol-id', [Info.NAME]));
    const answer = await replies(raw);
    expect(answer[1]?.data.toString('utf8', 2)).toBe('vol');
    expect(served.events).toMatchObject([{ kind: 'opened', connection: { exportName: 'vol' } }]);
    await expect(connectNbd({ host: '127.0.0.1', port: served.port, exportName: 'nothing' })).rejects.toMatchObject({
      kind: 'negotiation',
      message: 'no such export',
    });
  });

  test('EXPORT_NAME, with and without the 124 zeros; an unknown name ends the connection', async () => {
    const served = await started();
    for (const [flags, length] of [
      [3, 10],
      [1, 134],
      [0, 134],
    ] as const) {
      const raw = await greeted(served.port, flags);
      raw.option(Option.EXPORT_NAME, Buffer.from('vol'));
      const told = await raw.exactly(length);
      expect(told.readBigUInt64BE(0)).toBe(BigInt(8 * MIB));
      raw.request(3, 0, 0);
      expect(await raw.simpleReply()).toEqual({ errno: 0, cookie: 7n });
    }
    const raw = await greeted(served.port);
    raw.option(Option.EXPORT_NAME, Buffer.from('nothing'));
    await raw.ended;
  });

  test('[C11.2] the right to write is told as it is when the export is opened: after a failover, on reconnect', async () => {
    const served = await started();
    served.device.mode = 'read_only';
    const before = await served.connect();
    expect(before.flags.readOnly).toBe(true);
    served.device.mode = 'read_write';
    const after = await served.connect();
    expect(after.flags.readOnly).toBe(false);
    await after.write(0, Buffer.alloc(512, 1));
    // What was opened read-only stays so.
    await expect(before.write(0, Buffer.alloc(512, 2))).rejects.toMatchObject({ errno: 'EPERM' });
  });
});

describe('structured replies and contexts', () => {
  test('contexts come after structured replies, are listed, chosen, and hold for one export', async () => {
    const served = await started();
    const raw = await greeted(served.port);
    raw.option(Option.SET_META_CONTEXT, metaRequest('vol', ['base:allocation']));
    expect((await replies(raw))[0]?.type).toBe(Rep.ERR_INVALID);
    raw.option(Option.STRUCTURED_REPLY);
    expect((await replies(raw))[0]?.type).toBe(Rep.ACK);
    for (const queries of [[], ['base:'], ['base:allocation', 'other:x']]) {
      raw.option(Option.LIST_META_CONTEXT, metaRequest('vol', queries));
      expect((await replies(raw)).map(({ type }) => type)).toEqual([Rep.META_CONTEXT, Rep.ACK]);
    }
    raw.option(Option.LIST_META_CONTEXT, metaRequest('vol', ['qemu:']));
    expect((await replies(raw)).map(({ type }) => type)).toEqual([Rep.ACK]);
    raw.option(Option.SET_META_CONTEXT, metaRequest('nothing', ['base:allocation']));
    expect((await replies(raw))[0]?.type).toBe(Rep.ERR_UNKNOWN);
    raw.option(Option.SET_META_CONTEXT, metaRequest('vol', ['base:']));
    expect((await replies(raw)).map(({ type }) => type)).toEqual([Rep.ACK]);
    raw.option(Option.SET_META_CONTEXT, metaRequest('vol', ['base:allocation']));
    const [context] = await replies(raw);
    expect(context?.data).toEqual(Buffer.concat([u32(1), Buffer.from('base:allocation')]));
    // Opened under another name than the one the context was chosen for.
    raw.option(Option.GO, infoRequest('vol-id', []));
    await replies(raw);
    raw.request(7, 0, 4096);
    expect(await raw.chunk()).toMatchObject({ flags: 1, type: 0x8001, cookie: 7n });
  });
});

describe('clients that misbehave', () => {
  test('unknown and malformed options are refused, and negotiation goes on', async () => {
    const served = await started();
    const raw = await greeted(served.port);
    raw.option(4711, Buffer.from('what'));
    expect((await replies(raw))[0]?.type).toBe(Rep.ERR_UNSUP);
    raw.option(Option.GO, Buffer.from([0, 0]));
    expect((await replies(raw))[0]?.type).toBe(Rep.ERR_INVALID);
    for (const option of [Option.LIST, Option.STRUCTURED_REPLY, Option.STARTTLS]) {
      raw.option(option, Buffer.from('x'));
      expect((await replies(raw))[0]?.type).toBe(Rep.ERR_INVALID);
    }
    raw.option(Option.STARTTLS);
    expect((await replies(raw))[0]?.type).toBe(Rep.ERR_POLICY);
    raw.option(Option.ABORT);
    expect((await replies(raw))[0]?.type).toBe(Rep.ACK);
    await raw.ended;
  });

  test('options byte by byte are options', async () => {
    const served = await started();
    const raw = await greeted(served.port);
    const bytes = Buffer.concat([Buffer.from('IHAVEOPT'), u32(Option.GO), u32(9), infoRequest('vol', [])]);
    for (const byte of bytes) raw.send(Buffer.from([byte]));
    expect((await replies(raw)).at(-1)?.type).toBe(Rep.ACK);
  });

  test.each([
    ['unknown handshake flags', (raw: RawClient) => raw.send(u32(0xff)), false],
    ['no magic number', (raw: RawClient) => raw.send(Buffer.alloc(64, 0x5a)), true],
    ['HTTP', (raw: RawClient) => raw.send(Buffer.from('GET / HTTP/1.1\r\nHost: there\r\n\r\n')), false],
    ['an option of 4 GiB', (raw: RawClient) => raw.option(Option.GO, Buffer.alloc(0), 0xffffffff), true],
    [
      'a flood of options',
      (raw: RawClient) => {
        for (let count = 0; count < 300; count += 1) raw.option(4711);
      },
      true,
    ],
  ] as const)(
    '%s: that connection ends, the others go on [garbage hurts nothing else]',
    async (_, misbehave, flags) => {
      const served = await started();
      const good = await served.connect();
      const raw = await RawClient.connect(served.port);
      raws.push(raw);
      await raw.exactly(18);
      if (flags) raw.send(u32(3));
      misbehave(raw);
      raw.socket.resume();
      await raw.ended;
      await good.write(0, Buffer.alloc(4096, 7));
      const back = Buffer.alloc(4096);
      await good.read(0, back);
      expect(back).toEqual(Buffer.alloc(4096, 7));
    },
  );

  test('half-open negotiation has a bounded time; who transmits is left alone', async () => {
    const clock = new ManualClock();
    const served = await started({ clock });
    const good = await served.connect();
    const silent = await RawClient.connect(served.port);
    await silent.exactly(18);
    const slow = await greeted(served.port);
    slow.send(Buffer.from('IHAVE'));
    clock.advance(14_999);
    expect(served.server.connections()).toHaveLength(3);
    clock.advance(1);
    await Promise.all([silent.ended, slow.ended]);
    await good.flush();
    expect(served.server.connections()).toHaveLength(1);
  });

  test('who goes on sending while an export is looked up elsewhere fills its own memory, not the server’s', async () => {
    const device = new MemoryDevice(MIB);
    let answer = () => {};
    const exports = {
      list: () => [],
      open: (name: string) =>
        name === 'vol'
          ? { name, device: device.opened() }
          : new Promise<undefined>((resolve) => (answer = () => resolve(undefined))),
    };
    const served = await started({ device, exports });
    const raw = await greeted(served.port);
    raw.option(Option.GO, infoRequest('elsewhere', []));
    const flood_bytes = 128 * MIB;
    raw.send(new Uint8Array(flood_bytes));
    // Others are served meanwhile, one after the other: time enough to take all of it.
    for (let round = 0; round < 40; round++) await (await served.connect()).close();
    expect(raw.socket.writableLength).toBeGreaterThan(flood_bytes / 2);
    answer();
    await raw.ended;
  });

  test('half-open connections cannot keep hosts out: one more closes the oldest', async () => {
    const served = await started({ limits: { negotiating: 2 } });
    const first = await greeted(served.port);
    const second = await greeted(served.port);
    const host = await served.connect();
    await first.ended;
    await host.flush();
    second.option(Option.LIST);
    expect((await replies(second)).at(-1)?.type).toBe(Rep.ACK);
  });

  test('a full server says nothing and tells its owner', async () => {
    const served = await started({ limits: { connections: 1 } });
    await served.connect();
    await expect(connectNbd({ host: '127.0.0.1', port: served.port, exportName: 'vol' })).rejects.toBeInstanceOf(
      NbdError,
    );
    await served.event((event) => event.kind === 'refused');
  });
});

test('an export of the largest size is told as it is', async () => {
  const served = await started({ device: new MemoryDevice(2 ** 48) });
  const client = await served.connect();
  expect(client.size).toBe(2 ** 48);
  await client.write(2 ** 48 - 3, Buffer.from('end'));
  const back = Buffer.alloc(3);
  await client.read(2 ** 48 - 3, back);
  expect(back.toString()).toBe('end');
});
