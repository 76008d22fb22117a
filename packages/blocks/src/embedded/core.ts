import type { VolumeId } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import type { EngineEvent } from '../port/engine.ts';
import { BlockError } from '../port/errors.ts';
import { type Chain, Chains } from './chain.ts';
import type { CheckpointStore } from './checkpoint-store.ts';
import { Digests } from './digest.ts';
import { FrameCache } from './frame-cache.ts';
import { applyChange } from './graph/apply.ts';
import { CHANGE_BYTES_MAX, type Change, encodeChange } from './graph/changes.ts';
import { emptyGraph, type Graph } from './graph/graph.ts';
import { isDeparting, volumesOf } from './graph/unit.ts';
import { type LayerIndex, PageTable } from './index/page-table.ts';
import { LayerWriter, LiveBytes } from './layer-writer.ts';
import { type EngineLimits, engineLimits } from './limits.ts';
import type { Packer } from './log/frame.ts';
import { RECORD_BLOCKS_MAX } from './log/limits.ts';
import type { LayerId, SegmentLog, Sequence } from './log/types.ts';
import { ColdSegments } from './packing.ts';
import { type ReadWorld, readBlocks } from './read-image.ts';
import { sumOf } from './zero-block.ts';

/**
 * What the parts of the embedded engine share: the log, the graph, the index, and the moment at which something is ordered. All
 * of it belongs to one thread, and ordering is synchronous [C9.2].
 */
export class EngineCore {
  readonly log: SegmentLog;
  readonly graph: Graph = emptyGraph();
  readonly pages: PageTable;
  readonly live = new LiveBytes();
  readonly writer: LayerWriter;
  readonly chains: Chains;
  readonly digests: Digests;
  readonly store: CheckpointStore;
  readonly limits: EngineLimits;
  /** Log bytes ordered since the last checkpoint. */
  sinceCheckpoint_bytes = 0;
  /** Looks whether a checkpoint or housekeeping is due; set by the engine. */
  onWork: () => void = () => undefined;
  closed = false;
  /** How often records that were not durable were appended again elsewhere [C6.4]. */
  moves = 0;
  /** Segments whose live records have been copied elsewhere, as a durable checkpoint says: they may be given back. */
  readonly emptied = new Set<number>();
  /** Segments whose live records have been copied elsewhere, while the newest checkpoint still names them. */
  readonly copied = new Set<number>();
  /** Bytes of ranges of zeros that compaction kept, by the segment they are in now; not known again after a restart. */
  readonly keptZeros = new LiveBytes();
  /** Packs what is cold; absent: nothing is packed, though what is can be read. */
  readonly packer: Packer | undefined;
  readonly cold: ColdSegments;
  readonly frames: FrameCache;
  /** Counts what hosts, and what works on their behalf, ask for: background work asks whether it is alone. */
  operations = 0;
  /** Segments that are being rewritten: they may not be given back. */
  rewriting: ReadonlySet<number> = new Set();
  readonly #world: ReadWorld;
  #readers = 0;
  /** Segments that a rebuild may need for more than data: they hold changes of the graph, or ranges of zeros. */
  readonly #withMore = new Set<number>();
  /** Of segments below this nothing is known: they are older than this process. */
  #knownFrom = Number.POSITIVE_INFINITY;
  readonly #unheard: EngineEvent[] = [];
  readonly #listeners = new Set<(event: EngineEvent) => void>();

