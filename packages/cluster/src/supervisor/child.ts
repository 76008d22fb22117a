import { type ChildProcess, fork } from 'node:child_process';
import { type Clock, passFaultPoint, systemClock } from '@antipode/base';
import type { ClusterConfig } from '../config.ts';
import { armFaultPoints } from './arm-fault-points.ts';
import { collectWhenIdle } from './idle-memory.ts';
import type { FromChild, ToChild, UpgradeRequest, UpgradeStatus } from './messages.ts';
import type { ProcessName, Release } from './releases.ts';

const limits = {
  /** Restart pauses: quick at first, and never a busy loop. */
  restartFirst_ms: 50,
  restartMost_ms: 5_000,
  /** A process that ran this long has recovered: the next restart is quick again. */
  settled_ms: 60_000,
  /** A process that does not stop by itself within this is killed. */
  stop_ms: 20_000,
  /** How long the way back waits for the process of before to be ready. */
  revert_ms: 60_000,
  /**
   * A process that takes over: how long its code may take to load, and to show that it works. Hosts wait for a data plane that hangs for
   * as long as it may take to be ready, or to show that it works, and then for the one of before.
   */
  load_ms: 60_000,
  check_ms: 20_000,
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
const nodeOptions: Readonly<Record<ProcessName, readonly string[]>> = {
  management: [],
  dataplane: ['--initial-old-space-size=256'],
};

/**
 * Threads for file operations. In the data plane each read that the system does not have in memory takes one for as long as the
 * medium takes: with libuv's own four, four slow reads would hold up the sync that a flush waits for.
 */
const fileThreads: Readonly<Record<ProcessName, number>> = { management: 4, dataplane: 32 };

export interface ChildOptions {
  readonly name: ProcessName;
  /** What it is started from at first. */
  readonly release: Release;
  readonly config: ClusterConfig;
  readonly extra: (release: Release) => Readonly<Record<string, unknown>>;
  readonly clock: Clock;
  readonly log: (line: string) => void;
  /** A first start that fails is final: the reason is for the operator, not for a restart. */
  readonly onFirstFailure: (message: string) => void;
  /** Management asks for an upgrade. */
  readonly onUpgrade?: (request: UpgradeRequest) => void;
}

type Info = Readonly<Record<string, unknown>>;

/** Keeps one process of a cluster running: starts it, restarts it when it dies, exchanges its code, stops it when asked. */
export class SupervisedChild {
  readonly #options: ChildOptions;
  #release: Release;
  #process: ChildProcess | undefined;
  /** What it said when it was ready last. */
  #info: Info = {};
  #stopping = false;
  #replacing = false;
  #failures = 0;
  #everReady = false;
  /** Until it is started again. */
  #waiting: AbortController | undefined;
  #markReady: (info: Info) => void = () => undefined;
  /** What it said at its first start. */
  readonly ready: Promise<Info>;

  constructor(options: ChildOptions) {
    this.#options = options;
    this.#release = options.release;
    this.ready = new Promise((resolve) => {
      this.#markReady = resolve;
    });
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  start(): void {
    try {
      const child = this.#fork(this.#release);
      this.#watch(child);
      this.#order(child);
    } catch (error) {
      // The machine has no room for a process now.
      this.#ended(messageOf(error), 0);
    }
  }

  /** Passes something on; a process that is away hears of it at its start. */
  tell(message: ToChild): void {
    if (this.#process?.connected) this.#process.send(message);
  }

  /**
   * Exchanges the process for one of another release. The new one has its code loaded before the old one lets go, so that what is between
   * them is short; it must be ready at the same addresses and show that it works. Rejects with the reason if it does not: then nothing of
   * it runs, nor of the old one where that had been stopped, and {@link revert} starts that again.
   */
  async replace(release: Release): Promise<void> {
    const candidate = this.#fork(release);
    try {
      await this.#said(candidate, 'loaded', limits.load_ms);
      this.#replacing = true;
      await this.#end(this.#process);
      if (this.#stopping) throw new Error('the cluster is being stopped');
      this.#process = candidate;
      this.#order(candidate, release);
      const { info } = await this.#said(candidate, 'ready', this.#options.config.takeoverWithin_ms);
      if (!hasSameAddresses(this.#info, info)) throw new Error('it does not listen at the addresses of before');
      candidate.send({ kind: 'check' } satisfies ToChild);
      const { message } = await this.#said(candidate, 'checked', limits.check_ms);
      if (message !== undefined) throw new Error(message);
    } catch (error) {
      const exited = new Promise((resolve) => candidate.once('exit', resolve));
      if (isRunning(candidate)) {
        candidate.kill('SIGKILL');
        await exited;
      }
      throw error;
    }
    this.#release = release;
    this.#replacing = false;
    this.#watch(candidate);
  }

  /** Has the process of this release running, whatever an attempt to replace it has left. Resolves when it is ready. */
  async revert(release: Release): Promise<void> {
    const running = this.#release === release && !this.#replacing;
    if (running || this.#stopping) return;
    const old = this.#process;
    this.#replacing = true;
    await this.#end(old);
    this.#replacing = false;
    this.#release = release;
    if (this.#stopping) return;
    this.start();
    const child = this.#process;
    // What goes on failing is started again like any other process; the way back does not wait for ever.
    if (child !== undefined) await this.#said(child, 'ready', limits.revert_ms).catch(() => undefined);
  }

  /** Asks the process to drain and end; kills it when it does not. */
  stop(): Promise<void> {
    this.#stopping = true;
    this.#waiting?.abort();
    return this.#end(this.#process);
  }

  #fork(release: Release): ChildProcess {
    const { name, log } = this.#options;
    const entry = release.entryOf(name);
    // From source (tests) the workspace's packages are taken from source as well.
    const execArgv = [...(entry.pathname.endsWith('.ts') ? ['--conditions=source'] : []), ...nodeOptions[name]];
    const child = fork(entry, [], {
      execArgv,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'json',
      env: { ...process.env, ...frugalMalloc, UV_THREADPOOL_SIZE: String(fileThreads[name]) },
    });
    child.on('error', (error) => log(`${name}: ${error.message}`));
    child.on('message', (message: FromChild) => {
      if (message.kind === 'upgrade') this.#options.onUpgrade?.(message.request);
    });
    return child;
  }

  #order(child: ChildProcess, release = this.#release): void {
    const { config, extra } = this.#options;
    // One that could not be made has nothing to hear with.
    if (child.connected) child.send({ kind: 'start', config, extra: extra(release) } satisfies ToChild);
  }

  /** From here on its end is answered by a new start. */
  #watch(child: ChildProcess): void {
    const { name, log, clock } = this.#options;
    this.#process = child;
    const startedAt = clock.monotonic();
    child.on('message', (message: FromChild) => {
      if (message.kind === 'ready') {
        this.#everReady = true;
        this.#info = message.info;
        this.#markReady(message.info);
      } else if (message.kind !== 'failed') return;
      else if (!this.#everReady) this.#options.onFirstFailure(message.message);
      else log(`${name}: ${message.message}`);
    });
    const ended = (how: string) => {
      if (this.#process === child) this.#ended(how, clock.monotonic() - startedAt);
    };
    child.on('exit', (code, signal) => ended(String(signal ?? code)));
    // One that could not be made never exits.
    child.on('error', (error) => {
      if (child.pid === undefined) ended(error.message);
    });
  }

  /** The process is gone, after so long: another one is started, unless somebody is at it. */
  #ended(how: string, after_ms: number): void {
    const { name, config, log, clock } = this.#options;
    this.#process = undefined;
    if (this.#stopping || this.#replacing) return;
    if (!this.#everReady)
      return this.#options.onFirstFailure(
        `the ${name} process ended at its start (${how}); "antipode fsck --data ${config.dataDir}" tells whether something is damaged`,
      );
    this.#failures = after_ms > limits.settled_ms ? 0 : this.#failures + 1;
    const wait_ms = Math.min(limits.restartFirst_ms * 2 ** this.#failures, limits.restartMost_ms);
    log(`the ${name} process ended (${how}); it is started again`);
    const waiting = new AbortController();
    this.#waiting = waiting;
    // A sleep and not a timer: when all processes have died at once, nothing else keeps this one alive.
    clock.sleep(wait_ms, waiting.signal).then(
      () => this.start(),
      () => undefined,
    );
  }

  /** The next message of a kind; rejects when the process says that it failed, ends, or takes too long. */
  #said<K extends FromChild['kind']>(
    child: ChildProcess,
    kind: K,
    most_ms: number,
  ): Promise<Extract<FromChild, { kind: K }>> {
    return new Promise((resolve, reject) => {
      const finish = (end: () => void) => {
        timer.cancel();
        child.off('message', onMessage);
        child.off('exit', onExit);
        child.off('error', onError);
        end();
      };
      const onMessage = (message: FromChild) => {
        if (message.kind === kind) finish(() => resolve(message as Extract<FromChild, { kind: K }>));
        if (message.kind === 'failed') finish(() => reject(new Error(message.message)));
      };
      const onExit = (code: number | null, signal: string | null) =>
        finish(() => reject(new Error(`the process ended (${signal ?? code})`)));
      const onError = (error: Error) => {
        if (child.pid === undefined) finish(() => reject(error));
      };
      const timer = this.#options.clock.after(most_ms, () =>
        finish(() => reject(new Error(`the process was not ${kind} within ${most_ms / 1000} seconds`))),
      );
      child.on('message', onMessage);
      child.on('exit', onExit);
      child.on('error', onError);
    });
  }

  #end(child: ChildProcess | undefined): Promise<void> {
    this.#waiting?.abort();
    if (child === undefined || !isRunning(child)) return Promise.resolve();
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

const isRunning = ({ pid, exitCode, signalCode }: ChildProcess): boolean =>
  pid !== undefined && exitCode === null && signalCode === null;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Hosts, peers and clients know the addresses: a process that has others is of no use to them. */
const hasSameAddresses = (before: Info, after: Info): boolean =>
  ['url', 'nbd', 'replication'].every((name) => JSON.stringify(before[name]) === JSON.stringify(after[name]));

/** What a supervised process is to its supervisor. */
export interface Service {
  readonly info: Info;
  /** Does a little of what it is there for; rejects with what is wrong. */
  check?(): Promise<void>;
  stop(): Promise<void>;
}

/** What a process may ask of its supervisor, and hear from it. */
export interface SupervisorLink {
  requestUpgrade(request: UpgradeRequest): void;
  onUpgradeStatus(listener: (status: UpgradeStatus) => void): void;
}

/** The other end: runs `start` when told to, `stop` when told to or when the supervisor is gone. */
export function runAsChild(
  name: ProcessName,
  start: (
    config: ClusterConfig,
    extra: Readonly<Record<string, unknown>>,
    supervisor: SupervisorLink,
  ) => Promise<Service>,
): void {
  let running: Promise<Service> | undefined;
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
  const check = async (): Promise<void> => {
    try {
      await (await running)?.check?.();
      passFaultPoint(`process.${name}.checked`);
      say({ kind: 'checked' });
    } catch (error) {
      say({ kind: 'checked', message: error instanceof Error ? error.message : String(error) });
    }
  };
  let status: UpgradeStatus | undefined;
  const listeners: ((status: UpgradeStatus) => void)[] = [];
  const supervisor: SupervisorLink = {
    requestUpgrade: (request) => say({ kind: 'upgrade', request }),
    onUpgradeStatus: (listener) => {
      listeners.push(listener);
      if (status !== undefined) listener(status);
    },
  };
  armFaultPoints(process.env);
  // What libraries create beside our own files is nobody else's either.
  process.umask(0o077);
  collectWhenIdle(systemClock);
  process.on('message', (message: ToChild) => {
    if (message.kind === 'stop') return void end();
    if (message.kind === 'check') return void check();
    if (message.kind === 'upgrade_status') {
      status = message.status;
      for (const listener of listeners) listener(message.status);
    }
    if (message.kind !== 'start') return;
    running ??= start(message.config, message.extra, supervisor);
    running.then(
      ({ info }) => {
        passFaultPoint(`process.${name}.ready`);
        say({ kind: 'ready', info });
      },
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
  passFaultPoint(`process.${name}.loaded`);
  say({ kind: 'loaded' });
}
