import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cycleId, pointId, proposalId, sessionId, systemClock, testId, type VolumeId, volumeId } from '@antipode/base';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../port/device.ts';
import type { BlockEngine } from '../port/engine.ts';
import type { CyclePlan, PointSpec } from '../port/types.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import { applyChange } from './graph/apply.ts';
import { type Change, ChangeGatherer, encodeChange } from './graph/changes.ts';
import { emptyGraph, encodeGraph } from './graph/graph.ts';
import { openSegmentLog } from './log/segment-log.ts';
import { smallLogLimits } from './log/small-limits.ts';
import type { Sequence } from './log/types.ts';
import { openEngineOn } from './open-engine.ts';
import { seededRandom } from './simulated/seeded-random.ts';
import { SimulatedCheckpointStore } from './simulated/simulated-checkpoint-store.ts';
import { SimulatedDisk } from './simulated/simulated-disk.ts';

/**
 * The stored files are what control records and a checkpoint of these versions look like. They fail when a format changes. A change
 * is a new version [C9.4]: keep the old files, and write the new ones by running this test once with GOLDEN_WRITE=1.
 */
const fileFor = (name: string) => join(import.meta.dirname, 'golden', name);

function golden(name: string, text: string): string {
  if (process.env.GOLDEN_WRITE === '1') writeFileSync(fileFor(name), text);
  return readFileSync(fileFor(name), 'utf8');
}

const spec = (id: string, kind: PointSpec['kind']): PointSpec => ({
  id: pointId(id),
  kind,
  instant_ms: 1_700_000_000_000,
  tag: { name: 'Zürich' },
});

/** One of each change. */
async function live(engine: BlockEngine): Promise<void> {
  const [a, b, session] = [volumeId('a'), volumeId('b'), sessionId('s')];
  const generation = (number: number) => ({ number, site: 'A', nonce: `n${number}` });
  await engine.createVolume({ id: a, name: 'a', size: 2 ** 20, tag: { n: 1 } });
  await engine.open(a).write(0, new Uint8Array(2 * BLOCK_BYTES).fill(7), true);
  await engine.resizeVolume(a, 2 ** 21);
  await engine.changeVolume(a, { name: 'alpha', tag: {} });
  await engine.freeze(spec('p1', 'snapshot'), [a], 'me');
  await engine.open(a).trim(BLOCK_BYTES, BLOCK_BYTES, true);
  await engine.changePoint(pointId('p1'), { name: 'x' });
  await engine.hold(pointId('p1'), 'you');
  await engine.fork({ id: b, name: 'b', point: pointId('p1'), of: a, tag: {} });
  await engine.restore([{ volume: a, point: pointId('p1'), of: a }]);
  await engine.createHalf({
    session,
    role: 'source',
    generation: generation(1),
    pairs: [{ local: a, remote: b }],
    tag: {},
  });
  await engine.changeHalf(session, { tag: { paused: true } });
  await engine.advanceBase(session, generation(1), { point: pointId('p1'), digests: ['d'] });
  await engine.seal(session, proposalId('x'), spec('p2', 'internal'));
  await engine.unseal(session, proposalId('x'));
  await engine.demote(session, generation(2), pointId('p1'), spec('p3', 'diverged'));
  const plan = (cycle: string, target: string) => ({
    session,
    cycle: cycleId(cycle),
    generation: generation(2),
    base: pointId('p1'),
    points: [{ ...spec(target, 'internal'), sizes: [2 ** 21] }],
    pairs: [{ local: a, remote: b }],
  });
  await engine.openStage(plan('c1', 'p4'));
  await engine.abandonStage(session, cycleId('c1'));
  await engine.openStage(plan('c2', 'p5'));
  await engine.syncStage(session, cycleId('c2'), { point: 1, pair: 0, block: 0 });
  await engine.commitStage(session, cycleId('c2'), generation(2), ['e']);
  await engine.startTest(session, testId('t'), pointId('p5'));
  await engine.stopTest(session, testId('t'), spec('p6', 'snapshot'));
  await engine.refuseProposal(session, proposalId('y'));
  await engine.promote(session, { next: generation(3) });
  await engine.resetBase(session, generation(3), undefined);
  await engine.removeHalf(session);
  await engine.release(pointId('p1'), 'you');
  await engine.dropPoint(pointId('p1'));
  await engine.deleteVolume(b);
}

