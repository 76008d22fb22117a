import { cycleId, pointId, sessionId } from '@antipode/base';
import { describe, expect, it } from 'vitest';
import { newestCommon } from '../peer/common-base.ts';
import type { Context } from './change.ts';
import { decide } from './decide.ts';
import type { Half } from './half.ts';
import { complianceOf, nextStart_ms } from './schedule.ts';
import { TwoHalves } from './two-halves.ts';

const held = (id: string, instant_ms: number, ...digests: string[]) => ({ point: pointId(id), instant_ms, digests });

describe('the common base', () => {
  it('is the newest point that both hold with equal digests, whoever looks [C2.3]', () => {
    const mine = [held('old', 1, 'a'), held('mid', 2, 'b'), held('new', 3, 'c')];
    const theirs = [held('new', 3, 'X'), held('mid', 2, 'b'), held('old', 1, 'a'), held('only theirs', 9, 'z')];
    expect(newestCommon(mine, theirs)).toEqual({ point: 'mid', digests: ['b'] });
    expect(newestCommon(theirs, mine)).toEqual({ point: 'mid', digests: ['b'] });
    expect(newestCommon(mine, [held('new', 3)])).toBeUndefined();
    expect(newestCommon([], theirs)).toBeUndefined();
  });
});

describe('contact', () => {
  it('what follows depends on the two halves alone, whoever calls [C5.1]', () => {
    const outcome = (caller: 'a' | 'b') => {
      const pair = new TwoHalves();
      pair.write(pair.a);
      pair.settle();
      pair.setLink(false);
      pair.command(pair.b, { name: 'unplanned_failover' });
      pair.settle();
      pair.linkUp = true;
      const site = pair[caller];
      // Only one side hears that the link is back, so only that side calls.
      pair.input(site, { kind: 'link', up: true });
      for (let guard = 0; guard < 10; guard++) {
        pair.act(site);
        pair.hear(site);
      }
      pair.settle();
      return [pair.a.half, pair.b.half].map(({ state, role, generation }) => ({
        state,
        role,
        generation: generation.number,
      }));
    };
    expect(outcome('a')).toEqual(outcome('b'));
    expect(outcome('a')).toEqual([
      { state: 'Failed_Over', role: 'destination', generation: 2 },
      { state: 'Failed_Over', role: 'source', generation: 2 },
    ]);
  });

  it('a lost base is no operator’s problem: the whole is shipped, an event says so, and the session ends OK [C3.7] [P4]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    pair.b.engine.points.clear();
    pair.b.engine.base = undefined;
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    pair.settle();
    expect([pair.a.half.state, pair.b.half.state]).toEqual(['OK', 'OK']);
    expect(pair.b.engine.head).toBe(pair.a.engine.head);
    expect(pair.heard.some((notice) => notice.kind === 'base_lost')).toBe(true);
  });
});

