import { BLOCK_BYTES, type CyclePoint } from '@antipode/blocks';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cuttingLink } from './testing/cutting-link.ts';
import { noise, TwoSites } from './testing/two-sites.ts';
import { transferLimits } from './transfer/limits.ts';

/** Small enough that a few megabytes are many frames and many windows. */
const small = { frame_bytes: 64 * 1024, window_bytes: 256 * 1024, inFlight_bytes: 512 * 1024 };
Object.assign(transferLimits, small);

const MiB = 1024 * 1024;
const sizes = [4 * MiB, 2 * MiB];
const blocks = sizes.map((size) => size / BLOCK_BYTES);

const change = fc.record({
  kind: fc.constantFrom('write', 'write', 'zero', 'grow'),
  pair: fc.nat(sizes.length - 1),
  block: fc.nat(),
  count: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 64, max: 400 })),
  seed: fc.nat(1000),
});
const round = fc.record({
  /** What happens before each point of the cycle; the last is its target. */
  points: fc.array(fc.array(change, { maxLength: 6 }), { minLength: 1, maxLength: 3 }),
  /** Bytes after which attempts are cut. */
  cuts: fc.array(fc.oneof(fc.constant(100), fc.integer({ min: 4000, max: 2 * MiB })), { maxLength: 3 }),
  crash: fc.constantFrom('none', 'source', 'target', 'both'),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

async function apply(sites: TwoSites, { kind, pair, block, count, seed }: Change): Promise<void> {
  const id = sites.locals[pair]!;
  const head = sites.source.open(id);
  const first = block % blocks[pair]!;
  const length = Math.min(count, blocks[pair]! - first) * BLOCK_BYTES;
  if (kind === 'write') await head.write(first * BLOCK_BYTES, noise(length, seed), false);
  else if (kind === 'zero') await head.writeZeroes(first * BLOCK_BYTES, length, false);
  else await sites.source.resizeVolume(id, head.size() + 8192);
}

/** Data bytes that a cycle is about. */
async function changed(sites: TwoSites, points: readonly CyclePoint[]): Promise<number> {
  let bytes = 0;
  let from = sites.plan(points).base;
  for (const { id } of points) {
    for (const local of sites.locals)
      bytes += (await sites.source.difference(local, from, id)).summary.data_blocks * BLOCK_BYTES;
    from = id;
  }
  return bytes;
}

describe('cycles over a link that breaks between sites that crash', () => {
  it('end with equal images at every point, and ship nothing below the durable address twice [C1.5] [C3.1] [C3.5] [C3.6]', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 3 }), fc.nat(), async (rounds, seed) => {
        const sites = await TwoSites.open({ sizes, seed });
        const link = await cuttingLink(sites.endpoint);
        try {
          for (const { points: steps, cuts, crash } of rounds) {
            const points: CyclePoint[] = [];
            for (const [index, changes] of steps.entries()) {
              for (const each of changes) await apply(sites, each);
              points.push(await sites.freeze(index === steps.length - 1 ? 'internal' : 'snapshot'));
            }
            const plan = sites.plan(points);
            const whole = await changed(sites, points);
            link.cutAfter(cuts);
            let shipped = 0;
            let attempts = 0;
            let copied = 0;
            for (;;) {
              link.lead(sites.endpoint);
              const outcome = await sites.ship(plan, link.endpoint);
              attempts += 1;
              shipped += outcome.progress.shipped_bytes;
              if (outcome.kind === 'done') {
                await sites.advance(plan, outcome);
                break;
              }
              expect(outcome.failure.code).toBe('link_lost');
              expect(attempts).toBeLessThanOrEqual(cuts.length);
              // What was durable once stays durable, also over a crash.
              if (outcome.progress.phase !== 'planning') {
                expect(outcome.progress.copied_bytes).toBeGreaterThanOrEqual(copied);
                copied = outcome.progress.copied_bytes;
                expect(outcome.progress.total_bytes).toBe(whole);
              }
              if (attempts === 1 && (crash === 'target' || crash === 'both')) await sites.crashTarget();
              if (attempts === 1 && (crash === 'source' || crash === 'both')) await sites.crashSource();
            }
            expect(shipped).toBeLessThanOrEqual(whole + small.inFlight_bytes * (attempts - 1));
            for (const { id, kind } of points) if (kind === 'snapshot') expect(await sites.differing(id)).toEqual([]);
            expect(await sites.differing(points.at(-1)!.id)).toEqual([]);
            for (const [index, local] of sites.locals.entries())
              expect(sites.target.volume(sites.remotes[index]!)!.size).toBe(sites.source.volume(local)!.size);
          }
        } finally {
          await link.close();
          await sites.close();
        }
      }),
      { numRuns: 12, endOnFailure: true },
    );
  });
});
