import { passFaultPoint } from '@antipode/base';
import { BLOCK_BYTES } from '../port/device.ts';
import type { EngineCore } from './core.ts';
import { nextTurn } from './end-of-turn.ts';
import { type Change, opOf } from './graph/changes.ts';
import { encodeGraph } from './graph/graph.ts';
import { pageBlocks, pageOf } from './index/page.ts';
import { type FramePart, wholeFrame } from './layer-writer.ts';
import { unpack } from './log/frame.ts';
import { blocksMatch, CHECKSUM_BYTES, recordBytes } from './log/record-format.ts';
import type { LayerId, Place, RelocatedRecord, Relocation, ScannedRecord, Sequence, ZeroRecord } from './log/types.ts';
import { SegmentWindows } from './segment-windows.ts';

/** How segments are rewritten. */
export interface Rewriting {
  /** `packed`: what can be packed is. `plain`: what is packed is unpacked. `found`: each as it was, the rest of a frame packed again. */
  readonly as: 'packed' | 'plain' | 'found';
  /** Called between pieces: others have their turn. What it throws ends the work, and nothing has changed. */
  readonly pace: (bytes: number) => Promise<void>;
}

type BlocksFound = Extract<ScannedRecord, { type: 'data' | 'packed' }>;
type Item =
  | { readonly found: BlocksFound; readonly segment: number; readonly sequence: Sequence }
  | { readonly zero: ZeroRecord; readonly sequence: Sequence };

/** An entry of the index that is to follow its bytes. */
interface Move {
  readonly layer: LayerId;
  readonly block: number;
  readonly count: number;
  readonly sequence: Sequence;
  readonly to: Place;
  readonly frame: FramePart | undefined;
}

/** Handed to other threads together: the way there and back is shared, and a host's sync does not wait long behind them. */
const groupsAtOnce = 8;
/** Entries of the index that are changed in one turn. */
const movesATurn = 256;

/**
 * Copies what is needed of some segments elsewhere, under its old sequences, and points the index there. The old segments go after
 * the next durable checkpoint [C6.2]. Their control records are made superfluous by one record of the whole graph; ranges of zeros
 * are copied, because what they hide may still lie in another segment, unless a newer one of the same copies hides all of it.
 */
export async function rewriteSegments(core: EngineCore, segments: readonly number[], how: Rewriting): Promise<void> {
  const { blocks, zeros, control } = await contents(core, segments);
  if (control) {
    core.appendControl({ op: 'graph', graph: encodeGraph(core.graph) });
    await core.log.durable();
  }
  const items = [...blocks, ...uncovered(core, zeros)].sort((a, b) => a.sequence - b.sequence);
  // What was packed once, or could not be, is not tried again.
  const known = core.log.segments().filter(({ segment }) => segments.includes(segment));
  const stays = how.as === 'found' && core.packer !== undefined && known.every((segment) => segment.packed);
  const packed = how.as === 'packed' || stays;
  const relocation = core.log.relocation(packed);
  const windows = new SegmentWindows(core.log, segments);
  const copier = new Copier(core, relocation, windows, how);
  try {
    for (const item of items) await copier.copy(item);
    await relocation.finish();
    passFaultPoint('compaction.relocated');
  } catch (error) {
    relocation.discard();
    throw error;
  }
  for (const { segment, bytes } of copier.zeros) {
    core.keptZeros.add(segment, bytes);
    core.holdsMore(segment);
  }
  let moved = 0;
  for (const { layer, block, count, to, sequence, frame } of copier.moves) {
    const now = currentLayer(core, layer);
    if (core.graph.layers.has(now)) core.writer.move(core.layerIndex(now), block, count, to, sequence, frame);
    if (++moved % movesATurn === 0) await nextTurn();
  }
  for (const segment of segments) core.copied.add(segment);
}

async function contents(core: EngineCore, segments: readonly number[]) {
  const blocks: Item[] = [];
  const zeros: ZeroItem[] = [];
  let control = false;
  for (const segment of segments) {
    for await (const found of core.log.scanSegment(segment)) {
      if (found.type === 'control') control ||= changesGraph(opOf(found.body));
      else if (found.type === 'zero') {
        const { layer, block, count, sequence } = found;
        if (core.graph.layers.has(currentLayer(core, layer)))
          zeros.push({ zero: { type: 'zero', layer, block, count }, sequence });
      } else if (liveParts(core, segment, found).length > 0) {
        blocks.push({ found, segment, sequence: found.sequence });
      }
    }
    await nextTurn();
  }
  return { blocks, zeros, control };
}

