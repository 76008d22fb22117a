import type { PointId, VolumeId } from '@antipode/base';
import type { StoredDamage } from '../../port/types.ts';

/** What a check is doing, for a progress bar. */
export interface CheckProgress {
  readonly doing: 'records' | 'index' | 'comparison';
  readonly done: number;
  readonly of: number;
}

/**
 * What the index checkpoint is worth. `absent`, `void`: the next start reads the whole log. `unreadable`: it must be dropped
 * before the next start. `ahead`: the log has lost its end. `agrees`: with every record of the log. `disagrees`: differences are listed.
 */
export interface IndexReport {
  readonly state: 'absent' | 'void' | 'unreadable' | 'ahead' | 'agrees' | 'disagrees';
  readonly detail: string;
  readonly differences: readonly StoredDamage[];
}

/** What `checkDirectory` found. Sizes in bytes. */
export interface CheckReport {
  readonly segments: number;
  readonly records: number;
  readonly verified_bytes: number;
  readonly last_sequence: number;
  /** Damage of the log: of bytes that somebody can look at, of records, of footers. */
  readonly damages: readonly StoredDamage[];
  readonly index: IndexReport;
  /** Rules of the graph that do not hold. */
  readonly graph: readonly string[];
  readonly volumes: readonly {
    readonly id: VolumeId;
    readonly name: string;
    readonly size: number;
    readonly destination: boolean;
  }[];
  readonly points: readonly {
    readonly id: PointId;
    readonly kind: string;
    readonly name: string;
    readonly dropped: boolean;
    readonly volumes: readonly VolumeId[];
  }[];
  readonly sessions: readonly string[];
}
