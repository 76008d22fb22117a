import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ANTIPODE_')));
const antipode = (...args: string[]) =>
  spawnSync(process.execPath, ['--conditions=source', main, ...args], { encoding: 'utf8', env, timeout: 30_000 });

describe('command line', () => {
  test.each([
    [[], /a command is needed/],
    [['sreve'], /unknown command 'sreve': one of serve, recover, fsck, package, upgrade, scrub, lab, drill/],
    [['constructor'], /unknown command/],
    [['recover', '--data', '/'], /\/ is no directory of a cluster/],
    [['serve', '--frob'], /unknown option '--frob'/],
    [['serve', '--data', '/nowhere', '--nbd', '0.0.0.0:1'], /--nbd-open/],
    [['lab', '--base-port', '80'], /--base-port must be a whole number from 1024 to 65500, not '80'/],
    [['lab', '--json', '--demo'], /exclude each other/],
    [['lab', 'link', '--cut', '--heal'], /exclude each other/],
    [['drill', '--size', '17'], /--size must be a size such as 64MiB/],
  ])('%j: one clear line and exit code 2', (args, message) => {
    const { status, stderr, stdout } = antipode(...args);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  test.each([
    [['--help'], /Commands:/],
    [['serve', '--help'], /--advertise-replication HOST:PORT/],
    [['lab', '--help'], /--base-port PORT/],
    [['lab', 'link', '--help'], /--rate RATE/],
    [['lab', 'status', '-h'], /--json/],
    [['drill', '--help'], /--kill-clusters/],
    [['--version'], /^\d+\.\d+\.\d+\n$/],
  ])('%j explains on standard output', (args, text) => {
    const { status, stdout, stderr } = antipode(...args);
    expect(stderr).toBe('');
    expect(stdout).toMatch(text);
    expect(status).toBe(0);
  });
});
