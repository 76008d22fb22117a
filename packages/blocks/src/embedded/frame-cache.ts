/**
 * Contents of the frames that were unpacked last, for reads that take one block after the other. A place never holds anything else
 * as long as it is referred to, and a segment's number is never used again, so nothing in here can be out of date.
 */
export class FrameCache {
  readonly #most: number;
  readonly #bySegment = new Map<number, Map<number, Uint8Array>>();
  #order: { readonly segment: number; readonly offset: number }[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  get(segment: number, offset: number): Uint8Array | undefined {
    return this.#bySegment.get(segment)?.get(offset);
  }

  put(segment: number, offset: number, content: Uint8Array): void {
    const frames = this.#bySegment.get(segment) ?? new Map<number, Uint8Array>();
    if (!frames.has(offset)) this.#order.push({ segment, offset });
    frames.set(offset, content);
    this.#bySegment.set(segment, frames);
    while (this.#order.length > this.#most) this.#drop(this.#order.shift()!);
  }

  #drop({ segment, offset }: { readonly segment: number; readonly offset: number }): void {
    const frames = this.#bySegment.get(segment);
    frames?.delete(offset);
    if (frames?.size === 0) this.#bySegment.delete(segment);
  }
}
