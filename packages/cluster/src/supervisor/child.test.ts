import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { systemClock } from '@antipode/base';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ClusterConfig } from '../config.ts';
import { SupervisedChild } from './child.ts';
import { installedRelease } from './releases.ts';

let directory = '';
const node = process.execPath;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'antipode-child-'));
});
afterEach(() => {
  process.execPath = node;
  rmSync(directory, { recursive: true, force: true });
});

it('a process that cannot be made when another one has died is made once it can be', async () => {
  const program = join(directory, 'program.mjs');
  writeFileSync(
    program,
    `process.on('message', ({ kind }) => (kind === 'stop' ? process.exit(0) : process.send({ kind: 'ready', info: {} })));`,
  );
  const lines: string[] = [];
  const child = new SupervisedChild({
    name: 'management',
    release: { ...installedRelease, entryOf: () => pathToFileURL(program) },
    config: {} as ClusterConfig,
    extra: () => ({}),
    clock: systemClock,
    log: (line) => lines.push(line),
    onFirstFailure: (message) => lines.push(message),
  });
  child.start();
  await child.ready;
  process.execPath = join(directory, 'there-is-no-such-program');
  process.kill(child.pid!, 'SIGKILL');
  await expect.poll(() => lines.filter((line) => line.includes('ENOENT')).length).toBeGreaterThan(1);
  process.execPath = node;
  await expect.poll(() => child.pid).toBeDefined();
  await child.stop();
});
