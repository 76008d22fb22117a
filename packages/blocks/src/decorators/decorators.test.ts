import { describe, expect, it } from 'vitest';
import { ManualClock } from '../embedded/simulated/manual-clock.ts';
import { seededRandom } from '../embedded/simulated/seeded-random.ts';
import type { BlockDevice } from '../port/device.ts';
import { BlockError } from '../port/errors.ts';
import { compose } from './decorator.ts';
import { delay } from './delay.ts';
import { fault, scriptedFaults, seededFaults } from './fault.ts';
import { quantile_us } from './latency-histogram.ts';
import { readOnly } from './read-only.ts';
import { StatisticsCollector } from './statistics.ts';

/** Bytes in memory; reads and writes answer at once, flush with a promise. */
function memoryDevice(size = 64 * 1024): BlockDevice & { readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(size);
  const zero = (offset: number, length: number): void => void bytes.fill(0, offset, offset + length);
  return {
    bytes,
    size: () => size,
    access: () => 'read_write',
    read: (offset, target) => target.set(bytes.subarray(offset, offset + target.length)),
    write: (offset, data) => bytes.set(data, offset),
    writeZeroes: zero,
    trim: zero,
    flush: async () => {},
    status: async (_offset, length) => [{ length, kind: 'data' }],
    close: () => {},
  };
}

const block = (fill: number) => new Uint8Array(4096).fill(fill);

describe('read-only', () => {
  it('refuses every change and lets reads through', async () => {
    const inner = memoryDevice();
    const device = readOnly(inner);
    expect(device.access()).toBe('read_only');
    expect(() => device.write(0, block(1), false)).toThrow(expect.objectContaining({ code: 'read_only' }));
    expect(() => device.writeZeroes(0, 4096, false)).toThrow(expect.objectContaining({ code: 'read_only' }));
    expect(() => device.trim(0, 4096, true)).toThrow(expect.objectContaining({ code: 'read_only' }));
    expect(inner.bytes.every((byte) => byte === 0)).toBe(true);
    await device.read(0, block(0));
    await device.flush();
  });
});

describe('fault', () => {
  it('fails before the device or after it, as scripted', async () => {
    const inner = memoryDevice();
    const device = fault(
      scriptedFaults([
        { from: 0, times: 1, fault: { when: 'before', code: 'io_error' }, matches: (r) => r.operation === 'write' },
        { from: 1, times: 1, fault: { when: 'after', code: 'no_space' }, matches: (r) => r.operation === 'write' },
        { from: 0, times: 1, fault: { when: 'after', code: 'io_error' }, matches: (r) => r.operation === 'flush' },
      ]),
    )(inner);
    expect(() => device.write(0, block(1), false)).toThrow(expect.objectContaining({ code: 'io_error' }));
    expect(inner.bytes[0]).toBe(0);
    expect(() => device.write(0, block(2), false)).toThrow(expect.objectContaining({ code: 'no_space' }));
    expect(inner.bytes[0]).toBe(2);
    await device.write(0, block(3), false);
    expect(inner.bytes[0]).toBe(3);
    await expect(device.flush()).rejects.toThrow(BlockError);
    await device.flush();
  });

  it('fails the same requests for the same seed', () => {
    const run = (seed: number) => {
      const plan = seededFaults({ random: seededRandom(seed), read: 0.5, write: 0.2, flush: 0 });
      const requests = Array.from({ length: 50 }, (_, i) => (i % 2 ? 'read' : 'write') as 'read' | 'write');
      return requests.map((operation) => plan({ operation, offset: 0, length: 1 })?.when ?? 'none').join();
    };
    expect(run(7)).toBe(run(7));
    expect(run(7)).not.toBe(run(8));
    expect(
      seededFaults({ random: seededRandom(1), read: 1, write: 1, flush: 0 })({
        operation: 'flush',
        offset: 0,
        length: 0,
      }),
    ).toBeUndefined();
  });
});

describe('delay', () => {
  it('holds a request back for exactly the time given', async () => {
    const clock = new ManualClock();
    const inner = memoryDevice();
    const device = delay({ clock, delay_ms: ({ operation }) => (operation === 'write' ? 20 : 0) })(inner);
    const writing = device.write(0, block(9), false);
    clock.advance(19);
    await Promise.resolve();
    expect(inner.bytes[0]).toBe(0);
    clock.advance(1);
    await writing;
    expect(inner.bytes[0]).toBe(9);
    expect(device.read(0, block(0))).toBeUndefined();
  });
});

describe('statistics', () => {
  it('counts operations, errors, bytes and latency, and what is in flight', async () => {
    const clock = new ManualClock();
    const collector = new StatisticsCollector(clock);
    const failing = scriptedFaults([
      { from: 2, times: 1, fault: { when: 'before', code: 'io_error' }, matches: (r) => r.operation === 'write' },
    ]);
    const device = compose(
      memoryDevice(),
      collector.decorator,
      delay({ clock, delay_ms: ({ operation }) => (operation === 'flush' ? 8 : 0) }),
      fault(failing),
    );
    await device.write(0, block(1), false);
    await device.write(4096, block(1), false);
    expect(() => device.write(0, block(1), false)).toThrow(BlockError);
    const flushing = device.flush();
    expect(collector.snapshot().inFlight).toBe(1);
    clock.advance(8);
    await flushing;
    const { inFlight, byOperation } = collector.snapshot();
    expect(inFlight).toBe(0);
    expect(byOperation.write).toMatchObject({ operations: 3, errors: 1, bytes: 8192 });
    expect(byOperation.flush.latency).toMatchObject({ count: 1, mean_us: 8000, max_us: 8000 });
    expect(quantile_us(byOperation.flush.latency, 0.99)).toBe(8000);
    expect(byOperation.read.operations).toBe(0);
  });
});

describe('compose', () => {
  it('puts the first decorator outermost', () => {
    const seen: string[] = [];
    const named = (name: string) =>
      fault(() => {
        seen.push(name);
        return undefined;
      });
    void compose(memoryDevice(), named('outer'), named('inner')).read(0, block(0));
    expect(seen).toEqual(['outer', 'inner']);
  });
});
