import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { cycleId, pointId, sessionId, systemClock, volumeId } from '@antipode/base';
import { afterEach, describe, expect, it } from 'vitest';
import { FrameLink } from '../transfer/frame-link.ts';
import { transferLimits } from '../transfer/limits.ts';
import {
  type ChannelMessage,
  type ChannelType,
  channelVersion,
  oldestChannelVersion,
  typeName,
} from '../transfer/protocol.ts';

/**
 * The stored frames are what docs/formats/data-channel.md describes. They fail when the format changes. A change is a new version
 * [C9.4]: raise channelVersion, keep the old file (it is then read too), and write the new one by running this test once with
 * GOLDEN_WRITE=1 in the environment.
 */
const fileFor = (version: number) => join(import.meta.dirname, 'golden', `data-channel-v${version}.hex`);

const digest = 'ab'.repeat(32);
const address = { point: 1, pair: 0, block: 2 ** 33 };
const examples: { readonly [T in ChannelType]: Extract<ChannelMessage, { type: T }> } = {
  hello: { type: 'hello', oldest: 1, newest: 1, serial: 'AP0123456789' },
  open: {
    type: 'open',
    plan: {
      session: sessionId('6a6b6c6d-0000-4000-8000-000000000001'),
      cycle: cycleId('6a6b6c6d-0000-4000-8000-000000000002'),
      generation: { number: 3, site: 'AP0123456789', nonce: 'n1' },
      base: pointId('6a6b6c6d-0000-4000-8000-000000000003'),
      points: [
        {
          id: pointId('6a6b6c6d-0000-4000-8000-000000000004'),
          kind: 'snapshot',
          instant_ms: 1_700_000_000_000,
          tag: { name: 'Zürich', expires_ms: null, held: true, copies: 2 },
          sizes: [8192],
        },
      ],
      pairs: [
        {
          local: volumeId('6a6b6c6d-0000-4000-8000-000000000005'),
          remote: volumeId('6a6b6c6d-0000-4000-8000-000000000006'),
        },
      ],
    },
  },
  points: {
    type: 'points',
    points: [
      {
        id: pointId('6a6b6c6d-0000-4000-8000-000000000004'),
        kind: 'snapshot',
        instant_ms: 1_700_000_000_000,
        tag: { name: 'Zürich' },
        sizes: [8192, 0],
      },
    ],
  },
  opened: { type: 'opened', address },
  committed: { type: 'committed', digests: [digest] },
  refused: { type: 'refused', code: 'peer_paused', message: 'the session is paused here' },
  runs: {
    type: 'runs',
    point: 0,
    pair: 0,
    runs: [
      [7, 1, 0],
      [1000, 2 ** 30, 1],
    ],
  },
  sync: { type: 'sync', address },
  durable: { type: 'durable', address },
  prove: { type: 'prove' },
  proving: { type: 'proving', blocks: 5, of: 9 },
  proved: { type: 'proved', digests: [[digest]] },
  pages: { type: 'pages', point: 0, pair: 0, page: 3, count: 2 },
  page_digests: { type: 'page_digests', digests: [digest] },
  commit: { type: 'commit', digests: [digest] },
  image: { type: 'image', move: 'm', image: { image: '7', parent: '3', size: 2 ** 30 } },
  arriving: { type: 'arriving', next: 5, complete: false },
  close_image: { type: 'close_image' },
  image_closed: { type: 'image_closed', digest },
  image_proof: { type: 'image_proof', digest },
  ping: { type: 'ping' },
  pong: { type: 'pong' },
};
const messages = Object.values(examples);
const payload = Uint8Array.from({ length: 4104 }, (_, index) => (index * 7) % 251);

const links: FrameLink[] = [];
afterEach(() => {
  for (const link of links.splice(0)) link.close();
});

/** A link, and the other end of its stream: only what frames need of a socket. */
function linked() {
  const [near, far] = duplexPair();
  const socket = Object.assign(near, { setNoDelay: () => near }) as unknown as TLSSocket;
  const link = new FrameLink(socket, systemClock);
  links.push(link);
  return { link, far };
}

/** What a link writes for these messages, one frame each. */
async function written(list: readonly ChannelMessage[]): Promise<readonly Buffer[]> {
  const { link, far } = linked();
  const frames: Buffer[] = [];
  for (const message of list) {
    await link.send(message, message.type === 'runs' ? payload : undefined);
    const parts: Buffer[] = [];
    let length = 0;
    let wanted = 16;
    while (length < wanted) {
      const part = far.read() as Buffer | null;
      if (part === null) {
        await new Promise((resolve) => far.once('readable', resolve));
        continue;
      }
      parts.push(part);
      length += part.length;
      const so = Buffer.concat(parts);
      if (so.length >= 16) wanted = 16 + so.readUInt32LE(8) + so.readUInt32LE(12);
    }
    frames.push(Buffer.concat(parts));
  }
  return frames;
}

