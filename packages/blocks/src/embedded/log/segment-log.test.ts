import { describe, expect, it } from 'vitest';
import { diskError } from '../simulated/simulated-disk.ts';
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
import type { LogState, MovedRecord, SegmentLog, Sequence } from './types.ts';

const MIB = 1024 * 1024;

async function readRecord(log: SegmentLog, place: { segment: number; offset: number }, blocks = 1) {
  const target = new Uint8Array(blocks * 4096);
  await log.read(place, target);
  return target;
}

/** Fills segments until at least `count` of them are sealed. */
async function fillSegments(log: SegmentLog, count: number): Promise<void> {
  for (let i = 0; log.segments().filter(({ sealed }) => sealed).length < count; i++) {
    log.append(dataRecord(i * 100, i, 100));
    await log.durable();
    await turns(2);
  }
}

describe('group commit', () => {
  it('[C6.6] waits for one sync with many, while the next group gathers', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    const before = disk.counts.syncs;
    let release = () => {};
    disk.faults = { sync: () => new Promise((resolve) => (release = () => resolve(undefined))) };
    const first = log.append(dataRecord(1, 1));
    const waiting = [log.durable()];
    await turns();
    for (let i = 0; i < 50; i++) {
      log.append(dataRecord(i, i));
      waiting.push(log.durable());
    }
    await turns();
    expect(disk.counts.syncs - before).toBe(1);
    expect(log.durableSequence()).toBe(0);
    release();
    await waiting[0];
    expect(log.durableSequence()).toBe(first.sequence);
    await turns();
    release();
    await Promise.all(waiting);
    expect(disk.counts.syncs - before).toBe(2);
    expect(log.durableSequence()).toBe(51);
  });

  it('hands one turn to the kernel in one write, and syncs by itself after a time', async () => {
    const bench = benchOf();
    const log = await bench.open();
    const before = bench.disk.counts.writes;
    for (let i = 0; i < 10; i++) log.append(dataRecord(i, i));
    await log.written();
    expect(bench.disk.counts.writes - before).toBe(1);
    expect(log.durableSequence()).toBe(0);
    bench.clock().advance(1000);
    await turns();
    expect(log.durableSequence()).toBe(10);
  });

  it('bounds what is not durable: written() waits for a sync', async () => {
    const { disk, open } = benchOf({ unsynced_bytes_max: MIB, unsynced_bytes_sync: MIB });
    const log = await open();
    let release = () => {};
    disk.faults = { sync: () => new Promise((resolve) => (release = () => resolve(undefined))) };
    for (let i = 0; i < 3; i++) log.append(dataRecord(i * 100, i, 100));
    let answered = false;
    const written = log.written().then(() => (answered = true));
    await turns(10);
    expect(answered).toBe(false);
    release();
    await written;
    expect(log.durableSequence()).toBe(3);
  });

  it('reads from memory what no sync has stored, wherever the record lies', async () => {
    const { open } = benchOf();
    const log = await open();
    const places = Array.from({ length: 40 }, (_, i) => log.append(dataRecord(i, i, 17)).place);
    for (const [i, place] of places.entries()) {
      expect(Buffer.compare(await readRecord(log, place, 17), dataRecord(i, i, 17).payload)).toBe(0);
    }
  });
});

