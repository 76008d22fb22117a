import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom, volumeId } from '@antipode/base';
import { BlockError, type VerifyPosition, type VerifyStep } from '@antipode/blocks';
import { ManualClock } from '@antipode/blocks/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DataPlaneEvent } from '../local/api.ts';
import { ScrubJob, scrubFile } from './scrub-job.ts';

const MiB = 1024 * 1024;
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'antipode-scrub-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const damaged = (offset: number) => ({
  detail: 'stored data does not match its checksum',
  seen: [{ volume: volumeId('v'), name: 'v', offset, length: 4096, head: true, points: [] }],
});

/** Ten pages, one damaged; the job that verifies them, and what it says. */
function fixture(options: { readonly every_ms?: number; readonly fail?: () => boolean } = {}) {
  const clock = new ManualClock();
  const visited: number[] = [];
  const engine = {
    usage: () => ({ total_bytes: 0, free_bytes: 0, log_bytes: 4 * MiB, live_bytes: 6 * MiB, data_bytes: 6 * MiB }),
    verifyStored: async (from: VerifyPosition | undefined): Promise<VerifyStep> => {
      if (options.fail?.()) throw new BlockError('io_error', 'the medium');
      const page = from?.phase === 'blocks' ? from.page : 0;
      visited.push(page);
      const damages = page === 3 ? [damaged(3 * MiB)] : [];
      const step = { verified_bytes: MiB, damages };
      return page === 9 ? step : { ...step, next: { phase: 'blocks', layer: 1, page: page + 1 } };
    },
  };
  const events: DataPlaneEvent[] = [];
  const open = () => {
    const job = new ScrubJob({
      engine,
      clock,
      random: systemRandom,
      place: scrubFile(join(directory, 'scrub.json')),
      every_ms: options.every_ms ?? 0,
      rate_bytes_per_s: MiB,
    });
    job.on((event) => void events.push(event));
    job.open();
    return job;
  };
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += 250) {
      clock.advance(250);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { open, pass, visited, events };
}

describe('the background scrub', () => {
  it('goes no faster than its rate, tells of each damage once, and says when it is through', async () => {
    const { open, pass, visited, events } = fixture();
    const job = open();
    expect(job.status()).toBeUndefined();
    expect(job.start({})).toMatchObject({ state: 'running', total_bytes: 10 * MiB });
    await pass(4_000);
    expect(visited.length).toBeLessThanOrEqual(5);
    expect(job.start({ rate_bytes_per_s: 100 * MiB }).state).toBe('running');
    await pass(4_000);
    expect(job.status()).toMatchObject({ state: 'completed', verified_bytes: 10 * MiB, damage_count: 1 });
    expect(visited).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(events.map(({ kind }) => kind)).toEqual(['damage', 'scrub_ended']);
    expect(events[0]).toMatchObject({ volume: 'v', detail: expect.stringContaining(`bytes ${3 * MiB} to`) });
  });

  it('goes on where it was when the process begins again, and keeps what it had found', async () => {
    const { open, pass, visited, events } = fixture();
    const first = open();
    const { id } = first.start({});
    await pass(6_000);
    await first.close();
    const seen = visited.length;
    expect(seen).toBeGreaterThan(4);
    expect(seen).toBeLessThan(10);
    const second = open();
    await pass(8_000);
    expect(second.status()).toMatchObject({ id, state: 'completed', damage_count: 1 });
    expect(visited).toHaveLength(10);
    expect(events.filter(({ kind }) => kind === 'damage')).toHaveLength(1);
  });

  it('starts by itself when the last one is old, and not before', async () => {
    const { open, pass, visited } = fixture({ every_ms: 60_000 });
    const job = open();
    await pass(59_000);
    expect(job.status()).toBeUndefined();
    await pass(20_000);
    expect(job.status()?.state).toBe('completed');
    await pass(40_000);
    expect(visited).toHaveLength(10);
    await pass(40_000);
    expect(visited).toHaveLength(20);
    await job.close();
  });

  it('waits out a medium that fails, and stops when told', async () => {
    let failing = true;
    const { open, pass, visited } = fixture({ fail: () => failing });
    const job = open();
    job.start({});
    await pass(12_000);
    expect(visited).toEqual([]);
    failing = false;
    await pass(7_000);
    expect(visited.length).toBeGreaterThan(0);
    expect((await job.stop())?.state).toBe('stopped');
    const seen = visited.length;
    await pass(10_000);
    expect(visited).toHaveLength(seen);
  });
});
