import { pageBlocks } from './page.ts';

/** Blocks of a page of which is not known yet what an image has there. */
export class OpenBlocks {
  readonly #open = new Uint8Array(pageBlocks).fill(1);
  left = pageBlocks;

  has(index: number): boolean {
    return this.#open[index] === 1;
  }

  close(index: number): void {
    this.left -= this.#open[index]!;
    this.#open[index] = 0;
  }

  /** Closes all from a block on; below 0: every one. */
  closeFrom(first: number): void {
    for (let index = Math.max(0, first); index < pageBlocks; index++) this.close(index);
  }
}