/** Writes records, one after the other, and remembers what is to follow them. */
class Copier {
  readonly moves: Move[] = [];
  /** Where ranges of zeros went. */
  readonly zeros: { readonly segment: number; readonly bytes: number }[] = [];
  readonly #core: EngineCore;
  readonly #relocation: Relocation;
  readonly #windows: SegmentWindows;
  readonly #how: Rewriting;

  constructor(core: EngineCore, relocation: Relocation, windows: SegmentWindows, how: Rewriting) {
    this.#core = core;
    this.#relocation = relocation;
    this.#windows = windows;
    this.#how = how;
  }

  async copy(item: Item): Promise<void> {
    if ('zero' in item) {
      const place = await this.#relocation.add(item.zero, item.sequence);
      this.zeros.push({ segment: place.segment, bytes: recordBytes(item.zero) });
      return;
    }
    const { found, segment } = item;
    // Asked again: hosts may have written since the segment was looked through.
    const parts = liveParts(this.#core, segment, found);
    for (const part of parts) {
      if (found.type === 'data') await this.#copyPlain(found, part);
      else if (part.count < found.count || this.#how.as === 'plain') await this.#copyPart(found, part);
      else await this.#copyFrame(found, part);
    }
    await this.#how.pace(parts.reduce((sum, { count }) => sum + count * BLOCK_BYTES, 0));
  }

  async #copyPlain(found: BlocksFound, part: Part): Promise<void> {
    const { segment, offset } = found.place;
    const place = { segment, offset: offset + part.from * BLOCK_BYTES };
    const sums = found.checksums.subarray(part.from * CHECKSUM_BYTES, (part.from + part.count) * CHECKSUM_BYTES);
    const content = await this.#sound(place, part.count * BLOCK_BYTES, (bytes) => blocksMatch(bytes, sums));
    if (this.#how.as === 'packed') await this.#pack(found, part, content);
    else await this.#add(found, part, content);
  }

  #frame({ place, frame_bytes, count }: BlocksFound & { readonly type: 'packed' }): Promise<Uint8Array> {
    return this.#sound(place, frame_bytes, (bytes) => typeof unpack(bytes, count) !== 'string');
  }

  /**
   * What is stored at a place. A read may have failed to give that: it is read once more before it is taken for damaged, because the copy
   * is all that will be left.
   */
  async #sound(place: Place, length: number, isSound: (bytes: Uint8Array) => boolean): Promise<Uint8Array> {
    const bytes = await this.#windows.read(place, length);
    return isSound(bytes) ? bytes : this.#windows.read(place, length, true);
  }

