import { describe, expect, it } from 'vitest';
import { LOG_LIMITS } from './limits.ts';
import { LoneSyncs } from './lone-syncs.ts';

const least = LOG_LIMITS.lone_syncs_least;
const slow_ms = LOG_LIMITS.lone_sync_ms_max + 1;

describe('syncs of a host that commits alone', () => {
  /** One write and its sync; answers whether that is done on the ordering thread. */
  const commit = (syncs: LoneSyncs, took_ms = 0.3): boolean => {
    syncs.worked();
    const here = syncs.here(1, true);
    syncs.took(took_ms);
    return here;
  };
  const settled = (): LoneSyncs => {
    const syncs = new LoneSyncs(LOG_LIMITS);
    for (let count = 0; count < least; count++) expect(commit(syncs)).toBe(false);
    expect(commit(syncs)).toBe(true);
    return syncs;
  };

  it('stay on the ordering thread once there were some with nothing else between them', () => {
    const syncs = settled();
    expect(commit(syncs)).toBe(true);
  });

  it('go to other threads as soon as there is a read, another write, another who waits, or much to sync', () => {
    const readBetween = settled();
    readBetween.worked();
    expect([commit(readBetween), commit(readBetween)]).toEqual([false, false]);
    expect([settled().here(2, true), settled().here(1, false)]).toEqual([false, false]);
  });

  it('go to other threads for long once the medium was slow, whatever comes between', () => {
    const syncs = settled();
    expect(commit(syncs, slow_ms)).toBe(true);
    for (let count = 0; count < LOG_LIMITS.lone_syncs_after_slow; count++) expect(commit(syncs)).toBe(false);
    syncs.worked();
    expect(commit(syncs)).toBe(false);
  });
});
