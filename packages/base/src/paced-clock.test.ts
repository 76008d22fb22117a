import { describe, expect, test } from 'vitest';
import { pacedClocks, shownAt } from './paced-clock.ts';
import type { Clock } from './ports.ts';

/** A machine whose time stands still and that says what it was asked to wait. */
function machine() {
  const state = { now_ms: 1_000_000, waited: [] as number[] };
  const clock: Clock = {
    now: () => state.now_ms,
    monotonic: () => state.now_ms - 900_000,
    after: (delay_ms) => {
      state.waited.push(delay_ms);
      return { cancel: () => undefined };
    },
    sleep: async (delay_ms) => void state.waited.push(delay_ms),
  };
  return { clock, state };
}

describe('the clocks of a lab', () => {
  test('are the machine’s own without a pace', () => {
    const { clock } = machine();
    expect(pacedClocks(clock, undefined)).toEqual({ dates: clock, waits: clock });
  });

  test('show the same dates, and only what is scheduled waits shorter', async () => {
    const { clock, state } = machine();
    const { dates, waits } = pacedClocks(clock, { rate: 60, real_ms: 1_000_000, shown_ms: 5_000_000 });
    state.now_ms += 1_000;
    expect(dates.now()).toBe(5_060_000);
    expect(waits.now()).toBe(5_060_000);
    expect(waits.monotonic()).toBe(101_000);
    dates.after(60_000, () => undefined);
    await dates.sleep(90_000);
    waits.after(60_000, () => undefined);
    await waits.sleep(90_000);
    expect(state.waited).toEqual([1_001, 1_501, 60_000, 90_000]);
  });

  test('have reached the moment that was waited for, whatever the rate', () => {
    for (const rate of [1, 7, 60, 999]) {
      const pace = { rate, real_ms: 0, shown_ms: 10 };
      const waited: number[] = [];
      const clock: Clock = { ...machine().clock, after: (ms) => ({ cancel: () => undefined, at: waited.push(ms) }) };
      for (const delay_ms of [1, 50, 20_000]) {
        waited.length = 0;
        pacedClocks(clock, pace).dates.after(delay_ms, () => undefined);
        // A timer of the machine may come a millisecond early.
        expect(shownAt(pace, waited[0]! - 1)).toBeGreaterThanOrEqual(10 + delay_ms);
      }
    }
  });
});
