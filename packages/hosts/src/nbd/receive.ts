import { Socket, type SocketConstructorOpts } from 'node:net';

/** Where received bytes go: asked before each read of the socket, told after it. */
export interface Receiver {
  /** Memory for the next bytes; it belongs to the socket until they came, or until it is asked again. */
  target(): Buffer;
  /** `length` bytes are in `buffer`, which is what {@link target} returned last. */
  arrived(buffer: Buffer, length: number): void;
}

/** What Node keeps behind a socket; it can fill memory of ours instead of allocating for every read. */
interface Handle {
  useUserBuffer?: unknown;
}

/**
 * Lets an accepted socket, of which nothing was read yet, receive into memory of ours. Node offers this (`onread`) for
 * sockets it is asked to make, and not for those a server accepts; so the accepted one's handle moves into a new socket.
 * Returns nothing, and leaves the socket as it is, on a Node that works otherwise.
 */
export function receiveInto(accepted: Socket, receiver: Receiver): Socket | undefined {
  const holder = accepted as unknown as { _handle: Handle | null };
  const handle = holder._handle;
  if (handle === null || typeof handle?.useUserBuffer !== 'function') return undefined;
  holder._handle = null;
  const options = {
    handle,
    readable: true,
    writable: true,
    onread: {
      buffer: () => receiver.target(),
      callback: (length: number, buffer: Uint8Array) => {
        receiver.arrived(buffer as Buffer, length);
        return true;
      },
    },
  };
  const socket = new Socket(options as unknown as SocketConstructorOpts);
  // Without its handle the accepted socket only takes itself off its server's count.
  accepted.destroy();
  return socket;
}
