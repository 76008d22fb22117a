import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { NBD_NEGOTIATION_DEADLINE_ms } from '../limits.ts';
import { certificateNames } from './certificate-names.ts';
import type { NbdClientIdentity } from './exports.ts';

/** How connections are encrypted. Texts are PEM. */
export interface NbdTlsSetting {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** With it a client must show a certificate that this authority signed; without it none is asked for. */
  readonly clientCa?: string | Buffer;
  /** `required` (the rule): nothing is told or served before STARTTLS. `offered`: both kinds of client are served. */
  readonly mode?: 'required' | 'offered';
}

type Done = (result: { readonly socket: TLSSocket } | { readonly error: Error }) => void;

/**
 * Turns plain connections into encrypted ones in the middle of their life. One TLS server context serves all: it never
 * listens, it is handed sockets, and it tells them apart by their addresses.
 */
export class TlsUpgrader {
  readonly mode: 'required' | 'offered';
  readonly #server: Server;
  readonly #asksForCertificate: boolean;
  readonly #underWay = new Map<string, Done>();

  constructor(setting: NbdTlsSetting) {
    this.mode = setting.mode ?? 'required';
    this.#asksForCertificate = setting.clientCa !== undefined;
    this.#server = createServer({
      cert: setting.cert,
      key: setting.key,
      minVersion: 'TLSv1.2',
      handshakeTimeout: NBD_NEGOTIATION_DEADLINE_ms,
      ...(setting.clientCa === undefined ? {} : { ca: setting.clientCa, requestCert: true, rejectUnauthorized: true }),
    });
    this.#server.on('secureConnection', (socket) => this.#finish(socket, { socket }));
    this.#server.on('tlsClientError', (error, socket) => this.#finish(socket, { error }));
  }

  /** Starts the handshake on `raw`, which nobody reads any more; `done` is called at most once. */
  upgrade(raw: Socket, done: Done): void {
    const key = keyOf(raw);
    this.#underWay.set(key, done);
    raw.once('close', () => this.#underWay.delete(key));
    this.#server.emit('connection', raw);
  }

  /** What the handshake proved about the client. */
  authOf(socket: TLSSocket): NbdClientIdentity['auth'] {
    if (!this.#asksForCertificate) return { kind: 'tls' };
    const certificate = socket.getPeerX509Certificate();
    // Without a certificate of the authority the handshake has failed; this is the second lock on the same door.
    if (!socket.authorized || certificate === undefined) return { kind: 'tls' };
    const commonName = commonNameOf(certificate.subject);
    return {
      kind: 'certificate',
      commonName,
      names: certificateNames(commonName, certificate.subjectAltName),
      subject: certificate.subject,
      fingerprint256: certificate.fingerprint256,
    };
  }

  #finish(socket: TLSSocket, result: Parameters<Done>[0]): void {
    const key = keyOf(socket);
    const done = this.#underWay.get(key);
    this.#underWay.delete(key);
    if (done === undefined) socket.destroy();
    else done(result);
  }
}

const keyOf = (socket: Socket): string =>
  `${socket.localAddress} ${socket.localPort} ${socket.remoteAddress} ${socket.remotePort}`;

/** The subject comes as one attribute a line. */
function commonNameOf(subject: string): string {
  const line = subject.split('\n').find((text) => text.startsWith('CN='));
  return line === undefined ? '' : line.slice(3);
}
