import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Command } from './accept-command.ts';
import { checkCommand } from './accept-command.ts';
import type { SuspensionReason } from './half.ts';
import { legalCommands, sideOf } from './legal-commands.ts';
import { commands } from './states.ts';
import { TwoHalves } from './two-halves.ts';

const synced = (): TwoHalves => {
  const pair = new TwoHalves();
  pair.write(pair.a);
  pair.settle();
  return pair;
};

const states = (pair: TwoHalves) => [pair.a.half.state, pair.b.half.state];
const roles = (pair: TwoHalves) => [pair.a.half.role, pair.b.half.role];

describe('a session from birth', () => {
  it('copies the whole and ends OK on both sides', () => {
    const pair = synced();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.b.engine.head).toBe(pair.a.engine.head);
    expect(pair.a.engine.base?.point).toBe(pair.b.engine.base?.point);
  });
});

describe('pause and resume', () => {
  it('paused in OK returns to OK and waits for the schedule', () => {
    const pair = synced();
    pair.command(pair.a, { name: 'pause' });
    pair.settle();
    expect(states(pair)).toEqual(['Paused', 'Paused']);
    const before = pair.shippedExtents;
    pair.write(pair.a);
    pair.command(pair.a, { name: 'resume' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.shippedExtents).toBe(before);
  });

  it('paused in Synchronizing starts a cycle at once, to the same target [C3.1] [S3]', () => {
    const pair = synced();
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    pair.act(pair.a);
    pair.hear(pair.a);
    const target = pair.a.half.cycle?.point;
    expect(target).toBeDefined();
    pair.command(pair.a, { name: 'pause' });
    pair.settle();
    expect(states(pair)).toEqual(['Paused', 'Paused']);
    expect(pair.a.half.cycle?.point).toBe(target);
    pair.command(pair.b, { name: 'resume' });
    expect(pair.act(pair.b)).toBe(true);
    expect(pair.a.half.state).toBe('Synchronizing');
    expect(pair.a.half.cycle?.point).toBe(target);
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.b.engine.base?.point).toBe(target);
  });

  it('either half’s memory of a copy starts one at resume [C5.4]', () => {
    const pair = synced();
    pair.command(pair.b, { name: 'pause' });
    pair.settle();
    pair.b.half = { ...pair.b.half, paused: { scope: 'both', remembered: 'Synchronizing' } };
    pair.command(pair.a, { name: 'resume' });
    pair.act(pair.a);
    pair.hear(pair.a);
    expect(pair.a.half.state).toBe('Synchronizing');
  });

  it('while the link is down only this side is paused; sync and planned failover are refused; resume makes both Paused, the next resumes both', () => {
    const pair = synced();
    pair.setLink(false);
    pair.command(pair.a, { name: 'pause' });
    pair.settle();
    expect(pair.a.half.paused?.scope).toBe('local');
    expect(pair.b.half.state).toBe('OK');
    expect(pair.command(pair.a, { name: 'sync' })?.kind).toBe('wrong_state');
    expect(pair.command(pair.a, { name: 'planned_failover', reverse: false })?.kind).toBe('wrong_state');
    pair.command(pair.a, { name: 'resume' });
    pair.settle();
    expect(pair.a.half.lastFailure?.code).toBe('peer_unreachable');
    expect(pair.a.half.paused?.scope).toBe('local');
    pair.setLink(true);
    pair.settle();
    // [C5.2]: the contact told of the mark and changed none.
    expect(states(pair)).toEqual(['Paused', 'OK']);
    pair.command(pair.a, { name: 'resume' });
    pair.settle();
    expect(states(pair)).toEqual(['Paused', 'Paused']);
    expect(pair.a.half.paused?.scope).toBe('both');
    pair.command(pair.a, { name: 'resume' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
  });

  it('a second pause once the link is back makes both sites Paused', () => {
    const pair = synced();
    pair.setLink(false);
    pair.command(pair.b, { name: 'pause' });
    pair.settle();
    pair.setLink(true);
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'Paused']);
    expect(pair.command(pair.b, { name: 'pause' })).toBeUndefined();
    pair.settle();
    expect(states(pair)).toEqual(['Paused', 'Paused']);
  });

  it('a half whose peer is paused ships nothing, says so, and goes on once the mark is gone [C5.3] [S4]', () => {
    const pair = synced();
    pair.setLink(false);
    pair.command(pair.b, { name: 'pause' });
    pair.settle();
    pair.setLink(true);
    pair.settle();
    const before = pair.shippedExtents;
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    pair.settle();
    expect(pair.a.half.state).toBe('System_Paused');
    expect(pair.a.half.fault?.code).toBe('peer_paused');
    expect(pair.shippedExtents).toBe(before);
    expect(pair.command(pair.a, { name: 'resume' })?.kind).toBe('system_paused');
    pair.command(pair.b, { name: 'pause' });
    pair.settle();
    pair.command(pair.b, { name: 'resume' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.b.engine.head).toBe(pair.a.engine.head);
  });
});

describe('failover', () => {
  it('planned: loses nothing, the old source refuses writes, direction is reversed after reprotect', () => {
    const pair = synced();
    pair.write(pair.a);
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    pair.settle();
    expect(states(pair)).toEqual(['Failed_Over', 'Failed_Over']);
    expect(roles(pair)).toEqual(['destination', 'source']);
    expect(pair.b.engine.head).toBe(1 + 1);
    expect(pair.write(pair.a)).toBe(false);
    expect(pair.write(pair.b)).toBe(true);
    expect(pair.command(pair.a, { name: 'reprotect' })?.kind).toBe('wrong_side');
    pair.command(pair.b, { name: 'reprotect' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.a.engine.head).toBe(pair.b.engine.head);
  });

  it('planned with reverse ends OK with swapped roles', () => {
    const pair = synced();
    pair.command(pair.a, { name: 'planned_failover', reverse: true });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(roles(pair)).toEqual(['destination', 'source']);
  });

  it('the answer to the promote is lost: sealed until contact, then the new generation is learned [C4.2] [S6]', () => {
    const pair = synced();
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    for (let guard = 0; guard < 50 && pair.a.desired?.kind !== 'send_promote'; guard++) {
      pair.act(pair.a);
      pair.hear(pair.a);
      pair.now_ms += 1_000;
    }
    expect(pair.a.desired?.kind).toBe('send_promote');
    pair.act(pair.a, true);
    pair.setLink(false);
    pair.hear(pair.a);
    pair.settle();
    expect(pair.a.half.state).toBe('Failing_Over');
    expect(pair.write(pair.a)).toBe(false);
    pair.crash(pair.a);
    pair.settle();
    expect(pair.write(pair.a)).toBe(false);
    pair.setLink(true);
    pair.settle();
    expect(states(pair)).toEqual(['Failed_Over', 'Failed_Over']);
    expect(roles(pair)).toEqual(['destination', 'source']);
    expect(pair.a.engine.diverged).toEqual([]);
  });

  it('unplanned depends on local state alone, and the old source is fenced on contact, its writes kept [C4.4] [C2.4]', () => {
    const pair = synced();
    pair.setLink(false);
    pair.write(pair.a);
    pair.command(pair.b, { name: 'unplanned_failover' });
    pair.settle();
    expect(pair.b.half.state).toBe('Failed_Over');
    expect(pair.b.half.role).toBe('source');
    expect(pair.write(pair.a)).toBe(true);
    const lost = pair.a.engine.head;
    pair.setLink(true);
    pair.settle();
    expect(states(pair)).toEqual(['Failed_Over', 'Failed_Over']);
    expect(pair.write(pair.a)).toBe(false);
    expect(pair.a.engine.diverged).toEqual([lost]);
    pair.command(pair.b, { name: 'reprotect' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
  });

  it('there and back without a write ships nothing [C2.5]', () => {
    for (const first of ['planned', 'unplanned'] as const) {
      const pair = synced();
      const before = pair.shippedExtents;
      if (first === 'planned') pair.command(pair.a, { name: 'planned_failover', reverse: false });
      else pair.command(pair.b, { name: 'unplanned_failover' });
      pair.settle();
      pair.command(pair.b, { name: 'reprotect' });
      pair.settle();
      pair.command(pair.b, { name: 'planned_failover', reverse: true });
      pair.settle();
      expect(states(pair)).toEqual(['OK', 'OK']);
      expect(roles(pair)).toEqual(['source', 'destination']);
      expect(pair.shippedExtents).toBe(before);
    }
  });

  it('forced failback reopens the old primary without copying', () => {
    const pair = synced();
    pair.command(pair.b, { name: 'unplanned_failover' });
    pair.settle();
    expect(pair.command(pair.a, { name: 'unplanned_failover' })?.kind).toBe('already_failed_over');
    expect(pair.command(pair.a, { name: 'forced_failover' })).toBeUndefined();
    pair.settle();
    expect(roles(pair)).toEqual(['source', 'destination']);
    pair.command(pair.a, { name: 'reprotect' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.a.half.generation.number).toBe(3);
  });
});

describe('a failover test', () => {
  const tested = (): TwoHalves => {
    const pair = synced();
    expect(pair.command(pair.b, { name: 'start_test' })).toBeUndefined();
    pair.settle();
    return pair;
  };

  it('opens a fork at the destination while cycles go on landing beneath; both sides know [C2.2]', () => {
    const pair = tested();
    expect(pair.b.half.test).toBeDefined();
    expect(pair.a.half.peer.testing).toBe(true);
    expect(pair.testWrite(pair.b)).toBe(true);
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.b.engine.base?.content).toBe(pair.a.engine.head);
    expect(pair.b.engine.test?.head).not.toBe(pair.a.engine.head);
    pair.command(pair.b, { name: 'stop_test', force: false });
    pair.settle();
    expect(pair.b.half.test).toBeUndefined();
    expect(pair.a.half.peer.testing).toBe(false);
    expect(pair.b.engine.head).toBe(pair.a.engine.head);
  });

  it('forbids every failover but the one that takes its copy, and a second test', () => {
    const pair = tested();
    expect(pair.command(pair.a, { name: 'planned_failover', reverse: false })?.kind).toBe('test_running');
    for (const name of ['unplanned_failover', 'forced_failover', 'start_test'] as const)
      expect(pair.command(pair.b, { name })?.kind).toBe('test_running');
    expect(pair.command(pair.a, { name: 'start_test' })?.kind).toBe('wrong_side');
    pair.testWrite(pair.b);
    const copy = pair.b.engine.test?.head;
    expect(pair.command(pair.b, { name: 'test_copy_failover' })).toBeUndefined();
    pair.settle();
    expect(states(pair)).toEqual(['Failed_Over', 'Failed_Over']);
    expect(pair.b.half.test).toBeUndefined();
    expect(pair.b.engine.head).toBe(copy);
    pair.command(pair.b, { name: 'reprotect' });
    pair.settle();
    expect(pair.a.engine.head).toBe(copy);
    expect(pair.a.half.peer.testing).toBe(false);
  });

  it('needs one that runs to be stopped, and the peer’s ear unless forced', () => {
    const pair = synced();
    expect(pair.command(pair.b, { name: 'stop_test', force: false })?.kind).toBe('no_test_running');
    expect(pair.command(pair.b, { name: 'test_copy_failover' })?.kind).toBe('no_test_running');
    pair.command(pair.b, { name: 'start_test' });
    pair.settle();
    pair.setLink(false);
    expect(pair.command(pair.b, { name: 'stop_test', force: false })?.kind).toBe('peer_unreachable');
    expect(pair.command(pair.b, { name: 'stop_test', force: true })).toBeUndefined();
    pair.settle();
    expect(pair.b.half.test).toBeUndefined();
    pair.setLink(true);
    pair.settle();
    expect(pair.a.half.peer.testing).toBe(false);
  });

  it('begun behind a planned failover’s back refuses its promote durably, and the source opens again [C4.2]', () => {
    const pair = synced();
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    for (let guard = 0; guard < 50 && pair.a.desired?.kind !== 'send_promote'; guard++) {
      pair.act(pair.a);
      pair.hear(pair.a);
      pair.now_ms += 1_000;
    }
    pair.b.half = { ...pair.b.half, state: 'OK' };
    pair.command(pair.b, { name: 'start_test' });
    pair.act(pair.b);
    pair.hear(pair.b);
    pair.settle();
    expect(pair.a.half.role).toBe('source');
    expect(pair.b.half.test).toBeDefined();
    expect(pair.write(pair.a)).toBe(true);
  });
});

describe('faults', () => {
  it('a cycle that loses its link parks in System_Paused and goes on by itself when the link is back', () => {
    const pair = synced();
    pair.write(pair.a);
    pair.setLink(false);
    pair.command(pair.a, { name: 'sync' });
    pair.settle(10);
    expect(pair.a.half.state).toBe('System_Paused');
    expect(pair.a.half.fault?.code).toBe('link_lost');
    const target = pair.a.half.cycle?.point;
    pair.setLink(true);
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.b.engine.base?.point).toBe(target);
  });

  it('a target that cannot be read is given up: once its blocks are written again, a sync ships a fresh one', () => {
    const pair = synced();
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    pair.act(pair.a);
    pair.hear(pair.a);
    const target = pair.a.half.cycle!.point;
    pair.damaged.add(target);
    pair.settle(10);
    expect(pair.a.half).toMatchObject({ state: 'System_Paused', fault: { code: 'source_damaged', retry: false } });
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(pair.b.engine.base?.point).not.toBe(target);
    expect(pair.b.engine.head).toBe(pair.a.engine.head);
  });

  it('deletion ends both halves, and with the peer away the other follows at contact [C5.6]', () => {
    const pair = synced();
    pair.setLink(false);
    pair.command(pair.a, { name: 'delete' });
    pair.settle();
    expect(pair.a.gone).toBe(true);
    expect(pair.b.gone).toBe(false);
    pair.setLink(true);
    pair.settle();
    expect(pair.b.gone).toBe(true);
  });

  it('deletion over a link that nobody knows to be lost is told until it is heard, or the link counts as lost [C5.6] [P3]', () => {
    const briefly = synced();
    briefly.silent = true;
    briefly.command(briefly.a, { name: 'delete' });
    briefly.settle(5);
    expect(briefly.a.half.state).toBe('Deleting');
    briefly.silent = false;
    briefly.settle();
    expect([briefly.a.gone, briefly.b.gone]).toEqual([true, true]);

    const noticed = synced();
    noticed.silent = true;
    noticed.command(noticed.a, { name: 'delete' });
    noticed.settle(5);
    noticed.setLink(false);
    noticed.settle();
    expect(noticed.a.gone).toBe(true);
    noticed.silent = false;
    noticed.setLink(true);
    noticed.settle();
    expect(noticed.b.gone).toBe(true);
  });
});

describe('a pause by the system', () => {
  const ndu = { reason: 'ndu', by: 'upgrade-1' } as const;
  const suspend = (pair: TwoHalves, at: TwoHalves['a'], suspension: { reason: SuspensionReason; by: string }) =>
    pair.input(at, { kind: 'suspend', suspension });
  const lift = (pair: TwoHalves, at: TwoHalves['a'], by: string) => pair.input(at, { kind: 'lift', by });

  for (const side of ['a', 'b'] as const) {
    it(`shows at both sides and ends in what was before, asked for at ${side} [S9]`, () => {
      const pair = synced();
      suspend(pair, pair[side], ndu);
      pair.settle();
      expect(states(pair)).toEqual(['Paused_For_NDU', 'Paused_For_NDU']);
      for (const at of [pair.a, pair.b]) {
        expect(pair.command(at, { name: 'resume' })?.kind).toBe('system_paused');
        expect(pair.command(at, { name: 'pause' })?.kind).toBe('wrong_state');
      }
      expect(pair.command(pair.a, { name: 'sync' })?.kind).toBe('wrong_state');
      expect(pair.command(pair.b, { name: 'start_test' })?.kind).toBe('wrong_state');
      lift(pair, pair[side], 'upgrade-1');
      pair.settle();
      expect(states(pair)).toEqual(['OK', 'OK']);
    });

    it(`interrupts a cycle, which goes on to the same target, asked for at ${side} [C3.1] [S9]`, () => {
      const pair = synced();
      pair.write(pair.a);
      pair.command(pair.a, { name: 'sync' });
      for (let guard = 0; guard < 9 && pair.a.half.cycle?.phase !== 'ship'; guard++) {
        pair.act(pair.a);
        pair.hear(pair.a);
      }
      const target = pair.a.half.cycle?.point;
      const before = pair.shippedExtents;
      suspend(pair, pair[side], ndu);
      pair.write(pair.a);
      pair.settle();
      expect(states(pair)).toEqual(['Paused_For_NDU', 'Paused_For_NDU']);
      expect(pair.shippedExtents).toBe(before);
      expect(pair.a.half.cycle?.point).toBe(target);
      lift(pair, pair[side], 'upgrade-1');
      if (side === 'a') expect(pair.a.half.state).toBe('Synchronizing');
      pair.settle();
      expect(states(pair)).toEqual(['OK', 'OK']);
      expect(pair.b.engine.base?.point).toBe(target);
    });
  }

  it('leaves a pause of a user what it was', () => {
    const pair = synced();
    pair.setLink(false);
    pair.command(pair.a, { name: 'pause' });
    pair.settle();
    suspend(pair, pair.a, ndu);
    expect(pair.a.half.state).toBe('Paused_For_NDU');
    pair.setLink(true);
    pair.settle();
    lift(pair, pair.a, 'upgrade-1');
    pair.settle();
    expect(states(pair)).toEqual(['Paused', 'OK']);
    expect(pair.a.half.paused).toEqual({ scope: 'local', remembered: 'OK' });
  });

  it('an upgrade during a migration: each is told apart, and the last one to end lifts it', () => {
    const pair = synced();
    suspend(pair, pair.a, { reason: 'migration', by: 'migration-1' });
    pair.settle();
    expect(states(pair)).toEqual(['Paused_For_Migration', 'Paused_For_Migration']);
    suspend(pair, pair.b, ndu);
    pair.settle();
    expect(states(pair)).toEqual(['Paused_For_NDU', 'Paused_For_NDU']);
    pair.crash(pair.a);
    pair.crash(pair.b);
    lift(pair, pair.b, 'upgrade-1');
    pair.settle();
    expect(states(pair)).toEqual(['Paused_For_Migration', 'Paused_For_Migration']);
    lift(pair, pair.a, 'migration-1');
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
  });

  it('a peer that cannot be reached hears of beginning and end when it can', () => {
    const pair = synced();
    pair.setLink(false);
    suspend(pair, pair.b, ndu);
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'Paused_For_NDU']);
    pair.setLink(true);
    pair.settle();
    expect(states(pair)).toEqual(['Paused_For_NDU', 'Paused_For_NDU']);
    pair.setLink(false);
    lift(pair, pair.b, 'upgrade-1');
    pair.settle();
    expect(states(pair)).toEqual(['Paused_For_NDU', 'OK']);
    pair.setLink(true);
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
  });

  it('a failover at the destination stays possible; the direction is changed and copying waits [C4.4]', () => {
    const pair = synced();
    suspend(pair, pair.a, ndu);
    pair.settle();
    expect(pair.command(pair.b, { name: 'unplanned_failover' })).toBeUndefined();
    pair.settle();
    expect(states(pair)).toEqual(['Failed_Over', 'Failed_Over']);
    expect(pair.command(pair.b, { name: 'reprotect' })).toBeUndefined();
    pair.settle();
    expect(states(pair)).toEqual(['Paused_For_NDU', 'Paused_For_NDU']);
    lift(pair, pair.a, 'upgrade-1');
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    expect(roles(pair)).toEqual(['destination', 'source']);
  });

  it('waits for what is under way', () => {
    const pair = synced();
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    suspend(pair, pair.a, ndu);
    expect(pair.a.half.state).toBe('Failing_Over');
    pair.settle();
    expect(states(pair)).toEqual(['Failed_Over', 'Failed_Over']);
  });
});

describe('the table', () => {
  it('a refused command changes nothing, in any state [S7]', () => {
    const pair = synced();
    for (const command of commands) {
      const legal = checkCommand(pair.b.half, command);
      if (legal.ok) continue;
      const before = JSON.stringify(pair.b.half);
      pair.command(
        pair.b,
        (command === 'planned_failover' ? { name: command, reverse: false } : { name: command }) as Command,
      );
      expect(JSON.stringify(pair.b.half)).toBe(before);
    }
  });

  it('names a side for exactly the verbs that have one', () => {
    expect(sideOf).toEqual({
      sync: 'source',
      planned_failover: 'source',
      unplanned_failover: 'destination',
      forced_failover: 'destination',
      reprotect: 'source',
      start_test: 'destination',
      stop_test: 'destination',
      test_copy_failover: 'destination',
    });
    expect(Object.keys(legalCommands)).toContain('Paused_Locally');
  });
});

type Event =
  | { kind: 'act' | 'lose' | 'hear' | 'crash' | 'write'; site: 0 | 1 }
  | { kind: 'link'; up: boolean }
  | { kind: 'time' }
  | { kind: 'replay'; site: 0 | 1; pick: number }
  | { kind: 'suspend' | 'lift'; site: 0 | 1; reason: SuspensionReason }
  | { kind: 'command'; site: 0 | 1; command: Command };

const site = fc.constantFrom(0 as const, 1 as const);
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.constantFrom<Command>({ name: 'sync' }, { name: 'pause' }, { name: 'resume' }, { name: 'reprotect' }),
  fc.boolean().map((reverse) => ({ name: 'planned_failover' as const, reverse })),
  fc.constantFrom<Command>({ name: 'unplanned_failover' }, { name: 'forced_failover' }),
  fc.constantFrom<Command>({ name: 'start_test' }, { name: 'test_copy_failover' }),
  fc.boolean().map((force) => ({ name: 'stop_test' as const, force })),
);
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('act' as const), site }) },
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('hear' as const), site }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('lose' as const), site }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), site }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('write' as const), site }) },
  { weight: 2, arbitrary: fc.boolean().map((up) => ({ kind: 'link' as const, up })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'time' as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('replay' as const), site, pick: fc.nat(30) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('command' as const), site, command }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('suspend' as const, 'lift' as const),
      site,
      reason: fc.constantFrom<SuspensionReason>('ndu', 'migration'),
    }),
  },
);

