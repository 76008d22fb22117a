import { TLSSocket } from 'node:tls';

/** Where received bytes go: asked before each read of the connection, told after it. */
export interface Receiver {
  /** Memory for the next bytes; it belongs to the connection until they came. */
  target(): Uint8Array;
  /** So many bytes are in what {@link target} returned last. */
  arrived(length: number): void;
}

/** What Node keeps behind a socket; it can fill memory of ours instead of allocating for every read. */
interface Handle {
  useUserBuffer?: (buffer: Uint8Array) => void;
}

/**
 * Lets a TLS connection decrypt into memory of ours: 16 KiB at a time are decrypted either way, but no buffer, no event and no garbage is
 * made for each. Node offers this (`onread`) for connections that one makes, and not for those that a server takes, so what the option sets is
 * set here. False, and nothing is changed, for another kind of connection or on a Node that works otherwise.
 */
export function receiveInto(socket: unknown, receiver: Receiver): boolean {
  if (!(socket instanceof TLSSocket)) return false;
  const inner = socket as unknown as Record<symbol, unknown> & { _handle?: Handle | null };
  const own = Object.getOwnPropertySymbols(socket);
  const [buffer, told, next] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) =>
    own.find(({ description }) => description === name),
  );
  const handle = inner._handle;
  if (buffer === undefined || told === undefined || next === undefined) return false;
  if (typeof handle?.useUserBuffer !== 'function' || inner[buffer] !== null) return false;
  // What came before anybody listened.
  for (let bytes = socket.read() as Buffer | null; bytes !== null; bytes = socket.read() as Buffer | null) {
    for (let at = 0; at < bytes.length; ) {
      const target = receiver.target();
      const length = Math.min(target.length, bytes.length - at);
      target.set(bytes.subarray(at, at + length));
      receiver.arrived(length);
      at += length;
    }
  }
  const first = receiver.target();
  inner[buffer] = first;
  inner[next] = () => receiver.target();
  inner[told] = (length: number) => {
    receiver.arrived(length);
    return true;
  };
  handle.useUserBuffer(first);
  socket.resume();
  return true;
}
