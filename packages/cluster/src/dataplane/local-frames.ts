import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import type { Others } from '@antipode/replication';
import { frameSocket } from '../supervisor/data-dir.ts';

/** Frames of replicated data between the data planes of one cluster, over Unix sockets whose directory is the cluster's own. */
export async function localFrames(
  appliance: string,
  others: readonly string[],
): Promise<{ readonly others: Others; close(): Promise<void> }> {
  let listener: ((socket: Socket) => void) | undefined;
  const sockets = new Set<Socket>();
  const path = frameSocket(appliance);
  // Left by a process that was killed: the lock on the data directory says that nobody uses it.
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    if (listener === undefined) return void socket.destroy();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    listener(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return {
    others: {
      connect: others.map((id) => () => connected(frameSocket(id))),
      take: (next) => {
        listener = next;
      },
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Rejects with the system's error when nobody listens. */
function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}
