import { createConnection, createServer, type Server, type Socket } from 'node:net';
import type { HostPort } from '@antipode/cluster';
import { limits } from '../../limits.ts';
import type { Lane } from './lane.ts';
import { reset, resetBehind } from './reset.ts';

export interface ForwarderOptions {
  readonly listen: HostPort;
  readonly target: HostPort;
  /** From the one who connects to the target, and back. */
  readonly forth: Lane;
  readonly back: Lane;
}

/** Carries TCP connections from one address to another through two lanes of the link. */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #cut = false;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    // The listener stays while the link is cut, so that nobody else can take the port; what connects is reset at once.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => this.#carry(near));
  }

  start(): Promise<HostPort> {
    const { host, port } = this.#options.listen;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        const address = this.#server.address();
        resolve({ host, port: typeof address === 'object' && address !== null ? address.port : port });
      });
    });
  }

  /** Open connections, both ends counted once. */
  get connections(): number {
    return Math.ceil([...this.#open].filter((socket) => !socket.destroyed).length / 2);
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#open) reset(socket);
  }

  heal(): void {
    this.#cut = false;
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    if (!this.#server.listening) return;
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #carry(near: Socket): void {
    near.on('error', () => near.destroy());
    if (this.#cut) {
      reset(near);
      return;
    }
    const { host, port } = this.#options.target;
    const far = createConnection({ host, port, allowHalfOpen: true, noDelay: true });
    for (const socket of [near, far]) {
      this.#open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#open.delete(socket));
    }
    pump(near, far, this.#options.forth);
    pump(far, near, this.#options.back);
  }
}

/** Moves one direction of one connection: reads no more than the window ahead of what the other side has taken. */
function pump(from: Socket, to: Socket, lane: Lane): void {
  let waiting_bytes = 0;
  const tryRead = (): void => {
    if (waiting_bytes + to.writableLength > limits.linkWindow_bytes) from.pause();
    else from.resume();
  };
  from.on('data', (chunk: Buffer) => {
    waiting_bytes += chunk.length;
    lane.send(chunk.length, () => {
      waiting_bytes -= chunk.length;
      if (to.destroyed) return;
      to.write(chunk, tryRead);
    });
    tryRead();
  });
  from.on('end', () => {
    lane.send(0, () => {
      if (!to.destroyed) to.end();
    });
  });
  // An end without a goodbye travels like everything else: behind what was sent before.
  from.on('close', (hadError) => {
    if (from.readableEnded && !hadError) return;
    lane.send(0, () => resetBehind(to));
  });
}
