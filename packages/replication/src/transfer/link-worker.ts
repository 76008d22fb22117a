import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { assert, systemClock } from '@antipode/base';
import type { FrameLink } from './frame-link.ts';
import { tlsLinks } from './frame-links.ts';
import { transferLimits } from './limits.ts';
import type { Link, Listener } from './link.ts';
import type { FromLinkThread, LinkThreadData, ThreadError, ToLinkThread } from './thread-messages.ts';

/** The thread of the links: sockets, encryption, frames and their checks. What frames mean is decided on the ordering thread [C9.2]. */

assert(parentPort !== null, 'a thread of its own');
const port = parentPort;
const { identity } = workerData as LinkThreadData;
const links = tlsLinks(identity, systemClock);

const attempts = new Map<number, AbortController>();
const open = new Map<number, OpenLink>();
const listeners = new Map<number, Promise<Listener>>();
const knocks = new Map<number, (trusted: boolean) => void>();
let lastAccepted = 0;
let lastKnock = 0;

const say = (message: FromLinkThread): void => port.postMessage(message);

function errorOf(error: unknown): ThreadError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message } = error;
  const code = (error as NodeJS.ErrnoException).code;
  return { name, message, ...(code !== undefined && { code }) };
}

/** A link whose frames go to the ordering thread, no more of them than it has room for. */
class OpenLink {
  readonly #number: number;
  readonly link: FrameLink;
  readonly #handed = new Map<number, { readonly bytes: number; release(): void }>();
  #handed_bytes = 0;
  #last = 0;
  #room: (() => void) | undefined;

  constructor(number: number, link: Link) {
    this.#number = number;
    this.link = link as FrameLink;
    open.set(number, this);
    void this.#pump();
  }

  send(id: number, head: Uint8Array, payload: Uint8Array | undefined): void {
    const sent = () => say({ kind: 'sent', link: this.#number, id });
    if (this.link.closed) sent();
    else this.link.write(head, payload, sent);
  }

  release(frame: number): void {
    const handed = this.#handed.get(frame);
    if (handed === undefined) return;
    this.#handed.delete(frame);
    this.#handed_bytes -= handed.bytes;
    handed.release();
    this.#room?.();
    this.#room = undefined;
  }

  close(): void {
    this.link.close();
    this.#room?.();
  }

  async #pump(): Promise<void> {
    const link = this.#number;
    try {
      for (;;) {
        const { message, payload, wire_bytes, release } = await this.link.next();
        const frame = ++this.#last;
        this.#handed.set(frame, { bytes: wire_bytes, release });
        this.#handed_bytes += wire_bytes;
        say({ kind: 'frame', link, frame, message, ...(payload.length > 0 && { payload }), wire_bytes });
        while (this.#handed_bytes > transferLimits.handed_bytes && !this.link.closed)
          await new Promise<void>((resolve) => (this.#room = resolve));
      }
    } catch (error) {
      ended(link, error);
    }
  }
}

function ended(link: number, error: unknown): void {
  open.delete(link);
  attempts.delete(link);
  say({ kind: 'ended', link, error: errorOf(error) });
  if (open.size === 0) tidy();
}

let collect: (() => void) | undefined;

/** The last link is gone: its buffers are shared, and go only when both threads have let go of them. */
function tidy(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  setImmediate(() => {
    if (open.size === 0) collect?.();
  });
}

async function connect(link: number, peer: Parameters<typeof links.connect>[0]): Promise<void> {
  const attempt = new AbortController();
  attempts.set(link, attempt);
  try {
    const made = await links.connect(peer, attempt.signal);
    attempts.delete(link);
    say({ kind: 'connected', link });
    new OpenLink(link, made);
  } catch (error) {
    ended(link, error);
  }
}

function listen(listener: number, host: string, wanted: number): void {
  const trusted = (from: string): Promise<boolean> => {
    const knock = ++lastKnock;
    say({ kind: 'knock', knock, listener, from });
    return new Promise((resolve) => knocks.set(knock, resolve));
  };
  const taken = (made: Link, from: string): void => {
    const link = --lastAccepted;
    say({ kind: 'accepted', link, listener, from });
    new OpenLink(link, made);
  };
  const listening = links.listen({ host, port: wanted }, trusted, taken);
  listeners.set(listener, listening);
  listening.then(
    ({ port: bound }) => say({ kind: 'listening', listener, port: bound }),
    (error: unknown) => say({ kind: 'not_listening', listener, error: errorOf(error) }),
  );
}

async function unlisten(listener: number): Promise<void> {
  await (await listeners.get(listener))?.close();
  listeners.delete(listener);
  say({ kind: 'unlistened', listener });
}

function hear(message: ToLinkThread): void {
  switch (message.kind) {
    case 'connect':
      return void connect(message.link, message.peer);
    case 'listen':
      return listen(message.listener, message.host, message.port);
    case 'unlisten':
      return void unlisten(message.listener);
    case 'answer':
      knocks.get(message.knock)?.(message.trusted);
      knocks.delete(message.knock);
      return;
    case 'send': {
      const link = open.get(message.link);
      if (link === undefined) return say({ kind: 'sent', link: message.link, id: message.id });
      return link.send(message.id, message.head, message.payload);
    }
    case 'release':
      return open.get(message.link)?.release(message.frame);
    case 'close':
      attempts.get(message.link)?.abort();
      return open.get(message.link)?.close();
    case 'end':
      return void open.get(message.link)?.link.end();
  }
}

port.on('message', hear);
// What starting left behind.
tidy();
