import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isBuilt } from './pair.ts';

const main = join(import.meta.dirname, '../../bench/main.ts');
const hasFio = spawnSync('fio', ['--version']).status === 0;
const tiny = ['--quick', '--ours', '--size', '64MiB', '--seconds', '0.1', '--rounds', '1'];
let directory = '';
let child: ChildProcess | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'antipode-bench-test-'));
});
afterEach(() => {
  if (child?.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** Processes that still work in the test's directory. */
async function left(): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'args=']);
  return stdout.split('\n').filter((line) => line.includes(directory));
}

describe.skipIf(!hasFio || !isBuilt())('the bench (needs fio, Debian package fio)', () => {
  it('measures the product, says what it left out, writes JSON, and leaves nothing behind', async () => {
    const json = join(directory, 'figures.json');
    const disk = mkdtempSync(join(directory, 'disk-'));
    const args = [...tiny, '--only', 'block', '--work', 'randread-16', '--dir', disk, '--json', json];
    const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=source', main, ...args]);
    expect(stdout).toMatch(/4 KiB random read, QD 16\s+[\d,.]+\s+ops\/s/);
    expect(stdout).toMatch(/of with 10 snapshots\s+[\d,.]+\s+ops\/s\s+±0%\s+[\d.]+x/);
    expect(stdout).toContain('skipped: peers: left out by --ours');
    const report = JSON.parse(readFileSync(json, 'utf8')) as {
      readonly failed: readonly string[];
      readonly groups: readonly { readonly cells: readonly { readonly contenders: readonly unknown[] }[] }[];
    };
    expect(report.failed).toEqual([]);
    expect(report.groups[0]?.cells[0]?.contenders).toHaveLength(2);
    expect(readdirSync(disk)).toEqual([]);
    expect(await left()).toEqual([]);
  });

  it('ends at Ctrl-C, even one that comes twice, and leaves nothing behind', async () => {
    child = spawn(process.execPath, ['--conditions=source', main, ...tiny, '--only', 'block', '--dir', directory], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const bench = child;
    const ended = new Promise<number | null>((resolve) => bench.once('exit', resolve));
    await new Promise<void>((resolve) => {
      bench.stderr?.on('data', (chunk: Buffer) => {
        if (chunk.toString('utf8').includes('writing')) resolve();
      });
      bench.once('exit', () => resolve());
    });
    bench.kill('SIGINT');
    bench.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(readdirSync(directory)).toEqual([]);
    expect(await left()).toEqual([]);
  });
});
