/** What must hold at every moment; the letters are those of docs/reliability.md. */
export type Invariant =
  | 'a-one-moment'
  | 'b-flushed-survives'
  | 'c-planned-failover-loses-nothing'
  | 'd-one-writer'
  | 'e-converges'
  | 'f-nothing-twice'
  | 'g-old-messages'
  | 'h-space'
  | 'refused-changes-nothing'
  | 'no-failure-unheard';

/** A moment in which an invariant did not hold. */
export interface Violation {
  readonly invariant: Invariant;
  readonly at_ms: number;
  readonly message: string;
}

export class Violated extends Error {
  readonly violation: Violation;
  constructor(violation: Violation) {
    super(`${violation.invariant}: ${violation.message}`);
    this.violation = violation;
  }
}

/** What one run did. Everything in it follows from the seed. */
export interface Report {
  readonly seed: number;
  readonly hours: number;
  readonly trace: string;
  readonly violation?: Violation;
  readonly counts: Readonly<Record<string, number>>;
}

/** Keeps a digest of everything that happens, and the newest of it in words. */
export class Trace {
  #low = 0x811c9dc5;
  #high = 0x1234567;
  readonly recent: string[] = [];
  readonly #keep: number;
  readonly counts: Record<string, number> = {};

  constructor(keep: number) {
    this.#keep = keep;
  }

  tell(at_ms: number, text: string): void {
    const line = `${stamp(at_ms)} ${text}`;
    for (let index = 0; index < line.length; index++) {
      this.#low = Math.imul(this.#low ^ line.charCodeAt(index), 0x01000193) >>> 0;
      this.#high = Math.imul(this.#high ^ this.#low, 0x85ebca6b) >>> 0;
    }
    if (this.#keep === 0) return;
    this.recent.push(line);
    if (this.recent.length > this.#keep * 2) this.recent.splice(0, this.#keep);
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  get digest(): string {
    return this.#low.toString(16).padStart(8, '0') + this.#high.toString(16).padStart(8, '0');
  }
}

/** Hours, minutes, seconds and thousandths since the world began. */
const stamp = (ms: number): string => {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}.${String(Math.floor(ms % 1000)).padStart(3, '0')}`;
};
