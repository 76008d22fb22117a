import { createHash, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { createWriteStream, existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress } from 'node:zlib';
import { formats } from './formats.ts';
import { isSafePath, type Manifest, sizeOf } from './manifest.ts';
import { encodeHead } from './package-file.ts';
import { builtInSoftware } from './version.ts';

export interface BuildOptions {
  /** The package to begin with, `node_modules/@antipode/cli` for instance: it and all that it needs at runtime goes in. */
  readonly root: string;
  /** Ed25519 private key, PEM. */
  readonly key: string;
  readonly out: string;
  /** `4.1.0.0.2`; absent: that of this code. */
  readonly version?: string;
  /** Oldest build that can be upgraded; absent: that of this code. */
  readonly minimum?: string;
  readonly description?: string;
  readonly now_ms: number;
}

/** A new pair of keys for packages, PEM. */
export function newPackageKeys(): { readonly privateKey: string; readonly publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { format: 'pem', type: 'pkcs8' },
    publicKeyEncoding: { format: 'pem', type: 'spki' },
  });
  return { privateKey, publicKey };
}

/**
 * Writes a package that holds an application as it is built here: its own packages and every dependency, native binaries for this platform
 * included, so that installing it needs no network. Node.js itself is not in it. Answers what the package says of itself.
 */
export async function buildPackage(options: BuildOptions): Promise<Manifest> {
  const key = createPrivateKey(options.key);
  if (key.asymmetricKeyType !== 'ed25519') throw new Error(`the key is of type ${key.asymmetricKeyType}, not Ed25519`);
  const files = collect(options.root);
  const version = options.version ?? builtInSoftware.build_version;
  const manifest: Manifest = {
    name: `Antipode-${version}`,
    description: options.description ?? '',
    build_version: version,
    build_id: version,
    build_type: 'Release',
    release_timestamp: new Date(options.now_ms).toISOString(),
    minimum_version: options.minimum ?? builtInSoftware.build_version,
    platform: process.platform,
    arch: process.arch,
    node: 24,
    formats: { ...formats },
    files: files.map(({ path, from }) => {
      const bytes = readFileSync(from);
      return { path, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
    }),
  };
  const out = createWriteStream(options.out, { mode: 0o644 });
  try {
    out.write(encodeHead(JSON.stringify(manifest), key));
    const contents = Readable.from(
      (function* () {
        for (const { from } of files) yield readFileSync(from);
      })(),
    );
    await pipeline(
      contents,
      createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 9 }, pledgedSrcSize: sizeOf(manifest) }),
      out,
    );
  } catch (error) {
    rmSync(options.out, { force: true });
    throw error;
  }
  return manifest;
}

interface Found {
  readonly path: string;
  readonly from: string;
}

/** A package and all that it needs, laid out as an installation has it. */
function collect(root: string): readonly Found[] {
  const found: Found[] = [];
  const seen = new Set<string>();
  const visit = (directory: string): void => {
    const real = realpathSync(directory);
    if (seen.has(real)) return;
    seen.add(real);
    const manifest = JSON.parse(readFileSync(join(real, 'package.json'), 'utf8')) as {
      name: string;
      dependencies?: Record<string, string>;
      optionalDependencies?: Record<string, string>;
    };
    // A package of this workspace goes where an installation would have it; others stay as deep as they were put.
    const own = !real.split(sep).includes('node_modules');
    const at = real.indexOf(`${sep}node_modules${sep}`);
    const place = own ? join('node_modules', manifest.name) : real.slice(at + 1);
    for (const path of runtimeFiles(real, own)) {
      const target = join(place, path).split(sep).join('/');
      if (!isSafePath(target)) throw new Error(`${target} cannot be the name of a file of a package`);
      found.push({ path: target, from: join(real, path) });
    }
    for (const [name, isOptional] of [
      ...Object.keys(manifest.dependencies ?? {}).map((key) => [key, false] as const),
      ...Object.keys(manifest.optionalDependencies ?? {}).map((key) => [key, true] as const),
    ]) {
      const next = locate(real, name);
      if (next !== undefined) visit(next);
      else if (!isOptional) throw new Error(`${name}, which ${manifest.name} needs, is not installed`);
    }
  };
  visit(root);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Where a package finds another one: the folder whose manifest has its name, as Node looks for it. */
function locate(from: string, name: string): string | undefined {
  const places = createRequire(join(from, 'package.json')).resolve.paths(name) ?? [];
  return places.map((place) => join(place, name)).find((folder) => existsSync(join(folder, 'package.json')));
}

/** What a running program reads: no types, no maps, no texts, no tests. */
const idle = /\.(d\.[cm]?ts|d\.[cm]?ts\.map|map|md|markdown|tsbuildinfo)$|\.test\.[cm]?js$/i;
const idleFolders = new Set([
  'node_modules',
  'test',
  'tests',
  'bench',
  'benchmark',
  'benchmarks',
  'docs',
  'example',
  'examples',
  '.github',
]);

function runtimeFiles(root: string, own: boolean): readonly string[] {
  const list = (directory: string): readonly string[] =>
    readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return idleFolders.has(entry.name) ? [] : list(path);
      return entry.isFile() && !idle.test(entry.name) ? [path] : [];
    });
  const folders = own ? ['dist', 'bin'].map((name) => join(root, name)).filter((path) => existsSync(path)) : [];
  const all = own ? [join(root, 'package.json'), ...folders.flatMap(list)] : list(root);
  return all.map((path) => relative(root, path));
}

/** The folder of the package that a module belongs to. */
export function packageOf(module: string): string {
  for (let at = dirname(module); ; at = dirname(at)) {
    if (existsSync(join(at, 'package.json'))) return at;
    if (dirname(at) === at) throw new Error(`${module} belongs to no package`);
  }
}
