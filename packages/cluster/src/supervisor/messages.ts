import type { ClusterConfig } from '../config.ts';
import type { Software } from '../software/version.ts';
import type { UpgradeEnd } from './release-state.ts';

/** An upgrade, as management asks for it: the release is unpacked and checked. */
export interface UpgradeRequest {
  readonly id: string;
  readonly release: string;
}

/** How far an upgrade is. */
export type UpgradeStatus =
  | { readonly id: string; readonly kind: 'replacing'; readonly what: 'management' | 'dataplane' }
  | ({ readonly kind: 'ended' } & UpgradeEnd);

/** What management is told of the software at its start. */
export interface SoftwareState {
  readonly release: string;
  readonly software: Software;
  readonly previous?: string;
  /** Under way. */
  readonly upgrade?: UpgradeRequest;
  /** The newest that has ended. */
  readonly last?: UpgradeEnd;
}

/**
 * What a supervised process says, and what it is told, over its IPC channel. The channel's end means: stop. A supervisor starts processes
 * of newer releases than its own: kinds and fields are added, never changed, and what is not known is ignored.
 */
export type FromChild =
  /** Its code is loaded; it waits for `start`. */
  | { readonly kind: 'loaded' }
  | { readonly kind: 'ready'; readonly info: Readonly<Record<string, unknown>> }
  | { readonly kind: 'failed'; readonly message: string }
  /** Answer to `check`; `message`: what is wrong. */
  | { readonly kind: 'checked'; readonly message?: string }
  | { readonly kind: 'upgrade'; readonly request: UpgradeRequest };
export type ToChild =
  | { readonly kind: 'start'; readonly config: ClusterConfig; readonly extra: Readonly<Record<string, unknown>> }
  | { readonly kind: 'stop' }
  /** Shows that it does what it is there for. */
  | { readonly kind: 'check' }
  | { readonly kind: 'upgrade_status'; readonly status: UpgradeStatus };