/** What groups brought: members that change, a base of other pairs, points without some pairs, a pair that is shipped whole. */
async function liveGroup(engine: BlockEngine): Promise<void> {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(volumeId) as [VolumeId, VolumeId, VolumeId, VolumeId];
  const [here, there] = [sessionId('s'), sessionId('t')];
  const generation = { number: 1, site: 'A', nonce: 'n' };
  for (const id of [a, b]) await engine.createVolume({ id, name: id, size: 2 ** 20, tag: {} });
  for (const id of [c, d]) await engine.createVolume({ id, name: id, size: 2 ** 20, destination: true, tag: {} });
  const pairs = [a, b].map((local) => ({ local, remote: volumeId(`${local}-copy`) }));
  await engine.createHalf({ session: here, role: 'source', generation, pairs: pairs.slice(0, 1), tag: {} });
  await engine.changeHalf(here, { pairs });
  await engine.freeze(spec('p1', 'snapshot'), [a], `session:${here}`);
  await engine.freeze(spec('p2', 'internal'), [a, b], `session:${here}`);
  await engine.advanceBase(here, generation, { point: pointId('p2'), digests: ['d', 'e'], pairs });
  await engine.changeHalf(here, { pairs: pairs.slice(1) });
  await engine.createHalf({
    session: there,
    role: 'destination',
    generation,
    pairs: [{ local: c, remote: a }],
    tag: {},
  });
  const plan = (cycle: string, base: string | undefined, points: CyclePlan['points'], members: CyclePlan['pairs']) => ({
    session: there,
    cycle: cycleId(cycle),
    generation,
    ...(base !== undefined && { base: pointId(base) }),
    points,
    pairs: members,
  });
  const size = 2 ** 20;
  const ends = { point: 2, pair: 0, block: 0 };
  await engine.openStage(
    plan('c1', undefined, [{ ...spec('q1', 'internal'), sizes: [size] }], [{ local: c, remote: a }]),
  );
  await engine.syncStage(there, cycleId('c1'), { point: 1, pair: 0, block: 0 });
  await engine.commitStage(there, cycleId('c1'), generation, ['d']);
  await engine.changeHalf(there, { joining: [{ local: d, remote: b }] });
  await engine.openStage(
    plan(
      'c2',
      'q1',
      [
        { ...spec('q2', 'snapshot'), sizes: [size, 0] },
        { ...spec('q3', 'internal'), sizes: [size, size] },
      ],
      [
        { local: c, remote: a },
        { local: d, remote: b, whole: true },
      ],
    ),
  );
  await engine.syncStage(there, cycleId('c2'), ends);
  await engine.commitStage(there, cycleId('c2'), generation, ['e', 'f']);
}

const limits = { logLimits: smallLogLimits, clock: systemClock };

