// Makes a fresh clone ready to run: installs when the lock file is not the one installed, then builds what changed.
// Built-ins only; works on Node 20. Says nothing when there is nothing to do.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, runTool } from './bundled.mjs';

const stamp = join(root, 'node_modules', '.antipode-installed');
const wanted = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .update(`${process.platform}-${process.arch}`)
  .digest('hex');
const installed = existsSync(stamp) ? readFileSync(stamp, 'utf8').trim() : '';

if (installed !== wanted) {
  console.error('installing dependencies (npm ci)');
  // npm itself runs on the machine's Node, which started this script.
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--include=optional', '--loglevel=error'];
  const code = npm ? run(process.execPath, [npm, ...args], ['ignore', 2, 2]) : run('npm', args, ['ignore', 2, 2]);
  if (code !== 0) {
    console.error('prepare: npm ci failed');
    process.exit(code);
  }
  writeFileSync(stamp, `${wanted}\n`);
}

if (!existsSync(join(root, 'packages', 'cli', 'dist', 'main.js'))) console.error('building');
const code = runTool('typescript/bin/tsc', ['-b']);
if (code !== 0) {
  console.error('prepare: the build failed');
  process.exit(code);
}