  /** As it is: what is damaged stays so, and is told when it is read. */
  async #copyFrame(found: BlocksFound & { readonly type: 'packed' }, live: Part): Promise<void> {
    const { layer, block, count, checksums, sequence } = found;
    const frame = await this.#frame(found);
    const to = await this.#relocation.add({ type: 'packed', layer, block, count, frame, checksums }, sequence);
    this.moves.push({
      ...{ layer, block: block + live.from, count: live.count, sequence, to },
      frame: { bytes: frame.length, part: live.from, of: count },
    });
  }

  /** Blocks taken out of a frame, the others of which are needed no more: packed anew, or left plain. */
  async #copyPart(found: BlocksFound & { readonly type: 'packed' }, part: Part): Promise<void> {
    const content = unpack(await this.#frame(found), found.count);
    if (typeof content === 'string') return this.#copyFrame(found, part);
    const rest = content.subarray(part.from * BLOCK_BYTES, (part.from + part.count) * BLOCK_BYTES);
    if (this.#core.packer === undefined || this.#how.as === 'plain') await this.#add(found, part, rest);
    else await this.#pack(found, part, rest);
  }

  /** Packs what gets smaller by it, in groups that begin at multiples of their size, and leaves the rest as it is. */
  async #pack(found: BlocksFound, part: Part, content: Uint8Array): Promise<void> {
    const { packBlocks, packBelow } = this.#core.limits;
    const end = part.from + part.count;
    let plain = part.from;
    const contentOf = (from: number, to: number) =>
      content.subarray((from - part.from) * BLOCK_BYTES, (to - part.from) * BLOCK_BYTES);
    const flush = async (to: number) => {
      if (to > plain) await this.#add(found, { from: plain, count: to - plain }, contentOf(plain, to));
    };
    const groups: { readonly from: number; readonly to: number }[] = [];
    for (let from = part.from, to = from; from < end; from = to) {
      to = Math.min(end, from + packBlocks - ((found.block + from) % packBlocks));
      groups.push({ from, to });
    }
    for (let at = 0; at < groups.length; at += groupsAtOnce) {
      const some = groups.slice(at, at + groupsAtOnce);
      const frames = await Promise.all(some.map(({ from, to }) => this.#core.packer!.pack(contentOf(from, to))));
      for (const [index, { from, to }] of some.entries()) {
        const frame = frames[index]!;
        if (frame.length > packBelow * (to - from) * BLOCK_BYTES) continue;
        await flush(from);
        plain = to;
        await this.#addPacked(found, from, to - from, frame);
      }
    }
    await flush(end);
  }

  async #addPacked(found: BlocksFound, from: number, count: number, frame: Uint8Array): Promise<void> {
    const { layer, sequence } = found;
    const block = found.block + from;
    const checksums = found.checksums.slice(from * 8, (from + count) * 8);
    const to = await this.#relocation.add({ type: 'packed', layer, block, count, frame, checksums }, sequence);
    this.moves.push({ layer, block, count, sequence, to, frame: wholeFrame(frame.length, count) });
  }

  async #add(found: BlocksFound, part: Part, payload: Uint8Array): Promise<void> {
    const { layer, sequence } = found;
    const { from, count } = part;
    const checksums = found.checksums.slice(from * 8, (from + count) * 8);
    const record: RelocatedRecord = { type: 'data', layer, block: found.block + from, count, payload, checksums };
    const to = await this.#relocation.add(record, sequence);
    this.moves.push({ layer, block: record.block, count, sequence, to, frame: undefined });
  }
}

type ZeroItem = Extract<Item, { zero: ZeroRecord }>;

/** Ranges of zeros that no newer one of the same layer covers as a whole. */
function uncovered(core: EngineCore, zeros: readonly ZeroItem[]): readonly ZeroItem[] {
  const byLayer = new Map<LayerId, ZeroItem[]>();
  for (const item of zeros) {
    const layer = currentLayer(core, item.zero.layer);
    byLayer.set(layer, [...(byLayer.get(layer) ?? []), item]);
  }
  const kept: ZeroItem[] = [];
  for (const items of byLayer.values()) {
    const newest: ZeroItem[] = [];
    for (const item of items.sort((a, b) => b.sequence - a.sequence)) {
      const end = item.zero.block + item.zero.count;
      const covered = newest.some(({ zero }) => zero.block <= item.zero.block && end <= zero.block + zero.count);
      if (!covered) newest.push(item);
    }
    kept.push(...newest);
  }
  return kept;
}

const changesGraph = (op: Change['op']): boolean => op !== 'checkpoint' && op !== 'oldest_checkpoint';

const currentLayer = (core: EngineCore, layer: LayerId): LayerId => core.graph.folded.get(layer) ?? layer;

/** Blocks of a record next to each other. */
interface Part {
  readonly from: number;
  count: number;
}

/** Runs of a record that the index still refers to in this segment. */
function liveParts(core: EngineCore, segment: number, found: BlocksFound): readonly Part[] {
  const layer = currentLayer(core, found.layer);
  if (!core.graph.layers.has(layer)) return [];
  const index = core.layerIndex(layer);
  const parts: Part[] = [];
  for (let at = 0; at < found.count; at++) {
    const block = found.block + at;
    const number = pageOf(block);
    const page = core.pages.get(index, number);
    const entry = block - number * pageBlocks;
    const live = page?.isData(entry) && page.sequence[entry] === found.sequence && page.segment[entry] === segment;
    if (!live) continue;
    const last = parts.at(-1);
    if (last !== undefined && last.from + last.count === at) last.count += 1;
    else parts.push({ from: at, count: 1 });
  }
  return parts;
}
