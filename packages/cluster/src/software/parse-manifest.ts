import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { isSafePath, PackageRefused, packageLimits, sizeOf } from './manifest.ts';
import { buildVersionPattern } from './version.ts';

const Range = Type.Object({
  oldest: Type.Integer({ minimum: 0, maximum: 65_535 }),
  newest: Type.Integer({ minimum: 0, maximum: 65_535 }),
});
const Text = (most: number) => Type.String({ minLength: 1, maxLength: most });

export const PackagedFile = Type.Object({
  /** Relative, with `/`; checked by {@link isSafePath}. */
  path: Type.String({ minLength: 1, maxLength: packageLimits.path_characters }),
  size: Type.Integer({ minimum: 0, maximum: packageLimits.unpacked_bytes }),
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
});
export type PackagedFile = Static<typeof PackagedFile>;

const Manifest = Type.Object({
  name: Text(128),
  description: Type.String({ maxLength: 1024 }),
  build_version: Type.String({ pattern: buildVersionPattern }),
  build_id: Text(64),
  build_type: Type.Union([Type.Literal('Release'), Type.Literal('Hotfix'), Type.Literal('Beta')]),
  release_timestamp: Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,3})?(Z|\\+00:00)$' }),
  /** The oldest build that can be upgraded to this one. */
  minimum_version: Type.String({ pattern: buildVersionPattern }),
  /** Where its native modules run. */
  platform: Text(32),
  arch: Text(32),
  /** Least major version of Node.js. */
  node: Type.Integer({ minimum: 24, maximum: 999 }),
  formats: Type.Record(Type.String({ maxLength: 64 }), Range),
  files: Type.Array(PackagedFile, { minItems: 1, maxItems: packageLimits.files }),
});
/** What a package says of itself, signed: its files in the order in which their bytes follow. */
export type Manifest = Static<typeof Manifest>;

const compiled = Compile(Manifest);

/** Reads a manifest whose signature holds. @throws PackageRefused */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new PackageRefused('its description is not JSON');
  }
  if (!compiled.Check(value)) {
    const [first] = compiled.Errors(value);
    throw new PackageRefused(`its description is not valid at ${first?.instancePath || '/'}`);
  }
  const manifest = value as Manifest;
  const seen = new Set<string>();
  for (const { path } of manifest.files) {
    if (!isSafePath(path)) throw new PackageRefused(`the name ${JSON.stringify(path)} leads out of its folder`);
    if (seen.has(path)) throw new PackageRefused(`the name ${JSON.stringify(path)} is there twice`);
    seen.add(path);
  }
  if (sizeOf(manifest) > packageLimits.unpacked_bytes) throw new PackageRefused('its files are too large');
  return manifest;
}
