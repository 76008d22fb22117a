import type { HostPort } from '@antipode/cluster/parts';
import { type CallPeer, driverLimits, envelopeOf, PeerUnreachable, readPeerAnswer } from '@antipode/cluster/parts';
import { type DataNetwork, LinkLost, type PeerConnection } from '@antipode/replication';
import type { Life } from './life.ts';
import { Path } from './path.ts';
import type { Scheduler } from './scheduler.ts';
import { SimulatedSocket } from './simulated-socket.ts';

/** A place on the network: what listens there now. */
export interface Station {
  readonly fingerprint: string;
  /** Answers a message of the management channel; absent: nobody listens. */
  answer?: (fingerprint: string, text: string) => Promise<{ readonly status: number; readonly answer: object }>;
  /** Takes a data connection; absent: nobody listens. */
  accept?: { readonly life: Life; readonly taken: (connection: PeerConnection) => void };
}

const connect_ms = 8_000;
const saidMost = 256;
const offersMost = 64;

/** A message that has arrived. */
interface Said {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** Whether a message asks for a session's copy to be kept. */
export const isOffer = (text: string): boolean => text.includes('"kind":"offer');

/** The links between the sites of a world, each direction for itself. Sites are known by their index, which is also their port. */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #fraction: () => number;
  readonly #paths = new Map<string, Path>();
  readonly stations: Station[] = [];
  /** Hears of every message that arrives. */
  onMessage: (from: number, to: number, text: string, copy: 'first' | 'again') => void = () => undefined;
  /** Wraps the answering of a message that comes again. */
  around: (to: number, copy: 'first' | 'again', text: string, work: () => Promise<unknown>) => Promise<unknown> = (
    _to,
    _copy,
    _text,
    work,
  ) => work();
  counts = { messages: 0, again: 0, replayed: 0, connections: 0 };
  /** Messages about sessions that have arrived, the newest last, bounded. */
  readonly #said: Said[] = [];
  /** Those among them that sessions begin with. */
  readonly #offers: Said[] = [];

  constructor(scheduler: Scheduler, fraction: () => number) {
    this.#scheduler = scheduler;
    this.#fraction = fraction;
  }

