import { Worker } from 'node:worker_threads';
import { encodeFrame, type Frame } from './frame-codec.ts';
import { transferLimits } from './limits.ts';
import { type Link, type Links, type Listener, Untrusted } from './link.ts';
import { LinkLost } from './link-lost.ts';
import { type ChannelMessage, channelVersion } from './protocol.ts';
import type { FromLinkThread, LinkThreadData, ThreadError, ToLinkThread } from './thread-messages.ts';
import type { LinkIdentity } from './types.ts';

/** Links whose sockets and encryption are on a thread of their own [C9.2]. */
export interface LinkThread extends Links {
  /** Ends the thread and every link. */
  close(): Promise<void>;
}

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** Starts the thread. A thread that fails is a programmer's error: it ends the process, which is started again. */
export function startLinkThread(identity: LinkIdentity): LinkThread {
  const worker = new Worker(new URL(`./link-worker.${extension}`, import.meta.url), {
    name: 'links',
    workerData: { identity } satisfies LinkThreadData,
    // From source (tests) the workspace's packages are taken from source as well.
    execArgv: extension === 'ts' ? ['--conditions=source'] : [],
  });
  const links = new Map<number, ThreadLink>();
  const listeners = new Map<number, ThreadListener>();
  let last = 0;
  const say = (message: ToLinkThread): void => worker.postMessage(message);
  const make = (number: number): ThreadLink => {
    const link = new ThreadLink(number, say);
    links.set(number, link);
    return link;
  };
  worker.on('message', (message: FromLinkThread) => {
    switch (message.kind) {
      case 'frame':
        return links.get(message.link)?.arrived(message);
      case 'sent':
        return links.get(message.link)?.sent(message.id);
      case 'connected':
        return links.get(message.link)?.connected?.();
      case 'ended':
        links.get(message.link)?.ended(revived(message.error));
        return void links.delete(message.link);
      case 'knock': {
        const answer = (trusted: boolean) => say({ kind: 'answer', knock: message.knock, trusted });
        const trusted = listeners.get(message.listener)?.trusted(message.from) ?? false;
        return void Promise.resolve(trusted).then(answer, () => answer(false));
      }
      case 'accepted':
        return listeners.get(message.listener)?.taken(make(message.link), message.from);
      case 'listening':
        return listeners.get(message.listener)?.listening(message.port);
      case 'not_listening':
        listeners.get(message.listener)?.failed(revived(message.error));
        return void listeners.delete(message.listener);
      case 'unlistened':
        listeners.get(message.listener)?.unlistened();
        return void listeners.delete(message.listener);
    }
  });
  worker.on('error', (error) => {
    throw error;
  });
  return {
    connect(peer, signal) {
      if (signal?.aborted) return Promise.reject(new LinkLost('the attempt was given up'));
      const number = ++last;
      const link = make(number);
      return new Promise<Link>((resolve, reject) => {
        const abort = () => link.close(new LinkLost('the attempt was given up'));
        signal?.addEventListener('abort', abort, { once: true });
        const settle = () => signal?.removeEventListener('abort', abort);
        link.connected = () => {
          settle();
          resolve(link);
        };
        link.onEnded = (error) => {
          settle();
          reject(error);
        };
        say({ kind: 'connect', link: number, peer });
      });
    },
    listen({ host, port }, trusted, taken) {
      const listener = ++last;
      return new Promise<Listener>((resolve, reject) => {
        let unlistened = (): void => undefined;
        listeners.set(listener, {
          trusted,
          taken,
          failed: reject,
          unlistened: () => unlistened(),
          listening: (bound) =>
            resolve({
              host,
              port: bound,
              close: () =>
                new Promise<void>((closed) => {
                  unlistened = closed;
                  say({ kind: 'unlisten', listener });
                }),
            }),
        });
        say({ kind: 'listen', listener, host, port });
      });
    },
    async close() {
      for (const link of links.values()) link.close();
      await worker.terminate();
    },
  };
}

interface ThreadListener {
  readonly trusted: Parameters<Links['listen']>[1];
  readonly taken: Parameters<Links['listen']>[2];
  listening(port: number): void;
  failed(error: Error): void;
  unlistened(): void;
}

