import type { Clock } from '@antipode/base';
import type { Pairing } from './pairing.ts';
import type { TrustedPeer } from './peer-network.ts';
import type { Hello, PeerAnswer, PeerRequest } from './peer-wire.ts';
import type { RemoteSystems, TrustStore } from './remote-systems.ts';
import type { Sessions } from './sessions.ts';

export interface PeerAnswersDeps {
  readonly clock: Clock;
  readonly remotes: RemoteSystems;
  readonly trust: TrustStore;
  readonly sessions: Sessions;
  readonly pairing: Pairing;
  readonly hello: () => Hello;
}

const refused = (message: string): PeerAnswer => ({ kind: 'refused', code: '', message, arguments: [] });

/** Answers the requests of paired clusters. Who asks is known from its certificate, never from what it says. */
export function peerAnswers(deps: PeerAnswersDeps): (from: TrustedPeer, request: PeerRequest) => Promise<PeerAnswer> {
  const { remotes, sessions, pairing } = deps;
  return async (from, request) => {
    if (request.kind === 'pair') {
      const trusted = deps.trust.list().find((record) => record.serial === from.serial);
      if (trusted === undefined || request.identity.serial !== from.serial)
        return refused('this certificate belongs to another cluster');
      pairing.paired(trusted, request.identity, request.latency);
      return { kind: 'done' };
    }
    const remote = remotes.bySerial(from.serial);
    if (remote === undefined)
      return request.kind === 'hello' ? { kind: 'hello', hello: deps.hello() } : refused('the clusters are not paired');
    remotes.heard(remote.id);
    switch (request.kind) {
      case 'hello':
        if (request.lost) sessions.lostByPeer(remote);
        return { kind: 'hello', hello: deps.hello() };
      case 'unpair':
        pairing.unpaired(from.serial);
        return { kind: 'done' };
      default:
        return (await sessions.answer(remote, request)) ?? refused('the request is not understood');
    }
  };
}
