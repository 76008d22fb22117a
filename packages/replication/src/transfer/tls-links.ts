import type { AddressInfo, Socket } from 'node:net';
import { createServer, type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { Clock } from '@antipode/base';
import { FrameLink } from './frame-link.ts';
import { transferLimits } from './limits.ts';
import { type Links, type Listener, plainFingerprint, Untrusted } from './link.ts';
import { LinkLost } from './link-lost.ts';
import type { LinkIdentity, PeerEndpoint } from './types.ts';

/** SHA-256 of the certificate that the other end shows, plain; empty when it shows none. */
const shownFingerprint = (socket: TLSSocket): string =>
  plainFingerprint(socket.getPeerCertificate().fingerprint256 ?? '');

/** Links that are encrypted on the calling thread. */
export function tlsLinks(identity: LinkIdentity, clock: Clock): Links {
  return {
    async connect(peer, signal) {
      const socket = await open(peer, identity, clock, signal);
      if (shownFingerprint(socket) !== plainFingerprint(peer.fingerprint)) {
        socket.destroy();
        throw new Untrusted('the peer’s data connection shows another certificate than the one exchanged');
      }
      return new FrameLink(socket, clock);
    },
    listen({ host, port }, trusted, taken) {
      const sockets = new Set<Socket>();
      const server = createServer({
        cert: identity.certificate,
        key: identity.privateKey,
        requestCert: true,
        // Certificates are self-signed; the pin below is the check, before a byte is read.
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
        handshakeTimeout: transferLimits.connect_ms,
      });
      server.maxConnections = 1024;
      server.on('connection', (socket: Socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
      });
      const admit = async (socket: TLSSocket) => {
        // Nobody may have it yet to hear that it is gone.
        socket.on('error', () => undefined);
        const shown = shownFingerprint(socket);
        if (shown === '' || !(await trusted(shown)) || socket.destroyed) return void socket.destroy();
        taken(new FrameLink(socket, clock), shown);
      };
      server.on('secureConnection', (socket: TLSSocket) => void admit(socket));
      server.on('tlsClientError', (_error, socket) => void socket.destroy());
      return new Promise<Listener>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, () =>
          resolve({
            host,
            port: (server.address() as AddressInfo).port,
            close: () =>
              new Promise((closed) => {
                server.close(() => closed());
                for (const socket of sockets) socket.destroy();
              }),
          }),
        );
      });
    },
  };
}

function open(
  peer: PeerEndpoint,
  identity: LinkIdentity,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
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
      resolve(socket);
    });
  });
}
