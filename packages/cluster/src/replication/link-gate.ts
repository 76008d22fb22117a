/** A claim for a place on a link; dropped when it is no longer wanted, held or not. */
export interface Slot {
  readonly held: boolean;
  drop(): void;
}

export interface SlotClaim {
  readonly session: string;
  /** A first copy, which may take very long: it cannot have all places. */
  readonly first: boolean;
  readonly since_ms: number;
}

interface Waiting extends SlotClaim {
  held: boolean;
  readonly granted: () => void;
}

/**
 * How many cycles may run on one link at once. Those beyond it wait in the order in which they came; a session stands in line once
 * and behind all others after each of its cycles, so none is passed over for ever. First copies have at most half of the places,
 * so that they never hold up all the others until they are done.
 */
export class LinkGate {
  readonly most: number;
  readonly #firstMost: number;
  readonly #running = new Set<Waiting>();
  readonly #waiting = new Set<Waiting>();

  constructor(most: number) {
    this.most = most;
    this.#firstMost = Math.max(1, Math.floor(most / 2));
  }

  /** `granted` is called when a place becomes free later; not when there is one at once. */
  claim(claim: SlotClaim, granted: () => void): Slot {
    const entry: Waiting = { ...claim, held: false, granted };
    this.#waiting.add(entry);
    this.#admit(entry);
    return {
      get held() {
        return entry.held;
      },
      drop: () => {
        this.#waiting.delete(entry);
        if (this.#running.delete(entry)) this.#admit();
      },
    };
  }

  running(): readonly SlotClaim[] {
    return [...this.#running];
  }

  waiting(): readonly SlotClaim[] {
    return [...this.#waiting];
  }

  /** Since when a session stands in line, if it does. */
  waitingSince(session: string): number | undefined {
    for (const entry of this.#waiting) if (entry.session === session) return entry.since_ms;
    return undefined;
  }

  #admit(asking?: Waiting): void {
    for (const entry of this.#waiting) {
      if (this.#running.size >= this.most) return;
      if (entry.first && this.#firstCopies() >= this.#firstMost) continue;
      this.#waiting.delete(entry);
      this.#running.add(entry);
      entry.held = true;
      if (entry !== asking) entry.granted();
    }
  }

  #firstCopies(): number {
    let count = 0;
    for (const { first } of this.#running) if (first) count += 1;
    return count;
  }
}
