import { cycleId, pointId } from '@antipode/base';
import { describe, expect, it } from 'vitest';
import { newestCommon } from '../peer/common-base.ts';
import { nextStart_ms } from './schedule.ts';
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
      outcome: { kind: 'send_promote', result: { ok: true, generation: { number: 9, site: 'B', nonce: 'x' } } },
    });
    expect(JSON.stringify(pair.a.half)).toBe(before);
  });
});

describe('the schedule', () => {
  it('starts early enough that a copy of usual length is complete before it is too old', () => {
    const { half } = new TwoHalves().a;
    const at = (transfer_ms: number) => nextStart_ms({ ...half, rpo_ms: 300_000, previousStart_ms: 0, transfer_ms });
    expect(at(1_000)).toBe(240_000);
    expect(at(100_000)).toBe(200_000);
    expect(at(900_000)).toBe(0);
  });
});
