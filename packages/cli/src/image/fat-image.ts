import { createHash } from 'node:crypto';
import { assert } from '@antipode/base';
import { fatMedia, reservedArea } from './boot-sector.ts';
import { fillPage, makeCorpus, page_bytes } from './contents.ts';
import { directoryBytes, type Entry } from './directory.ts';
import {
  clusterOffset,
  entry_bytes,
  fatCopies,
  type Geometry,
  geometryFor,
  rootEntries,
  sector_bytes,
} from './geometry.ts';
import { generationsMost, type PlannedDirectory, type PlannedFile, planTree, type TreeOptions } from './tree.ts';

/** A stretch of the image that holds something. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

type Segment = Range & ({ readonly bytes: Buffer } | { readonly file: PlannedFile });

const label = 'ANTIPODE';
/** Ranges start and end at multiples of this, so that they suit any block device. */
const alignment_bytes = 4096;

/**
 * A FAT file system with nested directories and files, the same for the same options, made as it is read: it takes memory for
 * its tables alone. Generation n+1 is generation n after a while of work: some files rewritten in place, some added.
 */
export class FatImage {
  readonly size_bytes: number;
  readonly generation: number;
  readonly fileCount: number;
  readonly #seed: number;
  readonly #corpus: Buffer;
  readonly #segments: readonly Segment[];

  constructor(options: TreeOptions) {
    assert(options.generation >= 0 && options.generation <= generationsMost, 'the generation fits the volume');
    this.size_bytes = options.size_bytes;
    this.generation = options.generation;
    this.#seed = options.seed >>> 0;
    this.#corpus = makeCorpus(this.#seed);
    const layout = layOut(geometryFor(options.size_bytes), planTree(options), this.#seed);
    this.#segments = layout;
    this.fileCount = layout.filter((segment) => 'file' in segment).length;
  }

  /** The stretches that are not zero, in order, aligned to 4 KiB and apart. */
  ranges(): Range[] {
    return alignedRanges(this.#segments, this.size_bytes);
  }

  /** What must be written to turn an earlier generation of the same image into this one. */
  rangesSince(earlier: FatImage): Range[] {
    assert(earlier.#seed === this.#seed && earlier.size_bytes === this.size_bytes, 'generations of one image');
    const before = new Map(
      earlier.#segments.flatMap((segment) =>
        'file' in segment ? [[segment.file.id, segment.file.version] as const] : [],
      ),
    );
    const changed = this.#segments.filter((segment) =>
      'file' in segment ? before.get(segment.file.id) !== segment.file.version : !earlier.#holds(segment),
    );
    return alignedRanges(changed, this.size_bytes);
  }

  /** Fills `target` with the image's bytes from `offset` on; zeros where the image holds nothing. */
  read(offset: number, target: Buffer): void {
    target.fill(0);
    const end = offset + target.length;
    for (let i = this.#firstAfter(offset); i < this.#segments.length; i += 1) {
      const segment = this.#segments[i];
      if (segment === undefined || segment.offset >= end) return;
      const from = Math.max(offset, segment.offset);
      const to = Math.min(end, segment.offset + segment.length);
      this.#fill(segment, from - segment.offset, target.subarray(from - offset, to - offset));
    }
  }

  /** The whole image piece by piece, or some ranges of it. The piece is overwritten by the next. */
  *pieces(
    ranges: readonly Range[] = [{ offset: 0, length: this.size_bytes }],
    most_bytes = 2 ** 20,
  ): Generator<{ offset: number; bytes: Buffer }> {
    const buffer = Buffer.alloc(most_bytes);
    for (const range of ranges)
      for (let done = 0; done < range.length; done += most_bytes) {
        const bytes = buffer.subarray(0, Math.min(most_bytes, range.length - done));
        this.read(range.offset + done, bytes);
        yield { offset: range.offset + done, bytes };
      }
  }

  /** SHA-256 of the whole image, hexadecimal. */
  sha256(): string {
    const hash = createHash('sha256');
    for (const { bytes } of this.pieces()) hash.update(bytes);
    return hash.digest('hex');
  }

  #holds(segment: Segment): boolean {
    if (!('bytes' in segment)) return false;
    const own = Buffer.alloc(segment.length);
    this.read(segment.offset, own);
    return own.equals(segment.bytes);
  }