describe('what was seen before', () => {
  it('a contact never sets or clears a pause mark, whatever the other side says [S5]', () => {
    const pair = new TwoHalves();
    pair.settle();
    pair.setLink(false);
    pair.command(pair.a, { name: 'pause' });
    pair.settle();
    const mark = pair.a.half.paused;
    pair.setLink(true);
    for (let round = 0; round < 5; round++) {
      pair.input(pair.a, { kind: 'link', up: true });
      pair.input(pair.b, { kind: 'link', up: true });
      pair.settle();
    }
    expect(pair.a.half.paused).toEqual(mark);
    expect(pair.b.half.paused).toBeUndefined();
  });

  it('what the peer said in an earlier generation changes nothing, whenever it arrives [S8]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    const said = { ...pair.view(pair.b), paused: { remembered: 'OK', scope: 'local' } } as const;
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    pair.settle();
    const before = pair.a.half;
    expect(before.peer.generation).toBeGreaterThan(said.generation.number);
    pair.input(pair.a, { kind: 'message', message: { kind: 'contact', session: before.id, view: said } });
    expect(pair.a.half).toEqual(before);
  });

  it('an answer from before the peer resumed does not hold the copy up [C5.3]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    pair.command(pair.a, { name: 'sync' });
    pair.command(pair.b, { name: 'pause' });
    pair.act(pair.b);
    pair.hear(pair.b);
    // The source asks, and hears the answer after the peer has resumed both.
    pair.act(pair.a);
    pair.command(pair.b, { name: 'resume' });
    pair.act(pair.b);
    pair.hear(pair.a);
    pair.settle();
    expect([pair.a.half.state, pair.b.half.state]).toEqual(['OK', 'OK']);
  });

  it('an answer from before a cycle ended does not stay what the destination shows [C5.1]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    pair.command(pair.a, { name: 'sync' });
    pair.act(pair.a);
    pair.crash(pair.b);
    pair.hear(pair.a);
    // The destination asks while the source copies, and hears the answer when that has ended.
    pair.act(pair.b);
    for (let round = 0; round < 10; round++) {
      pair.act(pair.a);
      pair.hear(pair.a);
    }
    pair.settle();
    expect([pair.a.half.state, pair.b.half.state]).toEqual(['OK', 'OK']);
  });

  it('a verb that is delivered again later does not undo what came after it [S8]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    for (const name of ['pause', 'resume', 'pause', 'resume'] as const) {
      pair.command(pair.a, { name });
      pair.settle();
    }
    for (const pick of pair.a.sent.keys()) {
      pair.replay(pair.a, pick);
      pair.settle();
      expect([pair.a.half.state, pair.b.half.state]).toEqual(['OK', 'OK']);
    }
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    pair.settle();
    pair.command(pair.b, { name: 'reprotect' });
    pair.settle();
    for (const pick of pair.a.sent.keys()) pair.replay(pair.a, pick);
    for (const pick of pair.b.sent.keys()) pair.replay(pair.b, pick);
    pair.settle();
    expect([pair.a.half.role, pair.a.half.state, pair.b.half.state]).toEqual(['destination', 'OK', 'OK']);
  });

  it.each(['a', 'b'] as const)('a half (%s) whose catalog has forgotten what it had said is heard again', (name) => {
    const pair = new TwoHalves();
    const early = pair[name].half;
    pair.write(pair.a);
    pair.settle();
    for (const verb of ['pause', 'resume'] as const) {
      pair.command(pair.a, { name: verb });
      pair.settle();
    }
    const { state, lastSync, pairs } = pair[name].half;
    pair[name].half = { ...early, state, pairs, ...(lastSync && { lastSync }) };
    pair.crash(pair[name]);
    pair.settle();
    pair.command(pair[name], { name: 'pause' });
    pair.settle();
    expect([pair.a.half.state, pair.b.half.state]).toEqual(['Paused', 'Paused']);
    pair.command(pair[name], { name: 'resume' });
    pair.write(pair.a);
    pair.settle();
    pair.command(pair.a, { name: 'sync' });
    pair.settle();
    expect([pair.a.half.state, pair.b.half.state]).toEqual(['OK', 'OK']);
    expect(pair.b.engine.head).toBe(pair.a.engine.head);
  });

  it('a reprotect whose answer is lost is completed at the next contact', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    pair.settle();
    pair.command(pair.b, { name: 'reprotect' });
    while (pair.b.desired?.kind !== 'tell_activate') {
      pair.act(pair.b);
      pair.hear(pair.b);
    }
    pair.act(pair.b, true);
    pair.hear(pair.b);
    expect([pair.b.half.state, pair.b.half.lastFailure?.command]).toEqual(['Failed_Over', 'reprotect']);
    pair.settle();
    expect([pair.a.half.state, pair.b.half.state]).toEqual(['OK', 'OK']);
  });

  it('a cycle whose target is gone, because the catalog that named it is an older copy, gives way to another one [C3.7]', () => {
    const pair = new TwoHalves();
    pair.settle();
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    for (let step = 0; step < 20 && pair.a.desired?.kind !== 'ship'; step++) {
      pair.act(pair.a);
      pair.hear(pair.a);
    }
    const { cycle } = pair.a.half;
    pair.input(pair.a, { kind: 'outcome', outcome: { kind: 'target_gone', cycle: cycleId('long ago') } });
    expect(pair.a.half.cycle).toEqual(cycle);
    pair.input(pair.a, { kind: 'outcome', outcome: { kind: 'target_gone', cycle: cycle!.id } });
    expect(pair.a.half.state).toBe('Synchronizing');
    expect(pair.a.half.cycle?.point).not.toBe(cycle!.point);
    pair.settle();
    expect([pair.a.half.state, pair.b.half.state]).toEqual(['OK', 'OK']);
  });

  it('a source whose peer deletes the session is protected no more, and says so; a copy only goes [C5.6]', () => {
    const fresh = { a: 'a', b: 'b', c: 'c', nonce: 'n' };
    const context: Context = { now_ms: 1, linkUp: true, slot: true, site: 'A', fresh, localPauseResume: 'pause_both' };
    const kinds = (half: Half) => {
      const result = { ok: false, reason: 'tombstone', generation: half.generation } as const;
      const decision = decide(half, { kind: 'outcome', outcome: { kind: 'contact', result } }, context);
      return decision.ok && decision.value.notices.map(({ kind }) => kind);
    };
    const pair = new TwoHalves();
    pair.settle();
    expect([kinds(pair.a.half), kinds(pair.b.half)]).toEqual([['protection_lost'], ['deleted']]);
  });

  it('a late or repeated outcome changes nothing that matters [S8]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    const cycle = cycleId('long ago');
    const before = JSON.stringify(pair.a.half);
    pair.input(pair.a, { kind: 'outcome', outcome: { kind: 'ship', cycle, result: { ok: true, digests: ['x'] } } });
    pair.input(pair.a, { kind: 'outcome', outcome: { kind: 'freeze', instant_ms: 1 } });
    pair.input(pair.a, { kind: 'outcome', outcome: { kind: 'advance_base' } });
    pair.input(pair.a, { kind: 'outcome', outcome: { kind: 'promote', result: { ok: true } } });
    pair.input(pair.a, { kind: 'outcome', outcome: { kind: 'demote', diverged_bytes: 7 } });
    pair.input(pair.a, {
      kind: 'outcome',
      outcome: { kind: 'send_promote', result: { ok: true, view: pair.view(pair.b) } },
    });
    expect(JSON.stringify(pair.a.half)).toBe(before);
  });
});

