import type { Frame } from './frame-codec.ts';
import type { ChannelMessage } from './protocol.ts';
import type { PeerEndpoint } from './types.ts';

/** A connection of the data channel: frames both ways, in order. */
export interface Link {
  readonly closed: boolean;
  /** A frame has arrived that nobody has taken yet. */
  readonly waiting: boolean;
  /**
   * Sends a frame; resolves (or returns) when there is room for more. `taken` hears that the payload may be written over, or that
   * the link is gone. @throws what ended the link.
   */
  send(message: ChannelMessage, payload?: Uint8Array, taken?: () => void): void | Promise<void>;
  /** Sends a frame that nobody waits for: signs of life, acknowledgements. On a link that has ended it is nothing. */
  post(message: ChannelMessage): void;
  /** The next frame in order; rejects when the link ends. */
  next(): Promise<Frame>;
  /** Ends the link at once; what was sent and not taken is lost. */
  close(reason?: Error): void;
  /** Sends what is waiting and ends the link. */
  end(): Promise<void>;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface Listener extends ListenAddress {
  /** Takes no more connections, and ends those that it took. */
  close(): Promise<void>;
}

/** Makes links: TLS 1.3, both certificates shown, the other end's pinned. */
export interface Links {
  /** Connects to a peer's data listener. Rejects with LinkLost or Untrusted; `signal` gives up. */
  connect(peer: PeerEndpoint, signal?: AbortSignal): Promise<Link>;
  /** `trusted`: whether a certificate (SHA-256, plain lower-case hex) is a peer's; asked before a byte is taken. */
  listen(
    address: ListenAddress,
    trusted: (fingerprint: string) => boolean | Promise<boolean>,
    taken: (link: Link, from: string) => void,
  ): Promise<Listener>;
}

/** The other end shows a certificate that was not exchanged at pairing. */
export class Untrusted extends Error {
  override name = 'Untrusted';
}

/** A fingerprint as it is compared: lower-case hex without colons. */
export const plainFingerprint = (fingerprint: string): string => fingerprint.replaceAll(':', '').toLowerCase();