describe('failure', () => {
  it('[C6.4] never syncs a failed segment again, and appends again what was not durable', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    const moved: MovedRecord[] = [];
    log.onMoved((moves) => moved.push(...moves));
    const safe = log.append(dataRecord(1, 1));
    await log.durable();
    const synced: string[] = [];
    disk.faults = {
      sync: (name) => {
        synced.push(name);
        return synced.length === 1 ? diskError('EIO') : undefined;
      },
    };
    const late = [dataRecord(2, 2), zeroRecord(7, 3), controlRecord({ late: true })].map((record) =>
      log.append(record),
    );
    await log.durable();
    expect(synced.filter((name) => name === synced[0]).length).toBe(1);
    expect(moved.map(({ sequence, type, from }) => ({ sequence, type, from }))).toEqual([
      { sequence: 2, type: 'data', from: late[0]!.place },
      { sequence: 3, type: 'zero', from: late[1]!.place },
      { sequence: 4, type: 'control', from: late[2]!.place },
    ]);
    expect(Buffer.compare(await readRecord(log, moved[0]!.to), dataRecord(2, 2).payload)).toBe(0);
    expect(Buffer.compare(await readRecord(log, safe.place), dataRecord(1, 1).payload)).toBe(0);
    await turns();
    disk.crash();
    disk.faults = {};
    const after = await open();
    expect((await scanAll(after)).map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    expect(after.damages()).toEqual([]);
  });

  it('[C6.4] stops taking writes when the second attempt fails too, and goes on by itself', async () => {
    const bench = benchOf();
    const log = await bench.open();
    const states: LogState['kind'][] = [];
    log.onState(({ kind }) => states.push(kind));
    bench.disk.faults = { sync: () => diskError('EIO') };
    log.append(dataRecord(1, 1));
    await expect(log.durable()).rejects.toMatchObject({ code: 'io_error' });
    expect(() => log.append(dataRecord(2, 2))).toThrow(expect.objectContaining({ code: 'io_error' }));
    await expect(log.written()).rejects.toMatchObject({ code: 'io_error' });
    bench.disk.faults = {};
    bench.clock().advance(10_000);
    await turns(20);
    expect(states).toEqual(['stopped', 'running']);
    expect(log.durableSequence()).toBe(1);
    expect(log.append(dataRecord(2, 2)).sequence).toBe(2);
    await log.durable();
    bench.disk.crash();
    expect((await scanAll(await bench.open())).length).toBe(2);
  });

  it('[C6.4] leaves a failed segment alone, also when the file of the next one cannot be made meanwhile', async () => {
    const bench = benchOf();
    const { disk } = bench;
    const log = await bench.open();
    const synced: string[] = [];
    let failMaking = () => {};
    // The first segment and the one that its records are moved to fail in a sync; the file of that one's successor is still being made,
    // of which the first sync of a file is the end.
    const made = new Set(['segment-0000000001.tmp']);
    disk.faults = {
      sync: (name) => {
        if (made.has(name)) return synced.push(name) > 0 ? diskError('EIO') : undefined;
        made.add(name);
        if (name !== 'segment-0000000004.tmp') return undefined;
        return new Promise((resolve) => (failMaking = () => resolve(diskError('EIO'))));
      },
    };
    // More than a segment holds.
    for (let fill = 1; fill <= 3; fill++) log.append(dataRecord(fill * 300, fill, 200));
    await expect(log.durable()).rejects.toMatchObject({ code: 'io_error' });
    failMaking();
    await turns(20);
    const failed = synced.splice(0);
    expect(failed).toEqual(['segment-0000000001.tmp', 'segment-0000000003.tmp']);
    disk.faults = {
      sync: (name) => {
        synced.push(name);
        return undefined;
      },
    };
    bench.clock().advance(10_000);
    await turns(40);
    expect(synced.filter((name) => failed.includes(name))).toEqual([]);
    expect(log.durableSequence()).toBe(3);
    expect(log.state().kind).toBe('running');
    disk.crash();
    disk.faults = {};
    expect((await scanAll(await bench.open())).map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  });

  it('[C6.4] keeps an acknowledged write when the process dies in the middle of the repair', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    log.append(dataRecord(1, 1));
    await log.written();
    disk.faults = { sync: () => diskError('EIO') };
    await expect(log.durable()).rejects.toMatchObject({ code: 'io_error' });
    await turns(20);
    disk.kill();
    disk.faults = {};
    expect((await scanAll(await open())).length).toBe(1);
    disk.crash();
    expect((await scanAll(await open())).length).toBe(1);
  });

  it('[C6.4] keeps an acknowledged write when the repetition itself was cut short and the process died', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    for (let i = 1; i <= 4; i++) log.append(dataRecord(i, i));
    await log.written();
    // The write fails for good; of the second one no more than the start record arrives.
    let failures = 0;
    disk.faults = { write: (_name, offset) => (offset >= 4096 && ++failures > 0 ? diskError('EIO') : undefined) };
    log.append(dataRecord(5, 5));
    await expect(log.durable()).rejects.toMatchObject({ code: 'io_error' });
    expect(failures).toBe(2);
    disk.kill();
    disk.faults = {};
    expect((await scanAll(await open())).length).toBeGreaterThanOrEqual(4);
    disk.crash();
    expect((await scanAll(await open())).length).toBeGreaterThanOrEqual(4);
  });
});

