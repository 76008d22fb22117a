import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

interface Locked {
  readonly license?: string;
  readonly hasInstallScript?: boolean;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly link?: boolean;
}

const root = join(import.meta.dirname, '..');
const locked = Object.entries(
  (JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> }).packages,
).filter(([path, about]) => path.startsWith('node_modules/') && about.link !== true);

/** Licences that ask for nothing but their own text. */
const free = ['MIT', 'Apache-2.0', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'BlueOak-1.0.0', 'MIT OR Apache-2.0'];
/** Fine for tools that are used here and not passed on. */
const freeForTools = ['MPL-2.0'];
/** These name a script for installing that is not needed: their binaries are in packages of their own. It is never run. */
const scriptsNotRun = ['koffi', 'lmdb', 'msgpackr-extract'];

describe('packages of others', () => {
  it('run nothing at installation', () => {
    expect(readFileSync(join(root, '.npmrc'), 'utf8')).toMatch(/^ignore-scripts=true$/m);
    const scripted = locked.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path.slice(13));
    expect(scripted.filter((name) => !scriptsNotRun.includes(name))).toEqual([]);
  });

  it('are those that were locked, by their digests', () => {
    expect(locked.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path)).toEqual([]);
  });

  it('may be used and passed on', () => {
    const wrong = locked.filter(
      ([, { license = '', dev }]) => !free.includes(license) && !(dev === true && freeForTools.includes(license)),
    );
    expect(wrong.map(([path, { license }]) => `${path}: ${license}`)).toEqual([]);
  });
});
