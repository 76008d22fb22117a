import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sessionId, systemClock, systemRandom } from '@antipode/base';
import { newHalf } from '@antipode/replication';
import { afterEach, describe, expect, it } from 'vitest';
import { Catalog } from '../catalog/catalog.ts';
import type { DataPlane } from '../local/api.ts';
import { occurrences, Reporter } from '../services/occurrences.ts';
import { driverLimits } from './limits.ts';
import { SessionReports } from './session-reports.ts';
import type { SessionRecord } from './session-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'reports-'));
const catalog = new Catalog(directory);
afterEach(() => {
  catalog.close();
  rmSync(directory, { recursive: true, force: true });
});

const record = (number: number): SessionRecord => ({
  half: newHalf({
    id: sessionId(`s${number}`),
    role: 'source',
    generation: { number: 1, site: 'A', nonce: 'n' },
    pairs: [],
    rpo_ms: 0,
  }),
  remoteSystemId: 'there',
  ruleId: undefined,
  localResourceId: `v${number}`,
  remoteResourceId: '',
  shippedTotal_bytes: 0,
});

describe('an outage', () => {
  it('tells of the first sessions one by one and of the others by one alert, which ends with it', () => {
    const reporter = new Reporter(catalog, systemClock, systemRandom);
    const dataPlane = {} as DataPlane;
    const reports = new SessionReports({ catalog, dataPlane, clock: systemClock, random: systemRandom, reporter });
    const park = (number: number, code: 'link_lost' | 'internal') => {
      const fault = { code, message: 'why', retry: true, retryAt_ms: 0, count: 1 };
      reports.notice({ kind: 'parked', fault }, record(number), record(number).half);
    };
    const count = (code: string) => catalog.list('event').filter(({ event_code }) => event_code === code).length;
    for (let number = 0; number < 1_000; number++) park(number, 'link_lost');
    expect(count(occurrences.session_parked.code)).toBe(driverLimits.parkedTold);
    expect(count(occurrences.sessions_parked.code)).toBe(1);
    expect(reporter.active('sessions_parked')).toHaveLength(1);
    // What has a cause of its own is told in any case.
    park(1_000, 'internal');
    expect(count(occurrences.session_parked.code)).toBe(driverLimits.parkedTold + 1);
    reports.linkBack('there');
    expect(reporter.active('sessions_parked')).toEqual([]);
    park(1_001, 'link_lost');
    expect(count(occurrences.session_parked.code)).toBe(driverLimits.parkedTold + 2);
  });
});
