/** A check that did not hold: what should have been, and what was. */
export class CheckFailed extends Error {
  override name = 'CheckFailed';
  readonly expected: string;
  readonly seen: string;

  constructor(expected: string, seen: string) {
    super(`expected ${expected}; seen ${seen}`);
    this.expected = expected;
    this.seen = seen;
  }
}

/** Counts the checks of a drill. */
export class Checks {
  #held = 0;

  get held(): number {
    return this.#held;
  }

  /** `expected` completes "expected ...", `seen` is asked for only when the check fails. */
  that(expected: string, holds: boolean, seen: () => string): void {
    if (!holds) throw new CheckFailed(expected, seen());
    this.#held += 1;
  }

  equal<T extends string | number | boolean | null | undefined>(what: string, seen: T, wanted: T): void {
    this.that(`${what} to be ${wanted}`, seen === wanted, () => String(seen));
  }
}