describe('a segment made ahead', () => {
  it('whose name cannot be made durable leaves no file behind', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    const names = disk.fileNames();
    let failures = 1;
    disk.faults = { syncDirectory: () => (failures-- > 0 ? diskError('EIO') : undefined) };
    // More than half of a segment: the next one is made.
    log.append(dataRecord(1, 1, 200));
    log.append(dataRecord(2, 2, 100));
    await log.durable();
    await turns(20);
    expect(failures).toBe(0);
    expect(disk.fileNames()).toEqual(names);
  });
});

describe('a full disk', () => {
  it('[C6.5] refuses data before it is ordered, and takes control records from the reserve', async () => {
    const bench = benchOf({}, 4 * MIB);
    const log = await bench.open();
    const states: LogState['kind'][] = [];
    log.onState(({ kind }) => states.push(kind));
    let refused: unknown;
    for (let i = 0; refused === undefined; i++) {
      try {
        log.append(dataRecord(i, i, 4));
        await log.written();
      } catch (error) {
        refused = error;
      }
    }
    expect(refused).toMatchObject({ code: 'no_space' });
    expect(states).toEqual(['no_space']);
    const last = log.lastSequence();
    bench.disk.setCapacity(bench.disk.used());
    for (let i = 0; i < 20; i++) {
      log.append(controlRecord({ i, pad: 'x'.repeat(8000) }));
      await log.durable();
    }
    expect(log.lastSequence()).toBe(last + 20);
    expect(bench.disk.fileNames()).not.toContain('reserve');
    expect(() => log.append(dataRecord(0, 0))).toThrow(expect.objectContaining({ code: 'no_space' }));
    bench.disk.setCapacity(64 * MIB);
    bench.clock().advance(20_000);
    await turns(20);
    expect(states).toEqual(['no_space', 'running']);
    expect(bench.disk.fileNames()).toContain('reserve');
    log.append(dataRecord(0, 0));
    await log.durable();
    bench.disk.crash();
    expect((await scanAll(await bench.open())).length).toBe(last + 21);
  });

  it('[C6.5] opens on a full disk, so that something can be deleted', async () => {
    const bench = benchOf();
    const log = await bench.open();
    log.append(dataRecord(1, 1));
    await log.durable();
    bench.disk.crash();
    bench.disk.setCapacity(bench.disk.used());
    const again = await bench.open();
    expect(again.state().kind).toBe('no_space');
    again.append(controlRecord({ deleted: true }));
    await again.durable();
    expect((await scanAll(again)).length).toBe(2);
  });

  it('[C6.5] writes the same bytes again at the same place when the disk was full without warning', async () => {
    const bench = benchOf({ reserve_bytes: 0 });
    const log = await bench.open();
    log.append(dataRecord(1, 1));
    await log.durable();
    bench.disk.faults = { write: () => diskError('ENOSPC') };
    const { place } = log.append(dataRecord(2, 2));
    await expect(log.written()).rejects.toMatchObject({ code: 'no_space' });
    expect(log.state()).toMatchObject({ kind: 'stopped', reason: 'no_space' });
    bench.disk.faults = {};
    bench.clock().advance(1000);
    await turns(20);
    expect(log.state().kind).toBe('running');
    expect(log.durableSequence()).toBe(2);
    expect(Buffer.compare(await readRecord(log, place), dataRecord(2, 2).payload)).toBe(0);
  });
});

