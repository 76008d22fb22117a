import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBlockError } from '../../port/errors.ts';
import { seededDiskFaults } from '../simulated/seeded-faults.ts';
import { seededRandom } from '../simulated/seeded-random.ts';
import {
  asAppended,
  Bench,
  controlRecord,
  dataRecord,
  relocateAll,
  scanAll,
  turns,
  zeroRecord,
} from './log-fixture.ts';
import type { LogRecord, Place, RelocatedRecord, SegmentLog, Sequence } from './types.ts';

type Step =
  | { readonly do: 'data'; readonly block: number; readonly fill: number; readonly count: number }
  | { readonly do: 'zero'; readonly block: number }
  | { readonly do: 'control'; readonly text: string }
  | { readonly do: 'written' | 'durable' | 'sync_without_waiting' | 'crash' | 'kill' | 'close' | 'compact' }
  | { readonly do: 'kill_starting'; readonly turns: number }
  | { readonly do: 'turns'; readonly count: number }
  | { readonly do: 'time'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('compact' as const) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('data' as const),
      block: fc.nat(50),
      fill: fc.nat(255),
      count: fc.constantFrom(1, 1, 2, 17, 200),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('zero' as const), block: fc.nat(50) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('control' as const), text: fc.string({ maxLength: 3000 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('written' as const, 'durable' as const, 'sync_without_waiting' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('crash' as const, 'kill' as const, 'close' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill_starting' as const), turns: fc.nat(12) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.constantFrom(10, 2000, 20_000) }) },
);

/** What the log must be able to show: every record by its sequence, and where it was said to lie. */
class Model {
  records: LogRecord[] = [];
  places: Place[] = [];
  /** Highest sequence acknowledged as written, and as durable. */
  written = 0;
  durable = 0;
}

class Play {
  readonly bench: Bench;
  readonly model = new Model();
  log!: SegmentLog;

  constructor(seed: number) {
    this.bench = new Bench(seed, {}, 2 ** 40, seed % 2 === 0);
  }

  async open(): Promise<void> {
    this.log = await this.bench.open();
    this.log.onMoved((moves) => {
      for (const { sequence, to } of moves) this.model.places[sequence - 1] = to;
    });
  }

  append(record: LogRecord): void {
    try {
      const { sequence, place } = this.log.append(record);
      expect(sequence).toBe(this.model.records.length + 1);
      this.model.records.push(record);
      this.model.places.push(place);
    } catch (error) {
      if (!isBlockError(error)) throw error;
    }
  }

  async run(step: Step): Promise<void> {
    const { model, log } = this;
    switch (step.do) {
      case 'data':
        return this.append(dataRecord(step.block, step.fill, step.count));
      case 'zero':
        return this.append(zeroRecord(step.block, 3));
      case 'control':
        return this.append(controlRecord(step.text));
      case 'written': {
        const last = model.records.length;
        return this.acknowledged(log.written(), () => {
          model.written = Math.max(model.written, last);
        });
      }
      case 'durable': {
        const last = model.records.length;
        return this.acknowledged(log.durable(), () => {
          model.durable = Math.max(model.durable, last);
        });
      }
      case 'sync_without_waiting':
        log.durable().catch(() => {});
        return;
      case 'turns':
        return turns(step.count);
      case 'time':
        this.bench.clock.advance(step.ms);
        return turns(2);
      case 'crash':
        this.bench.disk.crash();
        return this.reopened(Math.max(model.durable, log.durableSequence()));
      case 'kill':
        this.bench.disk.kill();
        return this.reopened(Math.max(model.written, model.durable));
      case 'kill_starting':
        this.bench.disk.kill();
        this.bench.open().catch(() => {});
        await turns(step.turns);
        this.bench.disk.kill();
        return this.reopened(Math.max(model.written, model.durable));
      case 'compact':
        return this.compact();
      case 'close': {
        const all = model.records.length;
        const closed = await bounded(log.close()).then(
          () => true,
          (error: unknown) => {
            if (!isBlockError(error)) throw error;
            return false;
          },
        );
        this.bench.disk.kill();
        return this.reopened(closed ? all : model.durable);
      }
    }
  }

  /** Moves the oldest sealed segment's records elsewhere and removes it [C6.2]. */
  private async compact(): Promise<void> {
    const { log, model } = this;
    const oldest = log.segments().find(({ sealed }) => sealed);
    if (oldest === undefined) return;
    const items: { record: RelocatedRecord; sequence: Sequence }[] = [];
    for await (const scanned of log.scanSegment(oldest.segment)) {
      // Another copy of it may be the one that counts.
      if (model.places[scanned.sequence - 1]!.segment !== oldest.segment) continue;
      items.push({ record: await asAppended(log, scanned), sequence: scanned.sequence });
    }
    try {
      const places = await relocateAll(log, items);
      for (const [i, { sequence }] of items.entries()) model.places[sequence - 1] = places[i]!;
      await log.removeSegment(oldest.segment);
    } catch (error) {
      if (!isBlockError(error)) throw error;
    }
  }

  private async acknowledged(promise: Promise<void>, then: () => void): Promise<void> {
    await bounded(promise).then(then, (error: unknown) => {
      if (!isBlockError(error)) throw error;
    });
  }

  async reopened(least: number): Promise<void> {
    this.bench.disk.faults = {};
    await this.open();
    await this.compare(least);
  }

  async compare(least: number): Promise<void> {
    const { model, log } = this;
    // Compaction leaves a record in two places for a while: the younger one counts.
    const found = [...new Map((await scanAll(log)).map((scanned) => [scanned.sequence, scanned])).values()];
    expect(found.length).toBeGreaterThanOrEqual(least);
    expect(found.length).toBeLessThanOrEqual(model.records.length);
    model.records.length = found.length;
    model.written = model.durable = found.length;
    for (const [i, scanned] of found.entries()) {
      expect(scanned.sequence).toBe(i + 1);
      expect(sameRecord(await asAppended(log, scanned), model.records[i]!)).toBe(true);
      model.places[i] = scanned.place;
    }
    model.places.length = found.length;
    expect(log.lastSequence()).toBe(found.length);
    expect(log.durableSequence()).toBe(found.length);
    expect(log.damages()).toEqual([]);
  }

  /** Everything appended is readable at its place, durable or not. */
  async readBack(): Promise<void> {
    for (const [i, record] of this.model.records.entries()) {
      if (record.type !== 'data') continue;
      const target = new Uint8Array(record.payload.length);
      await this.log.read(this.model.places[i]!, target);
      expect(Buffer.compare(target, record.payload)).toBe(0);
    }
  }
}

/** An answer must come within so many turns of the event loop, whatever failed: nobody is left waiting. */
async function bounded(promise: Promise<void>): Promise<void> {
  let answered = false;
  promise.then(
    () => (answered = true),
    () => (answered = true),
  );
  for (let i = 0; i < 500 && !answered; i++) await turns(1);
  if (!answered) throw new Error('no answer');
  return promise;
}

/** Faster than a matcher for a megabyte. */
function sameRecord(a: RelocatedRecord, b: RelocatedRecord): boolean {
  if (a.type === 'control') return b.type === 'control' && Buffer.compare(a.body, b.body) === 0;
  if (b.type === 'control' || a.layer !== b.layer || a.block !== b.block || a.count !== b.count) return false;
  if (a.type === 'zero' || b.type === 'zero') return a.type === b.type;
  if (a.type === 'packed' || b.type === 'packed') return false;
  return Buffer.compare(a.payload, b.payload) === 0 && Buffer.compare(a.checksums, b.checksums) === 0;
}

/** A power cut takes the first record of the youngest segment and leaves a later one; what is older was compacted. */
const firstRecordLost: [number, Step[]] = [
  775018360,
  [
    { do: 'data', block: 8, fill: 168, count: 2 },
    { do: 'control', text: 'm0xaWy,](' },
    { do: 'data', block: 40, fill: 97, count: 1 },
    { do: 'durable' },
    { do: 'kill' },
    { do: 'data', block: 5, fill: 187, count: 200 },
    { do: 'data', block: 43, fill: 91, count: 17 },
    { do: 'time', ms: 10 },
    { do: 'zero', block: 40 },
    { do: 'turns', count: 5 },
    { do: 'written' },
    { do: 'data', block: 7, fill: 156, count: 200 },
    { do: 'data', block: 34, fill: 138, count: 200 },
    { do: 'data', block: 50, fill: 19, count: 1 },
    { do: 'compact' },
    { do: 'data', block: 34, fill: 167, count: 17 },
    { do: 'crash' },
  ],
];

/** A removal waits for the end of a segment that failed; meanwhile the segment that its records moved on to fails as well. */
const failedWhileRemoving: [number, Step[]] = [
  1568978190,
  [
    { do: 'data', block: 0, fill: 0, count: 1 },
    { do: 'kill_starting', turns: 0 },
    { do: 'data', block: 0, fill: 0, count: 1 },
    { do: 'durable' },
    { do: 'data', block: 0, fill: 0, count: 200 },
    { do: 'data', block: 0, fill: 0, count: 200 },
    { do: 'zero', block: 0 },
    { do: 'data', block: 0, fill: 0, count: 1 },
    { do: 'zero', block: 0 },
    { do: 'data', block: 0, fill: 0, count: 1 },
    { do: 'data', block: 0, fill: 0, count: 1 },
    { do: 'written' },
    { do: 'data', block: 0, fill: 0, count: 2 },
    { do: 'data', block: 0, fill: 0, count: 17 },
    { do: 'compact' },
    { do: 'turns', count: 1 },
    { do: 'time', ms: 2000 },
  ],
];

describe('a log under crashes', () => {
  it('[C6.1] [C6.3] keeps every durable record byte for byte, a prefix of the rest, and invents nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (seed, steps) => {
        const play = new Play(seed);
        await play.open();
        for (const next of steps) await play.run(next);
        await play.readBack();
        play.bench.disk.crash();
        await play.reopened(play.model.durable);
      }),
      { numRuns: 80 },
    );
  });

  it('[C6.4] does so while writes and syncs fail', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (seed, steps) => {
        const play = new Play(seed);
        await play.open();
        const chance = seededRandom(seed + 1);
        for (const next of steps) {
          play.bench.disk.faults = seededDiskFaults(chance, { write_error: 0.05, sync_error: 0.15 });
          await play.run(next);
          await turns(1);
        }
        await play.readBack();
        play.bench.disk.crash();
        await play.reopened(play.model.durable);
      }),
      { numRuns: 80, examples: [firstRecordLost, failedWhileRemoving] },
    );
  });
});
