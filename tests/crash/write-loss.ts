import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

const sector_bytes = 512;
const header_bytes = 64;
const kinds = { write: 1, sync: 2, truncate: 3 } as const;
const flags = { durable: 1, oldZero: 2, newZero: 4 } as const;

/** What may be lost of what was not synced: all of it, what came after some moment, or for each sector what chance says. */
export const lossModes = ['everything', 'since a moment', 'here and there'] as const;
export type LossMode = (typeof lossModes)[number];

interface Version {
  readonly time: bigint;
  readonly durable: boolean;
  /** Undefined: zeros. */
  readonly bytes: Uint8Array | undefined;
}

/** What one file held, sector by sector, since its journal began. */
interface FileHistory {
  /** Oldest first; the first one is what was there before. */
  readonly sectors: Map<number, Version[]>;
  synced: bigint;
  readonly sizes: { readonly time: bigint; readonly size: number }[];
}

export interface Loss {
  readonly files: number;
  readonly sectors: number;
}

/**
 * The file-system write loss of a power failure, for the data directories below one: a preloaded library keeps a journal of what is written and
 * synced, and after the processes were killed {@link lose} takes back what a medium could have lost. Names (creation, renaming,
 * removal) are taken to be durable at once; so is the shrinking of a file.
 */
export class WriteLoss {
  readonly #watched: string;
  readonly #journal: string;
  readonly #library: string;

  constructor(watched: string, scratch: string) {
    this.#watched = watched;
    this.#journal = join(scratch, 'journal');
    this.#library = buildLibrary(scratch);
    mkdirSync(this.#journal, { recursive: true });
  }

  /** Variables for the processes whose writes are to be watched. */
  environment(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#library,
      WRITE_LOSS_WATCH: this.#watched,
      WRITE_LOSS_JOURNAL: this.#journal,
    };
  }

