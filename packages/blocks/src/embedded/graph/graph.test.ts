import { cycleId, pointId, proposalId, sessionId, testId, volumeId } from '@antipode/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBlockError } from '../../port/errors.ts';
import type { CyclePlan, Generation } from '../../port/types.ts';
import { applyChange } from './apply.ts';
import type { Change } from './changes.ts';
import { decodeGraph, emptyGraph, encodeGraph, type Graph, isHeld, noLayer } from './graph.ts';
import * as plan from './plan.ts';

const MiB = 1024 * 1024;
const session = sessionId('s');
const generation = (number: number): Generation => ({ number, site: 'X', nonce: `n${number}` });
const volumes = [volumeId('a'), volumeId('b'), volumeId('c')];

type Step = (graph: Graph, serial: number) => Change | undefined;

/** Every verb of the port, with small choices; what is illegal now is refused and changes nothing. */
const step: fc.Arbitrary<Step> = fc
  .record({ verb: fc.nat(20), volume: fc.nat(2), other: fc.nat(2), pick: fc.nat(9) })
  .map(({ verb, volume, other, pick }) => (graph, serial): Change | undefined => {
    const id = volumes[volume]!;
    const points = [...graph.points.keys()];
    const point = points.length === 0 ? pointId('none') : points[pick % points.length]!;
    const half = graph.halves.get(session);
    const spec = {
      id: pointId(`p${serial}`),
      kind: 'snapshot' as const,
      instant_ms: serial,
      tag: pick % 2 === 0 ? { session } : {},
    };
    switch (verb) {
      case 0:
        return plan.planCreateVolume(graph, { id, name: id, size: MiB, destination: pick % 3 === 0, tag: {} });
      case 1:
        return plan.planDeleteVolume(graph, id);
      case 2:
        return plan.planResize(graph, id, MiB + pick * 8192);
      case 3:
        return plan.planFreeze(graph, spec, [id], pick % 3 === 0 ? 'holder' : undefined);
      case 4:
        return plan.planDropPoint(graph, point);
      case 5:
        return pick % 2 === 0 ? plan.planHold(graph, point, 'holder') : plan.planRelease(graph, point, 'holder');
      case 6:
        return plan.planRestore(
          graph,
          (pick % 2 === 0 ? [id] : [...new Set([id, volumes[other]!])]).map((one) => ({ volume: one, point, of: one })),
        );
      case 7:
        return plan.planFork(graph, { id: volumes[other]!, name: 'fork', point, of: id, tag: {} });
      case 8:
        return plan.planCreateHalf(graph, {
          session,
          role: pick % 2 === 0 ? 'source' : 'destination',
          generation: generation(1 + (graph.tombstones.get(session)?.number ?? 0)),
          pairs: [{ local: id, remote: volumeId('z') }],
          tag: {},
        });
      case 9:
        return plan.planRemoveHalf(graph, session);
      case 10: {
        if (half === undefined) return undefined;
        const cycle: CyclePlan = {
          session,
          cycle: cycleId(`c${serial}`),
          generation: half.generation,
          ...(half.base && { base: half.base.point }),
          points: [{ ...spec, kind: 'internal', sizes: [MiB] }],
          pairs: half.pairs,
        };
        return half.stage === undefined
          ? plan.planOpenStage(graph, cycle)
          : plan.planAbandonStage(graph, session, half.stage.plan.cycle);
      }
      case 11:
        return (
          half?.stage &&
          plan.planCommitStage(
            graph,
            session,
            half.stage.plan.cycle,
            half.generation,
            half.stage.plan.pairs.map(() => 'd'),
          )
        );
      case 12:
        return half?.seal === undefined
          ? plan.planSeal(graph, session, proposalId(`x${serial}`), spec)
          : plan.planUnseal(graph, session, half.seal.proposal);
      case 13:
        return half && plan.planPromote(graph, session, { next: generation(half.generation.number + 1) });
      case 14:
        return half && half.role === 'source'
          ? plan.planDemote(
              graph,
              session,
              generation(half.generation.number + 1),
              undefined,
              pick % 2 === 0 ? { ...spec, kind: 'diverged' } : undefined,
            )
          : undefined;
      case 15:
        return half && plan.planStartTest(graph, session, testId(`t${serial}`), pick % 2 === 0 ? point : undefined);
      case 16:
        return half?.test && plan.planStopTest(graph, session, half.test.id, pick % 2 === 0 ? spec : undefined);
      case 17:
        return (
          half && plan.planPromote(graph, session, { next: generation(half.generation.number + 1), testCopy: true })
        );
      case 18: {
        if (half === undefined) return undefined;
        const pairs = [{ local: id, remote: volumeId('z') }, ...(pick % 2 === 0 ? half.pairs : [])].filter(
          ({ local }, index, all) => all.findIndex((pair) => pair.local === local) === index,
        );
        return plan.planChangeHalf(graph, session, half.role === 'source' ? { pairs } : { joining: pairs });
      }
      case 19: {
        // Members that were set aside come, or not all of those that there are stay.
        if (half?.role !== 'destination') return undefined;
        const base = half.base && graph.points.get(half.base.point);
        const all = [...half.pairs, ...(half.joining ?? [])].filter(
          ({ local }, index, list) => list.findIndex((pair) => pair.local === local) === index,
        );
        const pairs = all.slice(pick % 2).map((pair) => {
          const held = base?.members.some((member) => member.volume === pair.local) ?? false;
          return { ...pair, ...(base !== undefined && !held && { whole: true as const }) };
        });
        const sizes = pairs.map((_, index) => (index === pick % 3 ? 0 : MiB));
        return plan.planOpenStage(graph, {
          session,
          cycle: cycleId(`c${serial}`),
          generation: half.generation,
          ...(half.base && { base: half.base.point }),
          points: [
            { ...spec, id: pointId(`s${serial}`), sizes },
            { ...spec, kind: 'internal', sizes: pairs.map(() => MiB) },
          ],
          pairs,
        });
      }
      default:
        return plan.planAdvanceBase(graph, session, half?.generation ?? generation(1), { point, digests: ['d'] });
    }
  });

