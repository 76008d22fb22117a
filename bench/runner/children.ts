import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';

/** A process that does not end within this after SIGTERM is killed. */
const stop_ms = 30_000;

export interface RunOptions {
  readonly signal?: AbortSignal;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** A program that ended with an error. */
export class RunError extends Error {}

/**
 * The processes that the bench has started. Each leads a process group of its own, so that Ctrl-C in a terminal reaches the bench
 * alone, which then ends them in order, and so that a server's own children are found and ended with it.
 */
export class Children {
  readonly #running = new Set<ChildProcess>();

  /** Takes charge of a process that was started with `detached`. */
  adopt(child: ChildProcess): ChildProcess {
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    child.once('error', () => this.#running.delete(child));
    return child;
  }

  /** Runs a program to its end; answers its standard output. @throws RunError with the last it said on standard error. */
  async run(command: string, args: readonly string[], { signal, env, cwd }: RunOptions = {}): Promise<string> {
    signal?.throwIfAborted();
    const child = this.adopt(
      spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: env ?? process.env, cwd }),
    );
    const out: Buffer[] = [];
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-4096);
    });
    const onAbort = (): void => signalGroup(child, 'SIGTERM');
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const [code, killed] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
      signal?.throwIfAborted();
      if (code !== 0)
        throw new RunError(`${command} ended with ${killed ?? code}: ${said.trim().split('\n').at(-1) ?? ''}`);
      return Buffer.concat(out).toString('utf8');
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends a process: SIGTERM, then, when that does not help in time, SIGKILL to its group. */
  async stop(child: ChildProcess): Promise<void> {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const exited = once(child, 'exit').then(() => true);
      signalGroup(child, 'SIGCONT');
      child.kill('SIGTERM');
      const bound = new AbortController();
      const late = pause(stop_ms, false, { signal: bound.signal }).catch(() => false);
      if (!(await Promise.race([exited, late]))) {
        signalGroup(child, 'SIGKILL');
        await exited;
      }
      bound.abort();
    }
    // What a server left behind would hold its files.
    signalGroup(child, 'SIGKILL');
    this.#running.delete(child);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map((child) => this.stop(child)));
  }
}

/** Sends a signal to a process and all that it started. */
export function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The group is empty: all of it has ended.
  }
}
