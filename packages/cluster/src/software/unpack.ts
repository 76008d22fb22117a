import { createHash, type KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdDecompress } from 'node:zlib';
import { syncDirectory } from '../supervisor/write-durably.ts';
import { type Manifest, type PackagedFile, PackageRefused, sizeOf } from './manifest.ts';
import { manifestLength, prefix_bytes, signature_bytes, verifiedManifest } from './package-file.ts';

/** The signed beginning of the package that a release came in, kept beside its files. */
const headName = 'package.head';
const syncsAtOnce = 16;

export interface UnpackOptions {
  /** Where the release is to be; it is there as a whole, or not at all. */
  readonly directory: string;
  readonly keys: readonly KeyObject[];
  /** Asked before anything is written; throws what stands against it. */
  readonly check: (manifest: Manifest) => Promise<void>;
  /** Of the unpacked bytes, 0 to 1. */
  readonly onProgress: (share: number) => void;
}

/**
 * Unpacks a package as it arrives: signature first, then each file against its checksum. Nothing is left behind by one that is not
 * whole. @throws PackageRefused, and whatever `check` and the source throw
 */
export async function unpackPackage(source: AsyncIterable<Buffer>, options: UnpackOptions): Promise<Manifest> {
  const bytes = new ByteReader(source);
  const prefix = await bytes.take(prefix_bytes);
  const head = Buffer.concat([prefix, await bytes.take(manifestLength(prefix) + signature_bytes)]);
  const manifest = await parsed(verifiedManifest(head, options.keys));
  await options.check(manifest);
  const partial = `${options.directory}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true, mode: 0o700 });
  try {
    const files = new FileWriter(partial, manifest, options.onProgress);
    try {
      await pipeline(Readable.from(bytes.rest()), createZstdDecompress(), (chunks: AsyncIterable<Buffer>) =>
        files.writeAll(chunks),
      );
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code?.startsWith('ZSTD_') || code === 'Z_BUF_ERROR')
        throw new PackageRefused('its data is damaged or cut short');
      throw error;
    } finally {
      await files.close();
    }
    await writeFile(join(partial, headName), head, { mode: 0o600 });
    await syncAll(partial, [...manifest.files.map(({ path }) => path), headName]);
    await rename(partial, options.directory);
    syncDirectory(dirname(options.directory));
    return manifest;
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

/** Loaded when a manifest is read: what checks it is more than all else that a supervisor is made of. */
const parsed = async (text: string): Promise<Manifest> => (await import('./parse-manifest.ts')).parseManifest(text);

/** The manifest of an unpacked release. @throws PackageRefused when it cannot be read */
export async function manifestOf(directory: string): Promise<Manifest> {
  const head = readFileSync(join(directory, headName));
  return parsed(head.toString('utf8', prefix_bytes, head.length - signature_bytes));
}

/** Compares an unpacked release with what was signed: signature where keys are given, and every file. @throws PackageRefused */
export async function verifyRelease(directory: string, keys?: readonly KeyObject[]): Promise<Manifest> {
  let manifest: Manifest;
  try {
    if (keys !== undefined) verifiedManifest(readFileSync(join(directory, headName)), keys);
    manifest = await manifestOf(directory);
  } catch (error) {
    if (error instanceof PackageRefused) throw error;
    throw new PackageRefused('its description is missing');
  }
  for (const file of manifest.files) {
    const bytes = await readFile(join(directory, file.path)).catch(() => {
      throw new PackageRefused(`${file.path} is missing`);
    });
    if (createHash('sha256').update(bytes).digest('hex') !== file.sha256)
      throw new PackageRefused(`${file.path} was changed`);
  }
  return manifest;
}

/** Takes bytes from a stream in pieces of given lengths. */
class ByteReader {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Buffer> {
    const parts = [this.#held];
    let have = this.#held.length;
    while (have < length) {
      const next = await this.#source.next();
      if (next.done) throw new PackageRefused('it is cut short');
      parts.push(next.value);
      have += next.value.length;
    }
    const all = Buffer.concat(parts);
    this.#held = all.subarray(length);
    return all.subarray(0, length);
  }

  async *rest(): AsyncGenerator<Buffer> {
    if (this.#held.length > 0) yield this.#held;
    for (let next = await this.#source.next(); !next.done; next = await this.#source.next()) yield next.value;
  }
}

/** Cuts one stream of bytes into the files that a manifest names. */
class FileWriter {
  readonly #directory: string;
  readonly #files: readonly PackagedFile[];
  readonly #total: number;
  readonly #onProgress: (share: number) => void;
  readonly #made = new Set<string>();
  #written = 0;
  #next = 0;
  #open:
    | {
        readonly file: PackagedFile;
        readonly handle: FileHandle;
        left: number;
        readonly hash: ReturnType<typeof createHash>;
      }
    | undefined;

  constructor(directory: string, manifest: Manifest, onProgress: (share: number) => void) {
    this.#directory = directory;
    this.#files = manifest.files;
    this.#total = sizeOf(manifest);
    this.#onProgress = onProgress;
  }

  async writeAll(chunks: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; ) {
        const open = this.#open ?? (await this.#openNext());
        if (open === undefined) throw new PackageRefused('it holds more than it describes');
        const part = chunk.subarray(at, at + open.left);
        await open.handle.write(part);
        open.hash.update(part);
        open.left -= part.length;
        at += part.length;
        if (open.left === 0) await this.#finish();
      }
      this.#written += chunk.length;
      this.#onProgress(this.#total === 0 ? 1 : this.#written / this.#total);
    }
    // Files without bytes at the end.
    while (this.#open === undefined && this.#next < this.#files.length) await this.#openNext();
    if (this.#open !== undefined) throw new PackageRefused('it is cut short');
  }

  async close(): Promise<void> {
    await this.#open?.handle.close();
    this.#open = undefined;
  }

  /** The next file that has bytes; those without are made on the way. */
  async #openNext() {
    for (;;) {
      const file = this.#files[this.#next];
      if (file === undefined) return undefined;
      this.#next += 1;
      const path = join(this.#directory, file.path);
      const folder = dirname(path);
      if (!this.#made.has(folder)) {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        this.#made.add(folder);
      }
      const handle = await open(path, 'wx', 0o600);
      this.#open = { file, handle, left: file.size, hash: createHash('sha256') };
      if (file.size > 0) return this.#open;
      await this.#finish();
    }
  }

  async #finish(): Promise<void> {
    const open = this.#open;
    if (open === undefined) return;
    await this.close();
    if (open.hash.digest('hex') !== open.file.sha256)
      throw new PackageRefused(`the checksum of ${open.file.path} is another one`);
  }
}

async function syncAll(directory: string, paths: readonly string[]): Promise<void> {
  const left = [...paths];
  const work = async () => {
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      const handle = await open(join(directory, path), 'r');
      await handle.sync().finally(() => handle.close());
    }
  };
  await Promise.all(Array.from({ length: syncsAtOnce }, work));
  const folders = new Set(paths.map((path) => dirname(join(directory, path))));
  for (const folder of folders) syncDirectory(folder);
}
