import type { SessionId } from '@antipode/base';
import type { Half } from '@antipode/replication';

/** What a session is to this cluster besides its half. Kept in the catalog. */
export interface SessionRecord {
  readonly half: Half;
  readonly remoteSystemId: string;
  /** The rule that caused it, here; a destination holds the replica's id. */
  readonly ruleId: string | undefined;
  /** The volume (later: group) whose session it is. */
  readonly localResourceId: string;
  readonly remoteResourceId: string;
}

/** Where halves are kept: synchronous and durable when it returns [C7.3]. */
export interface SessionStore {
  load(): readonly SessionRecord[];
  save(record: SessionRecord): void;
  remove(id: SessionId): void;
}
