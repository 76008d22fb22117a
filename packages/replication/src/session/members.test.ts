import { cycleId, pointId, proposalId, sessionId, volumeId } from '@antipode/base';
import type { Pair } from '@antipode/blocks';
import { describe, expect, it } from 'vitest';
import type { HalfView } from '../peer/messages.ts';
import { newHalf } from './birth.ts';
import type { Context } from './change.ts';
import { type Decision, decide, type Input } from './decide.ts';
import type { Half } from './half.ts';
import { states } from './states.ts';

const generation = { number: 1, site: 'A', nonce: 'n' };
const pair = (name: string): Pair => ({ local: volumeId(name), remote: volumeId(`${name}-copy`) });
const [one, two] = [pair('one'), pair('two')];
let count = 0;
const context: Context = {
  slot: true,
  now_ms: 1_000_000,
  linkUp: true,
  site: 'A',
  get fresh() {
    count += 1;
    return { a: `a${count}`, b: `b${count}`, c: `c${count}`, nonce: `n${count}` };
  },
  localPauseResume: 'pause_both',
};
const ok = (half: Half, input: Input, linkUp = true, slot = true): Decision => {
  const decision = decide(half, input, { ...context, linkUp, slot });
  if (!decision.ok) throw new Error(JSON.stringify(decision.error));
  return decision.value;
};
/** A source of one member, synchronized once. */
const settled: Half = {
  ...newHalf({ id: sessionId('s'), role: 'source', generation, pairs: [one], rpo_ms: 0 }),
  state: 'OK',
  lastSync: { completed_ms: 1, duration_ms: 1, instant_ms: 1 },
};
const joined = ok(settled, { kind: 'members', pairs: [one], newcomers: [two.local] }).half;
const parked = { code: 'link_lost', message: '', retryAt_ms: 0, count: 2 } as const;
const sync: Input = { kind: 'command', command: { name: 'sync' } };