const lines = (frame: Buffer) =>
  frame
    .toString('hex')
    .match(/.{1,64}/g)!
    .join('\n');
const dump = (frames: readonly Buffer[]) =>
  `${frames.map((frame) => `# ${typeName(frame[5]!)}\n${lines(frame)}`).join('\n')}\n`;
const restore = (text: string): readonly Buffer[] =>
  text
    .split(/^# .*$/m)
    .slice(1)
    .map((hex) => Buffer.from(hex.replace(/\s/g, ''), 'hex'));

/** What becomes of a link that is sent these bytes: its first frame's type, or why it ended. */
async function fate(bytes: Uint8Array): Promise<string> {
  const { link, far } = linked();
  far.write(bytes);
  return link.next().then(
    ({ message }) => message.type,
    (error: Error) => `${error.name}: ${error.message}`,
  );
}

describe('the data channel’s frames', () => {
  it('are written as their format page says', async () => {
    const frames = await written(messages);
    if (process.env.GOLDEN_WRITE === '1') writeFileSync(fileFor(channelVersion), dump(frames));
    expect(dump(frames)).toBe(readFileSync(fileFor(channelVersion), 'utf8'));
  });

  const versions = Array.from(
    { length: channelVersion - oldestChannelVersion + 1 },
    (_, index) => oldestChannelVersion + index,
  );
  it.each(versions)('[C9.4] version %i is read, in pieces of any size', async (version) => {
    const frames = restore(readFileSync(fileFor(version), 'utf8'));
    expect(frames.length).toBe(messages.length);
    const bytes = Buffer.concat(frames);
    for (const piece of [1, 17, 4096, bytes.length]) {
      const { link, far } = linked();
      for (let at = 0; at < bytes.length; at += piece) far.write(bytes.subarray(at, at + piece));
      // Signs of life are answered by the link itself and not handed on.
      for (const expected of messages.filter(({ type }) => type !== 'ping' && type !== 'pong')) {
        const { message, payload: got } = await link.next();
        expect(message).toEqual(expected);
        expect(Buffer.compare(got, message.type === 'runs' ? payload : new Uint8Array(0))).toBe(0);
      }
    }
  });

  it('end the connection when they are anything else', async () => {
    const [hello] = await written([examples.hello]);
    const changed = (change: (frame: Buffer) => void) => {
      const frame = Buffer.from(hello!);
      change(frame);
      return frame;
    };
    expect(await fate(hello!)).toBe('hello');
    const wrong = {
      magic: changed((frame) => frame.writeUInt32LE(7, 0)),
      'newer version': changed((frame) => frame.writeUInt8(channelVersion + 1, 4)),
      'older version': changed((frame) => frame.writeUInt8(oldestChannelVersion - 1, 4)),
      'unknown type': changed((frame) => frame.writeUInt8(200, 5)),
      'type of another message': changed((frame) => frame.writeUInt8(15, 5)),
      'header over the limit': changed((frame) => frame.writeUInt32LE(transferLimits.headerMost_bytes + 1, 8)),
      'payload over the limit': changed((frame) => frame.writeUInt32LE(transferLimits.payloadMost_bytes + 1, 12)),
      'payload of 4 GiB': changed((frame) => frame.writeUInt32LE(2 ** 32 - 1, 12)),
      'no JSON': changed((frame) => frame.writeUInt8(0, 16)),
      'no header': changed((frame) => frame.writeUInt32LE(0, 8)),
    };
    for (const [name, bytes] of Object.entries(wrong)) expect(await fate(bytes), name).toMatch(/^LinkLost/);
  });

  const bad: readonly (readonly [string, object])[] = [
    ['a negative block', { ...examples.sync, address: { ...address, block: -1 } }],
    ['half a block', { ...examples.sync, address: { ...address, block: 0.5 } }],
    ['no runs', { ...examples.runs, runs: [] }],
    ['a run of nothing', { ...examples.runs, runs: [[1, 0, 1]] }],
    ['a kind of run that there is not', { ...examples.runs, runs: [[1, 1, 2]] }],
    ['too many runs', { ...examples.runs, runs: Array.from({ length: 4097 }, (_, at) => [at, 1, 1]) }],
    ['a digest in capitals', { ...examples.commit, digests: [digest.toUpperCase()] }],
    ['a short digest', { ...examples.commit, digests: ['ab'] }],
    ['a plan without points', { ...examples.open, plan: { ...examples.open.plan, points: [] } }],
    ['a negative size', planWith({ sizes: [-4096] })],
    ['a point of a kind that there is not', planWith({ kind: 'guess' })],
  ];
  it.each(bad)('a message with %s is none', async (_name, message) => {
    const [frame] = await written([message as ChannelMessage]);
    expect(await fate(frame!)).toMatch(/^LinkLost/);
  });
});

function planWith(change: object): object {
  const { plan } = examples.open;
  return { ...examples.open, plan: { ...plan, points: [{ ...plan.points[0]!, ...change }] } };
}
