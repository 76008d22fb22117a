import type { Clock } from '@antipode/base';
import { transferLimits } from './limits.ts';
import type { Link, Links } from './link.ts';
import { LinkLost } from './link-lost.ts';
import { channelVersion, oldestChannelVersion } from './protocol.ts';
import { ShipRefused } from './shipment.ts';
import type { PeerEndpoint } from './types.ts';

/** Connects to a peer's data listener and greets. Rejects with LinkLost, Untrusted or ShipRefused; `signal` gives up. */
export async function connectLink(
  links: Links,
  peer: PeerEndpoint,
  serial: string,
  clock: Clock,
  signal?: AbortSignal,
): Promise<Link> {
  const link = await links.connect(peer, signal);
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
