import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@antipode/base';
import { xxh64 } from '@node-rs/xxhash';
import { expect, it } from 'vitest';
import { openNodeDisk } from '../node-disk.ts';
import { openSegmentLog } from './segment-log.ts';
import type { LayerId, Sequence } from './types.ts';

it('keeps records over a restart', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'log-'));
  try {
    const options = {
      disk: openNodeDisk(directory),
      clock: systemClock,
      limits: { segment_bytes: 2 * 1024 * 1024, reserve_bytes: 65536 },
    };
    let log = await openSegmentLog(options);
    const payload = new Uint8Array(4096).fill(7);
    const checksums = new Uint8Array(8);
    new DataView(checksums.buffer).setBigUint64(0, xxh64(payload), true);
    for (let i = 0; i < 2000; i++)
      log.append({ type: 'data', layer: 1 as LayerId, block: i, count: 1, payload, checksums });
    log.append({ type: 'control', body: new TextEncoder().encode('{"a":1}') });
    await log.written();
    await log.durable();
    expect(log.durableSequence()).toBe(2001);
    await log.close();
    log = await openSegmentLog(options);
    let n = 0;
    for await (const r of log.scan(0 as Sequence)) {
      expect(r.sequence).toBe(++n);
      if (r.type === 'data') {
        const target = new Uint8Array(4096);
        await log.read(r.place, target);
        expect(target[5]).toBe(7);
      }
    }
    expect(n).toBe(2001);
    expect(log.damages()).toEqual([]);
    await log.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
});
