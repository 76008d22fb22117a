import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dayOfCycles } from './testing/day-of-cycles.ts';

/** In memory where there is such a place: tens of thousands of commits, and the disk is not what is looked at. */
async function hoursOf(day: Omit<Parameters<typeof dayOfCycles>[0], 'directory'>) {
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'cycles-'));
  try {
    return await dayOfCycles({ ...day, directory });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe('hours of cycles of many sessions', () => {
  it('never more at once than the link takes, in time, out of step; after an outage all catch up and alerts are cleared [C5.5] [P3] [P6]', async () => {
    const hours = await hoursOf({
      sessions: 40,
      hours: 3,
      cyclesAtOnce: 4,
      schedule: 'share_of_rpo',
      mix: [
        ['Five_Minutes', 1],
        ['One_Hour', 1],
      ],
      outage: { atHour: 1, minutes: 20 },
    });
    const [first, second, third] = hours;
    // The objective of five minutes is missed while the link is down for twenty; nobody misses it otherwise.
    expect(first?.alertsRaised).toBe(0);
    expect(second?.alertsRaised).toBeGreaterThanOrEqual(20);
    expect(third?.alertsRaised).toBe(second?.alertsRaised);
    for (const hour of hours) expect(hour.atOnce_most).toBeLessThanOrEqual(4);
    // 20 sessions at least every 4 minutes of 60, 20 at least every 48 minutes.
    expect(third?.cycles).toBeGreaterThanOrEqual(20 * 15 + 20);
    expect(third?.cycles).toBeLessThan(20 * 17 + 20 * 3);
    expect(second?.waiting_most).toBeGreaterThan(0);
    // Out of step: what is left of standing in line is a cycle or two.
    expect(third?.late_ms.p95).toBeLessThan(10_000);
    for (const hour of hours) {
      expect(hour.sessionsBeyondObjective).toBe(0);
      expect(hour.alertsActive).toBe(0);
    }
  }, 120_000);

  it('catalogs that take nothing for a while, at both sides: nothing ends, everybody is told, and all go on by themselves [C5.5] [C7.3]', async () => {
    const hours = await hoursOf({
      sessions: 12,
      hours: 3,
      cyclesAtOnce: 4,
      schedule: 'share_of_rpo',
      mix: [['Five_Minutes', 1]],
      full: { atHour: 1, minutes: 20 },
    });
    const [first, second, third] = hours;
    expect(first?.alertsRaised).toBe(0);
    // One alert about the catalog, and one for each objective that was missed meanwhile.
    expect(second?.alertsRaised).toBe(1 + 12);
    expect(third?.alertsRaised).toBe(second?.alertsRaised);
    expect(second?.cycles).toBeLessThan(first!.cycles);
    // Every 4 minutes of 60, one more or less at the edges of the hour.
    expect(third?.cycles).toBeGreaterThanOrEqual(12 * 14);
    for (const hour of hours) {
      expect(hour.sessionsBeyondObjective).toBe(0);
      expect(hour.alertsActive).toBe(0);
    }
  }, 120_000);
});
