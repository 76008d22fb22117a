import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { selfSignedCertificate } from '@antipode/client/testing';
import { loopback } from '../runner/ports.ts';

const piece = 2 ** 20;

/** Sends bytes from this process to itself over a socket of the loopback address, in pieces of 1 MiB; resolves when all have come. */
export async function streamOver(kind: 'tcp' | 'tls', bytes: number): Promise<void> {
  const keys = selfSignedCertificate();
  const server = kind === 'tcp' ? createServer() : createTlsServer({ ...keys, minVersion: 'TLSv1.3' });
  const received = new Promise<void>((resolve, reject) => {
    server.on(kind === 'tcp' ? 'connection' : 'secureConnection', (socket: Socket | TLSSocket) => {
      let left = bytes;
      socket.on('data', (chunk: Buffer) => {
        left -= chunk.length;
        if (left <= 0) resolve();
      });
      socket.once('error', reject);
    });
  });
  server.listen(0, loopback);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket =
    kind === 'tcp'
      ? connect(port, loopback)
      : connectTls({ host: loopback, port, ca: keys.cert, checkServerIdentity: () => undefined });
  try {
    await once(socket, kind === 'tcp' ? 'connect' : 'secureConnect');
    const payload = Buffer.alloc(piece, 7);
    for (let sent = 0; sent < bytes; sent += piece)
      if (!socket.write(payload.subarray(0, Math.min(piece, bytes - sent)))) await once(socket, 'drain');
    await received;
  } finally {
    socket.destroy();
    server.close();
  }
}
