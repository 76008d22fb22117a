import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../embedded/simulated/manual-clock.ts';
import type { BlockDevice } from '../port/device.ts';
import { IoLimiter } from './io-limiter.ts';
import { burstLength_ms, slack_ms, TokenBuckets } from './token-buckets.ts';

/** A device that writes down what reaches it. */
function recorder(
  clock: ManualClock,
): BlockDevice & { readonly seen: { at_ms: number; offset: number; bytes: number }[] } {
  const seen: { at_ms: number; offset: number; bytes: number }[] = [];
  const note = (offset: number, bytes: number): void => void seen.push({ at_ms: clock.monotonic(), offset, bytes });
  return {
    seen,
    size: () => 2 ** 30,
    access: () => 'read_write',
    read: (offset, target) => note(offset, target.length),
    write: (offset, data) => note(offset, data.length),
    writeZeroes: (offset) => note(offset, 0),
    trim: (offset) => note(offset, 0),
    flush: async () => undefined,
    status: async (_, length) => [{ length, kind: 'data' }],
    close: () => undefined,
  };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const block = new Uint8Array(4096);

function limited(...buckets: readonly TokenBuckets[]) {
  const clock = new ManualClock();
  const limiter = new IoLimiter(clock);
  limiter.set(buckets);
  const inner = recorder(clock);
  return { clock, limiter, inner, device: limiter.decorator(() => undefined)(inner) };
}

async function pass(clock: ManualClock, time_ms: number, step_ms = 10): Promise<void> {
  for (let passed = 0; passed < time_ms; passed += step_ms) {
    clock.advance(step_ms);
    await settle();
  }
}

describe('token buckets', () => {
  it('over any time let through what the rate allows, what was saved, and one request more', () => {
    const requests = fc.array(fc.record({ wait_ms: fc.nat(400), bytes: fc.nat(300_000) }), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(
        requests,
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 2_000, max: 2_000_000 }),
        fc.nat(100),
        (given, operations_per_s, bytes_per_s, burst_percentage) => {
          const buckets = new TokenBuckets({ operations_per_s, bytes_per_s, burst_percentage });
          let now = 0;
          const let_through = given.map(({ wait_ms, bytes }) => {
            now = buckets.next_ms(now + wait_ms);
            buckets.spend({ operations: 1, bytes }, now);
            return { at: now, bytes };
          });
          const burst = burst_percentage / 100;
          const saved_ms = Math.max(slack_ms, burst * burstLength_ms);
          for (let from = 0; from < let_through.length; from++) {
            let operations = 0;
            let bytes = 0;
            for (let to = from; to < let_through.length; to++) {
              const time_ms = let_through[to]!.at - let_through[from]!.at;
              const within = (cost: number, rate: number, most_ms: number) => cost <= (rate * most_ms) / 1000 + 1e-6;
              // What went before the last one: the last may be of any size.
              expect(within(operations, operations_per_s, time_ms + saved_ms)).toBe(true);
              expect(within(bytes, bytes_per_s, time_ms + saved_ms)).toBe(true);
              if (burst > 0) {
                expect(within(operations, operations_per_s * (1 + burst), time_ms + slack_ms)).toBe(true);
                expect(within(bytes, bytes_per_s * (1 + burst), time_ms + slack_ms)).toBe(true);
              }
              operations += 1;
              bytes += let_through[to]!.bytes;
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it('give a stream that asks for more exactly the rate in the long run, and the burst at first', () => {
    const buckets = new TokenBuckets({ operations_per_s: 100, burst_percentage: 50 });
    let now = 0;
    const until = (end_ms: number) => {
      let count = 0;
      for (now = buckets.next_ms(now); now < end_ms; now = buckets.next_ms(now)) {
        buckets.spend({ operations: 1, bytes: 0 }, now);
        count += 1;
      }
      return count;
    };
    // 150 a second for five seconds, then 100.
    expect(until(5_000)).toBeGreaterThanOrEqual(745);
    expect(until(5_000 + 10_000)).toBeLessThanOrEqual(1_010);
    const steady = until(25_000);
    expect(steady).toBeGreaterThanOrEqual(999);
    expect(steady).toBeLessThanOrEqual(1_001);
  });
});

describe('a limited device', () => {
  it('serves requests in their order, at the rate', async () => {
    const { clock, inner, device } = limited(new TokenBuckets({ operations_per_s: 10 }));
    const all = Array.from({ length: 21 }, (_, index) => device.write(index * 4096, block, false));
    await pass(clock, 1_000);
    expect(inner.seen.length).toBeGreaterThanOrEqual(10);
    expect(inner.seen.length).toBeLessThanOrEqual(11);
    await pass(clock, 1_500);
    await Promise.all(all);
    expect(inner.seen.map(({ offset }) => offset / 4096)).toEqual(Array.from({ length: 21 }, (_, index) => index));
  });

  it('a large request goes through whole, and those after it pay', async () => {
    const { clock, inner, device } = limited(new TokenBuckets({ bytes_per_s: 1_000_000 }));
    void device.write(0, new Uint8Array(2_000_000), false);
    void device.read(0, block);
    await pass(clock, 1_900);
    expect(inner.seen).toHaveLength(1);
    await pass(clock, 200);
    expect(inner.seen).toHaveLength(2);
  });

  it('flushes do not wait, and nothing waits without a rate', async () => {
    const { clock, limiter, inner, device } = limited(new TokenBuckets({ operations_per_s: 1 }));
    expect(device.write(0, block, false)).toBeUndefined();
    const waiting = [device.write(4096, block, false), device.trim(0, 4096, false)];
    await device.flush();
    expect(inner.seen).toHaveLength(1);
    limiter.set([]);
    await Promise.all(waiting);
    expect(inner.seen).toHaveLength(3);
    expect(device.write(8192, block, false)).toBeUndefined();
    expect(limiter.limits).toBe(false);
    await pass(clock, 10);
  });

  it('another rate holds at once, also for what waits, and nothing passes what waits', async () => {
    const { clock, limiter, inner, device } = limited(new TokenBuckets({ operations_per_s: 1 }));
    const all = Array.from({ length: 5 }, (_, index) => device.write(index * 4096, block, false));
    await pass(clock, 100);
    expect(inner.seen).toHaveLength(1);
    limiter.set([new TokenBuckets({ operations_per_s: 100 })]);
    all.push(device.write(5 * 4096, block, false));
    await pass(clock, 60);
    await Promise.all(all);
    expect(inner.seen.map(({ offset }) => offset / 4096)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('volumes that share a bucket take turns', async () => {
    const shared = new TokenBuckets({ operations_per_s: 100 });
    const { clock, inner, device } = limited(shared);
    const other = new IoLimiter(clock);
    other.set([shared]);
    const second = recorder(clock);
    const beside = other.decorator(() => undefined)(second);
    for (let index = 0; index < 200; index++) void device.write(index * 4096, block, false);
    for (let index = 0; index < 200; index++) void beside.write(index * 4096, block, false);
    await pass(clock, 1_000);
    expect(inner.seen.length + second.seen.length).toBeLessThanOrEqual(107);
    expect(Math.abs(inner.seen.length - second.seen.length)).toBeLessThanOrEqual(6);
  });

  it('who may no longer is refused when the turn comes; a failure of the device is the request’s', async () => {
    const clock = new ManualClock();
    const limiter = new IoLimiter(clock);
    limiter.set([new TokenBuckets({ operations_per_s: 10 })]);
    const inner = recorder(clock);
    let detached: Error | undefined;
    const device = limiter.decorator(() => detached)(inner);
    void device.write(0, block, false);
    const waiting = Promise.resolve(device.write(4096, block, false));
    detached = new Error('detached');
    const refused = expect(waiting).rejects.toThrow('detached');
    await pass(clock, 200);
    await refused;
    expect(inner.seen).toHaveLength(1);
  });
});