describe('the objective', () => {
  it('is judged at the source by the age of what the copy shows, paused or not, and nowhere else [P6]', () => {
    const pair = new TwoHalves();
    pair.settle();
    const half = {
      ...pair.a.half,
      rpo_ms: 300_000,
      lastSync: { completed_ms: 90_000, duration_ms: 1, instant_ms: 80_000 },
    };
    expect(complianceOf(half, 380_000)).toEqual({ age_ms: 300_000, beyond_ms: 0 });
    expect(complianceOf({ ...half, state: 'Paused' }, 400_000)).toEqual({ age_ms: 320_000, beyond_ms: 20_000 });
    for (const other of [{ role: 'destination' }, { state: 'Failed_Over' }, { rpo_ms: 0 }] as const)
      expect(complianceOf({ ...half, ...other }, 400_000)).toBeUndefined();
    const { lastSync: _, ...never } = half;
    expect(complianceOf(never, 400_000)).toBeUndefined();
  });
});

describe('a place on the link', () => {
  it('is wanted by what starts by itself and by every cycle, and by no failover', () => {
    const pair = new TwoHalves();
    pair.settle();
    pair.slot = false;
    pair.a.half = { ...pair.a.half, rpo_ms: 300_000, previousStart_ms: pair.now_ms - 300_000 };
    pair.input(pair.a, { kind: 'tick' });
    expect(pair.a.half.state).toBe('OK');
    expect(pair.a.wantsSlot).toBe(true);
    pair.slot = true;
    pair.input(pair.a, { kind: 'tick' });
    expect(pair.a.half.cycle?.trigger).toBe('schedule');
    pair.a.half = { ...pair.a.half, rpo_ms: 0 };
    pair.settle();
    expect(pair.a.half.state).toBe('OK');
    expect(pair.a.wantsSlot).toBe(false);
    pair.slot = false;
    // An operator's sync is accepted at once, and its cycle waits.
    pair.write(pair.a);
    pair.command(pair.a, { name: 'sync' });
    pair.settle(5);
    expect(pair.a.half.state).toBe('Synchronizing');
    expect(pair.a.half.cycle?.phase).toBe('freeze');
    expect(pair.a.wantsSlot).toBe(true);
    pair.command(pair.a, { name: 'planned_failover', reverse: false });
    pair.settle();
    expect(pair.b.half.role).toBe('source');
  });
});

describe('the schedule', () => {
  it('starts early enough that a copy of usual length is complete before it is too old', () => {
    const { outOfStep: _, ...half } = new TwoHalves().a.half;
    const at = (transfer_ms: number) => nextStart_ms({ ...half, rpo_ms: 300_000, previousStart_ms: 0, transfer_ms });
    expect(at(1_000)).toBe(240_000);
    expect(at(100_000)).toBe(200_000);
    expect(at(900_000)).toBe(0);
  });

  it('by the wall clock, starts at every half of the objective', () => {
    const { half } = new TwoHalves().a;
    const at = (previousStart_ms: number) =>
      nextStart_ms({ ...half, schedule: 'wall_clock', rpo_ms: 3_600_000, previousStart_ms });
    expect(at(0)).toBe(1_800_000);
    expect(at(1_799_999)).toBe(1_800_000);
    expect(at(1_800_000)).toBe(3_600_000);
  });

  it('sessions that were brought into step start their next cycles all over the period, never later than due', () => {
    const { half } = new TwoHalves().a;
    const starts = Array.from({ length: 1000 }, (_, index) =>
      nextStart_ms({
        ...half,
        id: sessionId(`00000000-0000-4000-8000-${String(index).padStart(12, '0')}`),
        rpo_ms: 300_000,
        previousStart_ms: 0,
        outOfStep: true,
      }),
    );
    expect(Math.max(...starts.map((start) => start ?? 0))).toBeLessThanOrEqual(240_000);
    // No twentieth of the period has more than twice its share of them.
    for (let from = 0; from < 240_000; from += 12_000)
      expect(starts.filter((start) => start! > from && start! <= from + 12_000).length).toBeLessThan(100);
  });

  it('a start that is late is followed by one out of step, one in time is not', () => {
    const pair = new TwoHalves();
    pair.settle();
    const begun = (late_ms: number) => {
      const { outOfStep: _, ...half } = pair.a.half;
      pair.a.half = { ...half, rpo_ms: 300_000, transfer_ms: 0, previousStart_ms: pair.now_ms - 240_000 - late_ms };
      pair.input(pair.a, { kind: 'tick' });
      expect(pair.a.half.cycle?.trigger).toBe('schedule');
      const { outOfStep } = pair.a.half;
      pair.settle(20);
      return outOfStep;
    };
    expect(begun(0)).toBeUndefined();
    expect(begun(60_000)).toBe(true);
  });
});
