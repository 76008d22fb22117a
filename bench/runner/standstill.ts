import { setTimeout as pause } from 'node:timers/promises';

/** Processes that are measured together, and can be made to stand still while others are measured. */
export interface Party {
  /** Processor time of all of them since their start, milliseconds. */
  readonly cpu_ms: number;
  freeze(): void;
  thaw(): void;
}

/** One that woke up is given this long to do what it would have done while it was idle. */
const awaken = { most_ms: 1_000, look_ms: 50, idle_ms: 10 } as const;

/**
 * Runs one measurement while every other party stands still. The chosen one is first left alone until it is idle, or for a second:
 * timers that came due while it stood still are not the load's cost; background work that goes on longer is.
 */
export async function alone<T>(
  parties: readonly Party[],
  chosen: Party | undefined,
  measure: () => Promise<T>,
): Promise<T> {
  for (const party of parties) if (party !== chosen) party.freeze();
  chosen?.thaw();
  try {
    if (chosen !== undefined) await untilIdle(chosen, awaken.most_ms);
    return await measure();
  } finally {
    for (const party of parties) party.thaw();
  }
}

/** Resolves when a party uses next to no processor time, or after `most_ms`. */
export async function untilIdle(party: Party, most_ms: number): Promise<void> {
  const until_ms = performance.now() + most_ms;
  for (let before_ms = party.cpu_ms; performance.now() < until_ms; ) {
    await pause(awaken.look_ms);
    const now_ms = party.cpu_ms;
    if (now_ms - before_ms <= awaken.idle_ms) return;
    before_ms = now_ms;
  }
}