  /** No loss this time, or it has been: what is there counts as durable from now on. No watched process may run. */
  forget(): void {
    rmSync(this.#journal, { recursive: true, force: true });
    mkdirSync(this.#journal);
  }

  /** Bytes of journals so far. */
  journal_bytes(): number {
    return readdirSync(this.#journal).reduce((sum, name) => sum + statSync(join(this.#journal, name)).size, 0);
  }

  /** Takes back what was not synced, as the mode says. No watched process may run. */
  lose(mode: LossMode, chance: () => number): Loss {
    const histories = this.#read();
    let files = 0;
    let sectors = 0;
    for (const path of filesBelow(this.#watched)) {
      const { ino, birthtimeNs } = statSync(path, { bigint: true });
      const history = histories.get(`${ino}-${birthtimeNs}`);
      if (history === undefined) continue;
      const lost = loseOf(path, history, mode, chance);
      if (lost > 0) files += 1;
      sectors += lost;
    }
    this.forget();
    return { files, sectors };
  }

  #read(): Map<string, FileHistory> {
    const histories = new Map<string, FileHistory>();
    const entries = readdirSync(this.#journal).flatMap((name) => parse(readFileSync(join(this.#journal, name))));
    entries.sort((one, other) => (one.time < other.time ? -1 : one.time > other.time ? 1 : 0));
    for (const entry of entries) {
      let history = histories.get(entry.file);
      if (history === undefined) {
        history = { sectors: new Map(), synced: 0n, sizes: [{ time: 0n, size: entry.size_before }] };
        histories.set(entry.file, history);
      }
      if (entry.kind === kinds.sync) {
        if (entry.time > history.synced) history.synced = entry.time;
      } else if (entry.kind === kinds.truncate) {
        history.sizes.push({ time: entry.time, size: entry.offset });
        for (const number of history.sectors.keys())
          if (number * sector_bytes >= entry.offset) history.sectors.delete(number);
      } else {
        const size = Math.max(history.sizes.at(-1)!.size, entry.size_before, entry.offset + entry.length);
        history.sizes.push({ time: entry.time, size });
        for (let at = 0; at < entry.length; at += sector_bytes) {
          const number = (entry.offset + at) / sector_bytes;
          let versions = history.sectors.get(number);
          if (versions === undefined) {
            versions = [{ time: 0n, durable: true, bytes: entry.before?.subarray(at, at + sector_bytes) }];
            history.sectors.set(number, versions);
          }
          const bytes = entry.after?.subarray(at, at + sector_bytes);
          versions.push({ time: entry.time, durable: entry.durable, bytes });
        }
      }
    }
    return histories;
  }
}

/** Sectors that are not any more what they were. */
function loseOf(path: string, history: FileHistory, mode: LossMode, chance: () => number): number {
  let newest = history.synced;
  for (const versions of history.sectors.values()) for (const { time } of versions) if (time > newest) newest = time;
  const span = Number(newest - history.synced);
  const moment = mode === 'since a moment' ? history.synced + BigInt(Math.floor(chance() * span)) : history.synced;
  const handle = openSync(path, 'r+');
  let lost = 0;
  let end = 0;
  try {
    const { size } = fstatSync(handle);
    for (const [number, versions] of history.sectors) {
      let floor = 0;
      versions.forEach(({ time, durable }, index) => {
        if (durable || time < history.synced) floor = index;
      });
      let chosen = floor;
      if (mode === 'here and there') chosen = floor + Math.floor(chance() * (versions.length - floor));
      else
        chosen = Math.max(
          floor,
          versions.findLastIndex(({ time }) => time <= moment),
        );
      const at = number * sector_bytes;
      if (chosen > 0 || versions[0]!.bytes !== undefined) end = Math.max(end, Math.min(size, at + sector_bytes));
      if (chosen === versions.length - 1 || at >= size) continue;
      const bytes = versions[chosen]!.bytes ?? new Uint8Array(sector_bytes);
      writeSync(handle, bytes, 0, Math.min(sector_bytes, size - at), at);
      lost += 1;
    }
    // What was appended and lost as a whole leaves the file as short as it was, as file systems do that allocate late.
    const sizeSynced = history.sizes.findLast(({ time }) => time <= history.synced)?.size ?? 0;
    const shortest = Math.max(sizeSynced, end);
    if (shortest < size && lost > 0) ftruncateSync(handle, shortest);
  } finally {
    closeSync(handle);
  }
  return lost;
}

interface Entry {
  readonly kind: number;
  readonly time: bigint;
  readonly file: string;
  readonly offset: number;
  readonly length: number;
  readonly durable: boolean;
  readonly size_before: number;
  readonly before: Uint8Array | undefined;
  readonly after: Uint8Array | undefined;
}

/** Entries of one journal; the last may have been cut off by the kill. */
function parse(bytes: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at + header_bytes <= bytes.length; ) {
    if (bytes.readUInt32LE(at) !== 0x4c4f5353) throw new Error('a journal of writes is damaged');
    const kind = bytes.readUInt32LE(at + 4);
    const flag = bytes.readUInt32LE(at + 48);
    const oldLength = (flag & flags.oldZero) === 0 ? bytes.readUInt32LE(at + 40) : 0;
    const newLength = (flag & flags.newZero) === 0 ? bytes.readUInt32LE(at + 44) : 0;
    const data = at + header_bytes;
    if (data + oldLength + newLength > bytes.length) break;
    entries.push({
      kind,
      time: bytes.readBigUInt64LE(at + 8),
      file: `${bytes.readBigUInt64LE(at + 16)}-${bytes.readBigUInt64LE(at + 24)}`,
      offset: Number(bytes.readBigUInt64LE(at + 32)),
      length: bytes.readUInt32LE(at + 40),
      durable: (flag & flags.durable) !== 0,
      size_before: Number(bytes.readBigUInt64LE(at + 56)),
      before: oldLength === 0 ? undefined : bytes.subarray(data, data + oldLength),
      after: newLength === 0 ? undefined : bytes.subarray(data + oldLength, data + oldLength + newLength),
    });
    at = data + oldLength + newLength;
  }
  return entries;
}

function* filesBelow(directory: string): Generator<string> {
  if (!existsSync(directory)) return;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

function buildLibrary(scratch: string): string {
  const library = join(scratch, 'write-loss.so');
  const source = join(import.meta.dirname, 'write-loss.c');
  if (!existsSync(library))
    execFileSync('cc', ['-shared', '-fPIC', '-O2', source, '-o', library, '-ldl', '-lpthread'], { stdio: 'pipe' });
  return library;
}

/** Why writes cannot be watched here; undefined where they can. */
export function whyNoWriteLoss(): string | undefined {
  if (process.platform !== 'linux') return 'writes are watched on Linux only';
  try {
    execFileSync('cc', ['--version'], { stdio: 'pipe' });
    return undefined;
  } catch {
    return 'there is no C compiler';
  }
}