  /** Index of the first segment that ends after an offset. */
  #firstAfter(offset: number): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const segment = this.#segments[middle];
      if (segment !== undefined && segment.offset + segment.length <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #fill(segment: Segment, from: number, target: Buffer): void {
    if ('bytes' in segment) {
      segment.bytes.copy(target, 0, from, from + target.length);
      return;
    }
    const page = Buffer.alloc(page_bytes);
    let done = 0;
    while (done < target.length) {
      const at = from + done;
      const inPage = at % page_bytes;
      const length = Math.min(page_bytes - inPage, target.length - done);
      const direct = inPage === 0 && length === page_bytes ? target.subarray(done, done + page_bytes) : page;
      fillPage(direct, this.#corpus, this.#seed, segment.file, Math.floor(at / page_bytes));
      if (direct === page) page.copy(target, done, inPage, inPage + length);
      done += length;
    }
  }
}

/** Gives every directory and file its clusters, in an order that later generations only add to, and writes the tables. */
function layOut(geometry: Geometry, root: PlannedDirectory, seed: number): Segment[] {
  const { kind, cluster_bytes, fatSectors } = geometry;
  const segments: Segment[] = [];
  const fat = Buffer.alloc(fatSectors * sector_bytes);
  const set = (cluster: number, value: number): void => {
    if (kind === 'FAT16') fat.writeUInt16LE(value & 0xffff, cluster * 2);
    else fat.writeUInt32LE(value & 0x0fffffff, cluster * 4);
  };
  const endOfChain = 0x0fffffff;
  set(0, 0x0fffff00 | fatMedia);
  set(1, endOfChain);
  let next = 2;
  const allocate = (length_bytes: number): number => {
    const count = Math.max(1, Math.ceil(length_bytes / cluster_bytes));
    const first = next;
    assert(first + count <= geometry.clusters + 2, 'the files fit the volume');
    for (let i = 0; i < count; i += 1) set(first + i, i === count - 1 ? endOfChain : first + i + 1);
    next += count;
    return first;
  };
  const place = (directory: PlannedDirectory, own: number, parent: number): void => {
    const dots: Entry[] =
      directory === root
        ? []
        : ['.', '..'].map((name) => ({
            name,
            isDirectory: true,
            cluster: name === '.' ? own : parent,
            size_bytes: 0,
            version: directory.born,
          }));
    const entries = directory.children.map((child): Entry => {
      if (child.kind === 'file') {
        const cluster = allocate(child.size_bytes);
        segments.push({ offset: clusterOffset(geometry, cluster), length: child.size_bytes, file: child });
        return { name: child.name, isDirectory: false, cluster, size_bytes: child.size_bytes, version: child.version };
      }
      const cluster = allocate((child.children.length + 2) * entry_bytes);
      // The root is named 0 by its children, whatever its cluster.
      place(child, cluster, directory === root ? 0 : own);
      return { name: child.name, isDirectory: true, cluster, size_bytes: 0, version: child.born };
    });
    const bytes = directoryBytes([...dots, ...entries], directory === root ? label : undefined);
    const offset =
      directory === root && kind === 'FAT16'
        ? (geometry.firstDataSector - geometry.rootSectors) * sector_bytes
        : clusterOffset(geometry, own);
    segments.push({ offset, length: bytes.length, bytes });
  };
  place(root, kind === 'FAT32' ? allocate(rootEntries * entry_bytes) : 0, 0);
  const free = geometry.clusters + 2 - next;
  const reserved = reservedArea(geometry, seed, label, free, next);
  segments.push({ offset: 0, length: reserved.length, bytes: reserved });
  for (let copy = 0; copy < fatCopies; copy += 1) {
    const offset = (geometry.reservedSectors + copy * fatSectors) * sector_bytes;
    segments.push(...nonZeroParts(fat, offset));
  }
  return segments.sort((a, b) => a.offset - b.offset);
}

/** A table cut at 4 KiB, without the parts that are zero: a change of it touches few of them. */
function nonZeroParts(table: Buffer, offset: number): Segment[] {
  const parts: Segment[] = [];
  for (let from = 0; from < table.length; from += alignment_bytes) {
    const bytes = table.subarray(from, Math.min(from + alignment_bytes, table.length));
    if (bytes.some((byte) => byte !== 0)) parts.push({ offset: offset + from, length: bytes.length, bytes });
  }
  return parts;
}

function alignedRanges(segments: readonly Range[], size_bytes: number): Range[] {
  const merged: { offset: number; length: number }[] = [];
  for (const segment of segments) {
    const from = segment.offset - (segment.offset % alignment_bytes);
    const to = Math.min(size_bytes, Math.ceil((segment.offset + segment.length) / alignment_bytes) * alignment_bytes);
    const last = merged.at(-1);
    if (last !== undefined && from <= last.offset + last.length) last.length = Math.max(last.length, to - last.offset);
    else merged.push({ offset: from, length: to - from });
  }
  return merged;
}
