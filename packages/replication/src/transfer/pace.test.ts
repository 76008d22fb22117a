import { ManualClock } from '@antipode/blocks/testing';
import { describe, expect, it } from 'vitest';
import { transferLimits } from './limits.ts';
import { Pace } from './pace.ts';

const MiB = 1024 * 1024;

describe('what may be on its way', () => {
  it('is a second of link, between two bounds [C3.6]', () => {
    const clock = new ManualClock();
    const pace = new Pace(clock);
    expect(pace.inFlight_bytes).toBe(transferLimits.inFlightStart_bytes);
    const after = (bytes: number, elapsed_ms: number) => {
      clock.advance(elapsed_ms);
      pace.acknowledged(bytes);
      return pace.inFlight_bytes;
    };
    expect(after(MiB, 100)).toBe(10 * MiB);
    expect(pace.window_bytes).toBe(1.25 * MiB);
    expect(after(8 * MiB, 10)).toBe(transferLimits.inFlight_bytes);
    expect(pace.window_bytes).toBe(transferLimits.window_bytes);
    // One slow acknowledgement says nothing; as many as are looked at do.
    expect(after(MiB, 5000)).toBe(transferLimits.inFlight_bytes);
    for (let index = 0; index < transferLimits.paceSamples; index++) after(MiB, 5000);
    expect(pace.inFlight_bytes).toBe(transferLimits.inFlightLeast_bytes);
    expect(pace.window_bytes).toBe(transferLimits.windowLeast_bytes);
  });
});
