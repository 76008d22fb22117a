import type { SessionId } from '@antipode/base';
import type { Generation, HalfInfo, Pair, Role } from '@antipode/blocks';
import { untold, without } from './change.ts';
import type { Half } from './half.ts';

/** A half as it is born: building, nothing copied. */
export const newHalf = (spec: {
  id: SessionId;
  role: Role;
  generation: Generation;
  pairs: readonly Pair[];
  rpo_ms: number;
}): Half => ({
  ...spec,
  state: 'Initializing',
  revision: 0,
  transfer_ms: 0,
  peer: { generation: spec.generation.number, paused: false },
});

/**
 * A half after a start: what the catalog remembers, corrected by what the engine holds, which wins [C7.2]. Whatever the
 * catalog missed was decided by an engine record, so the half only has to catch up with it.
 */
export function recoverHalf(half: Half, engine: HalfInfo): Half {
  let next: Half = { ...without(untold(half), 'test'), pairs: engine.pairs };
  if (engine.test !== undefined) next = { ...next, test: { id: engine.test.id } };
  if (engine.generation.number !== half.generation.number || engine.role !== half.role) {
    // A promotion or demotion was durable before the catalog heard of it.
    next = {
      ...without(next, 'operation', 'cycle', 'paused', 'suspended', 'fault'),
      role: engine.role,
      generation: engine.generation,
      state: 'Failed_Over',
    };
  }
  if (engine.seal !== undefined && next.operation?.kind !== 'planned_failover' && next.operation?.kind !== 'demote') {
    // Sealed, and the catalog does not know why: in doubt, so it stays sealed until contact or a command [C4.2].
    next = {
      ...without(next, 'suspended'),
      state: 'Failing_Over',
      operation: {
        kind: 'planned_failover',
        proposal: engine.seal.proposal,
        phase: 'prove',
        rounds: 0,
        sealPoint: engine.seal.point,
        reverse: false,
      },
      cycle: sealedCycle(next, engine.seal),
    };
  }
  if (next.cycle !== undefined && engine.base?.point === next.cycle.point && next.role === 'source') {
    next = { ...next, cycle: { ...next.cycle, phase: 'advance', digests: engine.base.digests } };
  }
  return next.cycle === undefined ? next : { ...next, cycle: { ...next.cycle, confirmed: false } };
}

function sealedCycle(half: Half, seal: NonNullable<HalfInfo['seal']>): NonNullable<Half['cycle']> {
  if (half.cycle?.point === seal.point) return half.cycle;
  // The proposal's uuid names the cycle: chosen before the seal, never used for another.
  const id = seal.proposal as string as NonNullable<Half['cycle']>['id'];
  return {
    id,
    point: seal.point,
    started_ms: half.previousStart_ms ?? 0,
    trigger: 'failover',
    phase: 'ship',
    confirmed: false,
  };
}
