import { Agent, request as httpsRequest } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { plainFingerprint } from '@antipode/replication';
import type { HostPort } from '../config.ts';
import { driverLimits } from './limits.ts';
import type { CallPeer, PeerCaller, TrustedPeer } from './peer-network.ts';
import { envelopeOf, readPeerAnswer } from './peer-schema.ts';
import type { PeerAnswer, PeerRequest } from './peer-wire.ts';
import { PeerUnreachable } from './step-runner.ts';

/** Calls peers over HTTPS as the owner of `identity`. */
export const httpsCalls =
  (identity: { readonly certificate: string; readonly privateKey: string }): CallPeer =>
  (peer, address) =>
    new PeerClient(peer, identity, address);

class PeerClient implements PeerCaller {
  readonly #agent: Agent;
  readonly #peer: TrustedPeer;
  readonly #address: () => HostPort;

  constructor(
    peer: TrustedPeer,
    identity: { readonly certificate: string; readonly privateKey: string },
    address: () => HostPort,
  ) {
    this.#peer = peer;
    this.#address = address;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 8,
      cert: identity.certificate,
      key: identity.privateKey,
      // The peer's own certificate is the only authority, and its fingerprint is compared as well: that is the pin.
      ca: [peer.certificate],
      checkServerIdentity: () => undefined,
      minVersion: 'TLSv1.3',
      // A resumed session carries no certificate to compare with the pin.
      maxCachedSessions: 0,
    });
  }

  ask(request: PeerRequest, timeout_ms: number = driverLimits.peerAnswer_ms): Promise<PeerAnswer> {
    const text = envelopeOf(request);
    const { host, port } = this.#address();
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => reject(new PeerUnreachable(reason));
      const call = httpsRequest(
        {
          agent: this.#agent,
          host,
          port,
          method: 'POST',
          path: '/peer',
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
          signal: AbortSignal.timeout(timeout_ms),
        },
        (response) => {
          const shown = plainFingerprint((response.socket as TLSSocket).getPeerCertificate().fingerprint256 ?? '');
          if (shown !== plainFingerprint(this.#peer.fingerprint)) {
            response.destroy();
            return fail('the peer shows another certificate than the one exchanged');
          }
          const parts: Buffer[] = [];
          let length = 0;
          response.on('data', (part: Buffer) => {
            length += part.length;
            if (length > driverLimits.peerMessage_bytes) response.destroy(new Error('answer too long'));
            else parts.push(part);
          });
          response.on('error', (error) => fail(error.message));
          response.on('end', () => {
            if (response.statusCode !== 200) return fail(`the peer answered ${response.statusCode}`);
            const answer = readPeerAnswer(Buffer.concat(parts).toString('utf8'));
            if (answer === undefined) fail('the peer answered with something else than this protocol');
            else resolve(answer);
          });
        },
      );
      call.on('error', (error: NodeJS.ErrnoException) => fail(reasonOf(error)));
      call.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** TLS speaks of authorities, where an operator has to hear that somebody else answered. */
const reasonOf = ({ code = '', message }: NodeJS.ErrnoException): string =>
  /SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/.test(code)
    ? 'the peer shows another certificate than the one exchanged'
    : message;
