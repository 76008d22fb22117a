import { createServer } from 'node:net';

/** Ports below those that the system gives to outgoing connections, a part of them for each worker of the test runner. */
const first = 20_000;
const parts = 8;
const each = 1_500;

/**
 * The first of `count` ports in a row that are free now. They are taken only later: files of tests that start side by side would choose the
 * same ones now and then, and so each worker has its own to choose from.
 */
export async function freePorts(count: number): Promise<number> {
  const part = Number(process.env.VITEST_POOL_ID ?? 0) % parts;
  for (let attempt = 0; attempt < 50; attempt++) {
    const base = first + part * each + Math.floor(Math.random() * (each - count));
    const free = await Promise.all(Array.from({ length: count }, (_, index) => isFree(base + index)));
    if (free.every(Boolean)) return base;
  }
  throw new Error('no free ports');
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
