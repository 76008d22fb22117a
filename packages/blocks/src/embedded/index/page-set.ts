const span = 4096;

/** A set of page numbers, sparse in two levels: a layer with a few pages in 256 TiB costs a few hundred bytes. */
export class PageSet {
  readonly #chunks = new Map<number, Uint32Array>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(page: number): boolean {
    const chunk = this.#chunks.get(Math.floor(page / span));
    if (chunk === undefined) return false;
    const bit = page % span;
    return (chunk[bit >> 5]! & (1 << (bit & 31))) !== 0;
  }

  add(page: number): void {
    const number = Math.floor(page / span);
    let chunk = this.#chunks.get(number);
    if (chunk === undefined) {
      chunk = new Uint32Array(span / 32);
      this.#chunks.set(number, chunk);
    }
    const bit = page % span;
    if ((chunk[bit >> 5]! & (1 << (bit & 31))) !== 0) return;
    chunk[bit >> 5]! |= 1 << (bit & 31);
    this.#size += 1;
  }

  delete(page: number): void {
    const chunk = this.#chunks.get(Math.floor(page / span));
    const bit = page % span;
    if (chunk === undefined || (chunk[bit >> 5]! & (1 << (bit & 31))) === 0) return;
    chunk[bit >> 5]! &= ~(1 << (bit & 31));
    this.#size -= 1;
  }

  /** Members within `[from, to)`, ascending. */
  *within(from: number, to: number): Generator<number> {
    const first = Math.floor(from / span);
    const last = Math.floor((to - 1) / span);
    const numbers = [...this.#chunks.keys()]
      .filter((number) => number >= first && number <= last)
      .sort((a, b) => a - b);
    for (const number of numbers) {
      const chunk = this.#chunks.get(number)!;
      for (let word = 0; word < chunk.length; word++) {
        let bits = chunk[word]!;
        while (bits !== 0) {
          const low = bits & -bits;
          const page = number * span + word * 32 + (31 - Math.clz32(low));
          bits ^= low;
          if (page >= from && page < to) yield page;
        }
      }
    }
  }
}

/** Pages that at least one of the sets has within `[from, to)`, ascending, each once. */
export function unionWithin(sets: readonly PageSet[], from: number, to: number): number[] {
  if (sets.length === 1) return [...sets[0]!.within(from, to)];
  const seen = new Set<number>();
  for (const set of sets) {
    // Most layers of a long history have nothing at all.
    if (set.size === 0) continue;
    for (const page of set.within(from, to)) seen.add(page);
  }
  return [...seen].sort((a, b) => a - b);
}
