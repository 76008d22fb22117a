import { type BlockRun, type CyclePlan, compareAddress, type RestartAddress } from '@antipode/blocks';
import type { Image } from './history.ts';
import type { Invariant } from './report.ts';
import { marksIn } from './volumes.ts';

/** Cycles whose addresses are remembered. */
const cyclesMost = 16;

export interface ShippingDeps {
  readonly violate: (invariant: Invariant, message: string) => void;
  readonly count: (what: string, by?: number) => void;
}

/** What comes to a destination: nothing that is durable there, or in its copy already [f]. */
export class Shipping {
  readonly #name: string;
  readonly #deps: ShippingDeps;
  /** Durable addresses that the engine here has given out, by cycle. */
  readonly #addresses = new Map<string, RestartAddress>();

  constructor(name: string, deps: ShippingDeps) {
    this.#name = name;
    this.#deps = deps;
  }

  /** Another session's cycles are to come. */
  clear(): void {
    this.#addresses.clear();
  }

  staged({ cycle }: CyclePlan, result: () => Promise<unknown>): void {
    result().then(
      (stage) => {
        const known = this.#addresses.get(cycle);
        const { address } = stage as { address: RestartAddress };
        if (known !== undefined && compareAddress(address, known) < 0)
          this.#deps.violate('f-nothing-twice', `${this.#name} has forgotten how far cycle ${cycle} had come`);
      },
      () => undefined,
    );
  }

  /** A cycle is given up, with all that was durable of it. */
  abandoned(cycle: string): void {
    this.#addresses.delete(cycle);
  }

  synced(cycle: string, result: () => Promise<unknown>): void {
    const addresses = this.#addresses;
    result().then(
      (address) => {
        const known = addresses.get(cycle);
        const reached = address as RestartAddress;
        if (known === undefined || compareAddress(reached, known) > 0) addresses.set(cycle, reached);
        if (addresses.size > cyclesMost) addresses.delete(addresses.keys().next().value!);
      },
      () => undefined,
    );
  }

  /** Runs of a cycle; `held`: what the copy shows, if that can be told, and `first`: where the pair's blocks begin in it. */
  shipped(
    { cycle, point, pair }: { readonly cycle: string; readonly point: number; readonly pair: number },
    runs: readonly BlockRun[],
    held: Image | undefined,
    first: number,
  ): void {
    const durable = this.#addresses.get(cycle);
    for (const { block, count, payload } of runs) {
      if (payload === undefined) continue;
      this.#deps.count('blocks shipped', count);
      if (durable !== undefined && compareAddress({ point, pair, block }, durable) < 0)
        this.#deps.violate(
          'f-nothing-twice',
          `block ${block} of cycle ${cycle} was durable at ${this.#name} and came again`,
        );
      if (held === undefined) continue;
      const marks = new Uint32Array(held.length);
      marksIn(payload.slice(), first + block, marks);
      for (let place = first + block; place < first + block + count; place++) {
        if (marks[place] !== held[place]) continue;
        this.#deps.violate('f-nothing-twice', `block ${place - first} is in the copy at ${this.#name} and came again`);
      }
    }
  }
}
