import { type PointId, pointId } from '@antipode/base';
import { BLOCK_BYTES, type CyclePoint } from '@antipode/blocks';
import { afterEach, describe, expect, it } from 'vitest';
import { cuttingLink } from './testing/cutting-link.ts';
import { noise, TwoSites } from './testing/two-sites.ts';
import { transferLimits } from './transfer/limits.ts';

const members = 24;
const sets = 180;
let two: TwoSites;
afterEach(() => two.close());

describe('a plan that takes several messages and several records', () => {
  it('brings every set of a group; cut and crashed anywhere it goes on, and nothing is open that is not whole [C3.1] [C3.5]', async () => {
    two = await TwoSites.open({ sizes: Array.from({ length: members }, () => 2 ** 20) });
    const [first] = two.locals;
    const points: CyclePoint[] = [];
    for (let set = 0; set < sets; set++) {
      if (set % 20 === 0) await two.source.open(first!).write((set / 20) * BLOCK_BYTES, noise(BLOCK_BYTES, set), false);
      // A description of a thousand characters, as another version may allow.
      points.push({ ...(await two.freeze('snapshot')), tag: { number: set, description: 'why? '.repeat(250) } });
    }
    points.push(await two.freeze());
    const plan = two.plan(points);
    expect(JSON.stringify(plan).length).toBeGreaterThan(transferLimits.planMessage_characters);
    expect(members * sets).toBeGreaterThan(transferLimits.provedMessage_digests);
    const whole = () => {
      const stage = two.target.half(plan.session)!.stage;
      if (stage !== undefined) expect(stage.plan.points).toEqual(plan.points);
      return stage !== undefined;
    };

    // The link is cut within the plan: nothing is open, and nothing is kept of it.
    for (const most of [20_000, 150_000, 270_000]) {
      const link = await cuttingLink(two.endpoint);
      link.cutAfter([most]);
      expect(await two.ship(plan, link.endpoint)).toMatchObject({ kind: 'failed', failure: { code: 'link_lost' } });
      await link.close();
      expect(two.target.half(plan.session)!.stage).toBeUndefined();
    }
    // Cut behind it, and the power goes at the destination.
    const late = await cuttingLink(two.endpoint);
    late.cutAfter([JSON.stringify(plan).length + 30_000]);
    await two.ship(plan, late.endpoint);
    await late.close();
    await two.crashTarget();
    whole();
    const outcome = await two.ship(plan);
    await two.advance(plan, outcome);
    expect(await two.differing()).toEqual([]);
    const ids = new Set<PointId>(two.target.points().map(({ id }) => id));
    expect(points.every(({ id }) => ids.has(id))).toBe(true);
    for (const set of [1, 41, 179]) expect(await two.differing(pointId(`p${set + 1}`))).toEqual([]);
    await two.crashTarget();
    expect(two.target.points().length).toBe(ids.size);
  });
});
