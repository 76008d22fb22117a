import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
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

describe('known weaknesses of packages', () => {
  /** The check of CI with a package manager that answers like this. */
  function audit(answer: string, code: number): { readonly status: number | null; readonly said: string } {
    const directory = mkdtempSync(join(tmpdir(), 'antipode-audit-'));
    try {
      writeFileSync(join(directory, 'answer'), answer);
      const npm = join(directory, 'npm');
      writeFileSync(npm, `#!/bin/sh\ncat '${join(directory, 'answer')}'\nexit ${code}\n`);
      chmodSync(npm, 0o755);
      const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts/audit.mjs')], {
        encoding: 'utf8',
        env: { ...process.env, PATH: `${directory}${delimiter}${process.env.PATH}` },
      });
      return { status, said: stdout + stderr };
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  const report = (counts: object, vulnerabilities: object = {}) =>
    JSON.stringify({
      vulnerabilities,
      metadata: { vulnerabilities: { info: 0, low: 0, moderate: 0, high: 0, critical: 0, total: 0, ...counts } },
    });

  it('fail the check, by name; lower ones and none do not', () => {
    for (const severity of ['moderate', 'high', 'critical']) {
      const found = audit(report({ [severity]: 1 }, { lame: { severity, via: [{ title: 'It is lame.' }] } }), 1);
      expect(found).toMatchObject({ status: 1 });
      expect(found.said).toContain(`lame: ${severity}: It is lame.`);
    }
    expect(audit(report({ low: 2 }), 0)).toMatchObject({ status: 0 });
    expect(audit(report({}), 0)).toMatchObject({ status: 0 });
  });

  it('that nobody can be asked about are said to be unknown, in one line', () => {
    for (const answer of [JSON.stringify({ message: '405 Method Not Allowed' }), 'not JSON', '']) {
      const { status, said } = audit(answer, 1);
      expect(status).toBe(0);
      expect(said).toMatch(/^dependency audit skipped: .+\n$/);
    }
  });
});
