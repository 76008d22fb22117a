import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ServiceFixture, serviceFixture } from './testing/service-fixture.ts';

const MiB = 1_048_576;
const chunk = 64 * 1024;
let site: ServiceFixture;
let volume: string;
beforeEach(async () => {
  site = await serviceFixture();
  volume = await site.made('volume.create', '', { name: 'a', size: 8 * MiB });
});
afterEach(() => site.close());

const snap = (name: string, of = volume) => site.made('volume.snapshot', of, { name });
const ask = (id: string, body: object) => site.ask('volume.compute_differences', id, body);
const refusal = (id: string, body: object) => site.refusal('volume.compute_differences', id, body);
/** Chunks whose bits are set. */
const set = (answer: Record<string, unknown>): number[] =>
  [...Buffer.from(String(answer.chunk_bitmap), 'base64')].flatMap((byte, at) =>
    [...Array(8).keys()].filter((bit) => (byte & (1 << bit)) !== 0).map((bit) => at * 8 + bit),
  );

describe('differences of snapshots', () => {
  it('are a bit for each chunk that is not shared, with where to go on', async () => {
    await site.write(volume, 0, 1);
    const first = await snap('first');
    await site.write(volume, 16, 2);
    await site.write(volume, 1280, 3);
    const second = await snap('second');
    const range = { offset: 0, length: MiB, chunk_size: chunk };
    const some = await ask(second, { base_snapshot_id: first, ...range });
    expect([set(some), some.next_offset]).toEqual([[1], 5 * MiB]);
    const rest = await ask(second, { base_snapshot_id: first, ...range, offset: 5 * MiB });
    expect([set(rest), rest.next_offset]).toEqual([[0], -1]);
    const whole = await ask(second, { base_snapshot_id: null, ...range, length: 8 * MiB });
    expect([set(whole), whole.next_offset]).toEqual([[0, 1, 80], -1]);
    const none = await ask(second, { base_snapshot_id: second, offset: 0, length: 8 * MiB, chunk_size: 8 * MiB });
    expect(none).toEqual({ chunk_bitmap: 'AA==', next_offset: -1 });
    const fine = await ask(second, { base_snapshot_id: first, offset: 65_536, length: 8192, chunk_size: 512 });
    expect(set(fine)).toEqual([...Array(8).keys()]);
  });

  it('read together give what turns one snapshot into the other, whatever the chunk', async () => {
    const first = await snap('first');
    const blocks = [3, 250, 255, 256, 700, 2047];
    for (const block of blocks) await site.write(volume, block, 7);
    const second = await snap('second');
    for (const size of [4096, 16_384, 1_048_576]) {
      const found = new Set<number>();
      let offset = 0;
      for (let calls = 0; offset !== -1; calls++) {
        expect(calls).toBeLessThan(300);
        const length = Math.min(8 * size, 8 * MiB - offset);
        const answer = await ask(second, { base_snapshot_id: first, offset, length, chunk_size: size });
        for (const bit of set(answer)) found.add(offset / size + bit);
        offset = Number(answer.next_offset);
      }
      expect([...found].sort((a, b) => a - b)).toEqual([
        ...new Set(blocks.map((block) => Math.floor((block * 4096) / size))),
      ]);
    }
  });

  it.each([
    ['a chunk that is no power of two', { chunk_size: 12_288 }, 'power of two'],
    ['an offset between chunks', { offset: 4096 }, 'multiple of chunk_size'],
    ['a length between chunks', { length: MiB + 4096 }, 'multiple of chunk_size'],
    ['a range that ends beyond the snapshot', { offset: 8 * MiB }, 'beyond the snapshot'],
    ['seven chunks', { length: 7 * chunk }, 'multiple of eight'],
    ['too many chunks', { length: 8 * MiB, chunk_size: 128 }, 'chunks'],
  ])('are refused for %s', async (_, body, message) => {
    const id = await snap('s');
    expect(await refusal(id, { offset: 0, length: MiB, chunk_size: chunk, ...body })).toContain(message);
  });

  it('are refused for volumes, and between snapshots of different ones', async () => {
    const other = await site.made('volume.create', '', { name: 'b', size: 8 * MiB });
    const range = { offset: 0, length: MiB, chunk_size: chunk };
    expect(await refusal(volume, range)).toContain('between snapshots');
    expect(await refusal(await snap('x'), { ...range, base_snapshot_id: await snap('y', other) })).toContain(
      'same volume',
    );
    expect(await refusal('none', range)).toContain('none');
  });
});
