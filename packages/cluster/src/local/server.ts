import { existsSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { isBlockError } from '@antipode/blocks';
import type { DataPlane } from './api.ts';
import { type LocalSocket, readLines } from './lines.ts';
import {
  type FromDataPlane,
  isMethod,
  localLine_bytes,
  localProtocolVersion,
  oldestLocalProtocolVersion,
  type WireError,
} from './methods.ts';

/** Offers a data plane on a Unix socket; the socket's directory is 0700, so only the cluster's own user gets there. */
export async function serveDataPlane(dataPlane: DataPlane, path: string): Promise<{ close(): Promise<void> }> {
  // A socket file left by a process that was killed: the lock on the data directory says that nobody uses it.
  if (existsSync(path)) rmSync(path);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serveLocal(dataPlane, socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Serves a data plane to whoever is at the other end of one connection. */
export function serveLocal(dataPlane: DataPlane, socket: LocalSocket): void {
  socket.on('error', () => socket.destroy());
  const send = (message: FromDataPlane): void => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
  };
  let greeted = false;
  send({ hello: localProtocolVersion });
  const stopListening = dataPlane.onEvent((event) => send({ event }));
  socket.on('close', stopListening);
  readLines(socket, localLine_bytes, (line) => {
    const message = parse(line);
    if (message === undefined) return socket.destroy();
    if ('hello' in message) {
      greeted = typeof message.hello === 'number' && message.hello >= oldestLocalProtocolVersion;
      return greeted ? undefined : socket.destroy();
    }
    if (!greeted || typeof message.id !== 'number' || !isMethod(message.method) || !Array.isArray(message.params))
      return socket.destroy();
    const { id, method, params } = message;
    const call = dataPlane[method] as (...args: unknown[]) => Promise<unknown>;
    void Promise.resolve()
      // JSON has no undefined: an absent argument travels as null.
      .then(() =>
        call.apply(
          dataPlane,
          params.map((param: unknown) => param ?? undefined),
        ),
      )
      .then(
        (result) => send({ id, result: result ?? null }),
        (error: unknown) => send({ id, error: toWire(error) }),
      );
  });
}

function parse(line: string): { hello?: unknown; id?: unknown; method?: unknown; params?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function toWire(error: unknown): WireError {
  if (isBlockError(error)) return { name: 'BlockError', code: error.code, message: error.message };
  return { name: 'Error', message: error instanceof Error ? error.message : String(error) };
}