  path(from: number, to: number): Path {
    const key = `${from}>${to}`;
    let path = this.#paths.get(key);
    if (path === undefined) {
      path = new Path(this.#scheduler, this.#fraction);
      this.#paths.set(key, path);
    }
    return path;
  }

  paths(): readonly Path[] {
    return [...this.#paths.values()];
  }

  /** The management channel's calling end, for a process at a site. */
  calls(from: number, life: Life): CallPeer {
    return (_peer, address) => ({
      ask: (request, timeout_ms = driverLimits.peerAnswer_ms) =>
        new Promise((resolve, reject) => {
          if (!life.step()) return;
          const to = siteAt(address());
          const give = (work: () => void) => {
            timer.cancel();
            if (life.alive) work();
          };
          const timer = this.#scheduler.after(timeout_ms, () =>
            give(() => reject(new PeerUnreachable('no answer in time'))),
          );
          const text = envelopeOf(request);
          this.path(from, to).post((copy) => {
            void this.#deliver(from, to, text, copy, (status, body) => {
              if (status !== 200) return give(() => reject(new PeerUnreachable(`the peer answered ${status}`)));
              const answer = readPeerAnswer(body);
              if (answer === undefined)
                give(() => reject(new PeerUnreachable('the peer answered with something else than this protocol')));
              else give(() => resolve(answer));
            });
          });
        }),
      close: () => undefined,
    });
  }

  async #deliver(
    from: number,
    to: number,
    text: string,
    copy: 'first' | 'again',
    answered: (status: number, body: string) => void,
  ): Promise<void> {
    const back = this.path(to, from);
    const { answer } = this.stations[to]!;
    if (answer === undefined) return back.post(() => answered(503, ''));
    this.counts.messages += 1;
    if (copy === 'again') this.counts.again += 1;
    else if (text.includes('"session":')) this.#said.push({ from, to, text });
    if (this.#said.length > saidMost) this.#said.shift();
    if (copy === 'first' && isOffer(text)) this.#offers.push({ from, to, text });
    if (this.#offers.length > offersMost) this.#offers.shift();
    this.onMessage(from, to, text, copy);
    try {
      const given = (await this.around(to, copy, text, () => answer(this.stations[from]!.fingerprint, text))) as {
        readonly status: number;
        readonly answer: object;
      };
      const body = JSON.stringify(given.answer);
      back.post(() => answered(given.status, body));
    } catch {
      back.post(() => answered(500, ''));
    }
  }

  /** A message that had arrived, minutes or days ago, arrives once more. `share`: which of those that are known, 1 is the newest. */
  replay(share: number): void {
    const message = this.#said[Math.floor(share * this.#said.length)];
    if (message === undefined) return;
    this.#again(message);
  }

  /** What a session at a site began with, if it began there by being offered, arrives once more. */
  replayOffer(to: number, session: string): void {
    const offer = this.#offers.find((said) => said.to === to && said.text.includes(session));
    if (offer !== undefined) this.#again(offer);
  }

  #again({ from, to, text }: Said): void {
    this.counts.replayed += 1;
    void this.#deliver(from, to, text, 'again', () => undefined);
  }

  /** Data connections of a process at a site. */
  dataNetwork(at: number, life: Life): DataNetwork {
    return {
      connect: (peer, _identity, clock, signal) =>
        new Promise((resolve, reject) => {
          const lost = (reason: string) => reject(new LinkLost(reason));
          if (signal?.aborted) return lost('the attempt was given up');
          const to = siteAt(peer);
          const [out, back] = [this.path(at, to), this.path(to, at)];
          let settled = false;
          const settle = (work: () => void) => {
            if (settled || !life.alive) return;
            settled = true;
            deadline.cancel();
            work();
          };
          const deadline = clock.after(connect_ms, () => settle(() => lost('the peer did not answer in time')));
          signal?.addEventListener('abort', () => settle(() => lost('the attempt was given up')), { once: true });
          out.carry(0, () => {
            const { accept, fingerprint } = this.stations[to]!;
            if (accept === undefined || !accept.life.alive)
              return back.carry(0, () => settle(() => lost('the connection was refused')));
            this.counts.connections += 1;
            const [near, far] = SimulatedSocket.pair(
              this.#scheduler,
              { life, path: out },
              { life: accept.life, path: back },
            );
            this.track(life, near);
            this.track(accept.life, far);
            accept.taken({ socket: far, fingerprint: this.stations[at]!.fingerprint });
            back.carry(0, () => {
              if (settled || !life.alive) return near.destroy();
              settle(() => resolve({ socket: near, fingerprint }));
            });
          });
        }),
      listener: (_identity, taken) => ({
        listen: async (address) => {
          this.stations[at]!.accept = { life, taken };
          return address;
        },
        close: async () => {
          if (this.stations[at]!.accept?.life === life) delete this.stations[at]!.accept;
          this.hangUp(life);
        },
      }),
    };
  }

  readonly #sockets = new Map<Life, Set<SimulatedSocket>>();

  track(life: Life, socket: SimulatedSocket): void {
    const known = this.#sockets.get(life) ?? new Set();
    this.#sockets.set(life, known.add(socket));
    socket.on('close', () => known.delete(socket));
  }

  /** The kernel closes what a process that ended has left open. */
  hangUp(life: Life): void {
    for (const socket of this.#sockets.get(life) ?? []) socket.destroy();
    this.#sockets.delete(life);
  }
}

export const siteAt = (address: HostPort): number => address.port - 1;
export const addressOf = (site: number): HostPort => ({ host: '192.0.2.1', port: site + 1 });
