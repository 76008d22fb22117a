import type { Clock } from '@antipode/base';
import type { DataNetwork, PeerSocket } from './data-network.ts';
import { FrameLink } from './frame-link.ts';
import { type Links, plainFingerprint, Untrusted } from './link.ts';
import { tlsNetwork } from './tls-network.ts';
import type { LinkIdentity } from './types.ts';

/** Links over a network's connections, on the calling thread. */
export function frameLinks(network: DataNetwork, identity: LinkIdentity, clock: Clock): Links {
  return {
    async connect(peer, signal) {
      const { socket, fingerprint } = await network.connect(peer, identity, clock, signal);
      if (fingerprint !== plainFingerprint(peer.fingerprint)) {
        socket.destroy();
        throw new Untrusted('the peer’s data connection shows another certificate than the one exchanged');
      }
      return new FrameLink(socket, clock);
    },
    async listen(address, trusted, taken) {
      const listener = network.listener(identity, ({ socket, fingerprint }) => {
        const settle = (welcome: boolean): void => {
          if (welcome) taken(new FrameLink(socket, clock), fingerprint);
          else socket.destroy();
        };
        const welcome = fingerprint !== '' && trusted(fingerprint);
        if (typeof welcome === 'boolean') settle(welcome);
        else void stillThere(socket, welcome).then(settle);
      });
      const bound = await listener.listen(address);
      return { ...bound, close: () => listener.close() };
    },
  };
}

/** Links that are encrypted on the calling thread. */
export const tlsLinks = (identity: LinkIdentity, clock: Clock): Links => frameLinks(tlsNetwork, identity, clock);

/** The answer, unless the connection is gone by then. */
async function stillThere(socket: PeerSocket, answer: Promise<boolean>): Promise<boolean> {
  let gone = false;
  // Nobody has it yet who would hear of it.
  socket.on('error', () => undefined);
  socket.once('close', () => {
    gone = true;
  });
  return (await answer) && !gone;
}
