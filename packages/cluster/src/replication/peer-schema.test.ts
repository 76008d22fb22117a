import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cycleId, pointId, proposalId, sessionId, volumeId } from '@antipode/base';
import { type HalfView, oldestPeerProtocolVersion, type PeerMessage, peerProtocolVersion } from '@antipode/replication';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkPeerRequest, readEnvelope, readPeerAnswer } from './peer-schema.ts';
import type { Hello, PeerAnswer, PeerRequest, PolicyCopy } from './peer-wire.ts';

/**
 * The stored messages are what docs/formats/management-channel.md describes. They fail when the format changes. A change is a new
 * version [C9.4]: raise peerProtocolVersion, keep the old file (it is then read too), and write the new one by running this
 * test once with GOLDEN_WRITE=1 in the environment.
 */
const fileFor = (version: number) => join(import.meta.dirname, 'golden', `management-channel-v${version}.jsonl`);

const digest = 'cd'.repeat(32);
const generation = { number: 2, site: 'AP0123456789', nonce: 'n2' };
const session = sessionId('6a6b6c6d-0000-4000-8000-000000000001');
const at = { peer: { host: '192.0.2.1', port: 7443 }, data: { host: '192.0.2.1', port: 7444 } };
const hello: Hello = {
  serial: 'AP0123456789',
  name: 'London',
  version: '0.1.0',
  now_ms: 1_700_000_000_000,
  ...at,
};
/** As it is told now. */
const withAppliances: Hello = {
  ...hello,
  appliances: [
    { id: 'A1', name: 'London-appliance-1', model: 'Antipode' },
    { id: 'A2', name: 'London-appliance-2', model: 'Antipode' },
  ],
};
const protection: PolicyCopy = {
  id: 'policy-1',
  name: 'Gold',
  description: null,
  replicationRule: { id: 'rule-1', name: 'Every hour', rpo: 'One_Hour', alertThreshold: 60 },
  snapshotRules: [
    {
      id: 'snap-1',
      name: 'Daily',
      interval: null,
      timeOfDay: '22:30',
      timezone: 'Europe__London',
      daysOfWeek: ['Monday', 'Sunday'],
      retention_h: 72,
      isSecure: true,
    },
    {
      id: 'snap-2',
      name: 'Often',
      interval: 'Five_Minutes',
      timeOfDay: null,
      timezone: null,
      daysOfWeek: [],
      retention_h: 1,
      isSecure: false,
    },
  ],
};
const base = { point: pointId('6a6b6c6d-0000-4000-8000-000000000002'), digests: [digest] };
const small: HalfView = { generation, role: 'destination', state: 'OK', refused: [], points: [] };
const full: HalfView = {
  generation,
  role: 'source',
  state: 'Paused',
  paused: { scope: 'local', remembered: 'Synchronizing' },
  proposal: proposalId('proposal-1'),
  refused: [proposalId('proposal-0')],
  base,
  points: [{ ...base, instant_ms: 1_700_000_000_000 }],
  staged: cycleId('cycle-1'),
  lastSync: { completed_ms: 1_700_000_001_000, duration_ms: 12.5, instant_ms: 1_700_000_000_000 },
};

const pairs = [{ local: volumeId('volume-2'), remote: volumeId('volume-1') }];
/** What groups, snapshots, tests and upgrades brought: fields that an older program ignores. */
const grouped: HalfView = {
  ...small,
  base: { ...base, pairs },
  points: [{ ...base, pairs, instant_ms: 1_700_000_000_000 }],
  pairs,
  snapshots: [pointId('6a6b6c6d-0000-4000-8000-000000000003')],
  revision: 12,
  seen: 7,
  testing: true,
  suspended: ['ndu', 'migration'],
};
const volume = { id: 'volume-1', name: 'Zürich', description: null, size: 2 ** 40, appType: null, appTypeOther: null };

const verbs: { readonly [K in PeerMessage['kind']]: Extract<PeerMessage, { kind: K }> } = {
  contact: { kind: 'contact', session, view: full },
  pause: { kind: 'pause', session, view: small },
  resume: { kind: 'resume', session, view: small },
  activate: { kind: 'activate', session, view: small, base },
  reprotect: { kind: 'reprotect', session, view: small },
  delete: { kind: 'delete', session, view: small },
  promote: {
    kind: 'promote',
    session,
    view: small,
    proposal: proposalId('proposal-1'),
    cycle: cycleId('cycle-1'),
    digests: [digest],
  },
};
const requests: readonly PeerRequest[] = [
  { kind: 'hello', hello },
  {
    kind: 'pair',
    identity: {
      serial: hello.serial,
      name: hello.name,
      version: hello.version,
      certificate: '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n',
      managementAddress: 'london.example:443',
      ...at,
    },
    latency: 'Low',
  },
  { kind: 'unpair' },
  {
    kind: 'offer',
    offer: {
      session,
      generation,
      volume,
      protection,
    },
  },
  { kind: 'withdraw', session },
  { kind: 'policy', session, protection },
  { kind: 'volume', session, name: 'Basel', description: 'moved' },
  ...Object.values(verbs).map((message): PeerRequest => ({ kind: 'session', message })),
  {
    kind: 'offer_group',
    offer: {
      session,
      generation,
      group: { id: 'group-1', name: 'Payroll', description: null, isWriteOrderConsistent: true },
      volumes: [volume],
      protection,
    },
  },
  { kind: 'members', session, volumes: [volume], check: true },
  { kind: 'volume', session, volume: 'volume-2', name: 'Basel', description: null },
  { kind: 'session', message: { kind: 'contact', session, view: grouped } },
  { kind: 'hello', hello: withAppliances },
  { kind: 'hello', hello, lost: true },
];
const answers: readonly PeerAnswer[] = [
  { kind: 'hello', hello },
  { kind: 'done' },
  { kind: 'accepted', volume: 'volume-2' },
  { kind: 'refused', code: 'name_in_use', message: 'the name is taken', arguments: ['Zürich'] },
  { kind: 'session', reply: { kind: 'view', view: full } },
  { kind: 'session', reply: { kind: 'busy', message: 'a failover is under way', view: small } },
  { kind: 'session', reply: { kind: 'refused', message: 'not now', view: small } },
  { kind: 'session', reply: { kind: 'tombstone', generation } },
  { kind: 'session', reply: { kind: 'unknown_session' } },
  { kind: 'accepted_group', group: 'group-2', volumes: [{ source: 'volume-1', copy: 'volume-2' }] },
  { kind: 'members', volumes: [{ source: 'volume-1', copy: 'volume-2' }] },
  { kind: 'hello', hello: withAppliances },
];
const lines = [
  ...requests.map((request) => JSON.stringify({ version: peerProtocolVersion, request })),
  ...answers.map((answer) => JSON.stringify(answer)),
];