function check(graph: Graph, used: Set<number>): void {
  const tops = [...graph.volumes.values()].map((volume) => volume.top);
  const members = [...graph.points.values()].flatMap((point) => point.members.map((member) => member.layer));
  const staged = [...graph.halves.values()].flatMap(
    (half) => half.stage?.layers.flat().filter((layer) => layer !== noLayer) ?? [],
  );
  // G1
  for (const layer of [...tops, ...members, ...staged]) expect(graph.layers.has(layer)).toBe(true);
  for (const layer of graph.layers.values()) {
    if (layer.parent === undefined) continue;
    expect(graph.layers.has(layer.parent)).toBe(true);
    expect(layer.parent).toBeLessThan(layer.id);
  }
  // G2: what a head writes to is nobody's parent and no point's member.
  const frozen = new Set([...members, ...[...graph.layers.values()].map((layer) => layer.parent)]);
  for (const volume of graph.volumes.values())
    if (plan.canWrite(graph, volume)) expect(frozen.has(volume.top)).toBe(false);
  // G3
  for (const layer of graph.layers.keys()) expect(layer).toBeLessThan(graph.nextLayer);
  for (const layer of graph.layers.keys()) used.add(layer);
  // G4
  for (const half of graph.halves.values()) {
    for (const point of [half.base?.point, half.seal?.point, half.test?.point, half.stage?.plan.base])
      if (point !== undefined) expect(graph.points.has(point)).toBe(true);
  }
  for (const volume of graph.volumes.values())
    if (volume.replica !== undefined) expect(graph.points.has(volume.replica)).toBe(true);
  for (const point of graph.points.values()) if (point.dropped) expect(isHeld(graph, point)).toBe(true);
  // Who takes part in a session is one of its members, or set aside to be one.
  for (const volume of graph.volumes.values()) {
    const half = volume.session && graph.halves.get(volume.session);
    if (volume.session !== undefined)
      expect([...(half?.pairs ?? []), ...(half?.joining ?? [])].some(({ local }) => local === volume.id)).toBe(true);
  }
  // G5
  for (const half of graph.halves.values()) {
    const follows = half.role === 'destination' && half.test === undefined;
    const tested = half.test && graph.points.get(half.test.point);
    for (const pair of half.pairs) {
      // Who has become a member during a test is not tested.
      if (tested !== undefined && !tested.members.some((member) => member.volume === pair.local)) continue;
      expect(graph.volumes.get(pair.local)?.follows).toBe(follows);
    }
    for (const pair of [...half.pairs, ...(half.joining ?? [])])
      expect(graph.volumes.get(pair.local)?.session).toBe(session);
    if (half.test !== undefined) expect(half.role).toBe('destination');
  }
}

describe('the graph', () => {
  it('keeps its invariants through any history of verbs, and a refusal changes nothing [G1] [G2] [G3] [G4] [G5] [C1.1]', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const graph = emptyGraph();
        const used = new Set<number>();
        steps.forEach((next, serial) => {
          const before = JSON.stringify(encodeGraph(graph));
          let change: Change | undefined;
          try {
            change = next(graph, serial);
          } catch (error) {
            expect(isBlockError(error)).toBe(true);
          }
          expect(JSON.stringify(encodeGraph(graph))).toBe(before);
          if (change === undefined) return;
          // A layer id that was ever in use is not given out again.
          if ('layers' in change)
            for (const layer of change.layers.flat()) if (layer !== noLayer) expect(used.has(layer)).toBe(false);
          applyChange(graph, JSON.parse(JSON.stringify(change)) as Change);
          check(graph, used);
        });
        expect(encodeGraph(decodeGraph(JSON.parse(JSON.stringify(encodeGraph(graph)))))).toEqual(encodeGraph(graph));
      }),
      { numRuns: 500 },
    );
  });
});