function play(pair: TwoHalves, events: readonly Event[], afterEach: () => void): void {
  for (const step of events) {
    const at = 'site' in step ? (step.site === 0 ? pair.a : pair.b) : pair.a;
    switch (step.kind) {
      case 'act':
        pair.act(at);
        break;
      case 'lose':
        pair.act(at, true);
        break;
      case 'hear':
        pair.hear(at);
        break;
      case 'crash':
        pair.crash(at);
        break;
      case 'write':
        pair.write(at);
        break;
      case 'link':
        pair.setLink(step.up);
        break;
      case 'time':
        pair.now_ms += 5_000;
        for (const half of [pair.a, pair.b]) pair.input(half, { kind: 'tick' });
        break;
      case 'replay':
        pair.replay(at, step.pick);
        break;
      case 'command':
        pair.command(at, step.command);
        break;
      case 'suspend':
        pair.input(at, { kind: 'suspend', suspension: { reason: step.reason, by: step.reason } });
        break;
      case 'lift':
        pair.input(at, { kind: 'lift', by: step.reason });
        break;
    }
    afterEach();
  }
}

function endSuspensions(pair: TwoHalves): void {
  for (const at of [pair.a, pair.b]) for (const by of ['ndu', 'migration']) pair.input(at, { kind: 'lift', by });
}

