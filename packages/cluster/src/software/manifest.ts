import type { Manifest } from './parse-manifest.ts';

export type { Manifest, PackagedFile } from './parse-manifest.ts';

/** Named limits of a package, with the reason for each. */
export const packageLimits = {
  /** The description of some thousand files. */
  manifest_bytes: 8 * 1024 * 1024,
  files: 20_000,
  /** Unpacked, all files together: a dozen times what a release has. */
  unpacked_bytes: 1024 * 1024 * 1024,
  /** A path below the release's folder. */
  path_characters: 240,
} as const;

/** A package that is not taken, and why, in words for its sender. */
export class PackageRefused extends Error {
  override name = 'PackageRefused';
}

export const sizeOf = (manifest: Manifest): number => manifest.files.reduce((sum, { size }) => sum + size, 0);

/** A path that stays below the folder it is joined to, on every system. */
export const isSafePath = (path: string): boolean =>
  /^[\w@+~.$ -]+(\/[\w@+~.$ -]+)*$/.test(path) &&
  path.split('/').every((part) => part !== '.' && part !== '..' && !part.endsWith(' '));