describe('damage', () => {
  it('[C6.3] is reported where records were durable, and the scan goes on behind it', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    const places = Array.from({ length: 20 }, (_, i) => log.append(dataRecord(i, i)).place);
    await log.close();
    disk.kill();
    disk.flip('segment-0000000001', places[9]!.offset - 40, 3);
    const again = await open();
    const found = (await scanAll(again)).map(({ sequence }) => sequence);
    expect(found).toEqual([...Array(20).keys()].map((i) => i + 1).filter((sequence) => sequence !== 10));
    expect(again.damages()).toEqual([
      { segment: 1, offset: places[9]!.offset - 72, bytes: 4168, detail: '4168 bytes are no records' },
    ]);
    expect(Buffer.compare(await readRecord(again, places[10]!), dataRecord(10, 10).payload)).toBe(0);
    expect(again.append(zeroRecord(1, 1)).sequence).toBe(21);
  });

  it('[C6.3] is told from a torn tail in a segment that has no end yet', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    const places = [];
    for (let i = 0; i < 6; i++) {
      places.push(log.append(dataRecord(i, i)).place);
      await log.durable();
    }
    disk.kill();
    disk.flip('segment-0000000001', places[2]!.offset - 40);
    const again = await open();
    expect((await scanAll(again)).map(({ sequence }) => sequence)).toEqual([1, 2, 4, 5, 6]);
    expect(again.damages().some(({ segment }) => segment === 1)).toBe(true);
  });

  it('[C6.3] reports no damage for a tail that was never durable', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    const places = [];
    for (let i = 0; i < 6; i++) {
      places.push(log.append(dataRecord(i, i)).place);
      if (i < 3) await log.durable();
      else await log.written();
    }
    disk.kill();
    disk.flip('segment-0000000001', places[4]!.offset + 100);
    const again = await open();
    expect((await scanAll(again)).map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    expect(again.damages()).toEqual([]);
  });

  it('[C6.3] survives the loss of one copy of a segment header, and names a segment that lost both', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    log.append(dataRecord(1, 1));
    await log.close();
    disk.kill();
    disk.flip('segment-0000000001', 33);
    const once = await open();
    expect((await scanAll(once)).length).toBe(1);
    await once.close();
    disk.kill();
    disk.flip('segment-0000000001', 2048 + 33);
    const twice = await open();
    expect(twice.damages()).toMatchObject([{ segment: 1, offset: 0 }]);
    expect(twice.append(zeroRecord(0, 1)).sequence).toBe(2);
  });

  it('a read that flips a bit once is read again before it counts as damage', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    for (let i = 0; i < 4; i++) log.append(zeroRecord(i, 1));
    await log.close();
    disk.kill();
    const again = await open();
    let flips = 1;
    disk.faults = {
      read: (_name, _offset, target) => {
        if (flips-- > 0) target[100]! ^= 4;
        return undefined;
      },
    };
    expect((await scanAll(again)).length).toBe(4);
    expect(again.damages()).toEqual([]);
  });
});

