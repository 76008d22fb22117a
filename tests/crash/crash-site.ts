import { type ChildProcess, fork } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, connect } from '../../packages/client/src/index.ts';
import type { FaultOrder } from '../../packages/cluster/src/supervisor/arm-fault-points.ts';
import { connectNbd, type NbdClient } from '../../packages/hosts/src/index.ts';
import { type Loss, type LossMode, WriteLoss } from './write-loss.ts';

const cli = join(import.meta.dirname, '../../packages/cli/bin/antipode.js');
export const password = 'Rehearsal-1';
/** Longer than a cluster needs on a machine that does something else as well. */
const start_ms = 300_000;
const journalMost_bytes = 512 * 1024 * 1024;

export interface SitePorts {
  readonly rest: number;
  readonly nbd: number;
  readonly peer: number;
  readonly replication: number;
  /** Where the other site is told to connect to. */
  readonly linkPeer: number;
  readonly linkReplication: number;
}

/** Who dies at once. */
export const scopes = ['dataplane', 'management', 'supervisor', 'cluster'] as const;
export type Scope = (typeof scopes)[number];

/** One cluster whose processes are killed, stopped and started again, and whose disk may forget what was not synced. */
export class CrashSite {
  readonly name: string;
  readonly data: string;
  readonly logFile: string;
  readonly ports: SitePorts;
  readonly #orders: string;
  readonly #args: readonly string[];
  readonly #compiled: string;
  readonly #loss: WriteLoss | undefined;
  #child: ChildProcess | undefined;
  /** The newest child is the leader of its group, whose other processes may outlive it. */
  #group: number | undefined;
  client!: Client;

