import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

function* filesBelow(directory: string): Generator<string> {
  for (const name of readdirSync(directory)) {
    if (['node_modules', 'dist', 'golden', '.git', '.lab'].includes(name)) continue;
    const path = join(directory, name);
    if (statSync(path).isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

const sources = [...filesBelow(join(root, 'packages')), ...filesBelow(join(root, 'bench'))]
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ name: relative(root, path), text: readFileSync(path, 'utf8') }));
const production = sources.filter(
  ({ name }) => !/(\.test|testing)\.ts$|\/testing\/|\/simulated\/|\/contract\/engine-contract\.ts$/.test(name),
);
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');

/** What each package may import: arrows point one way. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  contract: ['base'],
  blocks: ['base'],
  hosts: ['base', 'blocks'],
  replication: ['base', 'contract', 'blocks'],
  cluster: ['base', 'contract', 'blocks', 'hosts', 'replication'],
  client: ['base', 'contract'],
  // Nothing imports the simulator.
  simulation: ['base', 'contract', 'blocks', 'replication', 'cluster'],
  cli: ['base', 'contract', 'client', 'cluster', 'replication', 'blocks', 'hosts'],
};
/** The bench stands beside the packages and looks at the product from outside; its stages take the engine apart. */
const benchMayImport = ['base', 'client', 'cluster', 'cli', 'blocks'];
const mayImportOf = (name: string): readonly string[] => {
  if (name.startsWith('bench/')) return benchMayImport;
  const own = /^packages\/([a-z]+)\//.exec(name)?.[1] ?? '';
  return [own, ...(mayImport[own] ?? [])];
};

/** The core that runs unchanged under a simulated clock, disk and network. */
const pure = [
  /^packages\/replication\/src\/(session|peer)\//,
  /^packages\/contract\/src\//,
  /^packages\/blocks\/src\/(port|embedded\/graph|embedded\/index)\//,
];
const banned: readonly (readonly [RegExp, string])[] = [
  [/\bDate\.now\b|new Date\(\)/, 'the clock'],
  [/\bMath\.random\b|randomUUID|randomBytes/, 'chance'],
  [/\bset(Timeout|Interval|Immediate)\b/, 'timers'],
  [/from 'node:(fs|net|tls|http|https|child_process|worker_threads)/, 'the machine'],
];

/** What a module loads with it, of libraries and of ours: imports that are not of types alone, all the way down. */
function loadedWith(entry: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(entry)) return seen;
  seen.add(entry);
  const text = sources.find(({ name }) => name === entry)?.text ?? '';
  for (const [, from] of text.matchAll(/^(?:import|export) (?!type )(?:[^;]*? from )?'([^']+)';/gm)) {
    const own = /^@antipode\/([a-z]+)$/.exec(from!)?.[1];
    if (own !== undefined) loadedWith(`packages/${own}/src/index.ts`, seen);
    else if (from!.startsWith('.')) loadedWith(join(dirname(entry), from!), seen);
    else seen.add(from!);
  }
  return seen;
}

