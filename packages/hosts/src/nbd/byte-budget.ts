import { assert } from '@antipode/base';

/** Somebody who waits for memory. */
export interface BudgetWaiter {
  /** Memory was given back: try again. */
  budgetFreed(): void;
}

/** Payload memory that all connections of a server share: who finds none left stops reading and is woken in order. */
export class ByteBudget {
  readonly #bytes_max: number;
  #used_bytes = 0;
  readonly #waiting = new Set<BudgetWaiter>();

  constructor(bytes_max: number) {
    this.#bytes_max = bytes_max;
  }

  /** Takes `bytes`, or puts `waiter` in the queue and takes nothing. Nobody passes one who waits. */
  take(bytes: number, waiter: BudgetWaiter): boolean {
    const first = this.#first();
    if ((first !== undefined && first !== waiter) || this.#used_bytes + bytes > this.#bytes_max) {
      this.#waiting.add(waiter);
      return false;
    }
    this.#waiting.delete(waiter);
    this.#used_bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#used_bytes -= bytes;
    assert(this.#used_bytes >= 0, 'no more is given back than was taken');
    if (bytes > 0) this.#wake();
  }

  /** The waiter waits for something else now, or for nothing. */
  forget(waiter: BudgetWaiter): void {
    const wasFirst = this.#first() === waiter;
    this.#waiting.delete(waiter);
    if (wasFirst) this.#wake();
  }

  #first(): BudgetWaiter | undefined {
    return this.#waiting.values().next().value;
  }

  /** Each one woken either takes what it needs, leaves the queue, or stays first and ends the round. */
  #wake(): void {
    for (let first = this.#first(); first !== undefined; first = this.#first()) {
      first.budgetFreed();
      if (this.#first() === first) return;
    }
  }

  get used_bytes(): number {
    return this.#used_bytes;
  }

  get contended(): boolean {
    return this.#waiting.size > 0;
  }
}
