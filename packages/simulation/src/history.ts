/** An operation of a host in the tree of all that was ever ordered on a session's volumes; 0 is the empty beginning. */
export type OpId = number;

/** What each block of a set of volumes shows: the write that it holds, or 0 for zeros. */
export type Image = Uint32Array;

/** Stands in an image for a block that cannot be read: it says nothing of which moment that is. */
export const unreadable = 0xfffffffe;

interface Op {
  readonly parent: OpId;
  readonly depth: number;
  readonly at: number;
  readonly count: number;
  readonly zero: boolean;
  /** It was refused or failed: its blocks may show it or not. */
  uncertain: boolean;
}

const stateEvery = 64;

/**
 * Everything that hosts have ordered on the volumes of one session, on both sides, as a tree: a failover or a failed write's
 * loss is a fork. Since every write leaves a mark of its own, an image says by itself which moment of which branch it shows, or
 * that it shows none.
 */
export class History {
  readonly blocks: number;
  readonly #ops: Op[] = [{ parent: 0, depth: 0, at: 0, count: 0, zero: true, uncertain: false }];
  readonly #states = new Map<OpId, Image>();

  constructor(blocks: number) {
    this.blocks = blocks;
    this.#states.set(0, new Uint32Array(blocks));
  }

  get size(): number {
    return this.#ops.length - 1;
  }

  add(parent: OpId, at: number, count: number, zero: boolean): OpId {
    const depth = this.#op(parent).depth + 1;
    const id = this.#ops.push({ parent, depth, at, count, zero, uncertain: false }) - 1;
    if (depth % stateEvery === 0) this.#states.set(id, this.state(id));
    return id;
  }

  doubt(id: OpId): void {
    this.#op(id).uncertain = true;
  }

  depth(id: OpId): number {
    return this.#op(id).depth;
  }

  /** Whether `older` is `id` itself or one of those before it. */
  includes(id: OpId, older: OpId): boolean {
    let at = id;
    const depth = this.depth(older);
    while (this.depth(at) > depth) at = this.#op(at).parent;
    return at === older;
  }

  /**
   * Whether a copy that showed `before` and shows `moment` now went back. Once a cycle of its generation has landed, it shows what follows on
   * what it showed. The first one may be of another branch: the new source went on from an older point (a test's copy, a snapshot) than the
   * newest that both had.
   */
  isBack(before: { readonly moment: OpId; readonly landed: boolean }, moment: OpId): boolean {
    if (this.includes(moment, before.moment)) return false;
    return before.landed || this.includes(before.moment, moment);
  }

  /** The image after an operation and all before it, as if nothing were in doubt. */
  state(id: OpId): Image {
    const chain: OpId[] = [];
    let at = id;
    while (!this.#states.has(at)) {
      chain.push(at);
      at = this.#op(at).parent;
    }
    const image = this.#states.get(at)!.slice();
    for (const next of chain.reverse()) this.#apply(image, next);
    return image;
  }

  /**
   * The newest operation after which the volumes looked like this; `tips` are the ends of all branches. Undefined: there was never
   * such a moment.
   */
  momentOf(image: Image, tips: Iterable<OpId>): OpId | undefined {
    let newest = 0;
    for (const mark of image) {
      if (mark === unreadable) continue;
      if (mark >= this.#ops.length) return undefined;
      if (this.depth(mark) > this.depth(newest)) newest = mark;
    }
    let found = this.#shows(image, newest) ? newest : undefined;
    for (const tip of new Set(tips)) {
      if (this.depth(tip) <= this.depth(newest) || !this.includes(tip, newest)) continue;
      const last = this.#lastShown(image, newest, tip);
      if (last !== undefined && (found === undefined || this.depth(last) > this.depth(found))) found = last;
    }
    return found;
  }

  /** What of the way to a moment an image with unreadable blocks does not show may have been lost with them. */
  doubtUnseen(image: Image, moment: OpId): void {
    const seen = new Set(image);
    for (let at = moment; at !== 0 && !seen.has(at); at = this.#op(at).parent) this.doubt(at);
  }

  /** Of what follows `from` on the way to `tip`, the last that the image shows: what zeros have covered leaves no mark. */
  #lastShown(image: Image, from: OpId, tip: OpId): OpId | undefined {
    const later: OpId[] = [];
    for (let at = tip; at !== from; at = this.#op(at).parent) later.push(at);
    const state = this.state(from);
    let differing = 0;
    const differs = (block: number, mark: OpId) => image[block] !== mark && image[block] !== unreadable;
    for (let block = 0; block < image.length; block++) if (differs(block, state[block]!)) differing += 1;
    let found: OpId | undefined;
    let doubtful = this.#doubtful(from).size > 0;
    for (let next = later.pop(); next !== undefined; next = later.pop()) {
      const { at, count, zero, uncertain } = this.#op(next);
      for (let block = at; block < at + count; block++) {
        const mark = zero ? 0 : next;
        differing += Number(differs(block, mark)) - Number(differs(block, state[block]!));
        state[block] = mark;
      }
      doubtful ||= uncertain;
      if (differing === 0 || (doubtful && this.#shows(image, next))) found = next;
    }
    return found;
  }

  /** Says how an image differs from the moment that it comes closest to. */
  explain(image: Image): string {
    let newest = 0;
    for (const mark of image) if (mark < this.#ops.length && this.depth(mark) > this.depth(newest)) newest = mark;
    const wanted = this.state(newest);
    const differing = [...image.keys()].filter(
      (block) => image[block] !== wanted[block] && image[block] !== unreadable,
    );
    const first = differing
      .slice(0, 4)
      .map((block) => `block ${block}: ${image[block]} for ${wanted[block]}`)
      .join(', ');
    return `${differing.length} blocks differ from the moment after write ${newest}: ${first}`;
  }

  #shows(image: Image, id: OpId): boolean {
    const wanted = this.state(id);
    let doubtful: Set<OpId> | undefined;
    for (let block = 0; block < image.length; block++) {
      if (image[block] === wanted[block] || image[block] === unreadable) continue;
      doubtful ??= this.#doubtful(id);
      if (!this.#mayShow(id, block, image[block]!, doubtful)) return false;
    }
    return true;
  }

  /** Operations in doubt on the way back from one, as far as they are kept. */
  #doubtful(id: OpId): Set<OpId> {
    const found = new Set<OpId>();
    for (let at = id; at !== 0; at = this.#op(at).parent) if (this.#op(at).uncertain) found.add(at);
    return found;
  }

  #mayShow(id: OpId, block: number, mark: OpId, doubtful: ReadonlySet<OpId>): boolean {
    if (doubtful.size === 0) return false;
    for (let at = id; ; at = this.#op(at).parent) {
      const { at: from, count, zero, uncertain } = this.#op(at);
      const covers = block >= from && block < from + count;
      if (at === 0 || covers) {
        if (mark === (zero ? 0 : at)) return true;
        if (at === 0 || !uncertain) return false;
      }
    }
  }

  #apply(image: Image, id: OpId): void {
    const { at, count, zero } = this.#op(id);
    image.fill(zero ? 0 : id, at, at + count);
  }

  #op(id: OpId): Op {
    return this.#ops[id]!;
  }
}
