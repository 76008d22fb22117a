import { cycleId, pointId, systemClock } from '@antipode/base';
import { BLOCK_BYTES, type CyclePlan } from '@antipode/blocks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noise, TwoSites, theGeneration, theSession } from './testing/two-sites.ts';
import { connectLink } from './transfer/connect-link.ts';
import { tlsLinks } from './transfer/frame-links.ts';
import { transferLimits } from './transfer/limits.ts';
import type { ChannelMessage, WireRun } from './transfer/protocol.ts';

const MiB = 1024 * 1024;
const size = 2 * MiB;
let two: TwoSites;
beforeEach(async () => {
  two = await TwoSites.open({ sizes: [size] });
});
afterEach(() => two.close());

const plan = (change: Partial<CyclePlan> = {}): CyclePlan => ({
  session: theSession,
  cycle: cycleId('c'),
  generation: theGeneration,
  points: [{ id: pointId('p'), kind: 'internal', instant_ms: 1, tag: {}, sizes: [size] }],
  pairs: [{ local: two.remotes[0]!, remote: two.locals[0]! }],
  ...change,
});

/** Says these things to the destination and answers how it ends: `refused` with its code, or the link's end. */
async function told(...messages: readonly (readonly [ChannelMessage, Uint8Array?])[]): Promise<string> {
  const link = await connectLink(tlsLinks(two.here, systemClock), two.endpoint, 'A', systemClock);
  try {
    for (const [message, payload] of messages) await link.send(message, payload);
    for (;;) {
      const { message } = await link.next();
      if (message.type === 'refused') return message.code;
      if (message.type === 'committed') return message.type;
    }
  } catch (error) {
    return (error as Error).name;
  } finally {
    link.close();
  }
}

/** A block and its checksum, as a source would send it. */
async function blockOf(seed: number): Promise<{ readonly sum: Uint8Array; readonly bytes: Uint8Array }> {
  const point = await two.freeze();
  await two.source.open(two.locals[0]!).write(0, noise(BLOCK_BYTES, seed), false);
  const after = await two.freeze();
  const bytes = new Uint8Array(BLOCK_BYTES);
  const sum = new Uint8Array(8);
  await two.source.readBlocks(two.locals[0]!, after.id, 0, 1, bytes, sum);
  await two.source.dropPoint(point.id);
  return { sum, bytes };
}

const open = (change?: Partial<CyclePlan>): readonly [ChannelMessage] => [{ type: 'open', plan: plan(change) }];
const runs = (list: readonly WireRun[], change: object = {}): ChannelMessage => ({
  type: 'runs',
  point: 0,
  pair: 0,
  runs: list,
  ...change,
});

function unchanged(): void {
  expect(two.target.half(theSession)?.base).toBeUndefined();
  expect(two.target.volume(two.remotes[0]!)?.replica).toBeUndefined();
}

