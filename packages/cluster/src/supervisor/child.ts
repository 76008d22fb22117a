import { type ChildProcess, fork } from 'node:child_process';
import { type Clock, systemClock, type Timer } from '@antipode/base';
import type { ClusterConfig } from '../config.ts';
import { collectWhenIdle } from './idle-memory.ts';

/** What a supervised process says, and what it is told, over its IPC channel. The channel's end means: stop. */
export type FromChild =
  | { readonly kind: 'ready'; readonly info: Readonly<Record<string, unknown>> }
  | { readonly kind: 'failed'; readonly message: string };
export type ToChild =
  | { readonly kind: 'start'; readonly config: ClusterConfig; readonly extra: Readonly<Record<string, unknown>> }
  | { readonly kind: 'stop' };

const limits = {
  /** Restart pauses: quick at first, and never a busy loop. */
  restartFirst_ms: 50,
  restartMost_ms: 5_000,
  /** A process that ran this long has recovered: the next restart is quick again. */
  settled_ms: 60_000,
  /** A process that does not stop by itself within this is killed. */
  stop_ms: 20_000,
} as const;

/** glibc's allocator: few arenas, and buffers of their own pages, which go back to the system when they are freed. */
const frugalMalloc = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_TRIM_THRESHOLD_: '262144',
  MALLOC_MMAP_THRESHOLD_: '262144',
} as const;

/**
 * What each process tells its V8. The data plane's own objects are few, but bytes that pass through (of sockets, of the log) count
 * as growth, and every 64 MiB of them would bring a collection of the whole heap: a third of the processor's time while a copy
 * arrives. With room of this many MiB the frequent, cheap collections of young objects do.
 */
const nodeOptions: Readonly<Record<'management' | 'dataplane', readonly string[]>> = {
  management: [],
  dataplane: ['--initial-old-space-size=256'],
};

/**
 * Threads for file operations. In the data plane each read that the system does not have in memory takes one for as long as the
 * medium takes: with libuv's own four, four slow reads would hold up the sync that a flush waits for.
 */
const fileThreads: Readonly<Record<'management' | 'dataplane', number>> = { management: 4, dataplane: 32 };

export interface ChildOptions {
  readonly name: 'management' | 'dataplane';
  readonly entry: URL;
  readonly config: ClusterConfig;
  readonly extra: () => Readonly<Record<string, unknown>>;
  readonly clock: Clock;
  readonly log: (line: string) => void;
  /** A first start that fails is final: the reason is for the operator, not for a restart. */
  readonly onFirstFailure: (message: string) => void;
}

/** Keeps one process of a cluster running: starts it, restarts it when it dies, stops it when asked. */
export class SupervisedChild {
  readonly #options: ChildOptions;
  #process: ChildProcess | undefined;
  #stopping = false;
  #failures = 0;
  #everReady = false;
  #timer: Timer | undefined;
  #markReady: (info: Readonly<Record<string, unknown>>) => void = () => undefined;
  /** What it said at its first start. */
  readonly ready: Promise<Readonly<Record<string, unknown>>>;

  constructor(options: ChildOptions) {
    this.#options = options;
    this.ready = new Promise((resolve) => {
      this.#markReady = resolve;
    });
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  start(): void {
    const { entry, config, extra, name, log, clock } = this.#options;
    // From source (tests) the workspace's packages are taken from source as well.
    const execArgv = [...(entry.pathname.endsWith('.ts') ? ['--conditions=source'] : []), ...nodeOptions[name]];
    const child = fork(entry, [], {
      execArgv,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'json',
      env: { ...process.env, ...frugalMalloc, UV_THREADPOOL_SIZE: String(fileThreads[name]) },
    });
    this.#process = child;
    const startedAt = clock.monotonic();
    child.on('message', (message: FromChild) => {
      if (message.kind === 'ready') {
        this.#everReady = true;
        this.#markReady(message.info);
      } else if (!this.#everReady) this.#options.onFirstFailure(message.message);
      else log(`${name}: ${message.message}`);
    });
    child.on('error', (error) => log(`${name}: ${error.message}`));
    child.on('exit', (code, signal) => {
      this.#process = undefined;
      if (this.#stopping) return;
      if (!this.#everReady)
        return this.#options.onFirstFailure(
          `the ${name} process ended at its start (${signal ?? code}); "antipode fsck --data ${config.dataDir}" tells whether something is damaged`,
        );
      this.#failures = clock.monotonic() - startedAt > limits.settled_ms ? 0 : this.#failures + 1;
      const wait_ms = Math.min(limits.restartFirst_ms * 2 ** this.#failures, limits.restartMost_ms);
      log(`the ${name} process ended (${signal ?? code}); it is started again`);
      this.#timer = clock.after(wait_ms, () => this.start());
    });
    child.send({ kind: 'start', config, extra: extra() } satisfies ToChild);
  }

  /** Asks the process to drain and end; kills it when it does not. */
  stop(): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    const child = this.#process;
    if (child === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(limits.stop_ms, () => {
        this.#options.log(`the ${this.#options.name} process did not stop in time and is killed`);
        child.kill('SIGKILL');
      });
      child.once('exit', () => {
        timer.cancel();
        resolve();
      });
      if (child.connected) child.send({ kind: 'stop' } satisfies ToChild);
      else child.kill('SIGKILL');
    });
  }
}

/** The other end: runs `start` when told to, `stop` when told to or when the supervisor is gone. */
export function runAsChild(
  start: (
    config: ClusterConfig,
    extra: Readonly<Record<string, unknown>>,
  ) => Promise<{ readonly info: Readonly<Record<string, unknown>>; stop(): Promise<void> }>,
): void {
  let running: Promise<{ readonly info: Readonly<Record<string, unknown>>; stop(): Promise<void> }> | undefined;
  let ending = false;
  const say = (message: FromChild): void => {
    if (process.connected) process.send?.(message);
  };
  const end = async (): Promise<void> => {
    if (ending) return;
    ending = true;
    // Nobody may be left to kill a process that does not get to its end.
    systemClock.after(limits.stop_ms, () => {
      console.error('did not stop in time');
      process.exit(1);
    });
    try {
      await (await running)?.stop();
      process.exit(0);
    } catch (error) {
      console.error(error instanceof Error ? error.message : String(error));
      process.exit(1);
    }
  };
  collectWhenIdle(systemClock);
  process.on('message', (message: ToChild) => {
    if (message.kind === 'stop') return void end();
    running ??= start(message.config, message.extra);
    running.then(
      ({ info }) => say({ kind: 'ready', info }),
      (error: unknown) => {
        say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
        process.exitCode = 1;
        // Give the line above time to leave before the channel closes.
        setImmediate(() => process.exit(1));
      },
    );
  });
  // The supervisor was killed: nobody would restart or stop this process any more.
  process.on('disconnect', () => void end());
  // Ctrl-C reaches the whole process group: the supervisor decides in which order its processes stop.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
}
