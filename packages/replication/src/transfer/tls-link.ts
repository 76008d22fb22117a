import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { Clock } from '@antipode/base';
import { FrameLink, LinkLost } from './frame-link.ts';
import { transferLimits } from './limits.ts';
import { channelVersion, oldestChannelVersion } from './protocol.ts';
import { ShipRefused } from './shipment.ts';
import type { LinkIdentity, PeerEndpoint } from './types.ts';

/** The other end shows a certificate that was not exchanged at pairing. */
export class Untrusted extends Error {
  override name = 'Untrusted';
}

/** SHA-256 of the certificate that the other end shows, lower-case hex; empty when it shows none. */
export const shownFingerprint = (socket: TLSSocket): string =>
  plainFingerprint(socket.getPeerCertificate().fingerprint256 ?? '');
/** A fingerprint as it is compared: lower-case hex without colons. */
export const plainFingerprint = (fingerprint: string): string => fingerprint.replaceAll(':', '').toLowerCase();

/** Connects to a peer's data listener: TLS 1.3, both certificates pinned, greeted. Rejects with LinkLost, Untrusted or ShipRefused; `signal` gives up. */
export async function connectLink(
  peer: PeerEndpoint,
  identity: LinkIdentity,
  serial: string,
  clock: Clock,
  signal?: AbortSignal,
): Promise<FrameLink> {
  const socket = await open(peer, identity, clock, signal);
  if (shownFingerprint(socket) !== plainFingerprint(peer.fingerprint)) {
    socket.destroy();
    throw new Untrusted('the peer’s data connection shows another certificate than the one exchanged');
  }
  const link = new FrameLink(socket, clock);
  const deadline = clock.after(transferLimits.connect_ms, () =>
    link.close(new LinkLost('the peer did not greet in time')),
  );
  const abort = () => link.close(new LinkLost('the attempt was given up'));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await link.send({ type: 'hello', oldest: oldestChannelVersion, newest: channelVersion, serial });
    const { message } = await link.next();
    if (message.type === 'refused') throw new ShipRefused(message.code, message.message);
    if (message.type !== 'hello') throw new LinkLost('the peer did not greet');
    if (message.newest < oldestChannelVersion || message.oldest > channelVersion) {
      const theirs = `the peer speaks versions ${message.oldest} to ${message.newest} of the data channel`;
      throw new ShipRefused(
        'protocol_mismatch',
        `${theirs}, this cluster ${oldestChannelVersion} to ${channelVersion}`,
      );
    }
    return link;
  } catch (error) {
    link.close();
    throw error;
  } finally {
    deadline.cancel();
    signal?.removeEventListener('abort', abort);
  }
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
