import { describe, expect, it } from 'vitest';
import { recoverHalf } from './birth.ts';
import { TwoHalves } from './two-halves.ts';

const states = (pair: TwoHalves) => [pair.a.half.state, pair.b.half.state];

describe('a half that has forgotten something, or never heard of it', () => {
  it('a destination that still calls itself Initializing joins the pause of its source [C5.2]', () => {
    const pair = new TwoHalves();
    pair.settle();
    pair.b.half = { ...pair.b.half, state: 'Initializing' };
    pair.command(pair.a, { name: 'pause' });
    pair.settle();
    expect(states(pair)).toEqual(['Paused', 'Paused']);
    pair.command(pair.a, { name: 'resume' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
  });

  it('a destination that has forgotten its activation follows the source that ships to it [C5.1]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    pair.command(pair.b, { name: 'unplanned_failover' });
    pair.settle();
    pair.command(pair.b, { name: 'reprotect' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
    pair.a.half = { ...pair.a.half, state: 'Failed_Over' };
    pair.write(pair.b);
    pair.command(pair.b, { name: 'sync' });
    pair.settle();
    expect(states(pair)).toEqual(['OK', 'OK']);
  });

  it('takes role and generation from the engine after a start, and what was under way before them is void [C7.2]', () => {
    const pair = new TwoHalves();
    pair.write(pair.a);
    pair.settle();
    const { half } = pair.b;
    const engine = {
      session: half.id,
      role: half.role,
      generation: half.generation,
      pairs: half.pairs,
      joining: [],
      refused: [],
      tag: {},
    };
    expect(recoverHalf(half, engine)).toMatchObject({ role: 'destination', state: half.state });
    // Activated, and the catalog was not told before the process died.
    const generation = { ...half.generation, number: half.generation.number + 1 };
    const recovered = recoverHalf(
      { ...half, fault: { code: 'peer_no_space', message: 'full', retry: true, retryAt_ms: 1, count: 1 } },
      {
        ...engine,
        role: 'source',
        generation,
      },
    );
    expect(recovered).toMatchObject({ role: 'source', generation, state: 'Failed_Over' });
    expect(recovered.fault).toBeUndefined();
  });
});
