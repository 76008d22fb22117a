import { Scheduler } from './scheduler.ts';

/** What a simulated program must not ask the machine for: it is no part of the seed. */
const forbidden = (what: string) => (): never => {
  throw new Error(`${what} was asked of the machine in a simulated world`);
};

/**
 * Runs `work` in a process whose end-of-turn is the scheduler's, and in which the machine's clock, timers and chance are out of
 * reach: whatever asks for them fails, so two runs of a seed cannot differ by them. One world at a time.
 */
export async function onlySimulated<T>(start_ms: number, work: (scheduler: Scheduler) => Promise<T>): Promise<T> {
  const { setImmediate: endOfTurn, setTimeout, setInterval } = globalThis;
  const { now: dateNow } = Date;
  const { random } = Math;
  const scheduler = new Scheduler(start_ms, turnEnds(endOfTurn));
  const replaced = globalThis as unknown as Record<string, unknown>;
  replaced.setImmediate = (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
    scheduler.turn(() => callback(...args));
  replaced.setTimeout = forbidden('a timer');
  replaced.setInterval = forbidden('a timer');
  Date.now = forbidden('the clock');
  Math.random = forbidden('chance');
  try {
    return await work(scheduler);
  } finally {
    Object.assign(replaced, { setImmediate: endOfTurn, setTimeout, setInterval });
    Date.now = dateNow;
    Math.random = random;
  }
}

/** Turns asked of the machine at once: one of its own rounds has them all, and costs as much as a turn. */
const turnsAtOnce = 128;

/** Resolves once all promises have come to rest: the machine lets them between any two callbacks of a round. */
function turnEnds(endOfTurn: (callback: () => void) => unknown): () => Promise<void> {
  let ready = 0;
  let resting: (() => void) | undefined;
  const turn = () => {
    ready -= 1;
    const rested = resting;
    resting = undefined;
    rested?.();
  };
  return () =>
    new Promise((resolve) => {
      resting = resolve;
      if (ready > 0) return;
      ready = turnsAtOnce;
      for (let index = 0; index < turnsAtOnce; index++) endOfTurn(turn);
    });
}
