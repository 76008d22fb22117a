#!/usr/bin/env node
// Entry of the command line. Runs on any Node that knows modules, so that an old one is told plainly what is missing.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const neededMajor = 24;
const here = dirname(fileURLToPath(import.meta.url));
const main = join(here, '..', 'dist', 'main.js');

const major = Number(process.versions.node.split('.')[0]);
if (!existsSync(main)) {
  console.error('antipode: not built yet: run `npm run build` (or `npm start`, which does it) first');
  process.exit(1);
} else if (major >= neededMajor) {
  await import(pathToFileURL(main).href);
} else {
  const bundled = bundledNode();
  if (bundled === undefined) {
    console.error(
      `antipode: needs Node.js ${neededMajor} or later, this is ${process.versions.node}, and the bundled one is not installed for ` +
        `${process.platform}-${process.arch}: run \`npm ci\`, or install Node.js ${neededMajor}`,
    );
    process.exit(1);
  }
  runOn(bundled);
}

/** The Node that npm installed with this package, wherever npm put it. */
function bundledNode() {
  const require = createRequire(import.meta.url);
  try {
    const manifest = require.resolve(`node-${process.platform}-${process.arch}/package.json`);
    const binary = join(dirname(manifest), 'bin', 'node');
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}

/** Runs the same command line on another Node: signals go on to it, its end is ours, and our end (even by SIGKILL) is its. */
function runOn(node) {
  const child = spawn(node, [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  // What a parent of ours (a lab) and the command say to each other passes through.
  child.on('message', (message) => process.send?.(message));
  process.on('message', (message) => child.connected && child.send(message));
  process.on('disconnect', () => child.connected && child.disconnect());
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`antipode: ${node} does not start: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    for (const name of signals) process.removeAllListeners(name);
    if (signal !== null) process.kill(process.pid, signal);
    else process.exit(code ?? 1);
  });
}