describe('any history of commands, cuts, losses and crashes', () => {
  it('never lets generations fall, never gives a destination a cycle, and heals to a settled pair [S1] [S2] [S3] [C4.1] [C5.5]', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        const pair = synced();
        let highest = [1, 1];
        play(pair, events, () => {
          const now = [pair.a.half.generation.number, pair.b.half.generation.number];
          expect(now[0]!).toBeGreaterThanOrEqual(highest[0]!);
          expect(now[1]!).toBeGreaterThanOrEqual(highest[1]!);
          highest = now;
          for (const half of [pair.a.half, pair.b.half])
            if (half.role === 'destination') expect(half.cycle).toBeUndefined();
        });
        endSuspensions(pair);
        pair.setLink(true);
        pair.settle(400);
        const [a, b] = states(pair);
        const rest = ['OK', 'Paused', 'Failed_Over'];
        // The peer of a paused half waits for a human as well [C5.5].
        const waiting = a === 'Paused' || b === 'Paused' ? [...rest, 'System_Paused'] : rest;
        expect(waiting).toContain(a);
        expect(waiting).toContain(b);
        expect([a, b].filter((state) => state === 'Failed_Over').length).not.toBe(1);
        expect(pair.a.half.operation ?? pair.b.half.operation).toBeUndefined();
        expect(pair.a.half.generation).toEqual(pair.b.half.generation);
        expect(roles(pair).sort()).toEqual(['destination', 'source']);
        for (const at of [pair.a, pair.b]) {
          expect(at.half.test?.id).toBe(at.engine.test?.id);
          expect(pair.other(at).half.peer.testing ?? false).toBe(at.half.test !== undefined);
        }
        if (a === 'OK' && b === 'OK') {
          const source = pair.a.half.role === 'source' ? pair.a : pair.b;
          pair.command(source, { name: 'sync' });
          pair.settle();
          expect(pair.b.engine.head).toBe(pair.a.engine.head);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('with both in contact at most one side takes writes', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const pair = synced();
        play(pair, events, () => undefined);
        endSuspensions(pair);
        pair.setLink(true);
        pair.settle(400);
        expect(Number(pair.write(pair.a)) + Number(pair.write(pair.b))).toBeLessThanOrEqual(1);
      }),
      { numRuns: 200 },
    );
  });

  it('while either system asks for a pause nothing is copied, and both say so; afterwards nothing is left of it [S9]', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), site, (events, number) => {
        const pair = synced();
        play(pair, events, () => {
          for (const half of [pair.a.half, pair.b.half]) {
            const asked = half.suspensions !== undefined || half.peer.suspended !== undefined;
            if (!asked) expect(half.suspended === undefined || half.operation !== undefined).toBe(true);
            else if (half.operation === undefined)
              expect(['Initializing', 'OK', 'Synchronizing', 'System_Paused', 'Paused']).not.toContain(half.state);
          }
        });
        endSuspensions(pair);
        pair.setLink(true);
        pair.settle(400);
        const before = states(pair);
        const cycles = () => [pair.a, pair.b].map(({ half }) => half.cycle && [half.cycle.id, half.cycle.point]);
        const cyclesBefore = cycles();
        pair.input(number === 0 ? pair.a : pair.b, {
          kind: 'suspend',
          suspension: { reason: 'ndu', by: 'ndu' },
        });
        pair.settle(400);
        const shipped = pair.shippedExtents;
        for (const state of states(pair)) expect(['Paused_For_NDU', 'Failed_Over']).toContain(state);
        pair.settle(400);
        expect(pair.shippedExtents).toBe(shipped);
        endSuspensions(pair);
        pair.settle(400);
        expect(states(pair)).toEqual(before);
        expect(cycles()).toEqual(cyclesBefore);
        for (const { half } of [pair.a, pair.b])
          expect([half.suspended, half.suspensions, half.peer.suspended]).toEqual([undefined, undefined, undefined]);
      }),
      { numRuns: 1000 },
    );
  });
});
