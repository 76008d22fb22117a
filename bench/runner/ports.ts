import { connect, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export const loopback = '127.0.0.1';

/** A TCP port of the loopback address that nobody uses. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, loopback, () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}

/** Resolves when something accepts connections at a port. @throws when nothing does within `most_ms`. */
export async function waitForPort(port: number, signal: AbortSignal, most_ms = 10_000): Promise<void> {
  const until_ms = performance.now() + most_ms;
  while (!(await accepts(port))) {
    signal.throwIfAborted();
    if (performance.now() > until_ms) throw new Error(`nothing listens at port ${port}`);
    await pause(10);
  }
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, loopback);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });

/** The first of so many ports in a row that nobody uses. */
export async function freeStretch(length: number): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const first = await freePort();
    if (first + length > 65_535) continue;
    const taken = await Promise.all(Array.from({ length }, (_, index) => accepts(first + index)));
    if (!taken.includes(true)) return first;
  }
  throw new Error('no free ports');
}
