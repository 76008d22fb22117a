import type { AddressInfo, Socket } from 'node:net';
import { createServer, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { systemClock } from '@antipode/base';
import type { DataNetwork } from './data-network.ts';
import { transferLimits } from './limits.ts';
import { plainFingerprint } from './link.ts';
import { LinkLost } from './link-lost.ts';

/** Who the other end is; nobody, if its certificate has expired: by the time that TLS goes by, as on the management channel. */
function shownFingerprint(socket: TLSSocket): string {
  const { fingerprint256, valid_to } = socket.getPeerCertificate();
  return Date.parse(valid_to) > systemClock.now() ? plainFingerprint(fingerprint256) : '';
}

/** Data connections over TLS 1.3 with certificates at both ends. */
export const tlsNetwork: DataNetwork = {
  connect: (peer, identity, clock, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new LinkLost('the attempt was given up'));
      const socket = tlsConnect({
        host: peer.host,
        port: peer.port,
        cert: identity.certificate,
        key: identity.privateKey,
        // Self-signed on purpose: the pin is compared by the caller before a byte is used.
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
      });
      const deadline = clock.after(transferLimits.connect_ms, () =>
        socket.destroy(new LinkLost('the peer did not answer in time')),
      );
      const abort = () => socket.destroy(new LinkLost('the attempt was given up'));
      signal?.addEventListener('abort', abort, { once: true });
      const settle = () => {
        deadline.cancel();
        signal?.removeEventListener('abort', abort);
      };
      const fail = (error?: Error) => {
        settle();
        socket.destroy();
        reject(error instanceof LinkLost ? error : new LinkLost(error?.message ?? 'the connection was closed'));
      };
      socket.once('error', fail);
      socket.once('close', () => fail());
      socket.once('secureConnect', () => {
        settle();
        socket.removeAllListeners('error');
        socket.removeAllListeners('close');
        resolve({ socket, fingerprint: shownFingerprint(socket) });
      });
    }),

  listener(identity, taken) {
    const sockets = new Set<Socket>();
    const server = createServer({
      cert: identity.certificate,
      key: identity.privateKey,
      requestCert: true,
      // Certificates are self-signed; the pin is the check, before a byte is read.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      handshakeTimeout: transferLimits.connect_ms,
    });
    server.maxConnections = 1024;
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    server.on('secureConnection', (socket: TLSSocket) => taken({ socket, fingerprint: shownFingerprint(socket) }));
    server.on('tlsClientError', (_error, socket) => void socket.destroy());
    return {
      listen: ({ host, port }) =>
        new Promise((resolve, reject) => {
          server.once('error', reject);
          server.listen(port, host, () => resolve({ host, port: (server.address() as AddressInfo).port }));
        }),
      close: () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          for (const socket of sockets) socket.destroy();
        }),
    };
  },
};
