import { cycleId, pointId, proposalId, sessionId, systemRandom, volumeId } from '@antipode/base';
import { type Half, newHalf } from '@antipode/replication';
import { expect, it } from 'vitest';
import { driverLimits } from './limits.ts';
import { LinkGate } from './link-gate.ts';
import { SessionDriver } from './session-driver.ts';
import { MemoryDataPlane } from './testing/memory-data-plane.ts';
import { VirtualClock } from './testing/virtual-clock.ts';

const pairs = [{ local: volumeId('a'), remote: volumeId('b') }];
const generation = { number: 1, site: 'A', nonce: 'n' };
const born = newHalf({ id: sessionId('s'), role: 'source', generation, pairs, rpo_ms: 300_000 });
const sealed: Half = {
  ...born,
  state: 'Failing_Over',
  operation: {
    kind: 'planned_failover',
    proposal: proposalId('p'),
    phase: 'promoting',
    rounds: 1,
    sealPoint: pointId('seal'),
    reverse: false,
  },
  cycle: {
    id: cycleId('c'),
    point: pointId('seal'),
    started_ms: 0,
    trigger: 'failover',
    phase: 'ship',
    confirmed: true,
    digests: ['d'],
  },
};

/** A half whose peer is away. */
function driven(half: Half) {
  const clock = new VirtualClock(0);
  const plane = new MemoryDataPlane(clock, () => ({ took_ms: 0, bytes: 0 }));
  const driver = new SessionDriver(half, {
    clock,
    waits: clock,
    random: systemRandom,
    site: 'A',
    localPauseResume: 'pause_both',
    gate: new LinkGate(1),
    linkUp: () => false,
    persist: () => undefined,
    eventually: (work) => work(),
    notify: () => undefined,
    removed: () => undefined,
    world: {
      dataPlane: plane.port(),
      peer: { send: () => Promise.reject(new Error('away')), dataEndpoint: () => undefined },
      now_ms: () => clock.now(),
      recruit: async () => ({ ok: true, pairs: [] }),
      shipped: () => undefined,
    },
  });
  return { clock, driver };
}

it('a planned failover whose peer does not say whether it took over is answered after a while, and goes on [C4.2]', async () => {
  const { clock, driver } = driven(sealed);
  let answered = false;
  const answer = driver.command({ name: 'planned_failover', reverse: false }).finally(() => (answered = true));
  await clock.runUntil(driverLimits.peerDecides_ms - 1);
  expect(answered).toBe(false);
  await clock.runUntil(driverLimits.peerDecides_ms + 1);
  expect(await answer).toMatchObject({ ok: false, error: { kind: 'operation_failed', code: 'in_doubt' } });
  expect(driver.half.operation).toEqual(sealed.operation);
  driver.stop();
});