describe('a source that says what is not so', () => {
  it('is refused with a plan that does not fit, before anything is staged', async () => {
    expect(await told(open({ generation: { ...theGeneration, nonce: 'other' } }))).toBe('stale_generation');
    expect(await told(open({ generation: { ...theGeneration, number: 2 } }))).toBe('stale_generation');
    expect(await told(open({ base: pointId('nowhere') }))).toBe('base_mismatch');
    expect(await told(open({ session: 'other' as CyclePlan['session'] }))).toBe('session_unknown');
    expect(await told(open({ pairs: [{ local: two.locals[0]!, remote: two.remotes[0]! }] }))).toBe('bad_message');
    expect(await told(open({ points: [{ ...plan().points[0]!, sizes: [] }] }))).toMatch(/LinkLost|bad_message/);
    expect(await told(open({ points: [{ ...plan().points[0]!, sizes: [size + 1] }] }))).toBe('bad_message');
    expect(two.target.half(theSession)?.stage).toBeUndefined();
    unchanged();
  });

  it('is refused with another number of points than it said, and with more than a plan takes; memory stays bounded', async () => {
    const [target] = plan().points;
    const announced = (points: number): readonly [ChannelMessage] => [
      { type: 'open', plan: plan({ points: [] }), points },
    ];
    const points = (...names: string[]): readonly [ChannelMessage] => [
      { type: 'points', points: names.map((name) => ({ ...target!, id: pointId(name) })) },
    ];
    expect(await told(announced(3), points('p', 'q'), points('r', 's'))).toBe('bad_message');
    expect(await told(announced(3), points('p', 'q'), [{ type: 'prove' }])).toBe('bad_message');
    expect(await told(announced(3), points('p', 'q'), open())).toBe('bad_message');
    expect(await told(open({ points: [] }))).toBe('LinkLost');
    expect(await told([{ type: 'open', plan: plan(), points: 3 }])).toBe('LinkLost');
    expect(await told(announced(transferLimits.planPoints + 1))).toBe('LinkLost');
    expect(await told(points('p'))).toBe('bad_message');
    // The same point twice, and a set that lies about its sizes.
    expect(await told(announced(2), points('p', 'p'))).toBe('bad_message');
    const long: ChannelMessage = {
      type: 'points',
      points: [
        { ...target!, tag: Object.fromEntries(Array.from({ length: 400 }, (_, key) => [`${key}`, 'x'.repeat(4096)])) },
      ],
    };
    const most = Math.ceil(transferLimits.planMost_bytes / JSON.stringify(long).length) + 1;
    expect(
      await told(announced(transferLimits.planPoints), ...Array.from({ length: most }, () => [long] as const)),
    ).toBe('bad_message');
    expect(two.target.half(theSession)?.stage).toBeUndefined();
    unchanged();
  });

  it('is refused with runs that do not fit, and none of the frame is taken', async () => {
    const { sum, bytes } = await blockOf(1);
    const good = Buffer.concat([sum, bytes]);
    const flipped = Buffer.from(good);
    flipped[100]! ^= 1;
    const wrongSum = Buffer.from(good);
    wrongSum[0]! ^= 1;
    const last = size / BLOCK_BYTES;
    const cases: readonly (readonly [string, ChannelMessage, Uint8Array?])[] = [
      ['a flipped bit', runs([[0, 1, 0]]), flipped],
      ['a wrong checksum', runs([[0, 1, 0]]), wrongSum],
      [
        'a good and a bad block',
        runs([
          [0, 1, 0],
          [1, 1, 0],
        ]),
        Buffer.concat([sum, sum, bytes, flipped.subarray(8)]),
      ],
      ['too few bytes', runs([[0, 2, 0]]), good],
      ['too many bytes', runs([[0, 1, 0]]), Buffer.concat([good, good])],
      ['no bytes', runs([[0, 1, 0]])],
      ['bytes for zeros', runs([[0, 1, 1]]), good],
      ['a place beyond the end', runs([[last, 1, 0]]), good],
      ['zeros beyond the end', runs([[last - 1, 2, 1]])],
      ['zeros without end', runs([[0, 2 ** 40, 1]])],
      ['another point', runs([[0, 1, 0]], { point: 1 }), good],
      ['another pair', runs([[0, 1, 0]], { pair: 1 }), good],
    ];
    for (const [name, message, payload] of cases) {
      expect(await told(open(), payload === undefined ? [message] : [message, payload]), name).toBe('bad_message');
      const stage = two.target.half(theSession)?.stage;
      expect(stage?.address, name).toEqual({ point: 0, pair: 0, block: 0 });
      const [digests] = await two.target.stagePageDigests(theSession, cycleId('c'), 0, 0, 0, 1);
      const empty = await two.target.stagePageDigests(theSession, cycleId('c'), 0, 0, 1, 1);
      expect(digests, name).toBe(empty[0]);
      unchanged();
    }
    // The same block, whole: so it was not something else that was refused.
    expect(
      await told(open(), [runs([[0, 1, 0]]), good], [{ type: 'opened', address: { point: 0, pair: 0, block: 0 } }]),
    ).toBe('bad_message');
    const taken = await two.target.stagePageDigests(theSession, cycleId('c'), 0, 0, 0, 2);
    expect(taken[0]).not.toBe(taken[1]);
  });

  it('is refused with questions and addresses outside of the cycle', async () => {
    expect(await told(open(), [{ type: 'sync', address: { point: 9, pair: 0, block: 0 } }])).toBe('bad_message');
    expect(await told(open(), [{ type: 'pages', point: 0, pair: 3, page: 0, count: 1 }])).toBe('bad_message');
    expect(await told([{ type: 'prove' }])).toBe('bad_message');
    expect(await told(open(), [{ type: 'proving', blocks: 1, of: 1 }])).toBe('bad_message');
    unchanged();
  });

  it('cannot commit for another session or with digests for other pairs', async () => {
    const digest = 'ab'.repeat(32);
    expect(await told(open(), [{ type: 'commit', digests: [digest, digest] }])).toBe('bad_message');
    unchanged();
  });
});

