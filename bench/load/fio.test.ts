import { describe, expect, it } from 'vitest';
import { fioArguments, parseFio } from './fio.ts';

const side = (total_ios: number, p99: number) => ({
  ...{ total_ios, io_bytes: total_ios * 4096, runtime: total_ios === 0 ? 0 : 500 },
  clat_ns: { max: 10 * p99, percentile: { '50.000000': 1000, '99.000000': p99, '99.900000': 2 * p99 } },
});

describe('fio', () => {
  it('its JSON is read past what its engine says, both kinds of requests together, the slower one’s latency', () => {
    const text = `fio: connected to NBD server\n${JSON.stringify({ jobs: [{ read: side(70, 2e6), write: side(30, 5e6) }] })}`;
    expect(parseFio(text)).toEqual({
      ...{ ops: 100, bytes: 409600, seconds: 0.5, p50_ms: 0.001, p99_ms: 5 },
      reads: { p999_ms: 4, most_ms: 20 },
      writes: { p999_ms: 10, most_ms: 50 },
    });
  });

  it('what is not its JSON is refused by name', () => {
    expect(() => parseFio('fio: it broke')).toThrow('no JSON');
    expect(() => parseFio('{"jobs":[{"read":{}}]}')).toThrow("'write'");
    expect(() => parseFio(JSON.stringify({ jobs: [{ read: side(0, 0), write: side(0, 0) }] }))).toThrow('nothing');
  });

  it('a commit is a write with a flush after it', () => {
    const work = { pattern: 'randwrite', block_bytes: 4096, depth: 1, flushEach: true } as const;
    const args = fioArguments('nbd://127.0.0.1:1/v', 1 << 20, work, { seconds: 0.5 });
    expect(args).toContain('--fsync=1');
    expect(args).toContain('--runtime=500ms');
    expect(fioArguments('nbd://127.0.0.1:1/v', 1 << 20, work, { bytes: 4096 })).toContain('--io_size=4096');
  });
});
