import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/base';
import type { Command } from './commands/context.ts';
import { programHelp } from './options/help.ts';
import { CommandError, UsageError } from './options/usage-error.ts';

/** Loaded when used: a cluster has no need of the drill. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./commands/serve.ts')).serve,
  recover: async () => (await import('./commands/recover.ts')).recover,
  fsck: async () => (await import('./commands/fsck.ts')).fsck,
  package: async () => (await import('./commands/package.ts')).packages,
  upgrade: async () => (await import('./commands/upgrade.ts')).upgrade,
  scrub: async () => (await import('./commands/scrub.ts')).scrub,
  lab: async () => (await import('./commands/lab.ts')).lab,
  drill: async () => (await import('./commands/drill.ts')).drill,
};

async function run(argv: readonly string[]): Promise<number> {
  const [name, ...args] = argv;
  if (name === '--version') {
    console.log(version());
    return 0;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(programHelp());
    return 0;
  }
  if (name === undefined)
    throw new UsageError(`a command is needed: ${Object.keys(commands).join(', ')} (--help explains)`);
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) throw new UsageError(`unknown command '${name}': one of ${Object.keys(commands).join(', ')}`);
  const command = await load();
  return await command({
    args,
    env: process.env,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    clock: systemClock,
    stop: stopSignal(),
    entry: fileURLToPath(import.meta.url),
    isTerminal: process.stderr.isTTY === true,
  });
}

function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
  if (process.channel !== undefined) {
    // Whoever started this process is gone, perhaps killed: nobody would stop it any more.
    process.on('disconnect', () => stop.abort());
    process.channel?.unref();
  }
  return stop.signal;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
}

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  // What a user can cause is one line; anything else is a defect and shows where it is.
  const expected = error instanceof UsageError || error instanceof CommandError;
  const isSystem = error instanceof Error && 'code' in error && 'syscall' in error;
  const text =
    error instanceof Error ? (expected || isSystem ? error.message : (error.stack ?? error.message)) : String(error);
  console.error(`antipode: ${text}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