describe('compaction', () => {
  it('[C6.2] gives relocated records their own segment, durable with its name', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    await fillSegments(log, 2);
    const [first] = log.segments();
    const items = [];
    for await (const scanned of log.scanSegment(first!.segment)) {
      if (scanned.sequence % 2 === 1)
        items.push({ record: await asAppended(log, scanned), sequence: scanned.sequence });
    }
    const places = await relocateAll(log, items.toReversed());
    const last = log.lastSequence();
    disk.crash();
    const again = await open();
    for (const [i, { record }] of items.toReversed().entries()) {
      if (record.type !== 'data') throw new Error('data only');
      expect(Buffer.compare(await readRecord(again, places[i]!, record.count), record.payload)).toBe(0);
    }
    await again.removeSegment(first!.segment);
    disk.crash();
    const third = await open();
    const sequences = (await scanAll(third)).map(({ sequence }) => sequence);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    const kept = [...Array(last).keys()].map((i) => i + 1).filter((s) => s > first!.last || s % 2 === 1);
    expect(sequences).toEqual(kept);
    expect(third.damages()).toEqual([]);
  });

  it('[C6.2] leaves nothing behind when it is interrupted', async () => {
    const { disk, open } = benchOf();
    const log = await open();
    await fillSegments(log, 1);
    const names = disk.fileNames();
    disk.faults = { sync: () => diskError('EIO') };
    const record = dataRecord(5, 5);
    await expect(relocateAll(log, [{ record, sequence: 1 as Sequence }])).rejects.toMatchObject({ code: 'io_error' });
    expect(disk.fileNames()).toEqual(names);
    disk.faults = { sync: () => new Promise(() => {}) };
    void relocateAll(log, [{ record, sequence: 1 as Sequence }]);
    await turns();
    disk.crash();
    disk.faults = {};
    const again = await open();
    expect(again.damages()).toEqual([]);
    expect(disk.fileNames().some((name) => name.endsWith('.tmp'))).toBe(false);
  });

  it('[C6.1] never gives a sequence twice, though every segment that had it is gone', async () => {
    const { disk, open } = benchOf();
    let log = await open();
    await fillSegments(log, 3);
    const last = log.lastSequence();
    await log.close();
    disk.kill();
    log = await open();
    for (const { segment, sealed } of log.segments()) if (sealed) await log.removeSegment(segment);
    for (let i = 0; i < 3; i++) {
      disk.crash();
      log = await open();
      expect(log.lastSequence()).toBe(last);
      expect(log.damages()).toEqual([]);
    }
    expect(log.append(zeroRecord(1, 1)).sequence).toBe(last + 1);
  });

  it('uses the file of a removed segment again, and never takes its old records for new ones', async () => {
    const { disk, open } = benchOf();
    let log = await open();
    await fillSegments(log, 2);
    const [first] = log.segments();
    await log.removeSegment(first!.segment);
    const spare = disk.fileNames().find((name) => name.endsWith('.tmp'));
    expect(spare).toBeDefined();
    await fillSegments(log, 3);
    expect(disk.fileNames()).not.toContain(spare);
    const last = log.lastSequence();
    disk.crash();
    log = await open();
    const sequences = (await scanAll(log)).map(({ sequence }) => sequence);
    expect(sequences).toEqual([...Array(last).keys()].map((i) => i + 1).filter((s) => s > first!.last));
    expect(log.damages()).toEqual([]);
  });

  it('is scanned as a whole, though more segments overlap than files are kept open', async () => {
    const { disk, open } = benchOf({ open_files_max: 4 });
    const log = await open();
    const items = [];
    for (let i = 0; i < 60; i++) {
      const record = dataRecord(i, i);
      items.push({ record, sequence: log.append(record).sequence });
    }
    await log.durable();
    // Each relocated segment holds every tenth record: all of them have to be open at once.
    for (let i = 0; i < 10; i++)
      await relocateAll(
        log,
        items.filter(({ sequence }) => sequence % 10 === i),
      );
    const all = await scanAll(log);
    expect(all.length).toBe(120);
    disk.crash();
    expect((await scanAll(await open())).length).toBe(120);
  });

  it('a segment is read to its end, though its file is closed for others meanwhile', async () => {
    const { open } = benchOf({ open_files_max: 4, sync_read_bytes_max: 0 });
    const log = await open();
    await fillSegments(log, 8);
    const [first, ...others] = log.segments().filter(({ sealed }) => sealed);
    let found = 0;
    for await (const { sequence } of log.scanSegment(first!.segment)) {
      found += sequence > 0 ? 1 : 0;
      for (const { segment } of others) await log.read({ segment, offset: 4096 }, new Uint8Array(4096));
    }
    expect(found).toBe(first!.last - first!.first + 1);
  });

  it('refuses to remove a segment that takes records', async () => {
    const { open } = benchOf();
    const log = await open();
    log.append(zeroRecord(1, 1));
    await expect(log.removeSegment(log.segments()[0]!.segment)).rejects.toMatchObject({ code: 'in_use' });
  });
});

it('refuses appends once it is closed', async () => {
  const { open } = benchOf();
  const log = await open();
  await log.close();
  expect(() => log.append(zeroRecord(1, 1))).toThrow(expect.objectContaining({ code: 'closed' }));
});

it('scans only what is above the given sequence', async () => {
  const { open } = benchOf();
  const log = await open();
  await fillSegments(log, 2);
  const after = log.segments()[0]!.last + 1;
  const sequences = (await scanAll(log, after)).map(({ sequence }) => sequence);
  expect(sequences[0]).toBe(after + 1);
  expect(sequences.at(-1)).toBe(log.lastSequence());
});

function benchOf(limits = {}, capacity_bytes = 2 ** 40) {
  const bench = new Bench(11, limits, capacity_bytes);
  return { disk: bench.disk, clock: () => bench.clock, open: () => bench.open() };
}