/** Every place in a message, as a path. */
function* paths(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  if (path.length > 0) yield path;
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) yield* paths(inner, [...path, key]);
}

function replaced(value: unknown, path: readonly string[], by: unknown): unknown {
  const copy = structuredClone(value) as Record<string, unknown>;
  let at = copy;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  at[path.at(-1)!] = by;
  return copy;
}

describe('the management channel’s messages', () => {
  it('are written as their format page says', () => {
    const text = `${lines.join('\n')}\n`;
    if (process.env.GOLDEN_WRITE === '1') writeFileSync(fileFor(peerProtocolVersion), text);
    expect(text).toBe(readFileSync(fileFor(peerProtocolVersion), 'utf8'));
  });

  const versions = Array.from(
    { length: peerProtocolVersion - oldestPeerProtocolVersion + 1 },
    (_, index) => oldestPeerProtocolVersion + index,
  );
  it.each(versions)('[C9.4] version %i is read', (version) => {
    const stored = readFileSync(fileFor(version), 'utf8').trimEnd().split('\n');
    const read = stored.map((line) => {
      const envelope = readEnvelope(line);
      return envelope === undefined ? readPeerAnswer(line) : checkPeerRequest(envelope.request);
    });
    expect(read).toEqual([...requests, ...answers]);
  });

  it('[C9.4] may carry fields that are not known yet', () => {
    expect(checkPeerRequest({ ...verbsRequest('contact'), later: 1 })).toBeDefined();
    expect(checkPeerRequest({ kind: 'session', message: { ...verbs.contact, later: { deep: true } } })).toBeDefined();
  });

  it('are refused when a field is missing or of another type', () => {
    for (const request of requests) {
      for (const path of paths(request)) {
        const wrong = { strange: [] };
        expect(checkPeerRequest(replaced(request, path, wrong)), `${request.kind} ${path.join('.')}`).toBeUndefined();
      }
    }
    for (const answer of answers) {
      for (const path of paths(answer))
        expect(readPeerAnswer(JSON.stringify(replaced(answer, path, { strange: [] }))), path.join('.')).toBeUndefined();
    }
  });

  it.each([
    ['a kind that there is not', { kind: 'format' }],
    ['a kind of every object', { kind: 'toString' }],
    [
      'a generation of zero',
      { kind: 'session', message: { ...verbs.pause, view: { ...small, generation: { ...generation, number: 0 } } } },
    ],
    ['a state that there is not', { kind: 'session', message: { ...verbs.pause, view: { ...small, state: 'Fine' } } }],
    ['a revision below zero', { kind: 'session', message: { ...verbs.pause, view: { ...small, revision: -1 } } }],
    ['a revision beyond counting', { kind: 'session', message: { ...verbs.pause, view: { ...small, seen: 2 ** 53 } } }],
    ['a digest that is none', { kind: 'session', message: { ...verbs.promote, digests: ['ab'] } }],
    ['no digests', { kind: 'session', message: { ...verbs.promote, digests: [] } }],
    ['a negative size', replaced(requests[3], ['offer', 'volume', 'size'], -1)],
    ['half a byte', replaced(requests[3], ['offer', 'volume', 'size'], 0.5)],
    ['a nameless volume', replaced(requests[3], ['offer', 'volume', 'name'], '')],
    ['an endless name', replaced(requests[3], ['offer', 'volume', 'name'], 'x'.repeat(257))],
    ['a port that there is not', replaced(requests[0], ['hello', 'peer', 'port'], 65_536)],
  ])('%s is refused', (_name, request) => {
    expect(checkPeerRequest(request)).toBeUndefined();
  });

  it('nothing makes reading fail', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        const envelope = readEnvelope(text);
        expect(envelope === undefined || checkPeerRequest(envelope.request) === undefined).toBe(true);
        readPeerAnswer(text);
      }),
    );
  });
});

function verbsRequest(kind: PeerMessage['kind']): PeerRequest {
  return { kind: 'session', message: verbs[kind] };
}
