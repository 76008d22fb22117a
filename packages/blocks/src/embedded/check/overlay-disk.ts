import { assert } from '@antipode/base';
import type { Disk, DiskFile } from '../disk.ts';

/**
 * A disk that shows another one and keeps every change in memory: the code of a start runs on it as it would run, and nothing
 * below is touched. What a start writes is little: what was not durable, new names, a few records.
 */
export function overlayDisk(below: Disk): Disk {
  const names = new Map<string, Content>(
    below.list().map((name) => [name, new Content(() => below.open(name, 'open'))]),
  );
  const need = (name: string): Content => {
    const content = names.get(name);
    if (content === undefined) throw Object.assign(new Error(`${name} does not exist`), { code: 'ENOENT' });
    return content;
  };
  return {
    open(name, mode) {
      if (mode === 'open') return need(name).open();
      if (names.has(name)) throw Object.assign(new Error(`${name} exists`), { code: 'EEXIST' });
      const content = new Content(undefined);
      names.set(name, content);
      return content.open();
    },
    list: () => [...names.keys()],
    remove: (name) => void names.delete(name),
    rename(from, to) {
      const content = need(from);
      names.delete(from);
      names.set(to, content);
    },
    syncDirectory: async () => undefined,
    // Changes go to memory: whether the file system is full does not matter.
    space: () => ({ total_bytes: Number.MAX_SAFE_INTEGER, free_bytes: Number.MAX_SAFE_INTEGER }),
  };
}

/** A file: what lies below, as far as it counts, and what was written since, in order. */
class Content {
  readonly #below: (() => DiskFile) | undefined;
  readonly #written: { readonly offset: number; bytes: Uint8Array }[] = [];
  /** Bytes of the file below that count; undefined: all. */
  #belowCounts: number | undefined;
  #size: number | undefined;

  constructor(below: (() => DiskFile) | undefined) {
    this.#below = below;
  }

  open(): DiskFile {
    const file = this.#below?.();
    const size = () => this.#size ?? file?.size() ?? 0;
    const fill = (target: Uint8Array, offset: number, got: number): number => {
      const length = Math.max(0, Math.min(target.length, size() - offset));
      target.fill(0, Math.min(got, length), length);
      for (const piece of this.#written) {
        const from = Math.max(offset, piece.offset);
        const to = Math.min(offset + length, piece.offset + piece.bytes.length);
        if (from < to) target.set(piece.bytes.subarray(from - piece.offset, to - piece.offset), from - offset);
      }
      return length;
    };
    /** The part of a read that the file below can answer. */
    const lower = (target: Uint8Array, offset: number): Uint8Array =>
      target.subarray(
        0,
        Math.max(0, Math.min(target.length, (this.#belowCounts ?? Number.POSITIVE_INFINITY) - offset)),
      );
    return {
      size,
      readSync: (target, offset) => fill(target, offset, file?.readSync(lower(target, offset), offset) ?? 0),
      read: async (target, offset) => fill(target, offset, (await file?.read(lower(target, offset), offset)) ?? 0),
      // A check has the time to wait for the medium.
      readAtHand: () => false,
      writeSync: (parts, offset) => {
        const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
        let at = 0;
        for (const part of parts) {
          bytes.set(part, at);
          at += part.length;
        }
        this.#written.push({ offset, bytes });
        this.#size = Math.max(size(), offset + bytes.length);
      },
      truncate: (to) => {
        assert(to >= 0, 'a size');
        this.#belowCounts = Math.min(this.#belowCounts ?? to, to);
        for (const piece of this.#written) piece.bytes = piece.bytes.subarray(0, Math.max(0, to - piece.offset));
        this.#size = to;
      },
      sync: async () => undefined,
      close: () => file?.close(),
    };
  }
}
