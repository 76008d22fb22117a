import type { Clock, Random, SessionId } from '@antipode/base';
import type { ScheduleRule } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import type { SessionDocument } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import type { Reporter } from '../services/occurrences.ts';
import type { RemoteSystems } from './remote-systems.ts';
import type { SessionDriver } from './session-driver.ts';
import type { SessionRecord } from './session-store.ts';

export interface SessionsDeps {
  readonly catalog: Catalog;
  readonly dataPlane: DataPlane;
  /** Dates and schedules. */
  readonly clock: Clock;
  /** What the world outside takes: bounds and pauses between attempts. Absent: `clock`. */
  readonly waits?: Clock;
  readonly random: Random;
  readonly remotes: RemoteSystems;
  readonly reporter: Reporter;
  /** Serial of this cluster. */
  readonly site: string;
  readonly localPauseResume: 'pause_both' | 'refuse';
  readonly schedule: ScheduleRule;
  /** Cycles that may run at once on the link to one peer. */
  readonly cyclesAtOnce: number;
}

/** A session that is running here. */
export interface SessionEntry {
  record: SessionRecord;
  readonly driver: SessionDriver;
}

/** What the parts of the session service know of each other. */
export interface SessionRegistry {
  readonly entries: ReadonlyMap<SessionId, SessionEntry>;
  sessionOf(resource: string): SessionDocument | undefined;
  /** Keeps a record and drives its half from now on; the caller starts it. */
  open(record: SessionRecord): SessionEntry;
}
