import type { Clock, Random, SessionId } from '@antipode/base';
import type { ScheduleRule } from '@antipode/replication';
import type { Catalog } from '../catalog/catalog.ts';
import type { PolicyDocument, SessionDocument } from '../catalog/documents.ts';
import type { DataPlane } from '../local/api.ts';
import type { Reporter } from '../services/occurrences.ts';
import type { PolicyCopy } from './peer-wire.ts';
import type { RemoteRecord, RemoteSystems } from './remote-systems.ts';
import type { KeptPolicy } from './replica-policy.ts';
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
  /** What takes the snapshots of rules: those of policies' copies come, change and go. Absent: nothing does. */
  readonly snapshotRules?: { ruleChanged(id: string): void; ruleGone(id: string): void };
  /** Serial of this cluster. */
  readonly site: string;
  readonly localPauseResume: 'pause_both' | 'refuse';
  readonly schedule: ScheduleRule;
  /** Cycles that may run at once on the link to one peer. */
  readonly cyclesAtOnce: number;
  /** How often objectives are looked at; absent: as the limit says. */
  readonly objectivesEvery_ms?: number;
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
  /** A peer's policy as its copy is kept here from now on; `held`: what its session's volume or group has. */
  keepPolicy(remote: RemoteRecord, copy: PolicyCopy, held?: PolicyDocument): KeptPolicy;
  /** Keeps a record, durable when it returns. */
  keep(record: SessionRecord): void;
  /** Drives the half of a record that is kept from now on; the caller starts it. */
  open(record: SessionRecord): SessionEntry;
}
