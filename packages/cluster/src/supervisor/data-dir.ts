import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import type { Clock } from '@antipode/base';
import { syncDirectory, writeDurably } from './write-durably.ts';

/** Where things are in a cluster's data directory. */
export const places = (dataDir: string) => ({
  catalog: join(dataDir, 'catalog'),
  keys: join(dataDir, 'keys'),
  appliance: (id: string) => join(dataDir, 'appliances', id),
  run: join(dataDir, 'run'),
  ports: join(dataDir, 'ports.json'),
});

/** Socket of an appliance's data plane, relative to the data directory: a Unix socket's path is short, a directory's need not be. */
export const dataPlaneSocket = (appliance: string): string => join('run', `${appliance}.sock`);

/** Where an appliance's data plane takes hosts' requests, and frames of replicated data, that came in at another one of the cluster. */
export const hostSocket = (appliance: string): string => join('run', `${appliance}.nbd.sock`);
export const frameSocket = (appliance: string): string => join('run', `${appliance}.frames.sock`);

/** Makes the directory and its parts, readable by its owner only. */
export function prepareDataDir(dataDir: string): void {
  const { catalog, keys, run, appliance } = places(dataDir);
  for (const path of [dataDir, catalog, keys, run, appliance('A1')]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  }
  // The way to the log is as durable as what is in it.
  for (const path of [join(dataDir, 'appliances'), dataDir, dirname(dataDir)]) syncDirectory(path);
}

/** Another process works with this data directory. */
export class DataDirInUse extends Error {
  override name = 'DataDirInUse';
}

/**
 * Locks a data directory for this process, or a part of one: two writers would destroy the log. The lock is a listening socket, so
 * that the kernel gives it back however the process ends.
 */
export async function lockDataDir(dataDir: string, part = dataDir): Promise<() => void> {
  const name = createHash('sha256').update(realpathSync(part)).digest('hex').slice(0, 40);
  // Linux has a name space for sockets that needs no file; elsewhere the directory's own run folder serves.
  const file = part === dataDir ? 'lock.sock' : `${name.slice(0, 8)}.lock`;
  const address = process.platform === 'linux' ? `\0antipode-${name}` : join(places(dataDir).run, file);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new DataDirInUse(`${part} is in use by another process`) : error),
    );
    server.listen(address, resolve);
  });
  server.unref();
  return () => server.close();
}

/** A process that lost its supervisor ends by itself within less than this. */
const left_ms = 30_000;
const look_ms = 20;

/**
 * Locks what one process of a cluster works with, for as long as it lives. A supervisor that was killed leaves processes that are still
 * on their way to their end: its successor's wait for them, for two that write one log would destroy it.
 * @throws DataDirInUse when the other one does not end.
 */
export async function lockPart(dataDir: string, part: string, clock: Clock): Promise<void> {
  const until_ms = clock.monotonic() + left_ms;
  for (let attempt = 0; ; attempt++) {
    try {
      await lockDataDir(dataDir, part);
      return;
    } catch (error) {
      if (!(error instanceof DataDirInUse) || clock.monotonic() > until_ms) throw error;
      if (attempt === 0) console.error(`waiting for a process of the last run that still works with ${part}`);
      await clock.sleep(look_ms);
    }
  }
}

export type PortName = 'listen' | 'nbd' | 'peer' | 'replication' | `nbd.${string}`;

/** Ports chosen when the configuration said 0: kept, because peers and hosts know them. */
export class ChosenPorts {
  readonly #path: string;

  constructor(dataDir: string) {
    this.#path = places(dataDir).ports;
  }

  get(name: PortName): number {
    return this.#read()[name] ?? 0;
  }

  set(name: PortName, port: number): void {
    const ports = this.#read();
    if (ports[name] === port) return;
    writeDurably(this.#path, JSON.stringify({ ...ports, [name]: port }));
  }

  #read(): Partial<Record<PortName, number>> {
    if (!existsSync(this.#path)) return {};
    return JSON.parse(readFileSync(this.#path, 'utf8')) as Partial<Record<PortName, number>>;
  }
}

/** Listens on the configured port, or on the one chosen before, or, if that is taken by now, on any. */
export async function listenOn<T>(
  ports: ChosenPorts,
  name: PortName,
  configured: number,
  listen: (port: number) => Promise<T>,
): Promise<T> {
  if (configured !== 0) return listen(configured);
  const before = ports.get(name);
  if (before === 0) return listen(0);
  try {
    return await listen(before);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    return listen(0);
  }
}
