import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@antipode/base';
import { afterEach, describe, expect, test } from 'vitest';
import { SiteProcess } from './site-process.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A stand-in for `antipode serve`: says that it is ready, and has a process of its own that must not outlive it. */
const goodSite = `
const { spawn } = require('node:child_process');
const helper = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
process.on('SIGTERM', () => { helper.kill('SIGKILL'); console.log('drained'); process.exit(0); });
process.on('disconnect', () => { helper.kill('SIGKILL'); process.exit(0); });
console.log('helper', helper.pid, process.argv.slice(2).join(' '), process.env.ANTIPODE_NAME);
process.send({ kind: 'ready', ready: { url: 'https://x', nbd: { host: 'h', port: 1 }, username: 'admin' } });
`;

function site(script: string): {
  site: SiteProcess;
  said: string[];
  waitFor: (text: string) => Promise<void>;
  log: () => string;
} {
  const dir = mkdtempSync(join(tmpdir(), 'antipode-site-'));
  cleanups.push(() => rmSync(dir, { recursive: true }));
  const entry = join(dir, 'entry.cjs');
  writeFileSync(entry, script);
  const said: string[] = [];
  const waiting: { text: string; resolve: () => void }[] = [];
  const logFile = join(dir, 'log');
  const made = new SiteProcess({
    name: 'London',
    entry,
    args: ['--flag', 'x'],
    logFile,
    clock: systemClock,
    log: (line) => {
      said.push(line);
      for (const wait of waiting) if (line.includes(wait.text)) wait.resolve();
    },
  });
  cleanups.push(() => made.stop());
  const waitFor = (text: string): Promise<void> =>
    new Promise((resolve) => {
      waiting.push({ text, resolve });
    });
  return { site: made, said, waitFor, log: () => readFileSync(logFile, 'utf8') };
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    // A killed child whose new parent has not collected it yet is dead all the same.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('site process', () => {
  test('starts with the command, without variables of ours, and stops by draining', async () => {
    process.env.ANTIPODE_NAME = 'stray';
    cleanups.push(() => void delete process.env.ANTIPODE_NAME);
    const { site: made, log } = site(goodSite);
    expect(await made.start()).toMatchObject({ url: 'https://x' });
    expect(made.state).toBe('ready');
    await made.stop();
    expect(log()).toMatch(/^helper \d+ serve --flag x undefined\ndrained\n$/);
    expect(made.state).toBe('down');
  });

  test('is started again after a kill, and nothing of the killed one is left', async () => {
    const { site: made, waitFor, log, said } = site(goodSite);
    await made.start();
    const helper = Number(/helper (\d+)/.exec(log())?.[1]);
    const first = made.pid;
    const back = waitFor('London is back');
    made.kill();
    await back;
    expect(made.pid).not.toBe(first);
    expect(made.restarts).toBe(1);
    expect(said).toEqual(['London ended (SIGKILL); it is started again', 'London is back']);
    expect(isAlive(helper)).toBe(false);
  });

  test('one that ends before it is ready is said not to start', async () => {
    const { site: made } = site('console.error("the port is taken"); process.exit(3)');
    await expect(made.start()).rejects.toThrow(/London does not start: it ended \(exit 3\): the port is taken \(see /);
  });
});