  constructor(log: SegmentLog, store: CheckpointStore, limits: EngineLimits = engineLimits, packer?: Packer) {
    this.log = log;
    this.store = store;
    this.limits = limits;
    this.packer = packer;
    this.cold = new ColdSegments(this);
    this.frames = new FrameCache(limits.cachedFrames);
    this.pages = new PageTable(store, limits);
    this.writer = new LayerWriter(this.pages, this.live);
    this.chains = new Chains(this.graph, this.pages);
    this.digests = new Digests(this.pages);
    this.#world = {
      pages: this.pages,
      log,
      frames: this.frames,
      damaged: (volume, block, detail) => this.emit({ kind: 'damage', ...(volume && { volume }), block, detail }),
      used: (segment, blocks, unpacked) => this.cold.used(segment, blocks, unpacked),
    };
  }

  emit(event: EngineEvent): void {
    const keep = event.kind === 'damage' && this.#unheard.length < this.limits.unheardEvents;
    if (this.#listeners.size === 0 && keep) this.#unheard.push(event);
    for (const listener of this.#listeners) listener(event);
  }

  on(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener);
    // What a start finds, it finds before anybody can listen.
    const unheard = this.#unheard.splice(0);
    if (unheard.length > 0) queueMicrotask(() => unheard.forEach(listener));
    return () => this.#listeners.delete(listener);
  }

  /**
   * Orders a change of the graph in one synchronous turn. One that takes several records happens with the last of them: nothing comes
   * between, and a log that ends before it has nothing of the change.
   */
  order(change: Change): void {
    this.#open();
    if (this.graph.departures.size > 0 && volumesOf(this.graph, change).some((id) => isDeparting(this.graph, id)))
      throw new BlockError('moved', 'the volume moves to another appliance');
    this.sinceCheckpoint_bytes += this.appendControl(change);
    applyChange(this.graph, change);
    this.chains.invalidate();
    this.onWork();
  }

  /** Orders blocks of a layer; `payload` is copied before this returns. Checksums are computed here unless they came along. */
  orderData(layer: LayerId, block: number, payload: Uint8Array, given?: BigUint64Array): void {
    this.#open();
    this.operations += 1;
    const index = this.pages.layer(layer);
    const most = this.limits.recordMost_bytes / BLOCK_BYTES;
    const count = payload.length / BLOCK_BYTES;
    for (let from = 0; from < count; from += most) {
      const part = Math.min(most, count - from);
      const bytes = payload.subarray(from * BLOCK_BYTES, (from + part) * BLOCK_BYTES);
      const sums = given === undefined ? checksumsOf(bytes) : given.subarray(from, from + part);
      const checksums = new Uint8Array(sums.buffer, sums.byteOffset, sums.byteLength);
      const { sequence, place } = this.log.append({
        type: 'data',
        layer,
        block: block + from,
        count: part,
        payload: bytes,
        checksums,
      });
      this.writer.putData(index, block + from, part, place, sums, sequence);
    }
    this.sinceCheckpoint_bytes += payload.length;
    this.onWork();
  }

  /** Orders a range of zeros, unless it reads as zeros with nothing stored. */
  orderZero(layer: LayerId, block: number, count: number): void {
    this.#open();
    const index = this.pages.layer(layer);
    const chain = this.chains.of(layer);
    if (!somethingWithin(chain, block, count)) return;
    const { sequence, place } = this.log.append({ type: 'zero', layer, block, count });
    this.holdsMore(place.segment);
    this.writer.putZero(index, chain, block, count, sequence);
    this.sinceCheckpoint_bytes += 64;
    this.onWork();
  }

  read(
    chain: Chain,
    block: number,
    count: number,
    target: Uint8Array,
    sums: BigUint64Array,
    volume: VolumeId | undefined,
  ): void | Promise<void> {
    this.operations += 1;
    return readBlocks(this.#world, chain, block, count, target, sums, volume);
  }

  /** Appends the records of a change; how many bytes they have. */
  appendControl(change: Change): number {
    const bodies = encodeChange(change);
    const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
    // A whole graph is as large as it is, and is what makes room.
    if (bodies.length > 1 && change.op !== 'graph') {
      if (bytes > CHANGE_BYTES_MAX)
        throw new BlockError('out_of_range', `one change takes at most ${CHANGE_BYTES_MAX} bytes, not ${bytes}`);
      // The reserve of a full disk is for what frees space, and for changes that fit into it [C6.5].
      if (this.log.state().kind === 'no_space') throw new BlockError('no_space', 'no space for a change of this size');
    }
    for (const body of bodies) this.holdsMore(this.log.append({ type: 'control', body }).place.segment);
    return bytes;
  }

  /** Appends a word to later starts, which changes nothing: a segment need not be kept for it. */
  note(word: Extract<Change, { op: 'checkpoint' | 'oldest_checkpoint' }>): void {
    for (const body of encodeChange(word)) this.log.append({ type: 'control', body });
  }

  /** The segment has a record that is not data. */
  holdsMore(segment: number): void {
    this.#withMore.add(segment);
  }

  /** From here on every segment that begins is known from its first record. */
  knowSegments(): void {
    this.#knownFrom = 1 + Math.max(0, ...this.log.segments().map(({ segment }) => segment));
  }

  /** Nothing but data is in the segment: once the index refers to none of it, nothing in it is needed, and nobody has to look. */
  holdsDataOnly(segment: number): boolean {
    return segment >= this.#knownFrom && !this.#withMore.has(segment);
  }

  /** A segment was given back. */
  forgetSegment(segment: number): void {
    this.emptied.delete(segment);
    this.copied.delete(segment);
    this.keptZeros.forget(segment);
    this.cold.forget(segment);
    this.live.forget(segment);
    this.#withMore.delete(segment);
  }

  layerIndex(id: LayerId): LayerIndex {
    return this.pages.layer(id);
  }

  lastSequence(): Sequence {
    return this.log.lastSequence();
  }

  /** No segment is given back before `work` has ended. */
  async pin<T>(work: Promise<T>): Promise<T> {
    this.#readers += 1;
    try {
      return await work;
    } finally {
      this.#readers -= 1;
    }
  }

  /** Work that looks at many segments is under way. */
  get pinned(): boolean {
    return this.#readers > 0;
  }

  #open(): void {
    if (this.closed) throw new BlockError('closed', 'the engine is closed');
  }
}

/** One memory for all: log and index have taken what is in it before the next write is ordered. */
const computed = new BigUint64Array(RECORD_BLOCKS_MAX);

function checksumsOf(bytes: Uint8Array): BigUint64Array {
  const count = bytes.length / BLOCK_BYTES;
  for (let index = 0; index < count; index++)
    computed[index] = sumOf(count === 1 ? bytes : bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES));
  return computed.subarray(0, count);
}

function somethingWithin(chain: Chain, block: number, count: number): boolean {
  const from = Math.floor(block / 256);
  const to = Math.floor((block + count - 1) / 256) + 1;
  return chain.links.some((link) => !link.index.present.within(from, to).next().done);
}
