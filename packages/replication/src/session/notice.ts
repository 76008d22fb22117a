import type { PointId } from '@antipode/base';
import type { Fault, FaultCode, SuspensionReason } from './half.ts';

/** Something operators should hear of; the cluster turns each into an event or alert with a stable code. */
export type Notice =
  | { readonly kind: 'snapshots_left_out'; readonly count: number }
  /** `late_ms`: behind the moment that the schedule had named. */
  | { readonly kind: 'cycle_started'; readonly trigger: string; readonly late_ms: number }
  /** `oldest_ms`: the age that the copy before it had reached: the recovery point that was achieved. */
  | {
      readonly kind: 'synchronized';
      readonly trigger: string;
      readonly duration_ms: number;
      readonly instant_ms: number;
      readonly oldest_ms?: number;
    }
  | { readonly kind: 'parked'; readonly fault: Fault }
  | { readonly kind: 'recovered' }
  | { readonly kind: 'paused'; readonly scope: 'local' | 'both' }
  | { readonly kind: 'resumed' }
  /** By the system, for a time: it goes on by itself. */
  | { readonly kind: 'suspended'; readonly reason: SuspensionReason }
  | { readonly kind: 'suspension_lifted' }
  | { readonly kind: 'failover_started'; readonly planned: boolean }
  | { readonly kind: 'failed_over'; readonly generation: number }
  | { readonly kind: 'test_started' }
  /** `kept`: the point under which what was written lives on. */
  | { readonly kind: 'test_stopped'; readonly kept?: PointId }
  | { readonly kind: 'failover_aborted'; readonly message: string }
  /** The promote was sent and its answer is missing: sealed until contact [C4.2]. */
  | { readonly kind: 'in_doubt' }
  /** A newer generation was learned: hosts of this side are refused from now on. */
  | { readonly kind: 'fenced'; readonly diverged_bytes: number }
  | { readonly kind: 'reprotected' }
  | { readonly kind: 'base_lost'; readonly using: 'older_point' | 'whole' }
  | { readonly kind: 'deleted'; readonly by: 'user' | 'peer' }
  /** The peer deleted the session although this side is a newer source: the volume stays usable, unprotected [C5.6]. */
  | { readonly kind: 'protection_lost' }
  | { readonly kind: 'split'; readonly message: string }
  | { readonly kind: 'fault'; readonly code: FaultCode; readonly message: string };