describe('members of a session', () => {
  it('change in every state and beside every operation, which go on as they were', () => {
    const failover = {
      kind: 'planned_failover' as const,
      proposal: proposalId('p'),
      rounds: 0,
      sealPoint: pointId('seal'),
      reverse: false,
    };
    const operations: readonly (Half['operation'] | undefined)[] = [
      undefined,
      { kind: 'pause', remembered: 'OK' },
      { kind: 'resume' },
      { kind: 'complete_pause' },
      { kind: 'reprotect', phase: 'contact' },
      { kind: 'delete', phase: 'tell', tell: true },
      ...(['catch_up', 'seal', 'prove', 'promoting', 'abort'] as const).map(
        (phase) => ({ ...failover, phase }) as const,
      ),
    ] as const;
    for (const state of states)
      for (const operation of operations) {
        const half: Half = { ...settled, state, ...(operation && { operation }), fault: { ...parked, retry: false } };
        const { half: next, notices } = ok(
          half,
          { kind: 'members', pairs: [one], newcomers: [two.local] },
          false,
          false,
        );
        expect(next.state).toBe(state);
        expect(next.operation).toEqual(half.operation);
        expect(next).toMatchObject({ pairs: [one], newcomers: [two.local] });
        expect(notices).toEqual([]);
      }
  });

  it('who comes starts nothing, and the next cycle begins by asking the peer, before its target is frozen', () => {
    expect(joined).toMatchObject({ state: 'OK', pairs: [one], newcomers: [two.local] });
    const started = ok(joined, sync);
    expect(started.step).toEqual({ kind: 'members', newcomers: [two.local] });
    const ready = ok(started.half, {
      kind: 'outcome',
      outcome: { kind: 'members', result: { ok: true, pairs: [one, two] } },
    });
    expect(ready.half).toMatchObject({ pairs: [one, two], cycle: { phase: 'freeze' } });
    expect(ready.half.newcomers).toBeUndefined();
    expect(ready.step?.kind).toBe('freeze');
    const frozen = ok(ready.half, {
      kind: 'outcome',
      outcome: { kind: 'freeze', instant_ms: 7, pairs: [one, two], points: [pointId('s1')] },
    });
    expect(frozen.half.cycle).toMatchObject({ phase: 'ship', pairs: [one, two], points: ['s1'] });
  });

  it('a peer that cannot be reached, or has no place for it, parks the cycle with the reason, and it goes on by itself', () => {
    for (const code of ['link_lost', 'member_refused'] as const) {
      const failed = { kind: 'members', result: { ok: false, code, message: 'no' } } as const;
      const parked = ok(ok(joined, sync).half, { kind: 'outcome', outcome: failed }, code !== 'link_lost');
      expect(parked.half).toMatchObject({
        state: 'System_Paused',
        fault: { code, retry: true },
        newcomers: [two.local],
      });
      const later = decide(parked.half, { kind: 'tick' }, { ...context, now_ms: context.now_ms + 600_000 });
      expect(later.ok && later.value.step?.kind).toBe('members');
      // Taken back meanwhile: there is nobody to ask for.
      const back = ok(parked.half, { kind: 'members', pairs: [one], newcomers: [] });
      expect(back.half.cycle?.phase).toBe('freeze');
    }
  });

  it('who goes before the source has heard of the commit is of the base all the same: every digest stays with its pair [C2.3]', () => {
    const shipping: Half = {
      ...settled,
      pairs: [one, two],
      state: 'Synchronizing',
      cycle: {
        id: cycleId('c'),
        point: pointId('p'),
        started_ms: 1,
        trigger: 'user',
        phase: 'ship',
        confirmed: true,
        base: {},
        pairs: [one, two],
      },
    };
    const gone = ok(shipping, { kind: 'members', pairs: [one], newcomers: [] });
    const digests = ['11', '22'].map((digit) => digit.repeat(32));
    const wanted = { kind: 'advance_base', base: { point: 'p', digests, pairs: [one, two] } };
    const told = ok(gone.half, {
      kind: 'outcome',
      outcome: { kind: 'ship', cycle: cycleId('c'), result: { ok: true, digests } },
    });
    expect(told.step).toEqual(wanted);
    // The same where the acknowledgement was lost, and the handshake tells.
    const common = { point: pointId('p'), digests, pairs: [one, two] };
    const theirs: HalfView = {
      generation,
      role: 'destination',
      state: 'Synchronizing',
      refused: [],
      points: [],
      base: common,
      pairs: [one, two],
    };
    const asked: Half = { ...gone.half, cycle: { ...shipping.cycle!, confirmed: false } };
    const heard = ok(asked, {
      kind: 'outcome',
      outcome: { kind: 'contact', result: { ok: true, view: theirs, common, said: 0 } },
    });
    expect(heard.step).toEqual(wanted);
  });

  it('who comes or goes once the target is frozen is of the next cycle [C3.1]', () => {
    const shipping: Half = {
      ...settled,
      pairs: [one, two],
      state: 'Synchronizing',
      cycle: {
        id: cycleId('c'),
        point: pointId('p'),
        started_ms: 1,
        trigger: 'user',
        phase: 'ship',
        confirmed: true,
        pairs: [one, two],
      },
    };
    const changed = ok(shipping, { kind: 'members', pairs: [two], newcomers: [volumeId('three')] });
    expect(changed.half).toMatchObject({ pairs: [two], cycle: { phase: 'ship', pairs: [one, two] } });
    expect(changed.step).toMatchObject({ kind: 'ship', cycle: { pairs: [one, two] } });
  });

  it('a planned failover seals only once everybody has been copied', () => {
    const failing = ok(joined, { kind: 'command', command: { name: 'planned_failover', reverse: false } });
    const measured = ok(failing.half, { kind: 'outcome', outcome: { kind: 'measure', bytes: 0 } });
    expect(measured.step?.kind).toBe('members');
    const operation = {
      kind: 'planned_failover',
      proposal: proposalId('x'),
      phase: 'catch_up',
      rounds: 9,
      sealPoint: pointId('seal'),
      reverse: false,
    } as const;
    const late = ok(
      { ...joined, state: 'Failing_Over', operation },
      { kind: 'outcome', outcome: { kind: 'measure', bytes: 0 } },
    );
    expect(late.step?.kind).toBe('members');
    const { newcomers: _, ...whole } = joined;
    const quiet = ok(
      { ...whole, state: 'Failing_Over', operation },
      { kind: 'outcome', outcome: { kind: 'measure', bytes: 0 } },
    );
    expect(quiet.step?.kind).toBe('seal');
  });

  it('a member that the peer does not have, or has under another id, is asked for anew; snapshots that are there are not shipped again', () => {
    const view: HalfView = { generation, role: 'destination', state: 'OK', refused: [], points: [], pairs: [one] };
    const contact = (theirs: HalfView): Input => ({
      kind: 'outcome',
      outcome: { kind: 'contact', result: { ok: true, view: theirs, said: 0 } },
    });
    const half: Half = { ...settled, pairs: [one, two] };
    expect(ok(half, contact(view)).half.newcomers).toEqual([two.local]);
    const other = { ...two, remote: volumeId('elsewhere') };
    expect(ok(half, contact({ ...view, pairs: [one, other] })).half.newcomers).toEqual([two.local]);
    expect(ok(half, contact({ ...view, pairs: [one, two] })).half.newcomers).toBeUndefined();
    // A peer that does not speak of members has the one that there is.
    const { pairs: _, ...old } = view;
    expect(ok(half, contact(old)).half.newcomers).toBeUndefined();
    const shipping: Half = {
      ...half,
      state: 'Synchronizing',
      cycle: {
        id: cycleId('c'),
        point: pointId('p'),
        started_ms: 1,
        trigger: 'user',
        phase: 'ship',
        confirmed: false,
        pairs: [one, two],
        points: [pointId('s1'), pointId('s2')],
      },
    };
    // What a destination says of its own accord does not name its snapshots: it is asked.
    const said = { kind: 'contact', session: sessionId('s'), view } as const;
    const told = ok(shipping, { kind: 'message', message: said });
    expect([told.half.cycle?.confirmed, told.step?.kind]).toEqual([false, 'contact']);
    const confirmed = ok(shipping, contact({ ...view, snapshots: [pointId('s1')] }));
    expect(confirmed.half.cycle).toMatchObject({ confirmed: true, points: ['s2'] });
    // The plan of a cycle that has begun stays what it is.
    const again = ok(
      { ...confirmed.half, cycle: { ...confirmed.half.cycle!, confirmed: false } },
      contact({ ...view, snapshots: [pointId('s1'), pointId('s2')] }),
    );
    expect(again.half.cycle).toMatchObject({ confirmed: true, points: ['s2'] });
  });

  it('a destination’s are what its engine has committed', () => {
    const half: Half = { ...settled, role: 'destination' };
    expect(ok(half, { kind: 'members', pairs: [one, two], newcomers: [] }).half.pairs).toEqual([one, two]);
  });
});
