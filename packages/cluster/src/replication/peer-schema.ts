import { enums } from '@antipode/contract';
import { peerProtocolVersion, states, suspensionReasons } from '@antipode/replication';
import { type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { PeerAnswer, PeerRequest } from './peer-wire.ts';

/**
 * What requests and answers of the management channel may look like (docs/formats/management-channel.md). Nothing that came over
 * the link is used before it has passed here. Fields that are not known are ignored: a newer peer may send them [C9.4].
 */

const Id = Type.String({ minLength: 1, maxLength: 64 });
const Name = Type.String({ maxLength: 256 });
const Description = Type.Union([Type.String({ maxLength: 4096 }), Type.Null()]);
const Moment = Type.Integer({ minimum: 0, maximum: 2 ** 53 - 1 });
/** Measured, so not always whole. */
const Duration = Type.Number({ minimum: 0, maximum: 2 ** 53 - 1 });
const Bytes = Type.Integer({ minimum: 0, maximum: 2 ** 53 - 1 });
const Digests = Type.Array(Type.String({ pattern: '^[0-9a-f]{64}$' }), { minItems: 1, maxItems: 1024 });
const oneOf = (values: readonly string[]) => Type.Union(values.map((value) => Type.Literal(value)));

const HostPort = Type.Object({
  host: Type.String({ minLength: 1, maxLength: 255 }),
  port: Type.Integer({ minimum: 0, maximum: 65_535 }),
});
const Generation = Type.Object({
  number: Type.Integer({ minimum: 1, maximum: 2 ** 40 }),
  site: Id,
  nonce: Id,
});

const Hello = Type.Object({
  serial: Id,
  name: Name,
  version: Type.String({ maxLength: 64 }),
  now_ms: Moment,
  peer: HostPort,
  data: HostPort,
  appliances: Type.Optional(Type.Array(Type.Object({ id: Id, name: Name, model: Name }), { maxItems: 64 })),
});
const Identity = Type.Object({
  serial: Id,
  name: Name,
  version: Type.String({ maxLength: 64 }),
  certificate: Type.String({ minLength: 1, maxLength: 16_384 }),
  managementAddress: Type.String({ minLength: 1, maxLength: 300 }),
  peer: HostPort,
  data: HostPort,
});
const snapshotRule = {
  id: Id,
  name: Name,
  daysOfWeek: Type.Array(oneOf(enums.DaysOfWeek), { maxItems: 7 }),
  retention_h: Type.Integer({ minimum: 1, maximum: 613_200 }),
  isSecure: Type.Boolean(),
};
/** At every interval, or at a time of day: never both. */
const SnapshotRule = Type.Union([
  Type.Object({
    ...snapshotRule,
    interval: oneOf(enums.SnapRuleInterval),
    timeOfDay: Type.Null(),
    timezone: Type.Null(),
  }),
  Type.Object({
    ...snapshotRule,
    interval: Type.Null(),
    timeOfDay: Type.String({ pattern: '^([01]\\d|2[0-3]):[0-5]\\d$' }),
    timezone: Type.Union([oneOf(enums.TimeZone), Type.Null()]),
  }),
]);
const Policy = Type.Object({
  id: Id,
  name: Name,
  description: Description,
  replicationRule: Type.Object({
    // Empty when the rule went away while its policy was read.
    id: Type.String({ maxLength: 64 }),
    name: Name,
    rpo: oneOf(enums.RPO),
    alertThreshold: Type.Number({ minimum: 0, maximum: 1_000_000 }),
  }),
  snapshotRules: Type.Array(SnapshotRule, { maxItems: 64 }),
});
const Volume = Type.Object({
  id: Id,
  name: Type.String({ minLength: 1, maxLength: 256 }),
  description: Description,
  size: Bytes,
  appType: Description,
  appTypeOther: Description,
});
const Volumes = Type.Array(Volume, { minItems: 1, maxItems: 1024 });
const Offer = Type.Object({ session: Id, generation: Generation, volume: Volume, protection: Policy });
const GroupOffer = Type.Object({
  session: Id,
  generation: Generation,
  group: Type.Object({
    id: Id,
    name: Type.String({ minLength: 1, maxLength: 256 }),
    description: Description,
    isWriteOrderConsistent: Type.Boolean(),
  }),
  volumes: Volumes,
  protection: Policy,
});
const Copies = Type.Array(Type.Object({ source: Id, copy: Id }), { maxItems: 1024 });

const Pairs = Type.Array(Type.Object({ local: Id, remote: Id }), { maxItems: 1024 });
const Base = Type.Object({ point: Id, digests: Digests, pairs: Type.Optional(Pairs) });
const Remembered = oneOf(['OK', 'Synchronizing', 'System_Paused']);
/** Far below what a number can count exactly: one more than what a peer claims is still one. */
const Revision = Type.Integer({ minimum: 0, maximum: 2 ** 52 });
const View = Type.Object({
  generation: Generation,
  role: oneOf(['source', 'destination']),
  state: oneOf(states),
  revision: Type.Optional(Revision),
  seen: Type.Optional(Revision),
  paused: Type.Optional(Type.Object({ scope: oneOf(['local', 'both']), remembered: Remembered })),
  proposal: Type.Optional(Id),
  refused: Type.Array(Id, { maxItems: 256 }),
  base: Type.Optional(Base),
  points: Type.Array(Type.Object({ point: Id, digests: Digests, pairs: Type.Optional(Pairs), instant_ms: Moment }), {
    maxItems: 4096,
  }),
  staged: Type.Optional(Id),
  pairs: Type.Optional(Pairs),
  snapshots: Type.Optional(Type.Array(Id, { maxItems: 32_768 })),
  testing: Type.Optional(Type.Boolean()),
  suspended: Type.Optional(Type.Array(oneOf(suspensionReasons), { maxItems: 8 })),
  lastSync: Type.Optional(Type.Object({ completed_ms: Moment, duration_ms: Duration, instant_ms: Moment })),
});

const verb = <T extends string>(kind: T, fields: Readonly<Record<string, TSchema>> = {}) =>
  Type.Object({ kind: Type.Literal(kind), session: Id, view: View, ...fields });
const Message = Type.Union([
  verb('contact'),
  verb('pause'),
  verb('resume'),
  verb('activate', { base: Type.Optional(Base) }),
  verb('reprotect'),
  verb('delete'),
  verb('promote', { proposal: Id, cycle: Id, digests: Digests }),
]);
const Text = Type.String({ maxLength: 4096 });
const Reply = Type.Union([
  Type.Object({ kind: Type.Literal('view'), view: View }),
  Type.Object({ kind: Type.Literal('busy'), message: Text, view: View }),
  Type.Object({ kind: Type.Literal('refused'), message: Text, view: View }),
  Type.Object({ kind: Type.Literal('tombstone'), generation: Generation }),
  Type.Object({ kind: Type.Literal('unknown_session') }),
]);

/** One schema for each kind, so that the compiler asks for it when a kind is added. */
const requests: Readonly<Record<PeerRequest['kind'], TSchema>> = {
  hello: Type.Object({ kind: Type.Literal('hello'), hello: Hello, lost: Type.Optional(Type.Boolean()) }),
  pair: Type.Object({ kind: Type.Literal('pair'), identity: Identity, latency: oneOf(enums.RemoteSystemLatency) }),
  unpair: Type.Object({ kind: Type.Literal('unpair') }),
  offer: Type.Object({ kind: Type.Literal('offer'), offer: Offer }),
  offer_group: Type.Object({ kind: Type.Literal('offer_group'), offer: GroupOffer }),
  members: Type.Object({ kind: Type.Literal('members'), session: Id, volumes: Volumes, check: Type.Boolean() }),
  withdraw: Type.Object({ kind: Type.Literal('withdraw'), session: Id }),
  policy: Type.Object({ kind: Type.Literal('policy'), session: Id, protection: Policy }),
  volume: Type.Object({
    kind: Type.Literal('volume'),
    session: Id,
    volume: Type.Optional(Id),
    name: Type.String({ minLength: 1, maxLength: 256 }),
    description: Description,
  }),
  session: Type.Object({ kind: Type.Literal('session'), message: Message }),
};
const answers: Readonly<Record<PeerAnswer['kind'], TSchema>> = {
  hello: Type.Object({ kind: Type.Literal('hello'), hello: Hello }),
  done: Type.Object({ kind: Type.Literal('done') }),
  accepted: Type.Object({ kind: Type.Literal('accepted'), volume: Id }),
  accepted_group: Type.Object({ kind: Type.Literal('accepted_group'), group: Id, volumes: Copies }),
  members: Type.Object({ kind: Type.Literal('members'), volumes: Copies }),
  refused: Type.Object({
    kind: Type.Literal('refused'),
    code: Type.String({ maxLength: 64 }),
    message: Text,
    arguments: Type.Array(Text, { maxItems: 32 }),
  }),
  session: Type.Object({ kind: Type.Literal('session'), reply: Reply }),
};

const Envelope = Compile(
  Type.Object({
    version: Type.Integer({ minimum: 0, maximum: 65_535 }),
    request: Type.Object({ kind: Type.String() }),
  }),
);
const requestCheckers = compiledFrom(requests);
const answerCheckers = compiledFrom(answers);

/** A request as it travels. */
export const envelopeOf = (request: PeerRequest): string => JSON.stringify({ version: peerProtocolVersion, request });

/** The version that a message claims and what it holds, unchecked; undefined when it is no envelope of this protocol. */
export function readEnvelope(text: string): { readonly version: number; readonly request: unknown } | undefined {
  const value = parsed(text);
  return Envelope.Check(value) ? value : undefined;
}

/** The request, or undefined when it is not one of this protocol. */
export const checkPeerRequest = (value: unknown): PeerRequest | undefined =>
  passes(requestCheckers, value) ? (value as PeerRequest) : undefined;

/** The answer in a response's text, or undefined when it is not one of this protocol. */
export function readPeerAnswer(text: string): PeerAnswer | undefined {
  const value = parsed(text);
  return passes(answerCheckers, value) ? (value as PeerAnswer) : undefined;
}

type Checkers = ReadonlyMap<unknown, { Check(value: unknown): boolean }>;

function compiledFrom(schemas: Readonly<Record<string, TSchema>>): Checkers {
  return new Map(Object.entries(schemas).map(([kind, schema]) => [kind, Compile(schema)]));
}

function passes(checkers: Checkers, value: unknown): boolean {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  return checkers.get(kind)?.Check(value) ?? false;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
