import type { LayerId } from '../log/types.ts';
import { OpenBlocks } from './open-blocks.ts';
import { Page, pageBlocks } from './page.ts';

/** One layer of a frozen stack, from the top: what it has of a page, and the first block that is beyond its own size. */
export interface Storey {
  readonly id: LayerId;
  readonly own: number;
  /** In memory, or as a checkpoint has it: of a long history most are, and to unpack each for one look would take most of the time. */
  page(number: number): Page | Uint8Array | undefined;
}

/**
 * What a page of a frozen stack of layers comes to, block by block, so that a read does not look into every layer of a long history.
 * Made when first asked for, from that of an older stack where there is one, and bounded: the one made first goes first.
 *
 * A frozen image never changes, but where its blocks lie and which layer says so does (folding, compaction, repair of a staged
 * image). Invariant: whoever changes or removes a page of a layer calls {@link touched} or {@link folded} in the same turn.
 */
export class ResolvedPages {
  readonly #most: number;
  readonly #byNumber = new Map<number, Map<LayerId, Page>>();
  /** Layers below and including the top of a stack, for as long as anything is kept of it. A layer may leave it, none comes in. */
  readonly #stacks = new Map<LayerId, { readonly layers: ReadonlySet<LayerId>; kept: number }>();
  readonly #order: { readonly top: LayerId; readonly number: number }[] = [];
  #kept = 0;
  /** Something was asked for since the last {@link rest}. */
  #asked = false;
  /** Called when something is kept again after there was nothing. */
  onKept: () => void = () => undefined;

  constructor(most: number) {
    this.#most = most;
  }

  /** The page of the stack, as if it were one layer; absent and hole both mean zeros. Undefined: no layer has anything of it. */
  get(stack: readonly Storey[], number: number): Page | undefined {
    this.#asked = true;
    const top = stack[0]!.id;
    const known = this.#byNumber.get(number);
    const ready = known?.get(top);
    if (ready !== undefined) return ready;
    const made = make(stack, number, known);
    if (made !== undefined) this.#keep(stack, number, made);
    return made;
  }

  /** A page of a layer was changed or removed: what was made of it is void. */
  touched(layer: LayerId, number: number): void {
    const known = this.#byNumber.get(number);
    if (known === undefined) return;
    for (const top of known.keys()) if (this.#stacks.get(top)?.layers.has(layer)) this.#drop(top, number);
  }

  /**
   * What a layer has of a page went into the layer above it. Of a stack with both nothing has changed, and while a history is
   * folded layer by layer hosts do not wait for it to be put together again; of one that ends between them nothing is left.
   */
  folded(from: LayerId, into: LayerId, number: number): void {
    const known = this.#byNumber.get(number);
    if (known === undefined) return;
    for (const top of known.keys()) {
      const layers = this.#stacks.get(top)?.layers;
      if (layers?.has(from) !== layers?.has(into)) this.#drop(top, number);
    }
  }

  /** To be called now and then: if nothing was asked for since the last time, all is given up. False once nothing is kept. */
  rest(): boolean {
    if (!this.#asked) {
      this.#byNumber.clear();
      this.#stacks.clear();
      this.#order.length = 0;
      this.#kept = 0;
    }
    this.#asked = false;
    return this.#kept > 0;
  }

  #keep(stack: readonly Storey[], number: number, page: Page): void {
    const top = stack[0]!.id;
    let of = this.#stacks.get(top);
    if (of === undefined) {
      of = { layers: new Set(stack.map(({ id }) => id)), kept: 0 };
      this.#stacks.set(top, of);
    }
    of.kept += 1;
    this.#kept += 1;
    if (this.#kept === 1) this.onKept();
    const pages = this.#byNumber.get(number) ?? new Map<LayerId, Page>();
    pages.set(top, page);
    this.#byNumber.set(number, pages);
    this.#order.push({ top, number });
    while (this.#kept > this.#most) {
      const oldest = this.#order.shift()!;
      this.#drop(oldest.top, oldest.number);
    }
    // What was dropped out of turn is still in the queue: it must not grow without bound.
    if (this.#order.length > 4 * this.#most) this.#order.splice(0, this.#order.length, ...this.#inOrder());
  }

  #drop(top: LayerId, number: number): void {
    const pages = this.#byNumber.get(number);
    if (pages === undefined || !pages.delete(top)) return;
    if (pages.size === 0) this.#byNumber.delete(number);
    this.#kept -= 1;
    const of = this.#stacks.get(top)!;
    of.kept -= 1;
    if (of.kept === 0) this.#stacks.delete(top);
  }

  *#inOrder() {
    for (const [number, pages] of this.#byNumber) for (const top of pages.keys()) yield { top, number };
  }
}

function make(
  stack: readonly Storey[],
  number: number,
  known: ReadonlyMap<LayerId, Page> | undefined,
): Page | undefined {
  const made = new Page();
  const open = new OpenBlocks();
  let found = false;
  for (const [depth, storey] of stack.entries()) {
    open.closeFrom(storey.own - number * pageBlocks);
    const older = depth === 0 ? undefined : known?.get(storey.id);
    const page = older ?? storey.page(number);
    if (page === undefined) continue;
    found = true;
    if (page instanceof Page) made.takeOpen(page, open);
    else made.takeOpenEncoded(page, open);
    // An older stack's page is what all the layers below come to.
    if (older !== undefined || open.left === 0) break;
  }
  made.dirty = false;
  return found ? made : undefined;
}
