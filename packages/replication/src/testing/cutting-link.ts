import { type AddressInfo, createServer, connect as netConnect, type Socket } from 'node:net';
import type { PeerEndpoint } from '../transfer/types.ts';

/** A way to a peer that breaks: the n-th connection ends after the n-th allowance of bytes, later ones hold. */
export interface CuttingLink {
  readonly endpoint: PeerEndpoint;
  /** Where connections to come lead, once the peer listens elsewhere. */
  lead(to: PeerEndpoint): void;
  /** Bytes that the next connections may carry towards the peer. */
  cutAfter(allowances: readonly number[]): void;
  close(): Promise<void>;
}

export async function cuttingLink(first: PeerEndpoint): Promise<CuttingLink> {
  const sockets = new Set<Socket>();
  let to = first;
  let allowances: number[] = [];
  const server = createServer((near) => {
    let left = allowances.shift() ?? Number.POSITIVE_INFINITY;
    const far = netConnect(to.port, to.host);
    for (const end of [near, far]) {
      sockets.add(end);
      end.on('error', () => end.destroy());
      end.on('close', () => {
        sockets.delete(end);
        near.destroy();
        far.destroy();
      });
    }
    far.pipe(near);
    near.on('data', (chunk) => {
      left -= chunk.length;
      if (left < 0) return void near.destroy();
      if (far.write(chunk)) return;
      near.pause();
      far.once('drain', () => near.resume());
    });
    near.on('end', () => far.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: { ...first, host: '127.0.0.1', port },
    lead: (next) => {
      to = next;
    },
    cutAfter: (next) => {
      allowances = [...next];
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