/** A link as the ordering thread has it: what is sent and what has come pass by reference. */
class ThreadLink implements Link {
  connected: (() => void) | undefined;
  onEnded: ((error: Error) => void) | undefined;
  readonly #number: number;
  readonly #say: (message: ToLinkThread) => void;
  #ended: Error | undefined;
  readonly #frames: Frame[] = [];
  #waiting: { resolve: (frame: Frame) => void; reject: (error: Error) => void } | undefined;
  /** Sent and not yet taken by the socket. */
  readonly #unsent = new Map<number, { readonly bytes: number; readonly taken: (() => void) | undefined }>();
  #unsent_bytes = 0;
  #lastSent = 0;
  #room: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #gone: (() => void)[] | undefined = [];

  constructor(number: number, say: (message: ToLinkThread) => void) {
    this.#number = number;
    this.#say = say;
  }

  get closed(): boolean {
    return this.#ended !== undefined;
  }

  get waiting(): boolean {
    return this.#frames.length > 0;
  }

  send(message: ChannelMessage, payload?: Uint8Array, taken?: () => void): void | Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    const head = encodeFrame(message, payload?.length ?? 0, channelVersion);
    const bytes = head.length + (payload?.length ?? 0);
    const id = ++this.#lastSent;
    this.#unsent.set(id, { bytes, taken });
    this.#unsent_bytes += bytes;
    this.#say({ kind: 'send', link: this.#number, id, head, ...(payload !== undefined && { payload }) });
    if (this.#unsent_bytes < transferLimits.socket_bytes) return;
    return new Promise((resolve, reject) => this.#room.push({ resolve, reject }));
  }

  post(message: ChannelMessage): void {
    if (this.#ended !== undefined) return;
    if (this.#unsent_bytes > transferLimits.unread_bytes)
      return this.close(new LinkLost('the peer does not read what it is answered'));
    Promise.resolve(this.send(message)).catch(() => {
      // The link has ended meanwhile; whoever waits for a frame hears of it.
    });
  }

  next(): Promise<Frame> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  close(reason: Error = new LinkLost('the link was closed')): void {
    if (this.#ended !== undefined) return;
    this.#say({ kind: 'close', link: this.#number });
    this.#end(reason);
  }

  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#gone === undefined || this.#ended !== undefined) return resolve();
      this.#gone.push(resolve);
      this.#say({ kind: 'end', link: this.#number });
    });
  }

  // --- what the thread says -----------------------------------------------------------------------------------------

  arrived(from: Extract<FromLinkThread, { kind: 'frame' }>): void {
    const { message, payload, wire_bytes } = from;
    let held = true;
    const release = () => {
      if (held) this.#say({ kind: 'release', link: this.#number, frame: from.frame });
      held = false;
    };
    // Nothing lies in shared memory: there is nothing to hold.
    if (payload === undefined) release();
    if (this.#ended !== undefined) return release();
    const frame: Frame = { message, payload: payload ?? new Uint8Array(0), wire_bytes, release };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) waiting.resolve(frame);
    else this.#frames.push(frame);
  }

  sent(id: number): void {
    const sent = this.#unsent.get(id);
    if (sent === undefined) return;
    this.#unsent.delete(id);
    this.#unsent_bytes -= sent.bytes;
    sent.taken?.();
    if (this.#unsent_bytes < transferLimits.socket_bytes) for (const { resolve } of this.#room.splice(0)) resolve();
  }

  ended(error: Error): void {
    if (this.#ended === undefined) this.#end(error);
    for (const { taken } of this.#unsent.values()) taken?.();
    this.#unsent.clear();
    const gone = this.#gone;
    this.#gone = undefined;
    for (const resolve of gone ?? []) resolve();
  }

  #end(error: Error): void {
    this.#ended = error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    for (const { reject } of this.#room.splice(0)) reject(error);
    this.onEnded?.(error);
    this.onEnded = undefined;
  }
}

function revived({ name, message, code }: ThreadError): Error {
  if (name === 'LinkLost') return new LinkLost(message);
  if (name === 'Untrusted') return new Untrusted(message);
  return Object.assign(new Error(message), code !== undefined && { code });
}
