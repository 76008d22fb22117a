import type { Sample } from '../runner/results.ts';
import { median, percentile } from '../runner/statistics.ts';

/** Sends requests for a time, `inFlight` at once, each as soon as one before it is answered: requests a second and latencies. */
export async function loadRequests(
  seconds: number,
  inFlight: number,
  signal: AbortSignal,
  request: () => Promise<unknown>,
): Promise<Sample> {
  const latencies_ms: number[] = [];
  const begin_ms = performance.now();
  const end_ms = begin_ms + seconds * 1000;
  const one = async (): Promise<void> => {
    do {
      signal.throwIfAborted();
      const sent_ms = performance.now();
      await request();
      latencies_ms.push(performance.now() - sent_ms);
    } while (performance.now() < end_ms);
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  const took_s = (performance.now() - begin_ms) / 1000;
  return {
    value: latencies_ms.length / took_s,
    p50_ms: median(latencies_ms),
    p99_ms: percentile(latencies_ms, 0.99),
  };
}
