import type { ChannelMessage } from './protocol.ts';
import type { LinkIdentity, PeerEndpoint } from './types.ts';

/** What the thread of the links is started with. */
export interface LinkThreadData {
  readonly identity: LinkIdentity;
}

/**
 * What the ordering thread says to the thread of the links. Links that it asks for have positive numbers, links that others made to a
 * listener negative ones. Payloads lie in shared memory: they are not copied.
 */
export type ToLinkThread =
  | { readonly kind: 'connect'; readonly link: number; readonly peer: PeerEndpoint }
  | { readonly kind: 'listen'; readonly listener: number; readonly host: string; readonly port: number }
  | { readonly kind: 'unlisten'; readonly listener: number }
  /** Whether the other end is trusted that knocked. */
  | { readonly kind: 'answer'; readonly knock: number; readonly trusted: boolean }
  /** `head`: prefix and header, encoded. `sent` comes back when the socket has taken it. */
  | {
      readonly kind: 'send';
      readonly link: number;
      readonly id: number;
      readonly head: Uint8Array;
      readonly payload?: Uint8Array;
    }
  /** The frame's payload is not looked at any more. */
  | { readonly kind: 'release'; readonly link: number; readonly frame: number }
  | { readonly kind: 'close'; readonly link: number }
  | { readonly kind: 'end'; readonly link: number };

/** What an error comes to on the other thread. */
export interface ThreadError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

export type FromLinkThread =
  | { readonly kind: 'connected'; readonly link: number }
  | { readonly kind: 'listening'; readonly listener: number; readonly port: number }
  | { readonly kind: 'not_listening'; readonly listener: number; readonly error: ThreadError }
  | { readonly kind: 'unlistened'; readonly listener: number }
  | { readonly kind: 'knock'; readonly knock: number; readonly listener: number; readonly from: string }
  | { readonly kind: 'accepted'; readonly link: number; readonly listener: number; readonly from: string }
  | {
      readonly kind: 'frame';
      readonly link: number;
      readonly frame: number;
      readonly message: ChannelMessage;
      readonly payload?: Uint8Array;
      readonly wire_bytes: number;
    }
  | { readonly kind: 'sent'; readonly link: number; readonly id: number }
  /** The last word of a link, also of one that could not be made. */
  | { readonly kind: 'ended'; readonly link: number; readonly error: ThreadError };
