import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LinkGate, type Slot } from './link-gate.ts';

const claim = (session: string, first = false) => ({ session, first, since_ms: 0 });

describe('the places on a link', () => {
  it('never more than the bound run, nobody waits while there is room, and those who wait are served in order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.array(fc.nat(30), { maxLength: 200 }), (most, choices) => {
        const gate = new LinkGate(most);
        const slots = new Map<string, Slot>();
        const served: string[] = [];
        let next = 0;
        for (const choice of choices) {
          if (choice < 16) {
            const session = String(next++);
            const slot = gate.claim(claim(session), () => served.push(session));
            if (slot.held) served.push(session);
            slots.set(session, slot);
          } else {
            const gone = [...slots.keys()][choice % Math.max(1, slots.size)];
            if (gone === undefined) continue;
            if (slots.get(gone)?.held === false) served.push(gone);
            slots.get(gone)?.drop();
            slots.delete(gone);
          }
          expect(gate.running().length).toBeLessThanOrEqual(most);
          if (gate.waiting().length > 0) expect(gate.running().length).toBe(most);
          expect([...slots].filter(([, slot]) => slot.held).length).toBe(gate.running().length);
          const waiting = gate.waiting().map(({ session }) => Number(session));
          expect(waiting).toEqual([...waiting].sort((a, b) => a - b));
        }
        expect(new Set(served).size).toBe(served.length);
      }),
    );
  });

  it('first copies never have all places, so that others go on beside them', () => {
    const gate = new LinkGate(4);
    const first = [0, 1, 2].map((index) => gate.claim(claim(`first ${index}`, true), () => undefined));
    expect(first.map((slot) => slot.held)).toEqual([true, true, false]);
    expect(gate.claim(claim('other'), () => undefined).held).toBe(true);
    first[0]?.drop();
    expect(first[2]?.held).toBe(true);
  });

  it('with one place a first copy gets it too', () => {
    const gate = new LinkGate(1);
    expect(gate.claim(claim('first', true), () => undefined).held).toBe(true);
  });
});