  constructor(
    name: string,
    directory: string,
    ports: SitePorts,
    options: { loss: boolean; place?: string; appliances?: number; args?: readonly string[] },
  ) {
    const own = join(directory, name.toLowerCase());
    mkdirSync(own, { recursive: true });
    this.name = name;
    // All appliances in one place, which a power failure meets as a whole.
    const place = options.place ?? join(own, 'disk');
    mkdirSync(place, { recursive: true });
    this.data = join(place, 'data');
    const further = Array.from({ length: (options.appliances ?? 1) - 1 }, (_, index) => join(place, `A${index + 2}`));
    this.logFile = join(own, 'log');
    this.ports = ports;
    this.#args = [...(further.length > 0 ? ['--appliances', further.join(',')] : []), ...(options.args ?? [])];
    this.#orders = join(own, 'orders');
    mkdirSync(join(this.#orders, 'passed'), { recursive: true });
    this.#compiled = join(directory, 'compiled');
    this.#loss = options.loss ? new WriteLoss(place, own) : undefined;
  }

  get url(): string {
    return `https://127.0.0.1:${this.ports.rest}`;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Starts the cluster; resolves when it says that it is ready, or when it was killed meanwhile (false). */
  async start(): Promise<boolean> {
    const { rest, nbd, peer, replication, linkPeer, linkReplication } = this.ports;
    const at = (port: number) => `127.0.0.1:${port}`;
    const args = [
      ...['serve', '--data', this.data, '--name', this.name, '--heartbeat', '500ms'],
      ...['--listen', at(rest), '--nbd', at(nbd), '--peer', at(peer), '--replication', at(replication)],
      ...['--advertise-peer', at(linkPeer), '--advertise-replication', at(linkReplication)],
      ...this.#args,
    ];
    const out = openSync(this.logFile, 'a', 0o600);
    // A group of its own, so that a kill reaches every process of the cluster; the channel ends it with the harness.
    const child = fork(cli, args, {
      detached: true,
      // The built product, however this program was started.
      execArgv: [],
      stdio: ['ignore', out, out, 'ipc'],
      env: {
        ...process.env,
        ANTIPODE_ADMIN_PASSWORD: password,
        FAULT_POINTS_OF_ANTIPODE: this.#orders,
        // Starts are most of what a campaign costs: compiled code is kept.
        NODE_COMPILE_CACHE: this.#compiled,
        ...this.#loss?.environment(),
      },
    });
    closeSync(out);
    this.#child = child;
    this.#group = child.pid;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    const ready = new Promise<boolean>((resolve) => {
      child.once('message', () => resolve(true));
      child.once('exit', () => resolve(false));
    });
    const late = new AbortController();
    const answer = await Promise.race([ready, pause(start_ms, 'late' as const, { signal: late.signal })]);
    late.abort();
    if (answer === 'late')
      throw new Error(`${this.name} was not ready within ${start_ms / 1000} s: ${this.lastLines()}`);
    if (!answer) await exited;
    return answer;
  }

  async logIn(): Promise<void> {
    this.client = await connect({ url: this.url, username: 'admin', password, tls: { mode: 'insecure' } });
  }

  open(volume: string): Promise<NbdClient> {
    return connectNbd({ host: '127.0.0.1', port: this.ports.nbd, exportName: volume });
  }

  /** Processes of this cluster by their kind, as the kernel lists them. */
  processes(): { readonly pid: number; readonly kind: Scope }[] {
    const group = this.#group;
    if (group === undefined) return [];
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
          const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
          if (Number(pgrp) !== group || state === 'Z') return [];
          const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
          const kind = (['dataplane', 'management'] as const).find((known) => command.includes(`/${known}/main`));
          return [{ pid: Number(name), kind: kind ?? ('supervisor' as const) }];
        } catch {
          // It ended while it was looked at.
          return [];
        }
      });
  }

  /** SIGKILL; answers how many processes it reached. */
  kill(scope: Scope): number {
    const chosen = this.processes().filter(({ kind }) => scope === 'cluster' || kind === scope);
    return this.signal(chosen, 'SIGKILL');
  }

  signal(processes: readonly { readonly pid: number }[], name: NodeJS.Signals): number {
    let reached = 0;
    for (const { pid } of processes) {
      try {
        process.kill(pid, name);
        reached += 1;
      } catch {
        // It ended by itself.
      }
    }
    return reached;
  }

  /** Resolves when no process of the cluster is left; what a dead supervisor left behind ends by itself. */
  async gone(): Promise<void> {
    const end = performance.now() + start_ms;
    while (this.#child !== undefined || this.processes().length > 0) {
      if (performance.now() > end)
        throw new Error(`processes of ${this.name} do not end: ${JSON.stringify(this.processes())}`);
      await pause(10);
    }
  }

  /** The medium forgets what was not synced. The cluster must be gone. */
  lose(mode: LossMode | undefined, chance: () => number): Loss {
    if (this.#loss === undefined) return { files: 0, sectors: 0 };
    if (mode !== undefined) return this.#loss.lose(mode, chance);
    if (this.#loss.journal_bytes() > journalMost_bytes) this.#loss.forget();
    return { files: 0, sectors: 0 };
  }

  get canLose(): boolean {
    return this.#loss !== undefined;
  }

  /** A copy of the catalog as it is, as an operator's script makes one. */
  copyCatalog(): string {
    const copy = join(this.#orders, '..', 'older-catalog.db');
    rmSync(copy, { force: true });
    const catalog = new DatabaseSync(join(this.data, 'catalog', 'catalog.db'), { readOnly: true });
    try {
      catalog.exec(`VACUUM INTO '${copy}'`);
    } finally {
      catalog.close();
    }
    return copy;
  }

  /** Puts a copy in the catalog's place. The cluster must be gone. */
  putCatalog(copy: string): void {
    const path = join(this.data, 'catalog', 'catalog.db');
    for (const ending of ['', '-wal', '-shm']) rmSync(`${path}${ending}`, { force: true });
    copyFileSync(copy, path);
  }

  /** Turns a bit of these bytes where they are in the log; answers what turns it back, or undefined where they are not. */
  damage(bytes: Uint8Array): (() => void) | undefined {
    const appliances = join(this.data, 'appliances');
    const logs = readdirSync(appliances).map((name) => join(appliances, name, 'log'));
    for (const path of logs.flatMap((log) => readdirSync(log).map((name) => join(log, name)))) {
      // A segment may be given back at any moment.
      const at = readOrNothing(path).indexOf(bytes);
      if (at < 0) continue;
      const write = (byte: number) => {
        const handle = openSync(path, 'r+');
        writeSync(handle, Uint8Array.of(byte), 0, 1, at);
        closeSync(handle);
      };
      write(bytes[0]! ^ 1);
      return () => {
        if (existsSync(path)) write(bytes[0]!);
      };
    }
    return undefined;
  }

  /** Orders the next process that passes a point to die there. */
  order(point: string, order: FaultOrder): void {
    writeFileSync(join(this.#orders, point), JSON.stringify(order));
  }

  /** Whether an order was carried out; takes it back when it was not. */
  settleOrder(point: string): boolean {
    const path = join(this.#orders, point);
    const hit = existsSync(`${path}.hit`);
    rmSync(path, { force: true });
    rmSync(`${path}.hit`, { force: true });
    return hit;
  }

  /** Points that were passed since this was asked last. */
  takePassed(): string[] {
    const directory = join(this.#orders, 'passed');
    const names = readdirSync(directory);
    for (const name of names) rmSync(join(directory, name), { force: true });
    return names;
  }

  /** Orders that were carried out and not settled yet. */
  get hits(): number {
    return readdirSync(this.#orders).filter((name) => name.endsWith('.hit')).length;
  }

  /** Resolves when a process has passed the point since that was asked last, or it is too late. */
  async passes(point: string, most_ms: number): Promise<void> {
    await waitFor(() => existsSync(join(this.#orders, 'passed', point)), most_ms);
  }

  /** Resolves when an order was carried out, or it is too late. */
  async untilHit(point: string, most_ms: number): Promise<void> {
    await waitFor(() => this.wasHit(point), most_ms);
  }

  wasHit(point: string): boolean {
    return existsSync(join(this.#orders, `${point}.hit`));
  }

  /** SIGTERM; answers the exit code. */
  async stop(): Promise<number | null> {
    await this.client?.close().catch(() => undefined);
    const child = this.#child;
    if (child === undefined) return null;
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    child.kill('SIGTERM');
    const code = await ended;
    await this.gone();
    return code;
  }

  lastLines(count = 5): string {
    return existsSync(this.logFile)
      ? readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-count).join('\n')
      : '';
  }
}

async function waitFor(met: () => boolean, most_ms: number): Promise<void> {
  const end = performance.now() + most_ms;
  while (!met() && performance.now() < end) await pause(2);
}

function readOrNothing(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.of();
  }
}
