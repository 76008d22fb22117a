import type { Found, SegmentCursor } from './segment-cursor.ts';

export interface MergeInput<T> {
  /** No record of it is below this. */
  readonly first: number;
  readonly tag: T;
  open(): SegmentCursor;
}

export interface MergedRecord<T> {
  readonly tag: T;
  readonly found: Found & { readonly kind: 'record' };
}

interface Run<T> {
  readonly input: MergeInput<T>;
  readonly order: number;
  cursor: SegmentCursor | undefined;
  /** Present when the cursor is open and not at its end. */
  head: (Found & { readonly kind: 'record' }) | undefined;
  sequence: number;
}

/**
 * Merges segments, each ascending by sequence, into one ascending run. A segment is opened when its turn comes. Among
 * equal sequences the order is that of the inputs.
 */
export async function* mergeSegments<T>(
  inputs: readonly MergeInput<T>[],
  onBad: (tag: T, offset: number, end: number) => void,
): AsyncGenerator<MergedRecord<T>> {
  const heap = new Heap<Run<T>>((a, b) => a.sequence - b.sequence || a.order - b.order);
  for (const [order, input] of inputs.entries()) {
    heap.push({ input, order, cursor: undefined, head: undefined, sequence: input.first });
  }
  for (let run = heap.pop(); run !== undefined; run = heap.pop()) {
    if (run.head !== undefined) yield { tag: run.input.tag, found: run.head };
    run.cursor ??= run.input.open();
    const head = await nextRecord(run.cursor, run.input.tag, onBad);
    if (head === undefined) continue;
    run.head = head;
    run.sequence = head.header.sequence;
    heap.push(run);
  }
}

async function nextRecord<T>(cursor: SegmentCursor, tag: T, onBad: (tag: T, offset: number, end: number) => void) {
  for (let found = await cursor.next(); found !== undefined; found = await cursor.next()) {
    if (found.kind === 'bad') onBad(tag, found.offset, found.end);
    else if (found.header.type !== 'start' && found.header.type !== 'footer') return found;
  }
  return undefined;
}

class Heap<T> {
  private readonly compare: (a: T, b: T) => number;
  private readonly items: T[] = [];

  constructor(compare: (a: T, b: T) => number) {
    this.compare = compare;
  }

  push(item: T): void {
    const { items } = this;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.compare(items[parent]!, item) <= 0) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const { items } = this;
    const top = items[0];
    const moved = items.pop();
    if (items.length === 0 || moved === undefined) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.compare(items[child + 1]!, items[child]!) < 0) child++;
      if (this.compare(moved, items[child]!) <= 0) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = moved;
    return top;
  }
}
