import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@antipode/base';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../simulated/seeded-random.ts';
import { SimulatedDisk } from '../simulated/simulated-disk.ts';
import { asAppended, controlRecord, dataRecord, relocateAll, scanAll, zeroRecord } from './log-fixture.ts';
import { SEGMENT_VERSION, SEGMENT_VERSION_OLDEST } from './segment-header.ts';
import { openSegmentLog } from './segment-log.ts';
import { smallLogLimits } from './small-limits.ts';
import type { LogRecord, Sequence } from './types.ts';

/**
 * The stored files are what a log of this format version looks like, as hexadecimal lines of 32 bytes; runs of equal lines
 * are written `* n`. They fail when the format changes. A change of format is a new version [C9.4]: raise SEGMENT_VERSION,
 * keep the old files (this test then reads them too), and write the new ones by running this test once with
 * GOLDEN_WRITE=1 in the environment.
 */
const directory = join(import.meta.dirname, 'golden');
const fileFor = (version: number, kind: string) => join(directory, `segment-v${version}-${kind}.hex`);

const RECORDS: readonly LogRecord[] = [
  dataRecord(3, 7),
  zeroRecord(2 ** 33 + 5, 2 ** 34),
  controlRecord({ kind: 'example', name: 'Zürich' }),
  dataRecord(1000, 1, 2),
];

function dump(bytes: Uint8Array): string {
  const lines: { text: string; times: number }[] = [];
  for (let at = 0; at < bytes.length; at += 32) {
    const text = Buffer.from(bytes.subarray(at, at + 32)).toString('hex');
    const previous = lines.at(-1);
    if (previous?.text === text) previous.times++;
    else lines.push({ text, times: 1 });
  }
  return `${lines.map(({ text, times }) => (times === 1 ? text : `${text} * ${times}`)).join('\n')}\n`;
}

function restore(text: string): Uint8Array {
  const parts = text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [hex, times = '1'] = line.split(' * ');
      return Buffer.concat(new Array<Buffer>(Number(times)).fill(Buffer.from(hex!, 'hex')));
    });
  return Buffer.concat(parts);
}

/** A log and a relocated segment, made with a known salt. */
async function build(): Promise<Record<'log' | 'relocated', Uint8Array>> {
  const disk = new SimulatedDisk({ random: seededRandom(1) });
  const random = seededRandom(2024);
  const log = await openSegmentLog({ disk: disk.mount(), clock: systemClock, random, limits: smallLogLimits });
  for (const record of RECORDS) log.append(record);
  await log.durable();
  await relocateAll(log, [{ record: RECORDS[0]!, sequence: 1 as Sequence }]);
  await log.close();
  return { log: disk.contents('segment-0000000001'), relocated: disk.contents('segment-0000000002') };
}

describe('segment format', () => {
  it.each(['log', 'relocated'] as const)('writes a %s segment as its format page says', async (kind) => {
    const bytes = (await build())[kind];
    if (process.env.GOLDEN_WRITE === '1') writeFileSync(fileFor(SEGMENT_VERSION, kind), dump(bytes));
    expect(dump(bytes)).toBe(readFileSync(fileFor(SEGMENT_VERSION, kind), 'utf8'));
  });

  const versions = Array.from(
    { length: SEGMENT_VERSION - SEGMENT_VERSION_OLDEST + 1 },
    (_, i) => SEGMENT_VERSION_OLDEST + i,
  );
  it.each(versions)('[C9.4] reads version %i', async (version) => {
    const disk = new SimulatedDisk({ random: seededRandom(1) });
    const file = disk.mount().open('segment-0000000001', 'create');
    file.writeSync([restore(readFileSync(fileFor(version, 'log'), 'utf8'))], 0);
    const log = await openSegmentLog({ disk: disk.mount(), clock: systemClock, limits: smallLogLimits });
    const found = await scanAll(log);
    expect(found.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    for (const [i, scanned] of found.entries()) {
      const { type, ...rest } = await asAppended(log, scanned);
      expect({ type, ...rest }).toEqual({ ...RECORDS[i] });
    }
    expect(log.damages()).toEqual([]);
    await log.close();
  });

  it('[C9.4] refuses a version that this build does not read, and changes nothing', async () => {
    const disk = new SimulatedDisk({ random: seededRandom(1) });
    const bytes = restore(readFileSync(fileFor(SEGMENT_VERSION, 'log'), 'utf8'));
    const { encodeSegmentHeader } = await import('./segment-header.ts');
    const header = encodeSegmentHeader({ number: 1, kind: 'log', salt: 1n }, SEGMENT_VERSION + 1);
    disk
      .mount()
      .open('segment-0000000001', 'create')
      .writeSync([header, bytes.subarray(4096)], 0);
    const names = disk.fileNames();
    const opening = openSegmentLog({ disk: disk.mount(), clock: systemClock, limits: smallLogLimits });
    await expect(opening).rejects.toMatchObject({ code: 'io_error', message: expect.stringContaining('version 2') });
    expect(disk.fileNames()).toEqual(names);
  });
});