describe('formats above the log', () => {
  it.each([
    ['', live],
    ['-groups', liveGroup],
  ] as const)('control records%s are as they were written down, and make the same graph', async (name, history) => {
    const disk = new SimulatedDisk({ random: seededRandom(1) });
    const engine = await openEngineOn({
      disk: disk.mount(),
      checkpoints: new SimulatedCheckpointStore({ random: seededRandom(2) }).mount(),
      ...limits,
    });
    await history(engine);
    await engine.close();
    const log = await openSegmentLog({ disk: disk.mount(), clock: systemClock });
    const bodies: string[] = [];
    for await (const record of log.scan(0 as Sequence))
      if (record.type === 'control') bodies.push(Buffer.from(record.body).toString('utf8'));
    await log.close();
    const lines = golden(`control-records${name}-v1.jsonl`, `${bodies.join('\n')}\n`)
      .trimEnd()
      .split('\n');
    expect(bodies).toEqual(lines);
    const graph = emptyGraph();
    for (const line of lines) applyChange(graph, JSON.parse(line) as Change);
    const text = `${JSON.stringify(encodeGraph(graph), null, 1)}\n`;
    expect(text).toBe(golden(`graph${name}-v1.json`, text));
  });

  it('a checkpoint is as it was written down', async () => {
    const disk = new SimulatedDisk({ random: seededRandom(1) });
    const kept = new SimulatedCheckpointStore({ random: seededRandom(2) });
    const engine = await openEngineOn({ disk: disk.mount(), checkpoints: kept.mount(), ...limits });
    await engine.createVolume({ id: volumeId('a'), name: 'a', size: 2 ** 21, tag: {} });
    const device = engine.open(volumeId('a'));
    await device.write(255 * BLOCK_BYTES, new Uint8Array(2 * BLOCK_BYTES).fill(7), true);
    await engine.freeze(spec('p1', 'snapshot'), [volumeId('a')]);
    await device.trim(256 * BLOCK_BYTES, BLOCK_BYTES, true);
    await engine.close();
    const text = dump(kept.mount());
    expect(text).toBe(golden('checkpoint-v1.txt', text));
  });

  it('a change larger than one record travels in parts, and one that was cut short does not count', () => {
    const graph = emptyGraph();
    for (let index = 0; index < 3000; index++)
      applyChange(graph, {
        op: 'create_volume',
        id: volumeId(`"${index}"`),
        name: 'Zürich 🏔'.repeat(20),
        size: 2 ** 20,
        destination: false,
        layer: graph.nextLayer as never,
        tag: {},
      });
    const change: Change = { op: 'graph', graph: encodeGraph(graph) };
    const bodies = encodeChange(change);
    expect(bodies.length).toBeGreaterThan(3);
    const found = gathered([bodies.slice(0, -1), bodies, bodies.slice(1), bodies.with(1, bodies[2]!)].flat());
    expect(found).toEqual([JSON.parse(JSON.stringify(change))]);
    // As pieces of whole graphs were written before.
    const text = JSON.stringify(encodeGraph(graph));
    const half = text.length / 2;
    const before = [text.slice(0, half), text.slice(half)].map((piece, part) => ({
      op: 'graph_part',
      part,
      parts: 2,
      text: piece,
    }));
    expect(gathered(before.map((part) => Buffer.from(JSON.stringify(part))))).toEqual(found);
  });

  it('a record that is missing between two pieces voids the change', () => {
    const bodies = encodeChange({ op: 'change_point', id: 'p' as never, tag: { text: 'x'.repeat(300_000) } });
    expect(bodies.length).toBe(3);
    const gatherer = new ChangeGatherer();
    expect(bodies.map((body, index) => gatherer.take(body, index < 2 ? index : index + 1))).not.toContainEqual(
      expect.anything(),
    );
  });
});

function gathered(bodies: readonly Uint8Array[]): readonly Change[] {
  const gatherer = new ChangeGatherer();
  return bodies
    .map((body, index) => gatherer.take(body, index + 1))
    .filter((change): change is Change => change !== undefined);
}

/** Keys and values by key; the head's JSON as text, pages as hexadecimal. */
function dump(store: CheckpointStore): string {
  const lines: string[] = [];
  for (const key of store.keys(Uint8Array.of(0), Uint8Array.of(255))) {
    const value = Buffer.from(store.get(key)!);
    const isHead = key.length === 1;
    lines.push(`${Buffer.from(key).toString('hex')} ${isHead ? value.toString('utf8') : value.toString('hex')}`);
  }
  return `${lines.join('\n')}\n`;
}
