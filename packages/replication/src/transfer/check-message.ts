import * as v from 'valibot';
import { transferLimits } from './limits.ts';
import type { ChannelMessage, ChannelType } from './protocol.ts';

// Valibot and not the schemas' library of the REST interface: this runs in the data plane, where that one would take 20 MiB.
const text = (most: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(most));
const within = (least: number, most: number) => v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));
const list = <Item extends v.GenericSchema>(item: Item, least: number, most: number) =>
  v.pipe(v.array(item), v.minLength(least), v.maxLength(most));
const count = within(0, 2 ** 40);
const digest = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const address = v.object({ point: count, pair: count, block: count });
const generation = v.object({ number: within(1, 2 ** 40), site: text(64), nonce: text(64) });
const tag = v.record(
  v.pipe(v.string(), v.maxLength(64)),
  v.union([v.pipe(v.string(), v.maxLength(4096)), v.number(), v.boolean(), v.null()]),
);
const point = v.object({
  id: text(64),
  kind: v.picklist(['internal', 'snapshot', 'diverged']),
  instant_ms: v.number(),
  tag,
  sizes: list(within(0, 2 ** 48), 1, 1024),
});
const plan = v.object({
  session: text(64),
  cycle: text(64),
  generation,
  base: v.optional(text(64)),
  points: list(point, 0, transferLimits.planPoints),
  pairs: list(v.object({ local: text(64), remote: text(64), whole: v.optional(v.literal(true)) }), 1, 1024),
});
const run = v.strictTuple([count, within(1, 2 ** 40), v.picklist([0, 1])]);

/** What each message may look like: nothing that came over the link is used before it has passed here. */
const schemas: Readonly<Record<ChannelType, v.GenericSchema>> = {
  hello: v.object({ type: v.literal('hello'), oldest: count, newest: count, serial: text(64) }),
  open: v.pipe(
    v.object({
      type: v.literal('open'),
      plan,
      points: v.optional(within(1, transferLimits.planPoints)),
    }),
    v.check((open) => (open.plan.points.length === 0) === (open.points !== undefined)),
  ),
  points: v.object({ type: v.literal('points'), points: list(point, 1, transferLimits.planPoints) }),
  opened: v.object({ type: v.literal('opened'), address }),
  committed: v.object({ type: v.literal('committed'), digests: list(digest, 0, 1024) }),
  refused: v.object({ type: v.literal('refused'), code: text(32), message: v.pipe(v.string(), v.maxLength(1024)) }),
  runs: v.object({
    type: v.literal('runs'),
    point: count,
    pair: count,
    runs: list(run, 1, 4096),
    repair: v.optional(v.literal(true)),
  }),
  sync: v.object({ type: v.literal('sync'), address }),
  durable: v.object({ type: v.literal('durable'), address }),
  prove: v.object({ type: v.literal('prove') }),
  proving: v.object({ type: v.literal('proving'), blocks: count, of: count }),
  proved: v.object({
    type: v.literal('proved'),
    digests: list(list(digest, 0, 1024), 0, transferLimits.planPoints),
    more: v.optional(v.literal(true)),
  }),
  pages: v.object({ type: v.literal('pages'), point: count, pair: count, page: count, count: within(1, 4096) }),
  page_digests: v.object({ type: v.literal('page_digests'), digests: list(digest, 0, 4096) }),
  commit: v.object({ type: v.literal('commit'), digests: list(digest, 1, 1024) }),
  image: v.object({
    type: v.literal('image'),
    move: text(64),
    image: v.object({ image: text(64), parent: v.optional(text(64)), size: within(0, 2 ** 48) }),
  }),
  arriving: v.object({ type: v.literal('arriving'), next: count, complete: v.boolean() }),
  close_image: v.object({ type: v.literal('close_image') }),
  image_closed: v.object({ type: v.literal('image_closed'), digest }),
  image_proof: v.object({ type: v.literal('image_proof'), digest }),
  ping: v.object({ type: v.literal('ping') }),
  pong: v.object({ type: v.literal('pong') }),
};

/** The message, or undefined when it is not one of this protocol. */
export const checkMessage = (type: ChannelType, value: unknown): ChannelMessage | undefined =>
  v.is(schemas[type], value) ? (value as ChannelMessage) : undefined;