describe('the house is tidy', () => {
  it('what hosts wait for loads little: neither the data plane nor the supervisor has a library for schemas or SQL', () => {
    for (const entry of ['packages/cluster/src/dataplane/main.ts', 'packages/cli/src/commands/serve.ts']) {
      const loaded = [...loadedWith(entry)];
      expect(loaded.length, entry).toBeGreaterThan(50);
      expect(loaded.filter((name) => /^(typebox|kysely|fastify)/.test(name))).toEqual([]);
    }
  });

  it('the pure core asks neither clock nor chance nor the machine', () => {
    const found = production
      .filter(({ name }) => pure.some((pattern) => pattern.test(name)))
      .flatMap(({ name, text }) =>
        banned.filter(([pattern]) => pattern.test(withoutComments(text))).map(([, what]) => `${name} uses ${what}`),
      );
    expect(found).toEqual([]);
  });

  it('production code asks the wall clock and chance through ports', () => {
    const found = production
      .filter(
        ({ name }) =>
          !name.startsWith('packages/base/src/system-ports') &&
          !name.startsWith('packages/cli/') &&
          !name.startsWith('bench/'),
      )
      .filter(({ text }) => /\bDate\.now\(\)|\bMath\.random\(\)/.test(withoutComments(text)))
      .map(({ name }) => name);
    expect(found).toEqual([]);
  });

  it('imports point one way', () => {
    const found = sources.flatMap(({ name, text }) => {
      const allowed = new Set(mayImportOf(name));
      const imported = [...text.matchAll(/from '@antipode\/([a-z]+)(?:\/[a-z]+)?'/g)].map((match) => match[1] ?? '');
      return imported.filter((target) => !allowed.has(target)).map((target) => `${name} imports ${target}`);
    });
    expect(found).toEqual([]);
  });

  it('nothing is left lying about', () => {
    const marker = new RegExp(
      `\\b(${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')}|${['XX', 'X'].join('')}|${['HA', 'CK'].join('')})\\b|debugger;|\\.only\\(`,
    );
    const found = sources
      .filter(({ name, text }) => marker.test(text) && name !== 'tests/tidy.test.ts')
      .map(({ name }) => name);
    expect(found).toEqual([]);
  });

  it('files stay short enough to be read from the top', () => {
    const long = production
      .map(({ name, text }) => ({ name, lines: text.split('\n').length }))
      .filter(({ lines }) => lines > 600);
    expect(long).toEqual([]);
    const most = production.filter(({ text }) => text.split('\n').length <= 300).length;
    expect(most / production.length).toBeGreaterThan(0.9);
  });

  it('no path of a machine and no registry’s name is in a file', () => {
    const texts = [...filesBelow(root)].filter(
      (path) => /\.(ts|mjs|js|json|md|yml|yaml)$|run$/.test(path) && !path.endsWith('tests/tidy.test.ts'),
    );
    const found = texts
      .filter((path) =>
        new RegExp(`registry\\.${'npmjs'}|/work/${'main'}|/home/[a-z]+/|/Users/[A-Za-z]`).test(
          readFileSync(path, 'utf8'),
        ),
      )
      .map((path) => relative(root, path));
    expect(found).toEqual([]);
  });

  it('every promise has a test that names it', () => {
    const promised = [...readFileSync(join(root, 'docs/promises.md'), 'utf8').matchAll(/^\| (P\d+) \|/gm)].map(
      (match) => match[1],
    );
    const tests = [...filesBelow(root)]
      .filter((path) => /\.test\.ts$|engine-contract\.ts$/.test(path))
      .map((path) => readFileSync(path, 'utf8'));
    expect(promised.length).toBeGreaterThan(0);
    expect(promised.filter((number) => !tests.some((text) => text.includes(`[${number}]`)))).toEqual([]);
  });

  it('no test puts another module in the place of one: only ports are simulated [C10.2]', () => {
    const replaced = new RegExp(`\\bvi\\.(${['mock', 'doMock', 'spyOn', 'stubGlobal'].join('|')})\\(`);
    const tests = [...filesBelow(join(root, 'packages')), ...filesBelow(join(root, 'tests'))];
    const found = tests
      .filter((path) => path.endsWith('.ts') && replaced.test(readFileSync(path, 'utf8')))
      .map((path) => relative(root, path));
    expect(found).toEqual([]);
  });

  it('the pages say what is proven, and against what [C8.6]', () => {
    const page = readFileSync(join(root, 'docs/replication.md'), 'utf8');
    const [, section = ''] = page.split('## What is proven, and against what');
    for (const said of ['XXH64', 'SHA-256', 'accidents', 'does not\nstop somebody', 'mutual TLS'])
      expect(section).toContain(said);
  });

  it('each bug that the scripts plant still has its place', () => {
    for (const script of ['planted-bugs', 'planted-simulator-bugs']) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [`scripts/${script}.mjs`, '--check'], {
        cwd: root,
        encoding: 'utf8',
      });
      expect({ script, status, said: stdout + stderr }).toEqual({ script, status: 0, said: '' });
    }
  });

  it('every package of npm in use has a line on why', () => {
    const why = readFileSync(join(root, 'docs/dependencies.md'), 'utf8');
    const manifests = ['package.json', ...Object.keys(mayImport).map((name) => `packages/${name}/package.json`)];
    const used = manifests.flatMap((path) => {
      const { dependencies, devDependencies, optionalDependencies } = JSON.parse(
        readFileSync(join(root, path), 'utf8'),
      ) as Record<string, Record<string, string> | undefined>;
      return Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies });
    });
    expect([...new Set(used)].filter((name) => !name.startsWith('@antipode/') && !why.includes(`\`${name}\``))).toEqual(
      [],
    );
  });
});
