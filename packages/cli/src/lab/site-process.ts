import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import type { Clock, Timer } from '@antipode/base';
import type { ClusterReady } from '@antipode/cluster';
import { limits } from '../limits.ts';
import { CommandError } from '../options/usage-error.ts';

/** What `antipode serve` says to the process that started it. */
export interface ReadyMessage {
  readonly kind: 'ready';
  readonly ready: ClusterReady;
}

export interface SiteOptions {
  readonly name: string;
  /** The module that the command line starts with. */
  readonly entry: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly clock: Clock;
  readonly log: (line: string) => void;
}

/** The cluster of one site as a process of its own: started, started again when it dies, stopped with its whole group. */
export class SiteProcess {
  readonly #options: SiteOptions;
  #child: ChildProcess | undefined;
  #timer: Timer | undefined;
  #stopping = false;
  #failures = 0;
  #restarts = 0;
  #state: 'starting' | 'ready' | 'down' = 'down';

  constructor(options: SiteOptions) {
    this.#options = options;
  }

  get state(): 'starting' | 'ready' | 'down' {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** How often it was started again after its first start. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Starts it for the first time. @throws when it ends before it is ready, with the end of its log. */
  start(): Promise<ClusterReady> {
    const { name, logFile, clock } = this.#options;
    if (existsSync(logFile) && statSync(logFile).size > limits.logKept_bytes) renameSync(logFile, `${logFile}.1`);
    return new Promise((resolve, reject) => {
      const timer = clock.after(limits.siteStart_ms, () => fail('it was not ready in time'));
      const fail = (reason: string): void => {
        timer.cancel();
        reject(new CommandError(`${name} does not start: ${reason}: ${lastLine(logFile)} (see ${logFile})`));
      };
      this.#launch((ready) => {
        timer.cancel();
        resolve(ready);
      }, fail);
    });
  }

  /** SIGKILL to the cluster's every process, as a power cut would. The lab starts it again. */
  kill(): void {
    this.#killGroup(this.#child);
  }

  /** Drains and stops it; kills what has not stopped in time. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    const child = this.#child;
    if (child === undefined) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    const timer = this.#options.clock.after(limits.siteStop_ms, () => {
      this.#options.log(`${this.#options.name} does not stop; it is killed`);
      this.#killGroup(child);
    });
    await exited;
    timer.cancel();
  }

  #launch(onReady: (ready: ClusterReady) => void, onFirstEnd: ((reason: string) => void) | undefined): void {
    const { name, entry, args, logFile, clock, log } = this.#options;
    const out = openSync(logFile, 'a', 0o600);
    // A group of its own: Ctrl-C in a terminal goes to the lab alone, and a kill reaches the cluster's every process. The IPC
    // channel ends with the lab, however the lab ends, and with it the cluster.
    const child = fork(entry, ['serve', ...args], {
      detached: true,
      stdio: ['ignore', out, out, 'ipc'],
      execArgv: entry.endsWith('.ts') ? ['--conditions=source'] : [],
      env: Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('ANTIPODE_'))),
    });
    closeSync(out);
    this.#child = child;
    this.#state = 'starting';
    let wasReady = false;
    const startedAt_ms = clock.monotonic();
    child.on('message', (message: ReadyMessage) => {
      wasReady = true;
      this.#state = 'ready';
      onReady(message.ready);
    });
    const ended = (how: string): void => {
      this.#child = undefined;
      this.#state = 'down';
      // Processes that the dead one left behind would still hold its ports and its data directory.
      this.#killGroup(child);
      if (this.#stopping) return;
      if (!wasReady && onFirstEnd !== undefined) return onFirstEnd(`it ended (${how})`);
      this.#failures = clock.monotonic() - startedAt_ms > limits.settled_ms ? 0 : this.#failures + 1;
      const wait_ms = Math.min(limits.restartFirst_ms * 2 ** Math.max(0, this.#failures - 1), limits.restartMost_ms);
      log(`${name} ended (${how}); it is started again`);
      this.#timer = clock.after(wait_ms, () => {
        this.#restarts += 1;
        this.#launch(() => log(`${name} is back`), undefined);
      });
    };
    child.on('exit', (code, signal) => ended(signal ?? `exit ${code}`));
    child.on('error', (error) => {
      // A process that could not be made never exits.
      if (child.pid === undefined) ended(error.message);
      else log(`${name}: ${error.message}`);
    });
  }

  #killGroup(child: ChildProcess | undefined): void {
    if (child?.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // The group is empty: all of it has ended.
    }
  }
}

/** What a process said last. */
function lastLine(logFile: string): string {
  if (!existsSync(logFile)) return 'it said nothing';
  return readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1) || 'it said nothing';
}
