import { type Static, type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { ChannelMessage, ChannelType } from './protocol.ts';

const Text = (most: number) => Type.String({ minLength: 1, maxLength: most });
const Count = Type.Integer({ minimum: 0, maximum: 2 ** 40 });
const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Address = Type.Object({ point: Count, pair: Count, block: Count });
const Generation = Type.Object({
  number: Type.Integer({ minimum: 1, maximum: 2 ** 40 }),
  site: Text(64),
  nonce: Text(64),
});
const Tag = Type.Record(
  Type.String({ maxLength: 64 }),
  Type.Union([Type.String({ maxLength: 4096 }), Type.Number(), Type.Boolean(), Type.Null()]),
);
const Point = Type.Object({
  id: Text(64),
  kind: Type.Union([Type.Literal('internal'), Type.Literal('snapshot'), Type.Literal('diverged')]),
  instant_ms: Type.Number(),
  tag: Tag,
  sizes: Type.Array(Type.Integer({ minimum: 0, maximum: 2 ** 48 }), { minItems: 1, maxItems: 1024 }),
});
const Plan = Type.Object({
  session: Text(64),
  cycle: Text(64),
  generation: Generation,
  base: Type.Optional(Text(64)),
  points: Type.Array(Point, { minItems: 1, maxItems: 4096 }),
  pairs: Type.Array(Type.Object({ local: Text(64), remote: Text(64) }), { minItems: 1, maxItems: 1024 }),
});
const Run = Type.Tuple([
  Count,
  Type.Integer({ minimum: 1, maximum: 2 ** 40 }),
  Type.Union([Type.Literal(0), Type.Literal(1)]),
]);

/** What each message may look like: nothing that came over the link is used before it has passed here. */
const schemas: Readonly<Record<ChannelType, TSchema>> = {
  hello: Type.Object({ type: Type.Literal('hello'), oldest: Count, newest: Count, serial: Text(64) }),
  open: Type.Object({ type: Type.Literal('open'), plan: Plan }),
  opened: Type.Object({ type: Type.Literal('opened'), address: Address }),
  committed: Type.Object({ type: Type.Literal('committed'), digests: Type.Array(Digest, { maxItems: 1024 }) }),
  refused: Type.Object({ type: Type.Literal('refused'), code: Text(32), message: Type.String({ maxLength: 1024 }) }),
  runs: Type.Object({
    type: Type.Literal('runs'),
    point: Count,
    pair: Count,
    runs: Type.Array(Run, { minItems: 1, maxItems: 4096 }),
    repair: Type.Optional(Type.Literal(true)),
  }),
  sync: Type.Object({ type: Type.Literal('sync'), address: Address }),
  durable: Type.Object({ type: Type.Literal('durable'), address: Address }),
  prove: Type.Object({ type: Type.Literal('prove') }),
  proving: Type.Object({ type: Type.Literal('proving'), blocks: Count, of: Count }),
  proved: Type.Object({
    type: Type.Literal('proved'),
    digests: Type.Array(Type.Array(Digest, { maxItems: 1024 }), { maxItems: 4096 }),
  }),
  pages: Type.Object({
    type: Type.Literal('pages'),
    point: Count,
    pair: Count,
    page: Count,
    count: Type.Integer({ minimum: 1, maximum: 4096 }),
  }),
  page_digests: Type.Object({ type: Type.Literal('page_digests'), digests: Type.Array(Digest, { maxItems: 4096 }) }),
  commit: Type.Object({ type: Type.Literal('commit'), digests: Type.Array(Digest, { minItems: 1, maxItems: 1024 }) }),
  ping: Type.Object({ type: Type.Literal('ping') }),
  pong: Type.Object({ type: Type.Literal('pong') }),
};

const compiled = new Map<ChannelType, { Check(value: unknown): value is Static<TSchema> }>();

/** The message, or undefined when it is not one of this protocol. */
export function checkMessage(type: ChannelType, value: unknown): ChannelMessage | undefined {
  let checker = compiled.get(type);
  if (checker === undefined) {
    checker = Compile(schemas[type]);
    compiled.set(type, checker);
  }
  return checker.Check(value) ? (value as ChannelMessage) : undefined;
}
