import type { Clock } from '@antipode/base';
import type { DataNetwork } from './data-network.ts';
import { FrameLink, LinkLost } from './frame-link.ts';
import { transferLimits } from './limits.ts';
import { channelVersion, oldestChannelVersion } from './protocol.ts';
import { ShipRefused } from './shipment.ts';
import { plainFingerprint, tlsNetwork } from './tls-network.ts';
import type { LinkIdentity, PeerEndpoint } from './types.ts';

/** The other end shows a certificate that was not exchanged at pairing. */
export class Untrusted extends Error {
  override name = 'Untrusted';
}

/** Connects to a peer's data listener: both certificates pinned, greeted. Rejects with LinkLost, Untrusted or ShipRefused; `signal` gives up. */
export async function connectLink(
  peer: PeerEndpoint,
  identity: LinkIdentity,
  serial: string,
  clock: Clock,
  signal?: AbortSignal,
  network: DataNetwork = tlsNetwork,
): Promise<FrameLink> {
  const { socket, fingerprint } = await network.connect(peer, identity, clock, signal);
  if (fingerprint !== plainFingerprint(peer.fingerprint)) {
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