describe('a destination that says what is not so', () => {
  /** Answers each question of a source with what the script says, and stands in the destination's place. */
  async function shipTo(
    answers: (message: ChannelMessage) => readonly ChannelMessage[],
  ): Promise<{ readonly outcome: string; readonly asked: readonly string[] }> {
    const asked: string[] = [];
    const listener = await tlsLinks(two.there, systemClock).listen(
      { host: '127.0.0.1', port: 0 },
      () => true,
      (link) => {
        void (async () => {
          for (;;) {
            const { message } = await link.next();
            asked.push(message.type);
            for (const answer of answers(message)) await link.send(answer);
          }
        })().catch(() => link.close());
      },
    );
    try {
      const plan = two.plan([await two.freeze()]);
      const outcome = await two.ship(plan, { ...two.endpoint, port: listener.port });
      return { outcome: outcome.kind === 'failed' ? outcome.failure.code : outcome.kind, asked };
    } finally {
      await listener.close();
    }
  }
  const start = { point: 0, pair: 0, block: 0 };
  const lie = 'ab'.repeat(32);
  const greeting: ChannelMessage = { type: 'hello', oldest: 1, newest: 1, serial: 'B' };
  /** Honest but for what is replaced. */
  const scripted =
    (lies: Partial<Record<ChannelMessage['type'], readonly ChannelMessage[]>>) =>
    (message: ChannelMessage): readonly ChannelMessage[] => {
      const said = lies[message.type];
      if (said !== undefined) return said;
      switch (message.type) {
        case 'hello':
          return [greeting];
        case 'open':
          return [{ type: 'opened', address: start }];
        case 'sync':
          return [{ type: 'durable', address: message.address }];
        case 'prove':
          return [{ type: 'proved', digests: [[lie]] }];
        case 'pages':
          return [{ type: 'page_digests', digests: Array.from({ length: message.count }, () => lie) }];
        default:
          return [];
      }
    };

  beforeEach(async () => {
    await two.source.open(two.locals[0]!).write(0, noise(64 * 1024, 3), false);
  });
  afterEach(async () => {
    // The source has its bytes and its right to begin anew; the honest destination gets them.
    const bytes = new Uint8Array(64 * 1024);
    await two.source.open(two.locals[0]!).read(0, bytes);
    expect(Buffer.compare(bytes, noise(64 * 1024, 3))).toBe(0);
    expect(two.source.half(theSession)?.base).toBeUndefined();
    expect((await two.cycle()).kind).toBe('done');
    expect(await two.differing()).toEqual([]);
  });

  it('of digests is found out: what differs is sent once more, then the cycle has failed and nothing is committed', async () => {
    const { outcome, asked } = await shipTo(scripted({}));
    expect(outcome).toBe('proof_mismatch');
    expect(asked.filter((type) => type === 'prove')).toHaveLength(2);
    expect(asked).not.toContain('commit');
  });

  it('of what it has already gets a proof that fails, never a commit', async () => {
    for (const address of [
      { point: 1, pair: 0, block: 0 },
      { point: 0, pair: 7, block: 0 },
      { point: 0, pair: 0, block: 2 ** 40 },
    ]) {
      const { outcome, asked } = await shipTo(scripted({ open: [{ type: 'opened', address }] }));
      expect(['proof_mismatch', 'internal', 'link_lost'], JSON.stringify(address)).toContain(outcome);
      expect(asked).not.toContain('commit');
    }
  });

  it('with too few, too many or malformed digests is not believed', async () => {
    for (const digests of [[], [[]], [[lie, lie]], [[lie], [lie]], [['x']], 'x', null]) {
      const { outcome, asked } = await shipTo(
        scripted({ prove: [{ type: 'proved', digests } as unknown as ChannelMessage] }),
      );
      expect(['proof_mismatch', 'link_lost'], JSON.stringify(digests)).toContain(outcome);
      expect(asked).not.toContain('commit');
    }
  });

  it.each(['open', 'sync', 'prove', 'pages'] as const)(
    'and one that is there and never answers %s, holds nothing up for ever',
    async (question) => {
      // On a busy machine the answers that it does give may take longer than that: then it is given more time.
      for (two.patience_ms = 100; ; two.patience_ms *= 4) {
        const { outcome, asked } = await shipTo(scripted({ [question]: [] }));
        expect(outcome).toBe('link_lost');
        if (asked.at(-1) === question) break;
        expect(two.patience_ms).toBeLessThan(60_000);
      }
      two.patience_ms = 60_000;
    },
  );

  it('out of turn ends the cycle', async () => {
    const outOfTurn: readonly ChannelMessage[] = [
      { type: 'proved', digests: [[lie]] },
      { type: 'page_digests', digests: [lie] },
      { type: 'open', plan: plan() },
      { type: 'prove' },
    ];
    for (const message of outOfTurn) {
      const { outcome, asked } = await shipTo(scripted({ open: [message] }));
      expect(['internal', 'link_lost'], message.type).toContain(outcome);
      expect(asked, message.type).not.toContain('commit');
    }
  });
});
